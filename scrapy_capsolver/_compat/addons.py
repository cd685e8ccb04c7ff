"""The add-ons of a project, applied without a crawl."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scrapy.crawler import Crawler


def load_addons(crawler: Crawler) -> bool:
    """Have the add-ons change the settings of ``crawler``, as a crawl does at its start.

    Return False if this Scrapy does that in another way. Raise what the add-ons raise.
    """
    load = getattr(getattr(crawler, "addons", None), "load_settings", None)
    if load is None:
        return False
    load(crawler.settings)
    return True
