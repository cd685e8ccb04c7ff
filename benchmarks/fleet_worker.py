"""One worker of a fleet that is measured, as a process: ``python -m benchmarks.fleet_worker CONFIG``, where CONFIG is JSON.

Keys: ``pages``, which are ``[path with {n}, flagged or not, first n, how many]``, mixed evenly; ``site``; ``meta`` for each
request; ``settings``; ``go``, a file for which it waits before it begins; ``timed``, whether to time what it asks its store for;
``alive`` and ``beat``, seconds of the scheduler's signs of life.

It prints a line for each thing that happened: ``page PATH``, ``error PATH NAME``, in the end ``times``, ``store`` and ``stats`` as
JSON; with the schedulers of :mod:`benchmarks.fleet_schedulers` also ``take PATH`` and ``put PATH``.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tldextract
from scrapy import Request, Spider
from scrapy.core.engine import ExecutionEngine
from scrapy.crawler import CrawlerProcess
from scrapy.downloadermiddlewares import cookies

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from scrapy.http import Response

cookies._split_domain = tldextract.TLDExtract(suffix_list_urls=(), include_psl_private_domains=True)
cookies._split_domain("site.example")
ExecutionEngine._SLOT_HEARTBEAT_INTERVAL = 0.1

CLEARED = ("aws-waf", "cloudflare")  # gates that let in by a cookie, which all requests of a worker share


def say(*words: str) -> None:
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


async def once(holds: Callable[[], bool]) -> None:
    def look() -> None:
        while not holds():
            time.sleep(0.005)

    await asyncio.to_thread(look)


def requests_of(site: str, pages: Iterable[Any], meta: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    """What each request is made of, the kinds mixed evenly."""
    mixed = sorted(
        ((number + 0.5) / many, kind, path.format(n=first + number), flagged, first + number)
        for kind, (path, flagged, first, many) in enumerate(pages)
        for number in range(many)
    )
    for _, _, path, flagged, number in mixed:
        # A session of its own for each page with a form: of many that are asked for at once with an empty jar, the last would win.
        jar = {"cookiejar": number} if flagged and not path.startswith(CLEARED) else {}
        flag = {"capsolver": True} if flagged else {}
        named = {"path": path, "number": number}
        yield {"url": f"{site}/{path}", "meta": {**flag, **jar, **named, **(meta or {})}, "dont_filter": True}


class FleetSpider(Spider):
    name = "fleet"
    config: dict[str, Any]
    began = cpu_began = last = cpu = 0.0

    async def start(self) -> AsyncIterator[Request]:
        say("started")
        await once(Path(self.config["go"]).exists)
        self.began, self.cpu_began = time.time(), time.process_time()
        for one in requests_of(self.config["site"], self.config["pages"], self.config.get("meta")):
            yield Request(**one, callback=self.parse, errback=self.failed)

    def parse(self, response: Response) -> None:
        known = f">Product {response.meta['number']}<" in response.text
        self.ended("page" if known else "captcha", response.meta["path"])

    def failed(self, failure: Any) -> None:
        self.ended("error", failure.request.meta["path"], type(failure.value).__name__)

    def ended(self, *words: str) -> None:
        say(*words)
        self.last, self.cpu = time.time(), time.process_time() - self.cpu_began


class Watch:
    """What a worker asks its store for: how many commands of each name, and seconds until the answer."""

    def __init__(self) -> None:
        self.commands: Counter[str] = Counter()
        self.seconds: defaultdict[str, list[float]] = defaultdict(list)

    def begin(self, *, timed: bool) -> None:
        from scrapy_capsolver.stores.redis.connection import Link

        watch, pipe, call = self, Link._pipe, Link.call

        async def watched_pipe(self: Link, batch: list[Any]) -> list[Any]:
            watch.commands.update(one[0] for one in batch)
            return await pipe(self, batch)

        def timed_call(self: Link, name: str, *arguments: str | float) -> Any:
            began = time.perf_counter()

            def answered(answer: Any) -> Any:
                watch.seconds[name].append(time.perf_counter() - began)
                return answer

            return call(self, name, *arguments).addCallback(answered)

        changed: Any = Link
        changed._pipe = watched_pipe
        if timed:
            changed.call = timed_call


def main() -> None:
    config: dict[str, Any] = json.loads(sys.argv[1])
    FleetSpider.config = config
    watch = Watch()
    watch.begin(timed=config.get("timed", False))
    if "alive" in config:
        from scrapy_capsolver.integrations.scrapy_redis import Scheduler

        Scheduler.ALIVE_SECONDS, Scheduler.BEAT_SECONDS = config["alive"], config["beat"]
    process = CrawlerProcess(
        {
            "ADDONS": {"scrapy_capsolver.Addon": 500},
            "BOT_NAME": "fleet",
            "TELNETCONSOLE_ENABLED": False,
            "REMOTE_CONTROL_ENABLED": False,
            "CONCURRENT_REQUESTS_PER_DOMAIN": 16,
            "DOWNLOAD_DELAY": 0,
            "RETRY_ENABLED": False,
            "LOG_LEVEL": "WARNING",
            "LOGSTATS_INTERVAL": 0,
            **config["settings"],
        }
    )
    crawler = process.create_crawler(FleetSpider)
    process.crawl(crawler)
    process.start()
    assert crawler.stats is not None
    spider: Any = crawler.spider
    if spider is not None:
        say("times", json.dumps({"began": spider.began, "last": spider.last, "cpu": spider.cpu}))
    say("store", json.dumps({"commands": watch.commands, "seconds": watch.seconds}))
    stats = {name: value for name, value in crawler.stats.get_stats().items() if isinstance(value, (int, float, str))}
    say("stats", json.dumps(stats))


if __name__ == "__main__":
    main()
