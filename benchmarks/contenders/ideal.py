"""The floor: all answers are known beforehand, and a gated page waits just for its solve time, in nobody's way."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from benchmarks.contenders._gates import again, task_of
from benchmarks.service import known_token

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response

TITLE = "ideal"
FLAGGED = False

_clock = {"speed": 1.0}


def set_up(api_url: str, key: str, speed: float) -> None:
    _clock["speed"] = speed


def settings() -> dict[str, Any]:
    return {"DOWNLOADER_MIDDLEWARES": {Middleware: 585}}


class Middleware:
    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        self._low, self._high = crawler.settings["SOLVE_SECONDS"]
        self._number = 0

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Middleware:
        return cls(crawler)

    async def process_response(self, request: Request, response: Response) -> Response | Request:
        if task_of(request, response) is None:
            return response
        self._number += 1
        # The simulator throws the same dice.
        part = random.Random(f"0:{self._number}").random()
        seconds = (self._low + part * (self._high - self._low)) / _clock["speed"]
        solution = {"gRecaptchaResponse": known_token(self._number, urlsplit(response.url).hostname or "")}
        assert self._crawler.engine is not None
        downloader: Any = self._crawler.engine.downloader
        downloader.total_concurrency += 1
        self._crawler.engine._slot.nextcall.schedule()  # type: ignore[union-attr]
        await asyncio.sleep(seconds)
        downloader.total_concurrency -= 1
        return again(request, response, solution)
