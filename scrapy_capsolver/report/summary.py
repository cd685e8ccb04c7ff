"""What a report is about, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy_capsolver.report.words import duration, moment, plain, usd, whole

if TYPE_CHECKING:
    from scrapy_capsolver.report.figures import Figures


def title_of(figures: Figures) -> str:
    names = [plain(name) or "a spider without a name" for name in figures.spiders]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"Captcha report: {', '.join(names[:3])}{more}" if names else "Captcha report"


def facts_of(figures: Figures) -> list[str]:
    """When, how long, and how it ended."""
    facts = []
    if figures.started is not None and figures.finished is not None:
        facts += [
            f"{moment(figures.started)} to {moment(figures.finished)}",
            duration(figures.finished - figures.started),
        ]
    if figures.from_ledger:
        facts.append("from the ledger of a store, over all crawls that wrote to it")
    elif figures.runs > 1:
        facts.append(f"{figures.runs} runs or workers")
    if figures.endings:
        facts.append("ended: " + ", ".join(plain(ending) for ending in figures.endings))
    return facts


def remarks_of(figures: Figures) -> list[str]:
    """What is to be known about the figures."""
    remarks = []
    total = figures.total
    if total.possible.tasks:
        remarks.append(
            f"Tasks beside these that may have been charged: {whole(total.possible.tasks)}, for "
            f"{usd(total.possible.nano_usd)} USD. Nobody knows what became of them."
        )
    if figures.unpriced:
        names = ", ".join(plain(name) or "others" for name in figures.unpriced)
        remarks.append(
            f"Solutions that are in no sum, since their price is not known: {whole(sum(figures.unpriced.values()))} ({names}). "
            "CAPSOLVER_PRICES can name it."
        )
    if total.open:
        remarks.append(f"Tasks that were open when the store was read: {whole(total.open)}.")
    if figures.from_ledger:
        remarks.append(
            "A store knows the money alone: times, failed requests and what sites accepted are in the report of a crawl "
            "(CAPSOLVER_REPORT)."
        )
    if not (total.solved.tasks or total.failed or total.possible.tasks or figures.requests_failed):
        remarks.append("No captcha was solved, and none failed.")
    return remarks
