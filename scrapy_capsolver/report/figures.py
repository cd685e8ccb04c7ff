"""The figures of a report, from what was recorded: one place, so that the page, the text and the JSON say the same."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from scrapy_capsolver.api.codes import RULES
from scrapy_capsolver.report import advice
from scrapy_capsolver.report.histogram import Histogram
from scrapy_capsolver.report.record import Account
from scrapy_capsolver.solving.ledger import SOLVED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scrapy_capsolver.report.record import Record, Row

WASTED = ("rejected", "expired", "already_sent", "lost", "unusable", "no_solution", "undelivered")
"""Accounts that are a part of what was paid."""
POSSIBLE = ("possibly_paid", "abandoned")
"""Accounts beside it: tasks of which nobody knows whether they were charged."""
_BARS = 10  # of a distribution, and one for what took longer
_WIDTHS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0)  # seconds


@dataclass(frozen=True, slots=True)
class Line:
    """What a site, a family or everything cost, and what came of it."""

    name: str
    solved: Account
    """Solutions that were paid."""
    wasted: Account
    """Those of them that were of no use."""
    possible: Account
    """Tasks beside them of which nobody knows whether they were charged."""
    failed: int
    """Tasks that CapSolver did not solve, and did not charge."""
    open: int
    """Tasks that were open when a store was read."""
    accepted: int
    rejected: int
    handed_over: int
    """Solutions that the spider got, and whose fate is not told."""

    @property
    def used_nano_usd(self) -> int:
        return max(self.solved.nano_usd - self.wasted.nano_usd, 0)

    @property
    def acceptance(self) -> float | None:
        """Share of the solutions with a verdict; None where there are none."""
        judged = self.accepted + self.rejected
        return self.accepted / judged if judged else None


@dataclass(frozen=True, slots=True)
class Waste:
    reason: str
    tasks: int
    nano_usd: int
    meaning: str
    to_do: str


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds."""

    family: str
    number: int
    mean: float
    median: float
    p90: float
    p99: float
    most: float


@dataclass(frozen=True, slots=True)
class Bar:
    label: str
    times: int


@dataclass(frozen=True, slots=True)
class Failure:
    """Requests that ended in an error."""

    error: str
    code: str
    family: str
    requests: int
    example: str
    meaning: str
    to_do: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error of CapSolver's, most of which another attempt makes good."""

    code: str
    refused: int
    """By createTask."""
    failed: int
    """By getTaskResult."""
    meaning: str


@dataclass(frozen=True, slots=True)
class Step:
    at: int
    """Unix seconds."""
    solved: int
    wasted: int
    failed: int
    nano_usd: int

    @property
    def happened(self) -> bool:
        return bool(self.solved or self.wasted or self.failed)


