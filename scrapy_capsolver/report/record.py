"""What is kept of a crawl for its report: sums, no matter how long it runs. Records of several crawls or workers add up.

The bounds: :data:`MOST_ROWS` rows of money, :data:`MOST_KINDS` kinds of failure, :data:`MOST_COUNTERS` counters,
:data:`~scrapy_capsolver.report.timeline.STEPS` steps of time, and for each family two histograms of
:data:`~scrapy_capsolver.report.histogram.CLASSES` classes. That is less than two megabytes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from scrapy_capsolver.report.histogram import Histogram
from scrapy_capsolver.report.reading import count_in, number_in, text_in
from scrapy_capsolver.report.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from scrapy_capsolver.stores import Spend

FORMAT = "scrapy-capsolver report"
VERSION = 1
MOST_ROWS = 2000
MOST_KINDS = 300
MOST_COUNTERS = 300
MOST_NAMES = 100
OTHERS = ""
"""The site of rows that were added up, since there were too many; and the code of such failures."""
_LONGEST_TEXT = 400

T = TypeVar("T")


@dataclass(slots=True)
class Account:
    """So many tasks on one account of the ledger, or with one verdict of their site, and what they cost."""

    tasks: int = 0
    nano_usd: int = 0

    def add(self, tasks: int, nano_usd: int) -> None:
        self.tasks += tasks
        self.nano_usd += nano_usd


Row = dict[str, Account]  # by account: those of stores.Spend, and "accepted", "handed_over" and "open"


@dataclass(slots=True)
class Failures:
    """Requests that ended in the same way."""

    requests: int = 0
    example: str = ""
    """What the first of them was told."""


@dataclass(slots=True)
class Record:
    """See the module. All strings in it are as the crawl met them: sites, codes and errors may say anything."""

    rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    """By site and family."""
    solves: dict[str, Histogram] = field(default_factory=dict)
    """By family: seconds from the request's turn to its solution."""
    pick_ups: dict[str, Histogram] = field(default_factory=dict)
    """By family: seconds that solutions lay ready at most; see :class:`~scrapy_capsolver.solving.solver.Solved`."""
    failures: dict[tuple[str, str, str], Failures] = field(default_factory=dict)
    """By the error's name, CapSolver's code and the family."""
    counters: Counter[str] = field(default_factory=Counter)
    """Stats, without their ``capsolver/``."""
    unpriced: Counter[str] = field(default_factory=Counter)
    """Solutions by task type whose price is not known."""
    timeline: Timeline = field(default_factory=Timeline)
    spiders: Counter[str] = field(default_factory=Counter)
    """How many records of each are in this one."""
    endings: Counter[str] = field(default_factory=Counter)
    """Why they ended."""
    started: float | None = None
    """Unix seconds; None where that is not known."""
    finished: float | None = None
    from_ledger: bool = False
    """It holds what a store's ledger knows, and that is money alone."""

    def enter(self, site: str, family: str, account: str, tasks: int, nano_usd: int) -> None:
        row = self.rows.get((site, family))
        if row is None:
            if len(self.rows) >= MOST_ROWS:
                self._fold()
            row = self.rows.setdefault((site, family), {})
        row.setdefault(account, Account()).add(tasks, nano_usd)

    def fail(self, error: str, code: str, family: str, example: str, requests: int = 1) -> None:
        key = (error, code, family)
        if key not in self.failures and len(self.failures) >= MOST_KINDS:
            key = (error, OTHERS, OTHERS)
        found = self.failures.setdefault(key, Failures(example=example[:_LONGEST_TEXT]))
        found.requests += requests

    def _fold(self) -> None:
        """Make room: the half of the rows that matter least becomes one of each family."""
        rows, self.rows = self.rows, {}
        by_weight = sorted(rows, key=lambda key: (key[0] != OTHERS, _weight(rows[key])))
        kept = set(by_weight[len(by_weight) // 2 :])
        for key, row in rows.items():
            into = self.rows.setdefault(key if key in kept else (OTHERS, key[1]), {})
            for name, account in row.items():
                into.setdefault(name, Account()).add(account.tasks, account.nano_usd)

    def merge(self, other: Record) -> None:
        """Add what another crawl, or another worker of the same, recorded."""
        for (site, family), row in other.rows.items():
            for name, account in row.items():
                self.enter(site, family, name, account.tasks, account.nano_usd)
        for mine, theirs in ((self.solves, other.solves), (self.pick_ups, other.pick_ups)):
            for family, histogram in theirs.items():
                mine.setdefault(family, Histogram()).merge(histogram)
        for (error, code, family), failures in other.failures.items():
            self.fail(error, code, family, failures.example, failures.requests)
        for name in ("counters", "unpriced", "spiders", "endings"):
            getattr(self, name).update(getattr(other, name))
        self.timeline.merge(other.timeline)
        self.started = _first(min, self.started, other.started)
        self.finished = _first(max, self.finished, other.finished)
        self.from_ledger = self.from_ledger or other.from_ledger

    def to_dict(self) -> dict[str, Any]:
        return {
            "spiders": dict(self.spiders),
            "endings": dict(self.endings),
            "started": self.started,
            "finished": self.finished,
            "from_ledger": self.from_ledger,
            "rows": [
                {
                    "site": site,
                    "family": family,
                    "accounts": {name: {"tasks": a.tasks, "nano_usd": a.nano_usd} for name, a in row.items()},
                }
                for (site, family), row in self.rows.items()
            ],
            "solve_seconds": {family: one.to_dict() for family, one in self.solves.items()},
            "pick_up_seconds": {family: one.to_dict() for family, one in self.pick_ups.items()},
            "failures": [
                {"error": error, "code": code, "family": family, "requests": one.requests, "example": one.example}
                for (error, code, family), one in self.failures.items()
            ],
            "counters": dict(self.counters),
            "unpriced": dict(self.unpriced),
            "timeline": self.timeline.to_dict(),
        }

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Record:
        """From :meth:`to_dict`. Raises ValueError for anything else."""
        try:
            return cls._of(values)
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"it is not as this version writes it: {type(error).__name__}: {error}") from None

    @classmethod
    def _of(cls, values: Mapping[str, Any]) -> Record:
        found = cls(
            solves={str(family): Histogram.of(one) for family, one in _some(values["solve_seconds"].items())},
            pick_ups={str(family): Histogram.of(one) for family, one in _some(values["pick_up_seconds"].items())},
            counters=Counter({str(name): number_in(values["counters"], name) for name in _some(values["counters"])}),
            timeline=Timeline.of(values["timeline"]),
            started=None if values["started"] is None else number_in(values, "started"),
            finished=None if values["finished"] is None else number_in(values, "finished"),
            from_ledger=values["from_ledger"] is True,
        )
        for name in ("unpriced", "spiders", "endings"):
            counts = values[name]
            getattr(found, name).update({str(key): count_in(counts, key) for key in _some(counts)})
        for row in values["rows"]:
            for name, account in _some(row["accounts"].items()):
                site, family = text_in(row, "site"), text_in(row, "family")
                found.enter(site, family, str(name), count_in(account, "tasks"), count_in(account, "nano_usd"))
        for one in values["failures"]:
            names = [text_in(one, name) for name in ("error", "code", "family", "example")]
            found.fail(names[0], names[1], names[2], names[3], count_in(one, "requests"))
        return found


def record_of_ledger(entries: Iterable[Spend]) -> Record:
    """What a store's ledger knows: over all crawls that wrote to it."""
    record = Record(from_ledger=True)
    for entry in entries:
        record.spiders[entry.spider] = 1
        record.enter(entry.site, entry.family, entry.account, entry.tasks, entry.nano_usd)
    return record


def _some(values: Iterable[T]) -> list[T]:
    found = list(values)
    if len(found) > MOST_ROWS:
        raise ValueError(f"it holds {len(found)} values in a place where {MOST_ROWS} are the most")
    return found


def _weight(row: Row) -> tuple[int, int]:
    return sum(account.nano_usd for account in row.values()), sum(account.tasks for account in row.values())


def _first(choose: Any, mine: float | None, theirs: float | None) -> float | None:
    known = [value for value in (mine, theirs) if value is not None]
    return choose(known) if known else None
