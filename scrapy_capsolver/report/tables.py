"""The tables of a report: the same in the page and in the text."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING

from scrapy_capsolver.report.figures import POSSIBLE
from scrapy_capsolver.report.words import clock, duration, family_name, plain, seconds, share, usd, whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scrapy_capsolver.report.figures import Bar, Failure, Figures, Line, Times

MOST_SITES = 100
"""Rows of a table of sites."""
FIRST_SITES = 10
"""Rows of a table of sites that is shown at once."""

Part = tuple[str, float]
"""A part of a bar: the name of its colour, and its length as a share of the longest bar of the table."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of plain text, which is escaped when it is rendered."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    texts: frozenset[str] = field(default=frozenset())
    """Columns that hold words; the others hold numbers."""
    note: str = ""
    bars: Sequence[tuple[Part, ...]] = ()
    """One bar per row, drawn below the row's header; empty if the table has none."""
    legend: tuple[tuple[str, str], ...] = ()
    """Colours of the bars and what each stands for."""


def sites(figures: Figures, most: int = MOST_SITES) -> Table:
    """Return the most expensive sites; a note sums up the others."""
    shown = [line for line in figures.sites if line.name][:most]
    others = len(figures.sites) - len(shown)
    note = ""
    if others:
        rest = figures.total.solved.nano_usd - sum(line.solved.nano_usd for line in shown)
        note = f"The {len(shown)} most expensive sites. All other sites cost {usd(rest)} USD."
    return _money_table("By site", "Site", [(plain(line.name), line) for line in shown], note)


def families(figures: Figures) -> Table:
    return _money_table("By family", "Family", [(family_name(line.name), line) for line in figures.families])


def _money_table(title: str, of: str, lines: Sequence[tuple[str, Line]], note: str = "") -> Table:
    """Leave out the columns that hold only zeros."""
    rows = [(name, *_money(line)) for name, line in lines]
    columns = (of, *_MONEY)
    shown = [at for at, name in enumerate(columns) if name not in _RARE or any(row[at] != "0" for row in rows)]
    return Table(
        title,
        tuple(columns[at] for at in shown),
        [tuple(row[at] for at in shown) for row in rows],
        frozenset({of}),
        note,
        _bars([(("use", line.used_nano_usd), ("waste", line.wasted.nano_usd)) for _, line in lines]),
        (("use", "used"), ("waste", "wasted")),
    )


_MONEY = ("Solutions", "Spent, USD", "Wasted, USD", "Possibly charged, USD", "Not solved")
_RARE = _MONEY[2:]


def _bars(rows: Sequence[tuple[tuple[str, float], ...]]) -> list[tuple[Part, ...]]:
    """Scale each row's parts by the longest row; no bars if all are zero."""
    longest = max((sum(value for _, value in row) for row in rows), default=0)
    if not longest:
        return []
    return [tuple((colour, value / longest) for colour, value in row) for row in rows]


def _money(line: Line) -> tuple[str, ...]:
    return (
        whole(line.solved.tasks),
        usd(line.solved.nano_usd),
        f"{usd(line.wasted.nano_usd)} ({share(line.wasted.nano_usd, line.solved.nano_usd)})"
        if line.wasted.nano_usd
        else "0",
        usd(line.possible.nano_usd) if line.possible.tasks else "0",
        whole(line.failed),
    )


def waste(figures: Figures) -> Table:
    rows = [(one.reason, whole(one.tasks), usd(one.nano_usd), one.meaning, one.to_do) for one in figures.waste]
    columns = ("Reason", "Tasks", "USD", "Meaning", "What to do")
    uncertain = any(one.reason in POSSIBLE for one in figures.waste)
    note = f"{' and '.join(POSSIBLE)} are not part of the money spent: they may not have been charged."
    return Table(
        "Wasted, by reason",
        columns,
        rows,
        frozenset({"Reason", "Meaning", "What to do"}),
        note if uncertain else "",
    )


def acceptance(figures: Figures) -> Table:
    """Return the sites' verdicts by family. A ledger knows only rejections, so it has none."""
    lines = [line for line in figures.families if line.accepted or line.rejected or line.handed_over]
    if figures.from_ledger:
        lines = []
    handed_over = any(line.handed_over for line in lines)

    def row(line: Line) -> tuple[str, ...]:
        judged = line.accepted + line.rejected
        to_spider = (whole(line.handed_over),) if handed_over else ()
        return (
            family_name(line.name), share(line.accepted, judged), whole(line.accepted), whole(line.rejected), *to_spider
        )  # fmt: skip

    columns = ("Family", "Accepted, %", "Accepted", "Rejected", *(("To the spider",) if handed_over else ()))
    bars = _bars([(("use", line.accepted), ("waste", line.rejected), ("other", line.handed_over)) for line in lines])
    legend = (("use", "accepted"), ("waste", "rejected"), ("other", "to the spider"))
    return Table(
        "Acceptance",
        columns,
        [row(line) for line in lines],
        frozenset({"Family"}),
        bars=bars,
        legend=legend[: 3 if handed_over else 2],
    )


