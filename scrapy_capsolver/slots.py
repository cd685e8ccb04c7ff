"""What the plugin does with Scrapy's slots: it lends some, and sees that a solution does not age in one.

Scrapy counts a request that waits in a middleware against CONCURRENT_REQUESTS, so that a few open captchas would stop
the whole crawl. While one waits, the limit is raised by one, and lowered after. Nothing tells the engine that room
appeared, hence the nudge: without it the engine sleeps until some request ends or its heartbeat comes.

This is the one module that touches what Scrapy does not document; it works alike in Scrapy 2.13 to 2.19.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from scrapy import signals
from scrapy.utils.defer import deferred_from_coro

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scrapy import Request
    from scrapy.crawler import Crawler

logger = logging.getLogger(__name__)

_LONGEST_DELAY = 1.5  # times DOWNLOAD_DELAY: RANDOMIZE_DOWNLOAD_DELAY, and the default of DOWNLOAD_DELAY_JITTER


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


def is_stopping(crawler: Crawler) -> bool:
    """Is the crawl coming to its end? Scrapy has no signal for it that comes before the scheduler is closed."""
    engine: Any = crawler.engine
    slot = getattr(engine, "_slot", None)
    return not engine.running or bool(getattr(slot, "closing", None))


def close_spider(crawler: Crawler, reason: str) -> None:
    """Have the crawl end, as ``CloseSpider`` does."""
    engine: Any = crawler.engine
    if hasattr(engine, "close_spider_async"):  # Scrapy 2.14
        closing = deferred_from_coro(engine.close_spider_async(reason=reason))
    else:
        closing = engine.close_spider(crawler.spider, reason=reason)
    closing.addErrback(lambda failure: logger.error("The spider could not be closed: %s", failure.getErrorMessage()))


class DownloadQueue:
    """The queue in which a site's DOWNLOAD_DELAY keeps its requests: those with a solution, which ages, go first."""

    def __init__(self, crawler: Crawler, is_urgent: Callable[[Request], bool]) -> None:
        self._crawler = crawler
        self._is_urgent = is_urgent
        self._listening = False

    def wait(self, request: Request) -> float:
        """Seconds that an urgent request will wait there at most."""
        slot = self._slot(request)
        if slot is None or not slot.delay:
            return 0.0
        ahead = sum(self._is_urgent(queued) for queued, _ in slot.queue)
        return float((ahead + 1) * slot.delay * _LONGEST_DELAY)

    def hurry(self) -> None:
        """Put urgent requests before those that can wait, from the next that reaches the downloader."""
        if not self._listening:
            self._listening = True
            self._crawler.signals.connect(self._reached, signal=signals.request_reached_downloader)

    def _reached(self, request: Request) -> None:
        slot = self._slot(request)
        if slot is not None and slot.queue and self._is_urgent(request):
            from twisted.internet import reactor

            cast("Any", reactor).callLater(0, self._move, request, slot)  # it is not in the queue yet

    def _move(self, request: Request, slot: Any) -> None:
        place = next((number for number, (queued, _) in enumerate(slot.queue) if queued is request), None)
        if place is None:  # on its way already
            return
        entry = slot.queue[place]
        del slot.queue[place]
        first = next((number for number, (queued, _) in enumerate(slot.queue) if not self._is_urgent(queued)), place)
        slot.queue.insert(min(first, place), entry)

    def _slot(self, request: Request) -> Any:
        downloader: Any = getattr(self._crawler.engine, "downloader", None)
        if not hasattr(downloader, "slots") or not hasattr(downloader, "get_slot_key"):
            return None
        return downloader.slots.get(downloader.get_slot_key(request))
