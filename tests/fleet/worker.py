"""One worker of a fleet, as a process: ``python worker.py CONFIG`` crawls the addresses that the JSON ``CONFIG`` names.

It prints a line for each thing that happened, ``page URL`` or ``error URL NAME``, and in the end ``stats {...}``.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import scrapy
import tldextract
from scrapy.crawler import CrawlerProcess
from scrapy.downloadermiddlewares import cookies

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

cookies._split_domain = tldextract.TLDExtract(suffix_list_urls=())  # or it asks the network for the list


def say(*words: str) -> None:
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


class WorkerSpider(scrapy.Spider):
    name = "worker"
    config: dict[str, Any]

    async def start(self) -> AsyncIterator[scrapy.Request]:
        say("started")
        for url in self.config["urls"]:
            meta = {"capsolver": True} if self.config.get("flag", True) else {}
            yield scrapy.Request(
                url, self.parse, errback=self.failed, meta={**meta, **self.config.get("meta", {})}, dont_filter=True
            )

    def parse(self, response: Any) -> None:
        say("page" if response.status == 200 else f"status{response.status}", response.url)

    def failed(self, failure: Any) -> None:
        say("error", failure.request.url, type(failure.value).__name__)
        if "verbose" in self.config:
            sys.stderr.write(f"{failure.value}\n")


def main() -> None:
    config = json.loads(sys.argv[1])
    WorkerSpider.config = config
    process = CrawlerProcess(
        {
            "ADDONS": {"scrapy_capsolver.Addon": 500},
            "BOT_NAME": "fleet",
            "TELNETCONSOLE_ENABLED": False,
            "REMOTE_CONTROL_ENABLED": False,
            "CONCURRENT_REQUESTS_PER_DOMAIN": 16,
            "DOWNLOAD_DELAY": 0,
            "LOG_LEVEL": "INFO",
            "LOGSTATS_INTERVAL": 0,
            **config["settings"],
        }
    )
    crawler = process.create_crawler(WorkerSpider)
    process.crawl(crawler)
    process.start()
    assert crawler.stats is not None
    stats = {name: value for name, value in crawler.stats.get_stats().items() if isinstance(value, (int, float, str))}
    say("stats", json.dumps(stats))


if __name__ == "__main__":
    main()
