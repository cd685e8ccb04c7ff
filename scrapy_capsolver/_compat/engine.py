"""Scrapy's engine: whether its crawl is stopping, how to stop it, and a download within it."""

from __future__ import annotations

import logging
from functools import wraps
from typing import TYPE_CHECKING, Any

from scrapy import signals
from scrapy.utils.defer import deferred_from_coro, maybe_deferred_to_future
from twisted.internet.task import LoopingCall

from scrapy_capsolver._compat.names import Name

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.05  # between looks at whether the engine runs
_NOTHING = object()
_UNSEEN = "requests that wait for a captcha when the crawl stops are waited for, and lost with what was paid for them"

NAMES = (
    Name(
        "engine._slot.closing",
        used_for="sees that the crawl is stopping, and gives back at once the requests that wait",
        without="that the crawl is stopping is seen as soon as it has room for more requests and sends none",
        root=lambda crawler: crawler.engine,
    ),
    Name(
        "engine.downloader.needs_backout",
        used_for="tells, without ``engine._slot.closing``, a crawl that is stopping from one that is busy",
        without=_UNSEEN,
        root=lambda crawler: None if _closing(crawler) is not _NOTHING else crawler.engine,
    ),
    Name(
        "engine.scraper.slot.needs_backout",
        used_for="the same, of the queue in front of the callbacks",
        without=_UNSEEN,
        root=lambda crawler: None if _closing(crawler) is not _NOTHING else crawler.engine,
    ),
    Name(
        "engine.close_spider_async",
        used_for="ends the crawl, with a ``finish_reason`` that says why, and sees that it begins to end",
        without="a crawl that the plugin ends is stopped as by Ctrl-C, with the finish_reason shutdown, and what errbacks "
        "of requests that a stop leaves in a queue in memory yield is dropped",
        # Scrapy 2.13 has another, which it documents.
        root=lambda crawler: crawler.engine if hasattr(crawler, "stop_async") else None,
    ),
)


def is_stopping(crawler: Crawler) -> bool:
    """Return whether the crawl comes to its end. No signal says so before the scheduler is closed."""
    closing = _closing(crawler)
    if closing is _NOTHING:
        return _sends_nothing(crawler.engine)
    return bool(closing)


def close_spider(crawler: Crawler, reason: str) -> None:
    """End the crawl, as ``CloseSpider`` does."""
    engine: Any = crawler.engine
    if hasattr(engine, "close_spider_async"):
        closing = deferred_from_coro(engine.close_spider_async(reason=reason))
    elif hasattr(crawler, "stop_async"):
        closing = deferred_from_coro(crawler.stop_async())
    else:  # Scrapy 2.13
        closing = engine.close_spider(crawler.spider, reason=reason)
    closing.addErrback(lambda failure: logger.error("The spider could not be closed: %s", failure.getErrorMessage()))


def before_closing(crawler: Crawler, call: Callable[[], None]) -> None:
    """Have ``call`` called when the crawl begins to end, right before the engine stops taking requests from the scheduler."""
    engine: Any = crawler.engine
    close = getattr(engine, "close_spider_async", None)
    if close is not None:

        @wraps(close)
        async def called_before(*args: Any, **kwargs: Any) -> None:
            call()
            await close(*args, **kwargs)

        engine.close_spider_async = called_before
    elif not hasattr(crawler, "stop_async"):  # Scrapy 2.13
        close_spider = engine.close_spider

        @wraps(close_spider)
        def called_before_it(*args: Any, **kwargs: Any) -> Any:
            call()
            return close_spider(*args, **kwargs)

        engine.close_spider = called_before_it


class StopAtStart:
    """Ends a crawl that is about to begin, before it sends a request. The engine takes that well once it runs."""

    def __init__(self, crawler: Crawler, reason: str) -> None:
        if pause := getattr(crawler.engine, "pause", None):  # as in the documentation of the telnet console
            pause()
        self._crawler = crawler
        self._reason = reason
        self._runs = False
        self._look_out = LoopingCall(self._look)
        crawler.signals.connect(self._end, signal=signals.spider_closed)
        self._look_out.start(_LOOK_SECONDS, now=False)

    def _look(self) -> None:
        if self._runs:  # since the last look at the latest, so that all of its start is over
            self._end()
            close_spider(self._crawler, self._reason)
        engine: Any = self._crawler.engine
        self._runs = not engine.needs_backout()

    def _end(self) -> None:
        if self._look_out.running:
            self._look_out.stop()


async def download(crawler: Crawler, request: Request) -> Response:
    """Return the response to ``request``, which passes the downloader middlewares only."""
    engine: Any = crawler.engine
    if hasattr(engine, "download_async"):
        response: Response = await engine.download_async(request)
    else:  # Scrapy 2.13
        response = await maybe_deferred_to_future(engine.download(request))
    return response


def _closing(crawler: Crawler) -> object:
    """Return what is true while the crawl ends, and when it has ended."""
    slot = getattr(crawler.engine, "_slot", _NOTHING)
    return True if slot is None else getattr(slot, "closing", _NOTHING)


def _sends_nothing(engine: Any) -> bool:
    """Return whether the engine takes no request though it has room, which it does only when it stops."""
    rooms = (getattr(engine, "downloader", None), getattr(getattr(engine, "scraper", None), "slot", None))
    if not all(hasattr(room, "needs_backout") for room in rooms):
        return False
    return engine.needs_backout() and not any(room.needs_backout() for room in rooms)  # type: ignore[union-attr]
