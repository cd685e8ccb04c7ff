"""Lends Scrapy's engine a slot for each request that waits for its solution.

Scrapy counts a request that waits in a middleware against CONCURRENT_REQUESTS, so that a few open captchas would stop
the whole crawl. While one waits, the limit is raised by one, and lowered after. Nothing tells the engine that room
appeared, hence the nudge: without it the engine sleeps until some request ends or its heartbeat comes.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scrapy.crawler import Crawler

logger = logging.getLogger(__name__)


class SlotLender:
    """At most ``max_loans`` at a time: past them a waiting request holds its own slot, which is the back-pressure."""

    def __init__(self, crawler: Crawler, max_loans: int) -> None:
        self._crawler = crawler
        self._max_loans = max_loans
        self._warned = False
        self.loans = 0

    @contextmanager
    def lend(self) -> Iterator[None]:
        """Raise the engine's limit by one for the time of the block, where it has one."""
        downloader = self._downloader()
        if downloader is None or self.loans >= self._max_loans or downloader.total_concurrency == 0:  # 0: no limit
            yield
            return
        self.loans += 1
        downloader.total_concurrency += 1
        self._nudge()
        try:
            yield
        finally:
            self.loans -= 1
            downloader.total_concurrency -= 1

    def _downloader(self) -> Any:
        downloader = getattr(self._crawler.engine, "downloader", None)
        if isinstance(getattr(downloader, "total_concurrency", None), int):
            return downloader
        if not self._warned:
            self._warned = True
            logger.warning(
                "The DOWNLOADER %s has no total_concurrency: requests that wait for a captcha hold their slots of "
                "CONCURRENT_REQUESTS, so raise that setting",
                type(downloader).__name__,
            )
        return None

    def _nudge(self) -> None:
        slot = getattr(self._crawler.engine, "_slot", None)
        if slot is not None:
            slot.nextcall.schedule()
