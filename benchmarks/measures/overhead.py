"""What requests without a flag pay for the plugin."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from benchmarks.contenders import contender
from benchmarks.record import Row, Table, against, cell, contenders, median, values
from benchmarks.service import service

if TYPE_CHECKING:
    from collections.abc import Iterator

TITLE = "Requests without a flag"
TEXT = """\
A crawl of 2,000 plain pages without latency, 32 at a time, with and without the plugin, in turn. And, as a whole crawl varies by more
than the plugin costs, the chain of downloader middlewares by itself: 60 rounds of 500 requests through it, without network, in one process.
"""
RUNS = 24
CRAWL, CHAIN = "whole crawl", "middleware chain"


def measure(runs: int, *, quick: bool) -> Iterator[Row]:
    pages = 100 if quick else 2000
    settings = {"CONCURRENT_REQUESTS": 32, "CONCURRENT_REQUESTS_PER_DOMAIN": 32}
    with service(solve_seconds=(1, 1), latency=0.0) as capsolver:
        for run in range(runs):
            for name in ("nothing", "ours") if run % 2 else ("ours", "nothing"):
                result = capsolver.crawl(name, settings, gate="free", gated=0, plain=pages, limit=120)
                figures = {"per_s": pages / result["last_plain_s"], "us": result["cpu_s"] / pages * 1e6}
                yield Row(CRAWL, name, figures)
    for _ in range(1 if quick else 5):
        command = [sys.executable, "-m", "benchmarks.chain", *(["--quick"] if quick else [])]
        printed = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        for name in ("nothing", "ours"):
            yield Row(CHAIN, name, {"us": printed[name]})


def tables(rows: list[Row]) -> list[Table]:
    table = Table(
        TITLE,
        ["", "requests/s", "x without", "CPU a request, us", "x without", "in the chain, us", "more than without, us"],
    )
    bare = median(rows, CHAIN, "nothing", "us")
    for name in contenders(rows, CRAWL):
        chain = median(rows, CHAIN, name, "us")
        assert chain is not None
        assert bare is not None
        table.rows.append(
            [
                contender(name).TITLE,
                cell(values(rows, CRAWL, name, "per_s"), 0),
                against(rows, CRAWL, name, "nothing", "per_s"),
                cell(values(rows, CRAWL, name, "us"), 0),
                against(rows, CRAWL, name, "nothing", "us"),
                cell(values(rows, CHAIN, name, "us"), 1),
                f"{chain - bare:.1f}",
            ]
        )
    return [table]


def chart(rows: list[Row], figure: Any) -> None:
    axes = figure.subplots()
    names = ["nothing", "ours"]
    found = [values(rows, CRAWL, name, "us") for name in names]
    axes.boxplot(found, orientation="horizontal")
    axes.set_yticks([1, 2], [contender(name).TITLE for name in names])
    axes.set_xlabel(f"us of CPU a request; medians {' and '.join(f'{statistics.median(some):.0f}' for some in found)}")
