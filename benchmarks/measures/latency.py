"""From "solution ready" to "token in hand", and what it takes to know."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from benchmarks.contenders import PEERS, contender
from benchmarks.record import Row, Table, against, cases, cell, contenders, values
from benchmarks.service import service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.service import Service

TITLE = "Latency and lost tasks"
TEXT = """\
Pick-up: 200 gated pages (20 for the SDK that blocks), 32 at a time for each contender, solves of 1-30 s; CapSolver's clock
runs 10 times as fast. Ours also in real time, 400 pages, 50 at a time, and there with solves of 1-10 s as well. Seconds are
CapSolver's. Polls "at 30 s" are those of the tasks that took the last thirtieth of the range. Lost: tasks that were paid for and
whose page did not come, of 10 that take 30, 60, 90 and 119 s (40 times as fast).
"""
RUNS = 5
LIMIT = 60.0


def measure(runs: int, *, quick: bool) -> Iterator[Row]:
    slow = (60,) if quick else (30, 60, 90, 119)
    for run in range(runs):
        names = ("ours", *PEERS) if run % 2 == 0 else (*PEERS, "ours")
        with service(solve_seconds=(1, 30), speed=60 if quick else 10, latency=0.0) as capsolver:
            for name in names:
                pages = 20 if quick or name == "capsolver_blocking" else 200
                yield _pick_up(capsolver, "1-30 s", name, pages, 30)
        for high in () if quick else (30, 10):
            with service(solve_seconds=(1, high), speed=1, latency=0.0) as capsolver:
                yield _pick_up(capsolver, f"1-{high} s, real time", "ours", 400, high)
        for seconds in slow if run < 2 else ():  # twice: there is no chance in it
            with service(solve_seconds=(seconds, seconds), speed=60 if quick else 40, latency=0.0) as capsolver:
                for name in names:
                    pages = 3 if quick else 10
                    result = _crawl(capsolver, name, pages)
                    paid = capsolver.get("state")["tasks"]["paid"]
                    yield Row(
                        f"lost at {seconds} s", name, {"paid": paid, "lost": paid - result["gated"], "pages": pages}
                    )


def _crawl(capsolver: Service, name: str, pages: int) -> dict[str, Any]:
    # As many solves at a time for all: ours by its own bound, the others by the slots that they hold.
    at_once = 32 if capsolver.speed > 1 else 50
    settings = {
        "CONCURRENT_REQUESTS": at_once,
        "CONCURRENT_REQUESTS_PER_DOMAIN": at_once,
        "CAPSOLVER_CONCURRENCY": at_once,
    }
    return capsolver.crawl(
        name, settings, gate="recaptcha-v2", gated=pages, plain=0, limit=LIMIT if capsolver.speed > 1 else 300
    )


def _pick_up(capsolver: Service, case: str, name: str, pages: int, high: float) -> Row:
    result = _crawl(capsolver, name, pages)
    late, polls, slowest = [], [], []
    for task in capsolver.get("tasks"):
        polls.append(task["queries"])
        if task["delivered_at"] is not None:
            late.append((task["delivered_at"] - task["ready_at"]) * capsolver.speed)
        if task["seconds"] > high * 29 / 30:
            slowest.append(task["queries"])
    return Row(
        case,
        name,
        {
            "mean_s": statistics.mean(late),
            "p95_s": statistics.quantiles(late, n=20)[-1],
            "polls": statistics.mean(polls),
            **({"polls_slowest": float(max(slowest))} if slowest else {}),
            "pages": result["gated"],
        },
    )


def tables(rows: list[Row]) -> list[Table]:
    made = []
    for case in [case for case in cases(rows) if not case.startswith("lost")]:
        high = case.split(" ")[0].partition("-")[2]
        table = Table(
            f"Solves of {case}: from ready to in hand",
            ["", "mean, s", "x ours", "95 % within, s", "polls a solve", f"most at {high} s"],
        )
        for name in contenders(rows, case):
            table.rows.append(
                [
                    contender(name).TITLE,
                    cell(values(rows, case, name, "mean_s")),
                    against(rows, case, name, "ours", "mean_s"),
                    cell(values(rows, case, name, "p95_s")),
                    cell(values(rows, case, name, "polls"), 1),
                    cell(values(rows, case, name, "polls_slowest"), 0),
                ]
            )
        made.append(table)
    lost = [case for case in cases(rows) if case.startswith("lost")]
    table = Table("Paid tasks that were lost", ["", *(case.removeprefix("lost ") for case in lost)])
    for name in contenders(rows, lost[0]):
        table.rows.append(
            [
                contender(name).TITLE,
                *(
                    f"{sum(values(rows, case, name, 'lost')):.0f} of {sum(values(rows, case, name, 'pages')):.0f}"
                    for case in lost
                ),
            ]
        )
    return [*made, table]


def chart(rows: list[Row], figure: Any) -> None:
    case = cases(rows)[0]
    left, right = figure.subplots(1, 2)
    names = contenders(rows, case)[::-1]
    colours = ["#0a7d6b" if name == "ours" else "#9aa4ad" for name in names]
    titles = [contender(name).TITLE for name in names]
    for axes, what, label in (
        (left, "mean_s", "mean wait of a ready solution, s"),
        (right, "polls", "polls a solve"),
    ):
        axes.barh(titles, [statistics.median(values(rows, case, name, what)) for name in names], color=colours)
        axes.set_xlabel(label)
    right.set_yticklabels([])
    figure.suptitle(f"Solves of {case}", fontsize=10)
