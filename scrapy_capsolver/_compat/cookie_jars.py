"""The cookie jars of Scrapy's CookiesMiddleware."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scrapy.downloadermiddlewares.cookies import CookiesMiddleware

from scrapy_capsolver._compat.names import Name

if TYPE_CHECKING:
    from collections.abc import Iterable
    from http.cookiejar import Cookie

    from scrapy import Request
    from scrapy.crawler import Crawler

NAMES = (
    Name(
        "CookiesMiddleware.jars",
        used_for="sends a solution with the cookies of the visit in which its challenge was shown",
        without="a solution goes with the cookies of its challenge as if all of them were for that host only",
        root=lambda crawler: crawler.get_downloader_middleware(CookiesMiddleware),
    ),
)


def keeps_cookies(crawler: Crawler, request: Request) -> bool:
    """Return whether Scrapy keeps the cookies of ``request`` in a jar."""
    enabled = crawler.get_downloader_middleware(CookiesMiddleware) is not None
    return enabled and not request.meta.get("dont_merge_cookies")


def jar_of(crawler: Crawler, request: Request) -> Iterable[Cookie] | None:
    """Return the cookies of the jar that ``request`` goes with, or None if it cannot be seen."""
    middleware: Any = crawler.get_downloader_middleware(CookiesMiddleware)
    jars = getattr(middleware, "jars", None)
    if jars is None:
        return None
    jar: Iterable[Cookie] = jars[request.meta.get("cookiejar")]
    return jar