_TIMES = ("Family", "Number", "Mean", "Half within", "90 % within", "99 % within", "Longest")


def solve_times(figures: Figures) -> Table:
    return Table("Seconds to solve", _TIMES, _times(figures.solves), frozenset({"Family"}))


def pick_ups(figures: Figures) -> Table:
    return Table("Seconds to pick up, at most", _TIMES, _times(figures.pick_ups), frozenset({"Family"}))


def solve_spread(figures: Figures) -> Table:
    return _spread("Solves by seconds", figures.solve_bars)


def pick_up_spread(figures: Figures) -> Table:
    return _spread("Pick-ups by seconds, at most", figures.pick_up_bars)


def _spread(title: str, bars: Sequence[Bar]) -> Table:
    rows = [(bar.label, whole(bar.times)) for bar in bars]
    return Table(
        title,
        ("Seconds", "Number"),
        rows,
        frozenset({"Seconds"}),
        bars=_bars([(("use", bar.times),) for bar in bars]),
    )


def _times(times: Sequence[Times]) -> list[tuple[str, ...]]:
    if len(times) == 2:  # one family: the row of all families says the same
        times = times[1:]
    return [
        (
            family_name(one.family),
            whole(one.number),
            *(seconds(value) for value in (one.mean, one.median, one.p90, one.p99, one.most)),
        )
        for one in times
    ]


def failures(figures: Figures) -> Table:
    alike: defaultdict[tuple[str, str], list[Failure]] = defaultdict(list)
    for one in figures.failures:
        alike[one.error, one.code].append(one)
    rows = [
        (
            plain(f"{error} {code}".strip()),
            whole(sum(one.requests for one in some)),
            ", ".join(f"{family_name(one.family)}: {whole(one.requests)}" for one in some if one.family) or "-",
            plain(some[0].example),
            plain(f"{_sentence(some[0].meaning)} {some[0].to_do}" if some[0].meaning else some[0].to_do),
        )
        for (error, code), some in alike.items()
    ]
    columns = ("Error", "Requests", "Family", "For example", "What to do")
    return Table("Failed requests", columns, rows, frozenset(columns) - {"Requests"})


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def refusals(figures: Figures) -> Table:
    rows = [
        (plain(one.code), whole(one.refused), whole(one.failed), plain(one.meaning) or "-") for one in figures.refusals
    ]
    columns = ("Code", "Refused", "Failed", "Meaning")
    note = "Refused: by createTask. Failed: after the task was created. A later attempt solved those that are not among the failed requests."
    return Table("Errors of CapSolver", columns, rows, frozenset({"Code", "Meaning"}), note)


def timeline(figures: Figures) -> Table:
    with_day = bool(figures.steps) and figures.steps[-1].at // 86400 != figures.steps[0].at // 86400
    spent = accumulate(step.nano_usd for step in figures.steps)
    steps = [(step, sum_so_far) for step, sum_so_far in zip(figures.steps, spent, strict=True) if step.happened]
    rows = [
        (
            clock(step.at, with_day=with_day),
            whole(step.solved),
            usd(step.nano_usd),
            usd(sum_so_far),
            whole(step.wasted),
            whole(step.failed),
        )
        for step, sum_so_far in steps
    ]
    columns = ("From, UTC", "Solutions", "Spent, USD", "Spent so far, USD", "Wasted", "Failed requests")
    return Table(
        "Timeline",
        columns,
        rows,
        frozenset({"From, UTC"}),
        f"In steps of {duration(figures.step_seconds)}.",
        _bars([(("use", step.solved), ("waste", step.wasted), ("other", step.failed)) for step, _ in steps]),
        (("use", "solutions"), ("waste", "wasted"), ("other", "failed requests")),
    )


def all_tables(figures: Figures) -> list[Table]:
    """Return the tables that have rows, for a report as text."""
    makers = (sites, families, waste, acceptance, solve_times, pick_ups, failures, refusals)
    return [table for table in (make(figures) for make in makers) if table.rows]
