"""The report as text, for a terminal."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from scrapy_capsolver.report.summary import facts_of, remarks_of, title_of
from scrapy_capsolver.report.tables import all_tables
from scrapy_capsolver.report.words import seconds, share, usd, whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scrapy_capsolver.report.figures import Figures
    from scrapy_capsolver.report.tables import Table

_WIDEST = 60  # of a column
_LINE = 100


def text_of(figures: Figures) -> str:
    """Lines that end with a newline. What sites and errors say can move no cursor."""
    return "".join(f"{line}\n" for line in _lines(figures))


def _lines(figures: Figures) -> Iterator[str]:
    total = figures.total
    yield title_of(figures)
    yield from facts_of(figures)
    yield ""
    yield f"Spent            {usd(total.solved.nano_usd)} USD for {whole(total.solved.tasks)} solutions"
    part = share(total.wasted.nano_usd, total.solved.nano_usd)
    yield f"Wasted           {usd(total.wasted.nano_usd)} USD ({part}), {whole(total.wasted.tasks)} solutions"
    yield f"Not solved       {whole(total.failed)} tasks, at no charge"
    if not figures.from_ledger:
        judged = total.accepted + total.rejected
        yield f"Accepted         {whole(total.accepted)} of {whole(judged)} ({share(total.accepted, judged)})"
        yield f"Failed requests  {whole(figures.requests_failed)}"
    if figures.solves:
        yield f"Time to solve    {seconds(figures.solves[0].median)} s for half of them"
    for remark in remarks_of(figures):
        yield ""
        yield from textwrap.wrap(remark, _LINE)
    for table in all_tables(figures):
        yield ""
        yield table.title
        yield from _rows(table)
        yield from textwrap.wrap(table.note, _LINE)


def _rows(table: Table) -> Iterator[str]:
    """In columns; cells that are long go below their row, each with its column's name."""
    long = [max((len(row[at]) for row in table.rows), default=0) > _WIDEST for at in range(len(table.columns))]
    long[0] = False
    short = [at for at, is_long in enumerate(long) if not is_long]
    widths = {at: max(len(table.columns[at]), *(len(row[at]) for row in table.rows)) for at in short}

    def line(cells: tuple[str, ...]) -> str:
        shown = (
            cells[at].ljust(widths[at]) if table.columns[at] in table.texts else cells[at].rjust(widths[at])
            for at in short
        )
        return "  " + "  ".join(shown).rstrip()

    yield line(table.columns)
    for row in table.rows:
        yield line(row)
        for at, is_long in enumerate(long):
            if is_long and row[at] not in {"", "-"}:
                yield from textwrap.wrap(
                    f"{table.columns[at]}: {row[at]}", _LINE, initial_indent="    ", subsequent_indent="      "
                )
