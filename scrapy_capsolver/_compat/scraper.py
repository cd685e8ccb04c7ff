"""Scrapy's scraper: an errback for a request that no download will end."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any

from twisted.python.failure import Failure

from scrapy_capsolver._compat.names import Name

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler

logger = logging.getLogger(__name__)

NAMES = (
    Name(
        "engine.scraper.enqueue_scrape",
        used_for="calls the errbacks of requests that a stop leaves in a queue in memory, and takes what they yield",
        without="what errbacks of requests that a stop leaves in a queue in memory yield is dropped",
        root=lambda crawler: crawler.engine,
    ),
)


def can_scrape_errors(crawler: Crawler) -> bool:
    return hasattr(getattr(crawler.engine, "scraper", None), "enqueue_scrape")


def scrape_error(crawler: Crawler, request: Request, error: Exception) -> None:
    """Give the spider an error as if the download had failed."""
    engine: Any = crawler.engine
    enqueue = engine.scraper.enqueue_scrape
    arguments: list[Any] = [Failure(error), request]  # the scraper notes the request in the failure
    if "spider" in inspect.signature(enqueue).parameters:  # Scrapy 2.13
        arguments.append(crawler.spider)
    scraping = enqueue(*arguments)
    scraping.addErrback(lambda failure: logger.error("The errback of %s failed: %s", request, failure.value))


async def call_errback(request: Request, error: Exception) -> None:
    """Call the errback of a request when Scrapy's scraper is closed already. What it yields is dropped."""
    if request.errback is None:
        return
    try:
        failure: Any = Failure(error)
        failure.request = request
        result: Any = request.errback(failure)
        if inspect.isawaitable(result):
            await result
        elif hasattr(result, "__aiter__"):
            async for _ in result:
                pass
        elif inspect.isgenerator(result):
            for _ in result:
                pass
    except Exception:
        logger.exception("The errback of %s failed", request)
