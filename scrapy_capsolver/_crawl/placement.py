"""Whether the plugin stands where it can work; if not, the crawl ends with one line before anything is bought."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from scrapy import signals

from scrapy_capsolver._compat.engine import StopAtStart
from scrapy_capsolver.order import ORDER, misplacements

if TYPE_CHECKING:
    from scrapy import Spider
    from scrapy.crawler import Crawler

logger = logging.getLogger(__name__)

FINISH_REASON = "capsolver_misplaced"
HOW = 'set ADDONS = {"scrapy_capsolver.Addon": 500}'


def is_in_place(crawler: Crawler, middleware: object) -> bool:
    """Return whether solutions can work where ``middleware`` stands. If not, log one line and end the crawl."""
    name = type(middleware).__name__
    chained = crawler.get_downloader_middleware(type(middleware))
    if chained is not middleware:
        line = f"{name} works in DOWNLOADER_MIDDLEWARES only, and it is elsewhere as well"
        if chained is not None:
            logger.error("%s: take it out of there", line)
        else:
            stop(crawler, f"{name} is in the wrong setting: it is a downloader middleware, so {HOW}")
        return False
    wrong = misplacements(crawler, type(middleware))
    fatal = [one.text for one in wrong if one.defeats]
    if fatal:
        stop(
            crawler,
            f"{name} stands {' and '.join(fatal)}: no solution can work there. Its order number should be {ORDER}",
        )
        return False
    for one in wrong:
        logger.warning("%s stands %s: its order number should be %d", name, one.text, ORDER)
    return True


def is_built(crawler: Crawler) -> bool:
    """Return whether ``crawler`` is past its add-ons, and builds its components."""
    try:
        return crawler.stats is not None
    except RuntimeError:  # Scrapy 2.18
        return False


def refuse_as_addon(crawler: Crawler) -> None:
    """End the crawl at its start, since ADDONS names the middleware."""
    crawler.signals.connect(_is_in_addons, signal=signals.spider_opened)


def refuse_as_component(crawler: Crawler) -> None:
    """End the crawl at its start, since another setting than ADDONS names the add-on."""
    crawler.signals.connect(_is_no_component, signal=signals.spider_opened)


def _is_in_addons(spider: Spider) -> None:
    stop(spider.crawler, f"ADDONS names CapSolverMiddleware, which is no add-on: {HOW}")


def _is_no_component(spider: Spider) -> None:
    stop(spider.crawler, f"scrapy_capsolver.Addon is an add-on, and another setting names it: {HOW}")


def stop(crawler: Crawler, line: str) -> None:
    """End the crawl at its start, and say why in one line."""
    logger.error("%s. The crawl is stopped", line)
    StopAtStart(crawler, FINISH_REASON)