@dataclass(frozen=True, slots=True)
class Figures:
    spiders: tuple[str, ...]
    runs: int
    endings: dict[str, int]
    started: float | None
    finished: float | None
    from_ledger: bool
    total: Line
    sites: tuple[Line, ...]
    """The dearest first; the name of what was added up is empty."""
    families: tuple[Line, ...]
    waste: tuple[Waste, ...]
    unpriced: dict[str, int]
    requests_failed: int
    solves: tuple[Times, ...]
    """The first is of all families."""
    solve_bars: tuple[Bar, ...]
    pick_ups: tuple[Times, ...]
    """Of the longest that solutions can have lain ready."""
    pick_up_bars: tuple[Bar, ...]
    failures: tuple[Failure, ...]
    refusals: tuple[Refusal, ...]
    counters: dict[str, float]
    step_seconds: int
    steps: tuple[Step, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def figures_of(record: Record) -> Figures:
    sites: defaultdict[str, list[Row]] = defaultdict(list)
    families: defaultdict[str, list[Row]] = defaultdict(list)
    for (site, family), row in record.rows.items():
        sites[site].append(row)
        families[family].append(row)
    total = _line("", record.rows.values())
    solve_bars, pick_up_bars = _bars(record.solves.values()), _bars(record.pick_ups.values())
    return Figures(
        spiders=tuple(sorted(record.spiders)),
        runs=record.spiders.total(),
        endings=dict(record.endings.most_common()),
        started=record.started,
        finished=record.finished,
        from_ledger=record.from_ledger,
        total=total,
        sites=_lines(sites),
        families=_lines(families),
        waste=_waste(record.rows.values()),
        unpriced=dict(record.unpriced.most_common()),
        requests_failed=sum(one.requests for one in record.failures.values()),
        solves=_times(record.solves),
        solve_bars=solve_bars,
        pick_ups=_times(record.pick_ups),
        pick_up_bars=pick_up_bars,
        failures=_failures(record),
        refusals=_refusals(record),
        counters={name: record.counters[name] for name in sorted(record.counters)},
        step_seconds=record.timeline.seconds,
        steps=_steps(record),
    )


def _line(name: str, rows: Iterable[Row]) -> Line:
    sums: defaultdict[str, Account] = defaultdict(Account)
    for row in rows:
        for account, entry in row.items():
            sums[account].add(entry.tasks, entry.nano_usd)
    return Line(
        name=name,
        solved=_sum(sums, (SOLVED,)),
        wasted=_sum(sums, WASTED),
        possible=_sum(sums, POSSIBLE),
        failed=_sum(sums, ("failed",)).tasks,
        open=_sum(sums, ("open",)).tasks,
        accepted=_sum(sums, ("accepted",)).tasks,
        rejected=_sum(sums, ("rejected",)).tasks,
        handed_over=_sum(sums, ("handed_over",)).tasks,
    )


def _sum(sums: Row, accounts: Iterable[str]) -> Account:
    found = Account()
    for name in accounts:
        if name in sums:
            found.add(sums[name].tasks, sums[name].nano_usd)
    return found


def _lines(groups: dict[str, list[Row]]) -> tuple[Line, ...]:
    lines = [_line(name, rows) for name, rows in groups.items()]

    def dearest(line: Line) -> tuple[bool, int, int, str]:
        return not line.name, -line.solved.nano_usd, -line.solved.tasks - line.failed - line.possible.tasks, line.name

    return tuple(sorted(lines, key=dearest))


def _waste(rows: Iterable[Row]) -> tuple[Waste, ...]:
    found = [(name, _sum_of(rows, name)) for name in (*WASTED, *POSSIBLE)]
    some = [Waste(name, one.tasks, one.nano_usd, *advice.WASTE[name]) for name, one in found if one.tasks]
    return tuple(sorted(some, key=lambda one: (-one.nano_usd, -one.tasks)))


def _sum_of(rows: Iterable[Row], account: str) -> Account:
    found = Account()
    for row in rows:
        if account in row:
            found.add(row[account].tasks, row[account].nano_usd)
    return found


def _all(histograms: Iterable[Histogram]) -> Histogram:
    found = Histogram()
    for one in histograms:
        found.merge(one)
    return found


def _times(histograms: dict[str, Histogram]) -> tuple[Times, ...]:
    if not histograms:
        return ()
    named = [("", _all(histograms.values())), *sorted(histograms.items(), key=lambda item: (-item[1].number, item[0]))]
    return tuple(
        Times(name, one.number, one.mean, one.quantile(0.5), one.quantile(0.9), one.quantile(0.99), one.most)
        for name, one in named
    )


def _bars(histograms: Iterable[Histogram]) -> tuple[Bar, ...]:
    """Bars of one width, up to where nearly all are."""
    together = _all(histograms)
    if not together.number:
        return ()
    reach = together.quantile(0.98)
    width = next((width for width in _WIDTHS if width * _BARS >= reach), _WIDTHS[-1])
    edges = tuple(round(width * number, 1) for number in range(1, _BARS + 1))
    counts = together.spread(edges)
    labels = [f"{edge - width:g}-{edge:g}" for edge in edges]
    bars = [Bar(label, times) for label, times in zip(labels, counts, strict=False)]
    while bars and not counts[-1] and not bars[-1].times:
        bars.pop()
    return (*bars, Bar(f"> {edges[-1]:g}", counts[-1])) if counts[-1] else tuple(bars)


def _failures(record: Record) -> tuple[Failure, ...]:
    found = [
        Failure(error, code, family, one.requests, one.example, *advice.of_failure(error, code))
        for (error, code, family), one in record.failures.items()
    ]
    return tuple(sorted(found, key=lambda one: (-one.requests, one.error, one.code, one.family)))


def _refusals(record: Record) -> tuple[Refusal, ...]:
    kinds: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for name, times in record.counters.items():
        for place, prefix in enumerate(("tasks/refused/", "tasks/failed/")):
            if name.startswith(prefix):
                kinds[place][name[len(prefix) :]] += int(times)
    refused, failed = kinds
    found = [
        Refusal(code, refused[code], failed[code], RULES[code].meaning if code in RULES else "")
        for code in refused.keys() | failed.keys()
    ]
    return tuple(sorted(found, key=lambda one: (-one.refused - one.failed, one.code)))


def _steps(record: Record) -> tuple[Step, ...]:
    """All steps from the first in which something happened to the last, the quiet ones too."""
    known = dict(record.timeline.steps())
    if not known:
        return ()
    times = range(min(known), max(known) + 1, record.timeline.seconds)
    counts: list[tuple[int, dict[str, int]]] = [(at, known.get(at, Counter())) for at in times]
    return tuple(
        Step(at, one.get("solved", 0), one.get("wasted", 0), one.get("failed", 0), one.get("nano_usd", 0))
        for at, one in counts
    )
