"""One of several workers of a crawl, as a process of its own: ``python -m tests.scrapy_redis.worker '{...}'``.

What it does it tells in Redis, in the list ``told``.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import redis
import scrapy
import tldextract
from scrapy import signals
from scrapy.core.engine import ExecutionEngine
from scrapy.crawler import CrawlerProcess
from scrapy.downloadermiddlewares import cookies
from scrapy.exceptions import DontCloseSpider
from twisted.internet.task import LoopingCall

from scrapy_capsolver._request.state import RequestState, fingerprint
from scrapy_capsolver.integrations.scrapy_redis import Scheduler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

cookies._split_domain = tldextract.TLDExtract(suffix_list_urls=())  # or it asks the network for the list
ExecutionEngine._SLOT_HEARTBEAT_INTERVAL = 0.1
Scheduler.BEAT_SECONDS, Scheduler.ALIVE_SECONDS = 0.2, 2


PICTURE = {"type": "ImageToTextTask", "selector": "img#captcha", "inject": {"form": "answer"}}


class Worker(scrapy.Spider):
    """``paths`` are what it begins with. ``pauses``: it takes nothing more once something is to be sent again, until the
    key ``go_on`` is there. ``stays``: it does not end before the key ``enough`` is there."""

    name = "shop"
    me: str
    site: str
    redis_url: str
    paths: list[str]
    pauses: bool
    stays: bool

    @classmethod
    def from_crawler(cls, crawler: Any, *args: Any, **kwargs: Any) -> Worker:
        spider = super().from_crawler(crawler, *args, **kwargs)
        spider.redis = redis.Redis.from_url(spider.redis_url)
        crawler.signals.connect(spider.scheduled, signal=signals.request_scheduled)
        crawler.signals.connect(spider.reached, signal=signals.request_reached_downloader)
        crawler.signals.connect(spider.empty, signal=signals.scheduler_empty)
        crawler.signals.connect(spider.idle, signal=signals.spider_idle)
        crawler.signals.connect(spider.closed_, signal=signals.spider_closed)
        return spider

    def tell(self, what: str, value: Any) -> None:
        self.redis.rpush("told", json.dumps([what, self.me, value]))

    async def start(self) -> AsyncIterator[Any]:
        for number, path in enumerate(self.paths):
            flag = PICTURE if "image" in path else True
            yield scrapy.Request(self.site + path, errback=self.failed, meta={"capsolver": flag}, priority=-number)

    def parse(self, response: Any) -> None:
        self.tell("page", response.css(".product::text").get())

    def failed(self, failure: Any) -> None:
        self.tell("failed", repr(failure.value))

    def scheduled(self, request: Any) -> None:
        if RequestState.of(request).attempts:
            self.tell("kept", fingerprint(request))
            if self.pauses:
                self.pauses = False
                self.crawler.engine.pause()
                self.waiting = LoopingCall(self.wait)
                self.waiting.start(0.05)

    def wait(self) -> None:
        if self.redis.exists("go_on"):
            self.waiting.stop()
            self.crawler.engine.unpause()

    def reached(self, request: Any) -> None:
        if RequestState.of(request).attempts:
            self.tell("sent", fingerprint(request))

    def empty(self) -> None:
        self.redis.incr(f"{self.me} found nothing")

    def idle(self) -> None:
        if self.stays and not self.redis.exists("enough"):
            raise DontCloseSpider

    def closed_(self) -> None:
        self.tell("stats", {name: value for name, value in self.crawler.stats.get_stats().items() if "/" in name})


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    process = CrawlerProcess(
        {
            "ADDONS": {"scrapy_capsolver.Addon": 500},
            "DUPEFILTER_CLASS": "scrapy_redis.dupefilter.RFPDupeFilter",
            "SCHEDULER_PERSIST": True,
            "REDIS_URL": given["redis_url"],
            "TELNETCONSOLE_ENABLED": False,
            "REMOTE_CONTROL_ENABLED": False,
            "CONCURRENT_REQUESTS_PER_DOMAIN": 16,
            "DOWNLOAD_DELAY": 0,
            "LOG_LEVEL": "INFO",
            **given.pop("settings"),
        }
    )
    process.crawl(Worker, **given)
    process.start()
