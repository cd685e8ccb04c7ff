"""The report as one page that needs nothing else: no network, no script; see ``page.html`` for what it looks like."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.resources import files
from itertools import accumulate
from typing import TYPE_CHECKING

from jinja2 import Environment, StrictUndefined

import scrapy_capsolver
from scrapy_capsolver.report import charts, tables
from scrapy_capsolver.report.summary import facts_of, remarks_of, title_of
from scrapy_capsolver.report.words import clock, duration, family_name, plain, seconds, share, usd, whole
from scrapy_capsolver.solving.ledger import NANO

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

    from scrapy_capsolver.report.figures import Bar, Figures, Line
    from scrapy_capsolver.report.tables import Table

_CHARTED = 8  # sites, and families
_TIMES_TOLD = 6  # on the timeline's axis

PICK_UP_NOTE = (
    "A solution comes to be at CapSolver some time between the last query that was answered with “not yet” and the one that "
    "brought it; nobody tells when. So this is the longest that it can have lain ready, and half of it is what to expect. Pauses that CapSolver asked for are in it."
)


@dataclass(frozen=True, slots=True)
class Drawing:
    caption: str
    svg: Markup
    legend: list[tuple[str, str]]
    """Names and colours."""


@dataclass(frozen=True, slots=True)
class Section:
    id: str
    title: str
    lead: str = ""
    charts: list[Drawing] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    beside: list[Table] = field(default_factory=list)
    """To be shown in the place of a chart."""
    folded: list[Table] = field(default_factory=list)


def page_of(figures: Figures) -> str:
    """HTML. All that comes from outside is escaped by the template, and charts are built by an XML library."""
    source = (files("scrapy_capsolver.report") / "page.html").read_text("utf-8")
    template = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).from_string(source)
    sections = (
        _spend(figures),
        _waste(figures),
        _acceptance(figures),
        _times(figures),
        _failures(figures),
        _when(figures),
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
    """Name, value, unit, and a word on it."""
    total = figures.total
    part = f"{share(total.wasted.nano_usd, total.solved.nano_usd)} of it" if total.wasted.nano_usd else ""
    unsolved = f"and {whole(total.failed)} tasks not solved, at no charge" if total.failed else ""
    cards = [
        ("Spent", usd(total.solved.nano_usd), "USD", "estimated, by the price table"),
        ("Of no use", usd(total.wasted.nano_usd), "USD", part),
        ("Solutions", whole(total.solved.tasks), "", unsolved),
    ]
    if not figures.from_ledger:
        judged = total.accepted + total.rejected
        cards += [
            ("Accepted", share(total.accepted, judged), "", f"by their sites, of {whole(judged)}" if judged else ""),
            (
                "Requests failed",
                whole(figures.requests_failed),
                "",
                "see the reasons below" if figures.requests_failed else "",
            ),
        ]
    if figures.solves:
        cards.append(("Time to solve", seconds(figures.solves[0].median), "s", "half took less"))
    return cards


def _spend(figures: Figures) -> Section | None:
    if not figures.sites:
        return None
    drawn = []
    for name, lines in (("site", figures.sites), ("family", figures.families)):
        chart = _money_chart(name, lines)
        if chart is not None:
            drawn.append(chart)
    named = len([line for line in figures.sites if line.name])
    more = [tables.sites(figures)] if named > tables.FIRST_SITES else []
    shown = [tables.families(figures), tables.sites(figures, tables.FIRST_SITES)]
    return Section("spend", "Spend", "", drawn, shown, folded=more)


def _money_chart(name: str, lines: Sequence[Line]) -> Drawing | None:
    told = [line for line in lines if line.solved.nano_usd and (line.name or name != "site")][:_CHARTED]
    if not told:
        return None
    labels = [plain(line.name) if name == "site" else family_name(line.name) for line in told]
    told_as_text = ", ".join(f"{label} {usd(line.solved.nano_usd)}" for label, line in zip(labels, told, strict=True))
    series: list[charts.Series] = [
        ("of use", "use", [line.used_nano_usd / NANO for line in told]),
        ("of no use", "waste", [line.wasted.nano_usd / NANO for line in told]),
    ]
    summary = f"Spent by {name}, in USD: {told_as_text}"
    return _drawn(f"USD by {name}", charts.bars(f"by-{name}", summary, labels, series, _short), series)


def _drawn(caption: str, svg: Markup, series: Sequence[charts.Series]) -> Drawing:
    return Drawing(caption, svg, [(name, colour) for name, colour, _ in series])


def _short(value: float) -> str:
    return f"{value:.4g}"


def _waste(figures: Figures) -> Section | None:
    return Section("waste", "Waste", "", [], [tables.waste(figures)]) if figures.waste else None


def _acceptance(figures: Figures) -> Section | None:
    table = tables.acceptance(figures)
    if not table.rows:
        return None
    lines = [line for line in figures.families if line.accepted or line.rejected or line.handed_over][:_CHARTED]
    series: list[charts.Series] = [
        ("accepted", "use", [line.accepted for line in lines]),
        ("rejected", "waste", [line.rejected for line in lines]),
        ("handed over", "other", [line.handed_over for line in lines]),
    ]
    series = [one for one in series if any(one[2])]
    summary = f"Solutions accepted: {figures.total.accepted}, rejected: {figures.total.rejected}"
    chart = charts.bars("acceptance-chart", summary, [family_name(line.name) for line in lines], series, charts.whole)
    lead = "What sites made of the solutions. Of those that the spider takes itself, no more is known."
    return Section("acceptance", "Acceptance", lead, [_drawn("Solutions by family", chart, series)], beside=[table])


def _times(figures: Figures) -> Section | None:
    if not figures.solves:
        return None
    drawn = [_distribution("solve-times", "Solves", "by seconds", figures.solve_bars)]
    shown = [tables.solve_times(figures)]
    lead = "From a request's turn to its solution, pauses that CapSolver asked for not included."
    if figures.pick_ups:
        drawn.append(_distribution("pick-ups", "Pick-ups", "by seconds, at most", figures.pick_up_bars))
        shown.append(tables.pick_ups(figures))
        lead += " Pick-up: from a solution being ready to its being in hand. " + PICK_UP_NOTE
    return Section("times", "Times", lead, drawn, shown)


def _distribution(name: str, what: str, by: str, bars: Sequence[Bar]) -> Drawing:
    summary = f"{what} {by}: " + ", ".join(f"{bar.label}: {bar.times}" for bar in bars)
    series: list[charts.Series] = [(what, "use", [bar.times for bar in bars])]
    return _drawn(f"{what} {by}", charts.columns(name, summary, [bar.label for bar in bars], series), series)


def _failures(figures: Figures) -> Section | None:
    shown = [table for table in (tables.failures(figures), tables.refusals(figures)) if table.rows]
    return Section("failures", "Failures", "", [], shown) if shown else None


def _when(figures: Figures) -> Section | None:
    if len(figures.steps) < 2:
        return None
    with_day = tables.spans_days(figures)
    apart = -(-len(figures.steps) // _TIMES_TOLD)
    labels = ["" if number % apart else clock(step.at, with_day=with_day) for number, step in enumerate(figures.steps)]
    series: list[charts.Series] = [
        ("solutions", "use", [step.solved for step in figures.steps]),
        ("of no use", "waste", [step.wasted for step in figures.steps]),
        ("requests failed", "other", [step.failed for step in figures.steps]),
    ]
    summary = (
        f"Solutions, waste and failed requests in steps of {figures.step_seconds} seconds; the table has the numbers"
    )
    series = [one for one in series if any(one[2])]
    chart = charts.lines("timeline-chart", summary, labels, series)
    drawn = [_drawn(f"In steps of {duration(figures.step_seconds)}, UTC", chart, series)]
    spent = [nano / NANO for nano in accumulate(step.nano_usd for step in figures.steps)]
    if spent[-1]:
        summary = f"Spent since the start: {usd(figures.total.solved.nano_usd)} USD in the end"
        series = [("USD", "use", spent)]
        drawn.append(
            _drawn("Spent since the start, USD", charts.lines("spent-chart", summary, labels, series, _short), series)
        )
    return Section("timeline", "Timeline", "", drawn, folded=[tables.timeline(figures)])
