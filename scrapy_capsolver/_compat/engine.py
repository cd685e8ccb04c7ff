"""Scrapy's engine: whether its crawl is stopping, how to stop it, and a download within it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from scrapy.utils.defer import deferred_from_coro, maybe_deferred_to_future

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response

logger = logging.getLogger(__name__)


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


async def download(crawler: Crawler, request: Request) -> Response:
    """Return the response to ``request``, which passes the downloader middlewares only."""
    engine: Any = crawler.engine
    if hasattr(engine, "download_async"):  # Scrapy 2.14 and later
        response: Response = await engine.download_async(request)
    else:
        response = await maybe_deferred_to_future(engine.download(request))
    return response
