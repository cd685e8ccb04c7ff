"""Lent slots: a request that waits for its solution does not hold up the crawl."""

from __future__ import annotations

from typing import Any

import pytest
import scrapy
from scrapy import Request
from scrapy.core.downloader import Downloader
from scrapy.core.engine import ExecutionEngine
from scrapy.utils.defer import deferred_f_from_coro_f

from tests.crawls import Crawl, crawl, simulator


class ForeignDownloader:
    """A downloader of somebody else's, without ``total_concurrency``."""

    def __init__(self, crawler: Any) -> None:
        self._inner = Downloader(crawler)

    def __getattr__(self, name: str) -> Any:
        if name == "total_concurrency":
            raise AttributeError(name)
        return getattr(self._inner, name)


def open_at_once(capsolver: Any) -> int:
    """The most tasks that were open at CapSolver at the same time."""
    events = [(task.created, 1) for task in capsolver.tasks.values()]
    events += [(task.delivered_at, -1) for task in capsolver.tasks.values()]
    now = most = 0
    for _, change in sorted(events):
        now += change
        most = max(most, now)
    return most


async def order_of_arrival(capsolver: Any, gated: int, plain: int, **settings: Any) -> tuple[str, Crawl]:
    """ "g" and "p" in the order in which callbacks were called."""
    urls = [
        Request(f"{capsolver.site_url}/recaptcha-v2/{n}", meta={"capsolver": True}, priority=10) for n in range(gated)
    ]
    urls += [Request(f"{capsolver.site_url}/free/{n}") for n in range(plain)]
    done = await crawl(capsolver, urls, CONCURRENT_REQUESTS=2, **settings)
    assert not done.errors
    return "".join("g" if "recaptcha" in response.url else "p" for response in done.responses), done


@deferred_f_from_coro_f
async def test_pages_without_captcha_do_not_wait_for_those_with_one() -> None:
    async with simulator(solve_seconds=(100, 100)) as capsolver:
        order, done = await order_of_arrival(capsolver, gated=6, plain=30)
        assert order == "p" * 30 + "g" * 6
        engine: Any = done.crawler.engine  # type: ignore[union-attr]
        assert engine.downloader.total_concurrency == 2


@deferred_f_from_coro_f
async def test_past_max_pending_requests_hold_their_slots() -> None:
    async with simulator(solve_seconds=(10, 10)) as capsolver:
        order, _ = await order_of_arrival(capsolver, gated=6, plain=30, CAPSOLVER_MAX_PENDING=1)
        assert open_at_once(capsolver) == 3  # two slots of its own, and one loan
        assert order.index("g") < 30


@deferred_f_from_coro_f
async def test_concurrency_bounds_open_tasks() -> None:
    async with simulator(solve_seconds=(4, 4)) as capsolver:
        order, _ = await order_of_arrival(capsolver, gated=6, plain=0, CAPSOLVER_CONCURRENCY=2)
        assert order == "g" * 6
        assert open_at_once(capsolver) == 2


@deferred_f_from_coro_f
async def test_the_engine_is_told_of_the_loan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise it sleeps until a request ends, or until its heartbeat, which is 5 seconds in Scrapy."""
    monkeypatch.setattr(ExecutionEngine, "_SLOT_HEARTBEAT_INTERVAL", 5.0)
    async with simulator(solve_seconds=(50, 50)) as capsolver:
        order, _ = await order_of_arrival(capsolver, gated=2, plain=4)
        assert order == "ppppgg"


@pytest.mark.skipif(scrapy.version_info < (2, 18), reason="0 means no limit from Scrapy 2.18 on")
@deferred_f_from_coro_f
async def test_no_limit_is_left_alone() -> None:
    async with simulator(solve_seconds=(10, 10)) as capsolver:

        def parse(done: Crawl, spider: Any, response: Any) -> None:
            if "/free/" in response.url:
                done.extra.append(
                    (spider.crawler.engine.downloader.total_concurrency, capsolver.state()["tasks"]["open"])
                )

        urls = [Request(f"{capsolver.site_url}/turnstile/1", meta={"capsolver": True})]
        urls += [Request(f"{capsolver.site_url}/free/{n}", priority=-1) for n in range(100)]
        done = await crawl(capsolver, urls, parse=parse, CONCURRENT_REQUESTS=0, CONCURRENT_REQUESTS_PER_DOMAIN=1)
        assert len(done.responses) == 101
        assert {limit for limit, _ in done.extra} == {0}
        assert {1} <= {solves for _, solves in done.extra}  # one was waiting while others came


@deferred_f_from_coro_f
async def test_a_foreign_downloader_gets_no_loan_and_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    async with simulator(solve_seconds=(2, 2)) as capsolver:
        order, _ = await order_of_arrival(capsolver, gated=4, plain=4, DOWNLOADER=ForeignDownloader)
        assert sorted(order) == ["g"] * 4 + ["p"] * 4
        warnings = [r.getMessage() for r in caplog.records if "total_concurrency" in r.getMessage()]
        assert len(warnings) == 1
        assert "ForeignDownloader" in warnings[0]
