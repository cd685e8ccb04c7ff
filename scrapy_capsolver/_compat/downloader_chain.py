"""The downloader middlewares of a crawl, in their order."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scrapy.crawler import Crawler


def downloader_middlewares(crawler: Crawler) -> Sequence[object]:
    """Return the enabled downloader middlewares, the one nearest to the engine first."""
    chain = getattr(getattr(crawler.engine, "downloader", None), "middleware", None)
    middlewares: Sequence[object] = getattr(chain, "middlewares", ())
    return middlewares
