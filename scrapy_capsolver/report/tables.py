"""The tables of a report: the same in the page and in the text."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scrapy_capsolver.report.figures import POSSIBLE
from scrapy_capsolver.report.words import clock, family_name, plain, seconds, share, usd, whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scrapy_capsolver.report.figures import Failure, Figures, Line, Times

MOST_SITES = 100
"""In a table."""
FIRST_SITES = 10


@dataclass(frozen=True, slots=True)
class Table:
    """Cells are plain text: to be escaped where they go."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    texts: frozenset[str] = field(default=frozenset())
    """Columns that hold words, and not numbers."""
    note: str = ""


def sites(figures: Figures, most: int = MOST_SITES) -> Table:
    """The dearest, and the rest as one."""
    told = [line for line in figures.sites if line.name][:most]
    others = len(figures.sites) - len(told)
    note = ""
    if others:
        rest = figures.total.solved.nano_usd - sum(line.solved.nano_usd for line in told)
        note = f"The {len(told)} dearest sites. All others together cost {usd(rest)} USD."
    return _money_table("By site", "Site", [(plain(line.name), *_money(line)) for line in told], note)


def families(figures: Figures) -> Table:
    rows = [(family_name(line.name), *_money(line)) for line in figures.families]
    return _money_table("By family", "Family", rows)


def _money_table(title: str, of: str, rows: Sequence[tuple[str, ...]], note: str = "") -> Table:
    """Without the columns that tell of nothing but zeros."""
    columns = (of, *_MONEY)
    shown = [at for at, name in enumerate(columns) if name not in _RARE or any(row[at] != "0" for row in rows)]
    return Table(
        title,
        tuple(columns[at] for at in shown),
        [tuple(row[at] for at in shown) for row in rows],
        frozenset({of}),
        note,
    )


_MONEY = ("Solutions", "Spent, USD", "Of no use, USD", "Perhaps charged, USD", "Not solved")
_RARE = _MONEY[2:]


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
    beside = any(one.reason in POSSIBLE for one in figures.waste)
    note = (
        f"{' and '.join(POSSIBLE)} stand beside what was spent: nobody knows whether they were charged."
        if beside
        else ""
    )
    return Table("Of no use, by reason", columns, rows, frozenset({"Reason", "Meaning", "What to do"}), note)


def acceptance(figures: Figures) -> Table:
    def row(line: Line) -> tuple[str, ...]:
        judged = line.accepted + line.rejected
        counts = (whole(line.accepted), whole(line.rejected), whole(line.handed_over))
        return (family_name(line.name), *counts, share(line.accepted, judged))

    lines = [line for line in figures.families if line.accepted or line.rejected or line.handed_over]
    if figures.from_ledger:  # it knows rejections, and nothing to compare them with
        lines = []
    columns = ("Family", "Accepted", "Rejected", "Handed to the spider", "Accepted, of both")
    return Table("Acceptance", columns, [row(line) for line in lines], frozenset({"Family"}))


_TIMES = ("Family", "Number", "Mean", "Half within", "90 % within", "99 % within", "Longest")


def solve_times(figures: Figures) -> Table:
    return Table("Seconds to solve", _TIMES, _times(figures.solves), frozenset({"Family"}))


def pick_ups(figures: Figures) -> Table:
    return Table("Seconds to pick up, at most", _TIMES, _times(figures.pick_ups), frozenset({"Family"}))


def _times(times: Sequence[Times]) -> list[tuple[str, ...]]:
    if len(times) == 2:  # of one family: what is said of all says the same
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
    return Table("Requests that failed", columns, rows, frozenset(columns) - {"Requests"})


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def refusals(figures: Figures) -> Table:
    rows = [
        (plain(one.code), whole(one.refused), whole(one.failed), plain(one.meaning) or "-") for one in figures.refusals
    ]
    columns = ("Code", "Refused", "Failed", "Meaning")
    note = "Of createTask, and of tasks. A further attempt made good what is not among the requests that failed."
    return Table("Errors of CapSolver", columns, rows, frozenset({"Code", "Meaning"}), note)


def timeline(figures: Figures) -> Table:
    with_day = spans_days(figures)
    rows = [
        (
            clock(step.at, with_day=with_day),
            whole(step.solved),
            usd(step.nano_usd),
            whole(step.wasted),
            whole(step.failed),
        )
        for step in figures.steps
        if step.solved or step.wasted or step.failed
    ]
    columns = ("From, UTC", "Solutions", "Spent, USD", "Of no use", "Requests failed")
    return Table("Timeline", columns, rows, frozenset({"From, UTC"}), f"In steps of {figures.step_seconds} s.")


def spans_days(figures: Figures) -> bool:
    return bool(figures.steps) and figures.steps[-1].at // 86400 != figures.steps[0].at // 86400


def all_tables(figures: Figures) -> list[Table]:
    """Those that have something to tell, for a report without charts."""
    makers = (sites, families, waste, acceptance, solve_times, pick_ups, failures, refusals)
    return [table for table in (make(figures) for make in makers) if table.rows]
