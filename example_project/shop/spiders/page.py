"""One page of yours."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from scrapy import Request, Spider
from scrapy.http import Response
from twisted.python.failure import Failure

from shop.items import Page


class PageSpider(Spider):
    """``scrapy crawl page -a url=https://...``; ``-a expect=h1.title`` names what only the page itself has."""

    name = "page"

    # For all requests of the spider that say nothing else in their meta.
    capsolver: Any = True

    def __init__(self, url: str, expect: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.url = url
        if expect:
            self.capsolver = {"expect": expect}
        self.failures: list[tuple[str, str]] = []

    async def start(self) -> AsyncIterator[Request]:
        yield Request(self.url, self.parse, errback=self.failed)

    def parse(self, response: Response) -> Iterator[Page]:
        title = " ".join(response.css("title::text").get("").split())
        yield Page(title, response.status, response.url, captcha="capsolver" in response.flags)

    def failed(self, failure: Failure) -> None:
        url, reason = failure.request.url, str(failure.value)
        self.logger.error("No page from %s: %s", url, reason)
        self.failures.append((url, reason))
