"""One crawl in a process of its own: ``python -m benchmarks.one_crawl '{...}'`` prints what came of it as JSON."""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import TYPE_CHECKING, Any

import tldextract
from scrapy import Request, Spider
from scrapy.crawler import AsyncCrawlerProcess
from scrapy.downloadermiddlewares import cookies

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from scrapy.http import Response

# Scrapy's cookie middleware would ask the network for the public suffix list, and reads it (0.1 s) at the first cookie.
cookies._split_domain = tldextract.TLDExtract(suffix_list_urls=(), include_psl_private_domains=True)
cookies._split_domain("site.example")


class Pages(Spider):
    """``gated`` pages first, then ``plain`` ones, from the site of a simulator."""

    name = "pages"
    site: str
    gate: str
    gated: int
    plain: int
    flag: bool

    async def start(self) -> AsyncIterator[Request]:
        self.began, self.cpu_began = time.perf_counter(), time.process_time()
        self.done = {"gated": 0, "plain": 0}
        self.last = {"gated": 0.0, "plain": 0.0}
        self.errors, self.cpu = 0, 0.0
        meta = {"capsolver": True} if self.flag else {}
        for n in range(self.gated):
            yield Request(f"{self.site}/{self.gate}/{n}", errback=self.failed, cb_kwargs={"kind": "gated"}, meta=meta)
        for n in range(self.plain):
            yield Request(f"{self.site}/free/{n}", errback=self.failed, cb_kwargs={"kind": "plain"})

    def parse(self, response: Response, kind: str) -> None:
        if f">Product {response.url.rsplit('/', 1)[1]}<" in response.text:
            self.done[kind] += 1
            self.last[kind] = time.perf_counter() - self.began
            self.cpu = time.process_time() - self.cpu_began

    def failed(self, failure: Any) -> None:
        self.errors += 1


def main() -> None:
    config: dict[str, Any] = json.loads(sys.argv[1])
    process = AsyncCrawlerProcess(
        {
            "LOG_LEVEL": "WARNING",
            "TELNETCONSOLE_ENABLED": False,
            "REMOTE_CONTROL_ENABLED": False,
            "CLOSESPIDER_TIMEOUT": 600,
            **config["settings"],
        }
    )
    crawler = process.create_crawler(Pages)
    process.crawl(crawler, **config["spider"])
    began = time.perf_counter()
    process.start()
    spider: Any = crawler.spider
    assert crawler.stats is not None
    json.dump(
        {
            "total_s": time.perf_counter() - began,
            "cpu_s": spider.cpu,  # from the first request to the last page, as the times below
            "last_gated_s": spider.last["gated"],
            "last_plain_s": spider.last["plain"],
            "gated": spider.done["gated"],
            "plain": spider.done["plain"],
            "errors": spider.errors,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "stats": {
                name: value for name, value in crawler.stats.get_stats().items() if name.startswith("capsolver/")
            },
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
