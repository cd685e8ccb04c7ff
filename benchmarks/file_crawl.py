"""A crawl for so many seconds: ``python -m benchmarks.file_crawl '{...}'`` prints what came of it as JSON.

Keys: ``api``, ``key``, ``site``, ``spider``, ``seconds``, ``at_once`` (pages asked for at a time), ``settings``. A page that
came is followed by the next one until the time is over; then the crawl ends by itself, with nothing open.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import tldextract
from scrapy import Request, Spider
from scrapy.crawler import CrawlerProcess
from scrapy.downloadermiddlewares import cookies

from benchmarks.pending import rss

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from scrapy.http import Response

MARKS = 8  # at which memory is looked at


class Pages(Spider):
    config: dict[str, Any]

    async def start(self) -> AsyncIterator[Request]:
        self.began = time.monotonic()
        self.number, self.errors = 0, dict[str, int]()
        self.memory: list[float] = []
        for _ in range(self.config["at_once"]):
            yield self.next()

    def next(self) -> Request:
        self.number += 1
        gate = ("recaptcha-v2", "turnstile", "aws-waf")[self.number % 3]
        url = f"{self.config['site']}/{gate}/{self.number}"
        # A session of its own for each: of many that are asked for at once with an empty jar, the last would win.
        return Request(url, errback=self.failed, meta={"capsolver": True, "cookiejar": self.number})

    def parse(self, response: Response) -> Iterator[Request]:
        assert "Product" in response.text
        yield from self.go_on()

    def failed(self, failure: Any) -> Iterator[Request]:
        name = type(failure.value).__name__
        self.errors[name] = self.errors.get(name, 0) + 1
        yield from self.go_on()

    def go_on(self) -> Iterator[Request]:
        seconds = time.monotonic() - self.began
        if seconds >= len(self.memory) * self.config["seconds"] / MARKS:
            self.memory.append(rss() / 1e6)
        if seconds < self.config["seconds"]:
            yield self.next()


def main(config: dict[str, Any]) -> None:
    cookies._split_domain = tldextract.TLDExtract(suffix_list_urls=())
    process = CrawlerProcess(
        {
            "ADDONS": {"scrapy_capsolver.Addon": 500},
            "CAPSOLVER_API_URL": config["api"],
            "CAPSOLVER_API_KEY": config["key"],
            "TELNETCONSOLE_ENABLED": False,
            "LOG_LEVEL": "ERROR",
            "CONCURRENT_REQUESTS": config["at_once"],
            "CONCURRENT_REQUESTS_PER_DOMAIN": config["at_once"],
            "DOWNLOAD_DELAY": 0,
            **config["settings"],
        }
    )
    crawler = process.create_crawler(Pages)
    process.crawl(crawler, name=config["spider"], config=config)
    process.start()
    assert crawler.stats is not None
    spider: Any = crawler.spider
    stats = crawler.stats.get_stats()
    print(
        json.dumps(
            {
                "pages": spider.number - sum(spider.errors.values()),
                "errors": spider.errors,
                "memory": spider.memory,
                "finish": stats["finish_reason"],
                "stats": {name[10:]: one for name, one in stats.items() if name.startswith("capsolver/")},
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
