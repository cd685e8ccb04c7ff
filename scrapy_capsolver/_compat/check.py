"""All undocumented names, checked at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy_capsolver._compat import cookie_jars, download_queue, engine, httpcache, response_encoding, scraper, slots
from scrapy_capsolver._compat.names import report_missing

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

NAMES = (
    *slots.NAMES,
    *engine.NAMES,
    *download_queue.NAMES,
    *cookie_jars.NAMES,
    *httpcache.NAMES,
    *response_encoding.NAMES,
    *scraper.NAMES,
)


def check(crawler: Crawler) -> None:
    """Log a line for each name that this Scrapy has not. Call it when the spider is opened, before anything is bought."""
    report_missing(NAMES, crawler)
