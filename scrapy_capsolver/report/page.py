"""The report as one HTML file. It loads nothing and runs no script; ``page.html`` is its template."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING

from jinja2 import Environment, StrictUndefined

import scrapy_capsolver
from scrapy_capsolver.report import tables
from scrapy_capsolver.report.summary import facts_of, remarks_of, title_of
from scrapy_capsolver.report.words import seconds, share, usd, whole

if TYPE_CHECKING:
    from scrapy_capsolver.report.figures import Figures
    from scrapy_capsolver.report.tables import Table

PICK_UP_NOTE = (
    "A solution becomes ready at some point between the last poll that was answered with “not yet” and the poll that returned it. "
    "CapSolver does not say when, so this is the longest time that it can have been ready; the mean is about half of it. Pauses are included."
)


@dataclass(frozen=True, slots=True)
class Section:
    id: str
    title: str
    lead: str = ""
    tables: list[Table] = field(default_factory=list)
    folded: list[Table] = field(default_factory=list)


def page_of(figures: Figures) -> str:
    """Return the page as HTML. The template escapes all text that comes from outside."""
    source = (files("scrapy_capsolver.report") / "page.html").read_text("utf-8")
    template = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).from_string(source)
    sections = (
        _spend(figures),
        _section("waste", "Waste", tables.waste(figures)),
        _section(
            "acceptance",
            "Acceptance",
            tables.acceptance(figures),
            lead="What sites did with the solutions. For those handed to the spider, the outcome is not known.",
        ),
        _times(figures),
        _failures(figures),
        _timeline(figures),
    )
    return template.render(
        title=title_of(figures),
        facts=facts_of(figures),
        cards=_cards(figures),
        remarks=remarks_of(figures),
        sections=[section for section in sections if section is not None],
        version=scrapy_capsolver.__version__,
    )


def _cards(figures: Figures) -> list[tuple[str, str, str, str]]:
    """Return name, value, unit and remark of each headline figure."""
    total = figures.total
    part = f"{share(total.wasted.nano_usd, total.solved.nano_usd)} of it" if total.wasted.nano_usd else ""
    unsolved = f"and {whole(total.failed)} tasks not solved, free of charge" if total.failed else ""
    cards = [
        ("Spent", usd(total.solved.nano_usd), "USD", "estimated by the price table"),
        ("Wasted", usd(total.wasted.nano_usd), "USD", part),
        ("Solutions", whole(total.solved.tasks), "", unsolved),
    ]
    if not figures.from_ledger:
        judged = total.accepted + total.rejected
        failed = figures.requests_failed
        cards += [
            ("Accepted", share(total.accepted, judged), "", f"by their sites, of {whole(judged)}" if judged else ""),
            ("Failed requests", whole(failed), "", "see the reasons below" if failed else ""),
        ]
    if figures.solves:
        cards.append(("Time to solve", seconds(figures.solves[0].median), "s", "half took less"))
    return cards


def _section(name: str, title: str, *shown: Table, lead: str = "") -> Section | None:
    some = [table for table in shown if table.rows]
    return Section(name, title, lead, some) if some else None


def _spend(figures: Figures) -> Section | None:
    if not figures.sites:
        return None
    named = len([line for line in figures.sites if line.name])
    more = [tables.sites(figures)] if named > tables.FIRST_SITES else []
    return Section("spend", "Spend", "", [tables.families(figures), tables.sites(figures, tables.FIRST_SITES)], more)


def _times(figures: Figures) -> Section | None:
    if not figures.solves:
        return None
    lead = "From a request's turn to its solution, without pauses that CapSolver asked for."
    folded = [tables.solve_spread(figures), tables.solve_times(figures)]
    if figures.pick_ups:
        folded += [tables.pick_up_spread(figures), tables.pick_ups(figures)]
        lead += " Pick-up: from the moment a solution is ready until it is received. " + PICK_UP_NOTE
    return Section("times", "Times", lead, [], folded)


def _failures(figures: Figures) -> Section | None:
    shown, folded = ([table] if table.rows else [] for table in (tables.failures(figures), tables.refusals(figures)))
    return Section("failures", "Failures", "", shown, folded) if shown or folded else None


def _timeline(figures: Figures) -> Section | None:
    if len(figures.steps) < 2:
        return None
    return Section("timeline", "Timeline", "", [], folded=[tables.timeline(figures)])
