"""This plugin, with its defaults, but for how many solves may run at once."""

from __future__ import annotations

from typing import Any

from benchmarks.clocks import FastClock
from scrapy_capsolver._crawl.service import Service
from scrapy_capsolver.solving import poller

TITLE = "scrapy-capsolver"
FLAGGED = True

_set: dict[str, Any] = {}


def set_up(api_url: str, key: str, speed: float) -> None:
    _set.update({"CAPSOLVER_API_URL": api_url, "CAPSOLVER_API_KEY": key})
    if speed != 1:
        Service.clock = FastClock(speed)
        # CPU is not compressed, so the bound that protects it stays as it is in real time.
        poller.POLLS_PER_SECOND /= speed


def settings() -> dict[str, Any]:
    return {
        "ADDONS": {"scrapy_capsolver.Addon": 500},
        "CAPSOLVER_CONCURRENCY": 20_000,
        "CAPSOLVER_MAX_PENDING": 20_000,
        # Likewise: what waits for CPU waits ten times as long by a clock that is ten times as fast.
        "CAPSOLVER_TIMEOUT": 300,
        **_set,
    }
