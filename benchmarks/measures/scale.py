"""Many solves pending in one process."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from benchmarks.record import Row, Table, cases, cell, values
from benchmarks.service import service

if TYPE_CHECKING:
    from collections.abc import Iterator

TITLE = "Scale"
TEXT = """\
100, 1,000 and 10,000 solves pending in one process, in real time; tasks take 15-25 s, and 60-90 s of the 10,000, so that all are
pending at once. *Cold*: the process
has seen no solve before; *warm*: it knows how long they take. The event loop is looked at every 10 ms from inside. With *no collector*,
Python's garbage collector is off: what it takes to look through all objects is the stall. Without a crawl around it; *in a crawl* is
what a pending page takes with Scrapy's request and response. A poll costs about 0.4 ms of CPU over treq, so polls are bounded to 300
a second: the rows with other bounds show what that trades.
"""
RUNS = 5
TASK = {
    "type": "ReCaptchaV2TaskProxyLess",
    "websiteURL": "http://127.0.0.1/",
    "websiteKey": "6Le-wvkSAAAAAPBMRTvw0Q4Muexq9bi0DJwx_mJ-",
}
HOLD = 10.0


def measure(runs: int, *, quick: bool) -> Iterator[Row]:
    if quick:
        with service(solve_seconds=(3, 5), latency=0.0) as capsolver:
            yield _pending(capsolver, "20, cold", 20, hold=1)
            yield _pending(capsolver, "20, warm", 20, hold=1, known=_known(3, 5))
        return
    for run in range(runs):
        with service(solve_seconds=(15, 25), latency=0.0) as capsolver:
            for number in (100, 1000):
                yield _pending(capsolver, f"{number:,}, cold", number, hold=8)
                yield _pending(capsolver, f"{number:,}, warm", number, hold=8, known=_known(15, 25))
        if run >= 1:  # what follows takes ten minutes
            continue
        with service(solve_seconds=(60, 90), latency=0.0) as capsolver:
            yield _pending(capsolver, "10,000, cold", 10_000)
            yield _pending(capsolver, "10,000, warm", 10_000, known=_known(60, 90))
            yield _pending(capsolver, "10,000, warm, no collector", 10_000, known=_known(60, 90), collect=False)
        with service(solve_seconds=(20, 22), latency=0.0) as capsolver:
            for bound in (100, 300, 600):
                yield _pending(capsolver, f"2,000, cold, {bound} polls/s", 2000, hold=6, polls_per_second=bound)
        yield _in_a_crawl()


def _known(low: float, high: float) -> list[float]:
    return [low + (high - low) * i / 127 for i in range(128)]


def _pending(capsolver: Any, case: str, number: int, hold: float = HOLD, **more: Any) -> Row:
    capsolver.post("reset", {})
    config = {"api": capsolver.where["api"], "key": capsolver.where["key"], "pending": number, "hold": hold}
    config |= {"known": [], "collect": True, "task": TASK, **more}
    command = [sys.executable, "-m", "benchmarks.pending", json.dumps(config)]
    result = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    late = [task["delivered_at"] - task["ready_at"] for task in capsolver.get("tasks") if task["delivered_at"]]
    assert len(late) == number
    return Row(
        case,
        "ours",
        {
            "core_percent": result["pending"]["cpu_of_a_core"] * 100,
            "kb_each": result["pending"]["bytes_each"] / 1000,
            "stall_ms": result["pending"]["stall_ms"],
            "stall_ended_ms": result["ended"]["stall_ms"],
            "polls_per_s": result["pending"]["polls_per_s"],
            "core_percent_ended": result["ended"]["cpu_of_a_core"] * 100,
            "late_s": statistics.mean(late),
        },
    )


def _in_a_crawl() -> Row:
    few, many = 100, 2000
    peak = {}
    with service(solve_seconds=(30, 31), latency=0.0) as capsolver:
        for number in (few, many):
            # Nobody's page comes before the last is pending.
            peak[number] = capsolver.crawl("ours", gate="recaptcha-v2", gated=number, plain=0, limit=180)["peak_mb"]
    return Row("in a crawl", "ours", {"kb_each": (peak[many] - peak[few]) * 1024 / (many - few)})


_FIGURES = (
    ("core_percent", 1),
    ("kb_each", 1),
    ("stall_ms", 0),
    ("polls_per_s", 0),
    ("late_s", 1),
    ("core_percent_ended", 0),
    ("stall_ended_ms", 0),
)


def tables(rows: list[Row]) -> list[Table]:
    table = Table(
        "Pending solves",
        [
            "",
            "% of a core",
            "KB each",
            "longest stall, ms",
            "polls/s",
            "pick-up, mean s",
            "% of a core as they end",
            "stall then, ms",
        ],
    )
    for case in cases(rows):
        table.rows.append([case, *(cell(values(rows, case, "ours", figure), digits) for figure, digits in _FIGURES)])
    return [table]


def chart(rows: list[Row], figure: Any) -> None:
    found = [case for case in cases(rows) if case.endswith(("cold", "warm"))][::-1]
    for place, (axes, (what, label)) in enumerate(
        zip(
            figure.subplots(1, 3),
            (("core_percent", "% of a core"), ("stall_ms", "longest stall, ms"), ("late_s", "pick-up, s")),
            strict=True,
        )
    ):
        bars = axes.barh(
            found, [statistics.median(values(rows, case, "ours", what)) for case in found], color="#0a7d6b"
        )
        axes.bar_label(bars, fmt="%.0f", fontsize=7)
        axes.set_xlabel(label)
        axes.margins(x=0.2)
        if place:
            axes.set_yticklabels([])
