"""A crawl of plain pages with gated ones among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.contenders import ALL, contender
from benchmarks.record import Row, Table, against, cases, cell, contenders, note, values
from benchmarks.service import service

if TYPE_CHECKING:
    from collections.abc import Iterator

TITLE = "Mixed crawl"
TEXT = """\
2,000 plain pages of 50 ms on 5 hosts, and 20, 200 or 2,000 pages among them behind reCAPTCHA v2. Scrapy's default
concurrency for all. A solve takes 1-30 s; CapSolver's clock, and with it every SDK's own waits, runs 10 times as fast.
*Ideal* has all tokens beforehand and waits just for each page's solve time, in nobody's way; *with two calls* it also
sends one createTask and one getTaskResult for each page, the least that anybody does who asks CapSolver over treq. A contender that has not
finished after 60 s is ended, shown with what it had delivered by then, and not run again.
"""
RUNS = 5
SPEED, LIMIT = 10.0, 60.0


def measure(runs: int, *, quick: bool) -> Iterator[Row]:
    sizes, plain, speed, limit = ((4,), 60, 60.0, 20.0) if quick else ((20, 200, 2000), 2000, SPEED, LIMIT)
    too_slow = set()
    with service(solve_seconds=(1, 30), speed=speed, latency=0.05, five_hosts=True, known=max(sizes) + 1) as capsolver:
        for run in range(runs):
            for gated in sizes:
                for name in (*ALL[run % 2 :], *ALL[: run % 2]):  # no place is favoured
                    if (name, gated) in too_slow:
                        continue
                    result = capsolver.crawl(name, gate="recaptcha-v2", gated=gated, plain=plain, limit=limit)
                    if not result["finished"]:
                        too_slow.add((name, gated))
                    yield _row(f"{gated:,} gated", name, result, limit)


def _row(case: str, name: str, result: dict[str, Any], limit: float) -> Row:
    figures = {
        "plain_s": result["last_plain_s"],
        "total_s": result["total_s"],
        "cpu_s": result["cpu_s"],
        "gated": result["gated"],
        "plain": result["plain"],
        "failed": sum(result["failures"].values()),
    }
    if not result["finished"]:
        figures.pop("total_s")
        figures.pop("plain_s")
        return Row(
            case, name, figures, f"not done in {limit:g} s: {result['gated']} gated, {result['plain']} plain pages"
        )
    return Row(case, name, figures, ", ".join(f"{count} {why}" for why, count in result["failures"].items()))


def tables(rows: list[Row]) -> list[Table]:
    made = []
    for case in cases(rows):
        table = Table(
            f"{case} among the plain pages",
            ["", "plain pages, s", "x ideal", "x ours", "all pages, s", "x ideal", "x ours", "failed"],
        )
        for name in contenders(rows, case):
            table.rows.append(
                [
                    contender(name).TITLE,
                    cell(values(rows, case, name, "plain_s")),
                    against(rows, case, name, "ideal", "plain_s"),
                    against(rows, case, name, "ours", "plain_s"),
                    cell(values(rows, case, name, "total_s")),
                    against(rows, case, name, "ideal", "total_s"),
                    against(rows, case, name, "ours", "total_s"),
                    note(rows, case, name) or "0",
                ]
            )
        made.append(table)
    return made


def chart(rows: list[Row], figure: Any) -> None:
    found = cases(rows)
    for place, (axes, case) in enumerate(zip(figure.subplots(1, len(found), squeeze=False)[0], found, strict=True)):
        names = contenders(rows, case)[::-1]
        totals = [values(rows, case, name, "total_s") for name in names]
        middles = [sorted(some)[len(some) // 2] if some else LIMIT for some in totals]
        colours = ["#0a7d6b" if name == "ours" else "#9aa4ad" for name in names]
        bars = axes.barh([contender(name).TITLE for name in names], middles, color=colours)
        for bar, some in zip(bars, totals, strict=True):
            if not some:
                bar.set_hatch("//")
            label = f"{bar.get_width():.1f}" if some else f"> {LIMIT:g}"
            axes.annotate(label, (bar.get_width(), bar.get_y() + bar.get_height() / 2), va="center", fontsize=8)
        axes.set_title(case, fontsize=10)
        axes.set_xlabel("seconds for all pages")
        axes.margins(x=0.2)
        if place:
            axes.set_yticklabels([])
