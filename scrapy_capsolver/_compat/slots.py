"""Lends Scrapy's engine a slot for each request that waits for its solution.

Scrapy counts a request that waits in a middleware against CONCURRENT_REQUESTS, so that a few open captchas would stop
the whole crawl. While one waits, the limit is raised by one, and lowered after. Nothing tells the engine that room
appeared, hence the nudge: without it the engine sleeps until some request ends or its heartbeat comes.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from scrapy_capsolver._compat.names import Name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scrapy.crawler import Crawler

NAMES = (
    Name(
        "engine.downloader.total_concurrency",
        used_for="lends a slot to each request that waits for its solution",
        without="requests that wait for a captcha hold their slots of CONCURRENT_REQUESTS, so raise that setting",
        root=lambda crawler: crawler.engine,
        kind=int,
    ),
    Name(
        "engine._slot.nextcall.schedule",
        used_for="has the engine use a slot that was lent at once",
        without="the slots of requests that wait for a captcha are used up to 5 seconds late",
        root=lambda crawler: crawler.engine,
    ),
)


class SlotLender:
    """At most ``max_loans`` at a time: past them a waiting request holds its own slot, which is the back-pressure.

    A loan that is over passes to a request that holds its own slot. So one slot is free for each that has waited, and
    its request, which is sent again with the solution, does not queue behind all those that still wait.
    """

    def __init__(self, crawler: Crawler, max_loans: int) -> None:
        self._crawler = crawler
        self._max_loans = max_loans
        self._waiting = 0
        self.loans = 0

    @contextmanager
    def lend(self) -> Iterator[None]:
        """Raise the engine's limit by one for the time of the block, if it has one."""
        downloader: Any = getattr(self._crawler.engine, "downloader", None)
        limit = getattr(downloader, "total_concurrency", None)
        if not isinstance(limit, int) or limit == 0:  # 0: no limit
            yield
            return
        self._waiting += 1
        try:
            self._adjust(downloader)
            yield
        finally:
            self._waiting -= 1
            self._adjust(downloader)

    def _adjust(self, downloader: Any) -> None:
        more = min(self._waiting, self._max_loans) - self.loans
        self.loans += more
        downloader.total_concurrency += more
        if more > 0:
            self._nudge()

    def _nudge(self) -> None:
        slot = getattr(self._crawler.engine, "_slot", None)
        schedule = getattr(getattr(slot, "nextcall", None), "schedule", None)
        if schedule is not None:
            schedule()
