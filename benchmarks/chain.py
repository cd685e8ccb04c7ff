"""What the middleware adds to Scrapy's chain of downloader middlewares for a request without a flag, in microseconds.

Without network: the pages are at hand, so that the chain is all there is, and the machine's noise averages out.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from typing import Any

from scrapy import Request
from scrapy.core.downloader.middleware import DownloaderMiddlewareManager
from scrapy.http import HtmlResponse
from scrapy.utils.test import get_crawler
from twisted.internet import asyncioreactor

ROUNDS, CALLS = 60, 500


def manager(**settings: Any) -> DownloaderMiddlewareManager:
    settings = {"COOKIES_ENABLED": False, "CAPSOLVER_API_KEY": "CAP-0", **settings}
    crawler = get_crawler(settings_dict=settings)
    crawler.spider = crawler._create_spider("s")
    return DownloaderMiddlewareManager.from_crawler(crawler)


async def measure() -> None:
    without, with_ = manager(), manager(ADDONS={"scrapy_capsolver.Addon": 500})
    url = "http://site.example/page"
    page = HtmlResponse(url, body=b"<html>" + b"<p>text</p>" * 1000)

    async def download(request: Request) -> HtmlResponse:
        return page

    async def seconds(chain: DownloaderMiddlewareManager) -> float:
        requests = [Request(url) for _ in range(CALLS)]
        began = time.process_time()
        for request in requests:
            await chain.download_async(download, request)
        return (time.process_time() - began) / CALLS * 1e6

    await seconds(without), await seconds(with_)
    plain, ours = [], []
    for _ in range(3 if "--quick" in sys.argv else ROUNDS):
        plain.append(await seconds(without))
        ours.append(await seconds(with_))
    middle = statistics.median(plain)
    added = statistics.median(b - a for a, b in zip(plain, ours, strict=True))
    print(json.dumps({"nothing": middle, "ours": middle + added}))


def main() -> None:
    asyncioreactor.install()
    asyncio.get_event_loop_policy().get_event_loop().run_until_complete(measure())


if __name__ == "__main__":
    main()
