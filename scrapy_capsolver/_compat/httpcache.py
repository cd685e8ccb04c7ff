"""Keeps captcha pages out of Scrapy's HTTP cache, and out of the crawl where they are in it already.

HttpCacheMiddleware is nearest to the network and would keep what this plugin is about to replace. Its policy
(HTTPCACHE_POLICY) decides what is kept and what is still good; this one asks whether the page is gated as well.
"""

from __future__ import annotations

from inspect import signature
from typing import TYPE_CHECKING, Any

from scrapy.downloadermiddlewares.httpcache import HttpCacheMiddleware
from scrapy.downloadermiddlewares.httpcompression import HttpCompressionMiddleware
from scrapy.statscollectors import DummyStatsCollector

from scrapy_capsolver._compat.names import Name

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response

NAMES = (
    Name(
        "HttpCacheMiddleware.policy",
        used_for="keeps captcha pages out of the HTTP cache, and has those that are in it replaced",
        without="captcha pages enter the HTTP cache, and are asked for again in each run",
        root=lambda crawler: crawler.get_downloader_middleware(HttpCacheMiddleware),
    ),
)


def guard_cache(crawler: Crawler, is_gated: Callable[[Request, Response], bool]) -> None:
    """Put the guard before the policy of the crawl's cache, where it has one."""
    cache: Any = crawler.get_downloader_middleware(HttpCacheMiddleware)
    if hasattr(cache, "policy"):
        cache.policy = _Guard(cache.policy, is_gated, _decoder(crawler))


def _decoder(crawler: Crawler) -> Callable[[Request, Response], Response]:
    """The cache holds bodies as they came, compressed: what shows the page in them, without counting it twice."""
    enabled = crawler.get_downloader_middleware(HttpCompressionMiddleware)
    if enabled is None:
        return lambda _, response: response
    middleware: Any = type(enabled).from_crawler(_WithoutStats(crawler))  # type: ignore[arg-type]
    # Scrapy 2.13 wants the spider, later ones warn about it.
    spider = signature(middleware.process_response).parameters.get("spider")
    rest = (crawler.spider,) if spider is not None and spider.default is spider.empty else ()
    return lambda request, response: middleware.process_response(request, response.copy(), *rest)


class _WithoutStats:
    """A crawler for a component that is to count nothing."""

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        self.stats = DummyStatsCollector(crawler)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._crawler, name)


class _Guard:
    """A cache policy. See docs.scrapy.org/en/latest/topics/downloader-middleware.html (HTTPCACHE_POLICY)."""

    def __init__(
        self,
        policy: Any,
        is_gated: Callable[[Request, Response], bool],
        decoded: Callable[[Request, Response], Response],
    ) -> None:
        self._policy = policy
        self._is_gated = is_gated
        self._decoded = decoded

    def should_cache_request(self, request: Request) -> bool:
        return bool(self._policy.should_cache_request(request))

    def should_cache_response(self, response: Response, request: Request) -> bool:
        return bool(self._policy.should_cache_response(response, request)) and not self._gated(request, response)

    def is_cached_response_fresh(self, cachedresponse: Response, request: Request) -> bool:
        if self._gated(request, cachedresponse):
            return False  # asked first, so that no conditional headers are set: the answer must be a page
        return bool(self._policy.is_cached_response_fresh(cachedresponse, request))

    def is_cached_response_valid(self, cachedresponse: Response, response: Response, request: Request) -> bool:
        if self._gated(request, cachedresponse):
            return False
        return bool(self._policy.is_cached_response_valid(cachedresponse, response, request))

    def _gated(self, request: Request, response: Response) -> bool:
        if response.headers.get("Content-Encoding"):
            response = self._decoded(request, response)
        return self._is_gated(request, response)
