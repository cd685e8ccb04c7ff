"""A crawl of one request, with the settings of the project that the command is called in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scrapy import Request, Spider
from scrapy.crawler import CrawlerProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from scrapy.crawler import Crawler
    from scrapy.http import Response
    from scrapy.settings import Settings
    from twisted.python.failure import Failure

# What a crawl of the project's own would leave behind, or go on with, is none of this one's business.
_APART: dict[str, Any] = {
    "FEEDS": {},
    "ITEM_PIPELINES": {},
    "JOBDIR": None,
    "LOGSTATS_INTERVAL": 0,
    "TELNETCONSOLE_ENABLED": False,
    "HTTPERROR_ALLOW_ALL": True,
}


class FetchError(Exception):
    """The page did not come. Says why."""


class OneRequest(Spider):
    """Keeps what came of its request."""

    name = "capsolver"
    response: Response | None = None
    error: BaseException | None = None

    def __init__(self, request: Request, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._request = request

    async def start(self) -> AsyncIterator[Request]:
        yield self._request.replace(callback=self.parse, errback=self.failed, dont_filter=True)

    def parse(self, response: Response, **kwargs: Any) -> None:
        self.response = response

    def failed(self, failure: Failure) -> None:
        self.error = failure.value


def is_address(text: str) -> bool:
    return text.lower().startswith(("http://", "https://"))


def request_of(url: str, meta: dict[str, Any], proxy: str | None) -> Request:
    """Raises FetchError where the address cannot be asked for."""
    try:
        return Request(url, meta={**meta, **({"proxy": proxy} if proxy else {})})
    except ValueError as error:
        raise FetchError(str(error)) from error


def crawl(
    settings: Settings, request: Request, changes: dict[str, Any], watch: Callable[[Crawler], object] | None = None
) -> tuple[Crawler, OneRequest]:
    """Crawl ``request``, with ``changes`` to the settings. Raises FetchError where the crawl does not start."""
    own = settings.copy()
    own.setdict({**_APART, **changes}, priority="cmdline")
    if own.get("CAPSOLVER_REPORT"):
        own.set("CAPSOLVER_REPORT", None, priority="cmdline")
    process = CrawlerProcess(own)
    crawler = process.create_crawler(OneRequest)
    observer = None if watch is None else watch(crawler)  # kept, since signals hold none of their receivers
    failures: list[Failure] = []
    process.crawl(crawler, request=request).addErrback(failures.append)
    process.start()
    del observer
    spider: Any = crawler.spider
    if failures:
        raise FetchError(f"the crawl did not start: {why(failures[0].value)}")
    if spider.response is None and spider.error is None:
        spider.error = FetchError("the crawl ended before the page came")
    return crawler, spider


def why(error: BaseException | None) -> str:
    """What kept a page from coming, in a line."""
    text = str(error)
    return (
        text if isinstance(error, FetchError) else f"{type(error).__name__}: {text}" if text else type(error).__name__
    )
