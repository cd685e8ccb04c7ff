"""A line on standard error that follows one solve, as the crawl's stats tell of it."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from scrapy import signals
from twisted.internet.task import LoopingCall

from scrapy_capsolver.commands._console import printable

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

_LOOK_SECONDS = 0.1
_STEPS = {
    "challenges/": "met {}",
    "tasks": "task created",
    "breaker/pauses/": "CapSolver asks to wait ({})",
    "tasks/refused/": "task refused ({})",
    "tasks/failed/": "task failed ({})",
    "solved/": "solved",
    "delivered": "page received",
}
"""Stats, in the order of a solve; one that ends with a slash stands for all that begin with it."""


class Progress:
    """One line that is written over, on a terminal; elsewhere a line for each step."""

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        self._live = sys.stderr.isatty()
        self._told: list[str] = []
        self._since = time.monotonic()
        crawler.signals.connect(self._begin, signal=signals.spider_opened)
        crawler.signals.connect(self._end, signal=signals.spider_closed)

    def _begin(self) -> None:
        self._look = LoopingCall(self._tell)  # not before, for it installs a reactor where there is none
        self._look.start(_LOOK_SECONDS)

    def _end(self) -> None:
        if self._look.running:
            self._look.stop()
        self._tell()
        if self._live:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def _tell(self) -> None:
        stats: Any = self._crawler.stats
        steps = steps_of(stats.get_stats())
        new = [step for step in steps if step not in self._told]
        if new:
            self._told += new
            self._since = time.monotonic()
        if self._live:
            waiting = f", waiting {time.monotonic() - self._since:.0f} s"
            sys.stderr.write(
                f"\r\x1b[K{printable(self._told[-1] if self._told else 'asking for the page', 60)}{waiting}"
            )
        else:
            sys.stderr.write("".join(f"{printable(step, 100)}\n" for step in new))
        sys.stderr.flush()


def steps_of(stats: dict[str, Any]) -> list[str]:
    """What has happened so far, in words."""
    ours = {name.removeprefix("capsolver/"): value for name, value in stats.items() if name.startswith("capsolver/")}
    steps = []
    for stat, words in _STEPS.items():
        group = stat.endswith("/")
        names = [name for name in sorted(ours) if name == stat or (group and name.startswith(stat))]
        steps += [words.format(name.removeprefix(stat)) for name in names]
    return steps
