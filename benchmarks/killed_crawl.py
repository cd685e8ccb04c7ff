"""A crawl that kills itself: ``python -m benchmarks.killed_crawl '{...}'`` ends with SIGKILL at the moment that ``moment`` names.

``moment`` is a kind of event and the how many-th of it, or None; ``pages`` are how many gated pages are asked for, from
``first`` on; ``settings`` are the crawl's. What came of it goes to standard output, as JSON, if it lives to tell.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import scrapy
import tldextract
from scrapy.crawler import CrawlerProcess
from scrapy.downloadermiddlewares import cookies

from scrapy_capsolver._crawl.service import Service
from scrapy_capsolver.api.client import CapSolverClient
from scrapy_capsolver.stores.sqlite.journal import _Journal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MOMENTS = {
    "reserving": "a task's part of the limits is to be written down",
    "reserved": "that is on disk",
    "sending": "createTask is sent next",
    "created": "CapSolver's answer has come",
    "solved": "the solution has come",
    "settled": "the end of a task is to be written down",
}


def kill_at(kind: str, number: int) -> None:
    """Have this process killed at the ``number``-th event of this kind."""
    left = [number]

    def strike() -> None:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    reserve, settle, create = _Journal.reserve, _Journal.settle, CapSolverClient.create_task
    result = CapSolverClient.get_task_result

    def reserved(self: Any, *args: Any, **kwargs: Any) -> Any:
        if kind == "reserving":
            strike()
        written = reserve(self, *args, **kwargs)
        return written.addCallback(lambda _: strike()) if kind == "reserved" else written

    def settled(self: Any, *args: Any, **kwargs: Any) -> None:
        settle(self, *args, **kwargs)
        if kind == "settled":
            strike()

    async def created(self: Any, *args: Any) -> Any:
        if kind == "sending":
            strike()
        reply = await create(self, *args)
        if kind == "created":
            strike()
        return reply

    async def solved(self: Any, *args: Any) -> Any:
        reply = await result(self, *args)
        if kind == "solved" and reply.ready:
            strike()
        return reply

    _Journal.reserve, _Journal.settle = reserved, settled  # type: ignore[method-assign]
    CapSolverClient.create_task, CapSolverClient.get_task_result = created, solved  # type: ignore[method-assign]


class Pages(scrapy.Spider):
    """Asks for all of them in each run."""

    name = "pages"
    site, first, pages = "", 0, 0
    came: dict[str, int]

    async def start(self) -> AsyncIterator[scrapy.Request]:
        self.came = {}
        for number in range(self.first, self.first + self.pages):
            yield scrapy.Request(
                f"{self.site}/recaptcha-v2/{number}",
                errback=self.failed,
                meta={"capsolver": True},
                dont_filter=True,
            )

    def parse(self, response: Any) -> None:
        self.count("page" if "Product" in response.text else "captcha")

    def failed(self, failure: Any) -> None:
        self.count(type(failure.value).__name__)

    def count(self, what: str) -> None:
        self.came[what] = self.came.get(what, 0) + 1


def main(config: dict[str, Any]) -> None:
    cookies._split_domain = tldextract.TLDExtract(suffix_list_urls=())
    if config.get("speed"):
        from benchmarks.clocks import FastClock

        speed = config["speed"]
        Service.__init__ = _with_clock(Service.__init__, lambda: FastClock(speed))  # type: ignore[method-assign]
    if config.get("moment"):
        kill_at(*config["moment"])
    settings = {
        "ADDONS": {"scrapy_capsolver.Addon": 500},
        "CAPSOLVER_API_URL": config["api"],
        "CAPSOLVER_API_KEY": config["key"],
        "TELNETCONSOLE_ENABLED": False,
        "LOG_LEVEL": "ERROR",
        "CONCURRENT_REQUESTS": 8,
        "CONCURRENT_REQUESTS_PER_DOMAIN": 8,
        "DOWNLOAD_DELAY": 0,
        **config["settings"],
    }
    process = CrawlerProcess(settings)
    crawler = process.create_crawler(Pages)
    process.crawl(crawler, site=config["site"], first=config.get("first", 0), pages=config["pages"])
    process.start()
    assert crawler.stats is not None
    ours = {name[10:]: one for name, one in crawler.stats.get_stats().items() if name.startswith("capsolver/")}
    print(json.dumps({"came": crawler.spider.came, "stats": ours}), flush=True)  # type: ignore[union-attr]


def _with_clock(init: Any, clock: Any) -> Any:
    """The clock needs the reactor, which there is only now."""

    def begin(self: Any, *args: Any, **kwargs: Any) -> None:
        type(self).clock = type(self).clock or clock()
        init(self, *args, **kwargs)

    return begin


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
