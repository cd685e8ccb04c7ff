"""What the package costs before the first request."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.record import Row, Table, cases, cell, median, values

if TYPE_CHECKING:
    from collections.abc import Iterator

TITLE = "Start-up"
TEXT = """\
Seconds of a fresh process: to import Scrapy's crawler, and to import this package or its middleware after it; ``scrapy list`` in
``example_project/`` without and with the add-on.
"""
RUNS = 15
PROJECT = Path(__file__).parents[2] / "example_project"
_IMPORTS = {
    "import scrapy.crawler": "",
    "then import scrapy_capsolver": "import scrapy_capsolver",
    "then its middleware": "import scrapy_capsolver.middleware",
}


def measure(runs: int, *, quick: bool) -> Iterator[Row]:
    environment = {**os.environ, "CAPSOLVER_API_KEY": "CAP-0"}
    for _ in range(min(runs, 2) if quick else runs):
        for case, more in _IMPORTS.items():
            # With the reactor in place, as Scrapy has it before it loads middlewares, and with what Scrapy's own middlewares load.
            program = (
                "import time; t = time.perf_counter(); import scrapy.crawler, scrapy.utils.reactor;"
                "from scrapy.core.downloader.handlers import http11; import scrapy.core.engine;"
                "scrapy.utils.reactor.install_reactor('twisted.internet.asyncioreactor.AsyncioSelectorReactor');"
                f"{f't = time.perf_counter(); {more}' if more else 'pass'}; print(time.perf_counter() - t)"
            )
            printed = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True).stdout
            yield Row(case, "ours", {"ms": float(printed) * 1000})
        for case, options in (("scrapy list, without", ["-s", "ADDONS={}"]), ("scrapy list", [])):
            began = time.perf_counter()
            command = [sys.executable, "-m", "scrapy", "list", *options]
            subprocess.run(command, cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL, check=True)
            yield Row(case, "ours", {"ms": (time.perf_counter() - began) * 1000})


def tables(rows: list[Row]) -> list[Table]:
    table = Table(TITLE, ["", "ms"])
    table.rows = [[case, cell(values(rows, case, "ours", "ms"), 0)] for case in cases(rows)]
    with_, without = (median(rows, case, "ours", "ms") for case in ("scrapy list", "scrapy list, without"))
    assert with_ is not None
    assert without is not None
    table.rows.append(["scrapy list pays", f"{with_ - without:.0f}"])
    return [table]


def chart(rows: list[Row], figure: Any) -> None:
    axes = figure.subplots()
    found = cases(rows)[::-1]
    bars = axes.barh(found, [statistics.median(values(rows, case, "ours", "ms")) for case in found], color="#0a7d6b")
    axes.bar_label(bars, fmt="%.0f", fontsize=8)
    axes.set_xlabel("ms")
