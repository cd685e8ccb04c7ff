"""Requests that went back to the scheduler, until they come again.

When a crawl stops, Scrapy drops what is in a queue in memory, without a callback or an errback. A request that it had
begun, and for which a solution may have been paid, gets its errback here.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from scrapy_capsolver._compat.engine import before_closing
from scrapy_capsolver._compat.scraper import call_errback, can_scrape_errors, scrape_error
from scrapy_capsolver._request.state import KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy import Request
    from scrapy.crawler import Crawler


class ResentRequests:
    """Those of one crawl. ``fail`` books what giving up a request costs, and returns the error for its errback."""

    def __init__(self, crawler: Crawler, fail: Callable[[Request], Exception]) -> None:
        self._crawler = crawler
        self._fail = fail
        self._numbers = count(1)
        self._queued: dict[str, Request] = {}

    def went(self, request: Request) -> None:
        """The request goes to the scheduler."""
        name = request.meta[KEY]["resend_id"] = str(next(self._numbers))
        self._queued[name] = request

    def came(self, request: Request) -> None:
        """The request has left the scheduler, or has ended on its way."""
        self._queued.pop(request.meta.get(KEY, {}).get("resend_id", ""), None)

    def open(self) -> None:
        """Give each its errback when the crawl begins to stop, while Scrapy still takes what that yields."""
        if can_scrape_errors(self._crawler):
            before_closing(self._crawler, self._give_up)

    def _give_up(self) -> None:
        for request in list(self._queued.values()):
            self.came(request)
            scrape_error(self._crawler, request, self._fail(request))

    async def close(self) -> None:
        """The scheduler is closed: give the rest their errbacks."""
        for request in list(self._queued.values()):
            self.came(request)
            await call_errback(request, self._fail(request))
