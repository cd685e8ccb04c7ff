"""One crawl in a process of its own: ``python -m benchmarks.crawl '{...}'`` prints what came of it as JSON.

Keys: ``contender`` (a module of :mod:`benchmarks.contenders`), ``settings``, ``api``, ``key``, ``speed``, ``solve_seconds``,
``sites`` (URLs), ``gate``, ``gated`` and ``plain`` (how many pages, mixed evenly), ``limit`` (seconds after which it is ended, done
or not), ``stalls`` (whether to look every 10 ms how late the event loop is).
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import tldextract
from scrapy import Request, Spider
from scrapy.crawler import AsyncCrawlerProcess
from scrapy.downloadermiddlewares import cookies
from scrapy.utils.reactor import install_reactor

from benchmarks.contenders import contender

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from scrapy.http import Response

# Scrapy's cookie middleware would ask the network for the public suffix list, and reads it (0.1 s) at the first cookie.
cookies._split_domain = tldextract.TLDExtract(suffix_list_urls=(), include_psl_private_domains=True)
cookies._split_domain("site.example")

LOOK_SECONDS = 0.01


class Pages(Spider):
    """Asks for all pages at once, and keeps when the last of each kind came."""

    name = "pages"
    config: dict[str, Any]

    async def start(self) -> AsyncIterator[Request]:
        self.began, self.cpu_began = time.perf_counter(), time.process_time()
        self.done = {"gated": 0, "plain": 0}
        self.last = {"gated": 0.0, "plain": 0.0}
        self.cpu, self.stall, self.failures = 0.0, 0.0, dict[str, int]()
        watch = asyncio.ensure_future(self.watch()) if self.config.get("stalls") else None
        meta = {"capsolver": True} if contender(self.config["contender"]).FLAGGED else {}
        sites, gated, plain = self.config["sites"], self.config["gated"], self.config["plain"]
        for number in range(gated + plain):
            kind = "gated" if (number + 1) * gated // (gated + plain) > number * gated // (gated + plain) else "plain"
            # A session of its own for each page with a form: of many that are asked for at once with an empty jar, the last would win.
            jar = {"cookiejar": number} if kind == "gated" and self.config["gate"] != "aws-waf" else {}
            page = f"{self.config['gate'] if kind == 'gated' else 'free'}/{number}"
            yield Request(
                f"{sites[number % len(sites)]}/{page}",
                errback=self.failed,
                cb_kwargs={"kind": kind},
                meta={**meta, **jar} if kind == "gated" else {},
            )
        del watch

    async def watch(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + LOOK_SECONDS
        while True:
            await asyncio.sleep(max(due - loop.time(), 0))
            now = loop.time()
            self.stall = max(self.stall, now - due)
            due = now + LOOK_SECONDS

    def parse(self, response: Response, kind: str) -> None:
        if f">Product {response.url.rsplit('/', 1)[1]}<" in response.text:
            self.done[kind] += 1
            self.last[kind] = time.perf_counter() - self.began
            self.cpu = time.process_time() - self.cpu_began
        else:
            self.count("a captcha page")

    def failed(self, failure: Any) -> None:
        self.count(type(failure.value).__name__)

    def count(self, why: str) -> None:
        self.failures[why] = self.failures.get(why, 0) + 1


def report(spider: Any, stats: dict[str, Any], *, finished: bool) -> None:
    json.dump(
        {
            "finished": finished,
            "cpu_s": spider.cpu,  # from the first request to the last page, as the times below
            "last_gated_s": spider.last["gated"],
            "last_plain_s": spider.last["plain"],
            "total_s": max(spider.last.values()),
            "gated": spider.done["gated"],
            "plain": spider.done["plain"],
            "failures": spider.failures,
            "stall_s": spider.stall,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "stats": {name: value for name, value in stats.items() if name.startswith("capsolver/")},
        },
        sys.stdout,
    )
    sys.stdout.flush()


def main() -> None:
    config: dict[str, Any] = json.loads(sys.argv[1])
    install_reactor("twisted.internet.asyncioreactor.AsyncioSelectorReactor")
    by = contender(config["contender"])
    by.set_up(config["api"], config["key"], config["speed"])
    process = AsyncCrawlerProcess(
        {
            "LOG_LEVEL": "CRITICAL",
            "TELNETCONSOLE_ENABLED": False,
            "REMOTE_CONTROL_ENABLED": False,
            "SOLVE_SECONDS": config["solve_seconds"],
            **by.settings(),
            **config["settings"],
        }
    )
    logging.getLogger().setLevel(logging.CRITICAL)
    crawler = process.create_crawler(Pages)
    process.crawl(crawler, config=config)

    def give_up() -> None:
        # From a thread: some contenders leave the reactor no turn to end the crawl in order.
        report(crawler.spider, {}, finished=False)
        os._exit(0)

    timer = threading.Timer(config["limit"], give_up)
    timer.daemon = True
    timer.start()
    process.start()
    timer.cancel()
    assert crawler.stats is not None
    report(crawler.spider, crawler.stats.get_stats(), finished=True)


if __name__ == "__main__":
    main()
