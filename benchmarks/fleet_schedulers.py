"""This plugin's scheduler for scrapy-redis, and scrapy-redis's own, which print what a worker takes and what it gives back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import scrapy_redis.scheduler  # type: ignore[import-untyped]

from benchmarks.fleet_worker import say
from scrapy_capsolver.integrations.scrapy_redis import Scheduler

if TYPE_CHECKING:
    from scrapy import Request


class Ours(Scheduler):
    def next_request(self) -> Request | None:
        request = super().next_request()
        if request is not None:
            say("take", request.meta["path"])
        return request

    def enqueue_request(self, request: Request) -> bool:
        done = super().enqueue_request(request)
        say("put", request.meta["path"])
        return done


class Theirs(scrapy_redis.scheduler.Scheduler):  # type: ignore[misc]
    def next_request(self) -> Request | None:
        request: Request | None = super().next_request()
        if request is not None:
            say("take", request.meta["path"])
        return request

    def enqueue_request(self, request: Request) -> bool:
        done: bool = super().enqueue_request(request)
        say("put", request.meta["path"])
        return done
