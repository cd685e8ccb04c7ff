"""What is paid for a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.contenders import PEERS, contender
from benchmarks.record import Row, Table, cases, cell, contenders, note, values
from benchmarks.service import service

if TYPE_CHECKING:
    from collections.abc import Iterator

TITLE = "Cost"
TEXT = """\
Paid solves for each page that was delivered: 100 pages behind single-use tokens; 64 pages behind one AWS WAF gate, whose cookie is
good for all, asked for 1, 16 and 64 at a time; and 100 token pages while a tenth of the API's replies is lost, broken or an error of the
server. Solves of 3-6 s, CapSolver's clock 20 times as fast. "Unreported" is what was paid beyond one solve a page and
is not in the contender's own account: for ours that is the stats ``capsolver/wasted/...``, the others keep none.
"""
RUNS = 5
# Each strikes its part of the calls: about a tenth of all calls in sum.
FAULTS = tuple(
    f"{call}-{fault}%{share}"
    for call in ("create", "poll")
    for fault, share in (("reply-lost", 2), ("html-502", 3), ("truncated-json", 2), ("service-unavailable", 3))
)


def measure(runs: int, *, quick: bool) -> Iterator[Row]:
    pages = 10 if quick else 100
    gated = 16 if quick else 64
    speed, limit = (60, 20) if quick else (20, 60)
    for run in range(runs):
        names = ("ours", *PEERS) if run % 2 == 0 else (*PEERS, "ours")
        for name in names:
            few = pages // 5 if name == "capsolver_blocking" else pages  # one after the other
            for case, gate, number, at_once, quirks in (
                *(() if quick else (("tokens", "recaptcha-v2", few, 16, ()),)),
                *((f"clearance, {n} at once", "aws-waf", gated, n, ()) for n in ((16,) if quick else (1, 16, 64))),
                ("tokens, a tenth of the replies fails", "recaptcha-v2", few, 16, FAULTS),
            ):
                with service(solve_seconds=(3, 6), speed=speed, latency=0.02, seed=run, quirks=quirks) as capsolver:
                    settings = {"CONCURRENT_REQUESTS": at_once, "CONCURRENT_REQUESTS_PER_DOMAIN": at_once}
                    result = capsolver.crawl(name, settings, gate=gate, gated=number, plain=0, limit=limit)
                    tasks = capsolver.get("state")["tasks"]
                    yield _row(case, name, result, tasks["paid"], number)


def _row(case: str, name: str, result: dict[str, Any], paid: int, pages: int) -> Row:
    told = sum(count for stat, count in result["stats"].items() if stat.startswith("capsolver/wasted/"))
    needed = result["gated"] if case.startswith("tokens") else 1
    figures = {
        "paid": paid,
        "pages": result["gated"],
        "missing": pages - result["gated"],
        "told": told,
        "unreported": max(paid - needed - told, 0),
    }
    if result["gated"]:
        figures["paid_per_page"] = paid / result["gated"]
    why = ", ".join(f"{count} {error}" for error, count in result["failures"].items())
    return Row(case, name, figures, why if result["finished"] else f"not done in time; {why}")


def tables(rows: list[Row]) -> list[Table]:
    made = []
    for case in cases(rows):
        table = Table(
            case, ["", "paid", "a page", "pages missing", "told as wasted", "unreported", "errors (of a run)"]
        )
        for name in contenders(rows, case):
            table.rows.append(
                [
                    contender(name).TITLE,
                    *(
                        cell(values(rows, case, name, figure), digits)
                        for figure, digits in (
                            ("paid", 0),
                            ("paid_per_page", 2),
                            ("missing", 0),
                            ("told", 0),
                            ("unreported", 0),
                        )
                    ),
                    note(rows, case, name) or "-",
                ]
            )
        made.append(table)
    return made


def chart(rows: list[Row], figure: Any) -> None:
    found = [case for case in cases(rows) if case.startswith("clearance")]
    axes = figure.subplots()
    names = contenders(rows, found[0])
    width = 0.8 / len(names)
    greys = ["#7b8794", "#9aa4ad", "#b8c0c7", "#d3d9de"]
    for i, name in enumerate(names):
        heights = [sorted(some)[len(some) // 2] for case in found if (some := values(rows, case, name, "paid"))]
        colour = "#0a7d6b" if name == "ours" else greys[i % len(greys)]
        bars = axes.bar([n + i * width for n in range(len(heights))], heights, width, color=colour)
        axes.bar_label(bars, fontsize=7)
        bars.set_label(contender(name).TITLE)
    axes.set_xticks(
        [n + 0.4 - width / 2 for n in range(len(found))], [case.removeprefix("clearance, ") for case in found]
    )
    axes.set_ylabel("paid solves for one gate")
    axes.legend(fontsize=7)
