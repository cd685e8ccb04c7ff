"""The cookie jars of Scrapy's CookiesMiddleware."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy.downloadermiddlewares.cookies import CookiesMiddleware

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http.cookies import CookieJar


def jar_of(crawler: Crawler, request: Request) -> CookieJar | None:
    """Return the cookie jar of ``request``, or None if Scrapy keeps no cookies for it."""
    middleware = crawler.get_downloader_middleware(CookiesMiddleware)
    if middleware is None or request.meta.get("dont_merge_cookies"):
        return None
    return middleware.jars[request.meta.get("cookiejar")]
