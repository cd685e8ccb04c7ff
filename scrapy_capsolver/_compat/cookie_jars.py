"""The cookie jars of Scrapy's CookiesMiddleware."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scrapy.downloadermiddlewares.cookies import CookiesMiddleware

from scrapy_capsolver._compat.names import Name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from http.cookiejar import Cookie

    from scrapy import Request
    from scrapy.crawler import Crawler


def _any_jar(crawler: Crawler) -> object:
    jars = getattr(crawler.get_downloader_middleware(CookiesMiddleware), "jars", None)
    return None if jars is None else jars[None]


NAMES = (
    Name(
        "CookiesMiddleware.jars",
        used_for="sends a solution with the cookies of the visit in which its challenge was shown",
        without="a solution goes with the cookies of its challenge as if all of them were for that host only",
        root=lambda crawler: crawler.get_downloader_middleware(CookiesMiddleware),
    ),
    Name(
        "CookieJar.set_cookie",
        used_for="puts those cookies back, with all that says where they go",
        without="the cookies of a challenge are given to its solution as Request.cookies, which some download handlers cannot read",
        root=_any_jar,
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


def put_into_jar(crawler: Crawler, request: Request, cookies: Sequence[Cookie]) -> bool:
    """Put ``cookies`` into the jar that ``request`` goes with, as they are. Return False if that cannot be done."""
    set_cookie = getattr(jar_of(crawler, request), "set_cookie", None)
    if set_cookie is None:
        return False
    for cookie in cookies:
        set_cookie(cookie)
    return True
