"""Tokens age and work once: what is sent, and what is thrown away."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest
from scrapy import Request, signals
from scrapy.utils.defer import deferred_f_from_coro_f, maybe_deferred_to_future
from scrapy.utils.test import get_crawler
from twisted.internet.error import ConnectError
from twisted.internet.task import deferLater

import scrapy_capsolver.middleware
from scrapy_capsolver._compat.download_queue import DownloadQueue
from scrapy_capsolver.families import family
from tests.crawls import crawl, simulator


@deferred_f_from_coro_f
async def test_a_token_that_aged_is_thrown_away_and_the_page_asked_for_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    lifetimes = iter([scrapy_capsolver.middleware.SEND_MARGIN, 120.0])  # the first is over before it is sent
    monkeypatch.setattr(type(family("recaptcha_v2")), "lifetime", property(lambda self: next(lifetimes)))
    async with simulator() as capsolver:
        done = await crawl(capsolver, [Request(f"{capsolver.site_url}/recaptcha-v2/1", meta={"capsolver": True})])
        assert done.response.css(".product::text").get() == "Product 1"
        assert done.ours()["wasted/expired"] == 1
        state = capsolver.state()
        assert (state["tasks"]["paid"], state["tokens"]["accepted"], state["tokens"]["refused"]) == (2, 1, {})


@deferred_f_from_coro_f
async def test_aged_tokens_count_as_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(family("recaptcha_v2")), "lifetime", 0.0)
    async with simulator() as capsolver:
        done = await crawl(capsolver, ["/recaptcha-v2/1"], CAPSOLVER_RETRY_TIMES=1)
        assert "still gated after 2 solves" in str(done.error)
        assert capsolver.state()["tokens"]["accepted"] == 0


@deferred_f_from_coro_f
async def test_a_token_that_was_sent_is_not_sent_again_by_a_retry() -> None:
    """The site answers the first request that carries a token with an error, once the token is used up."""

    class Stumbling:
        stumbled = 0

        def process_response(self, request: Request, response: Any, spider: Any = None) -> Any:
            if request.method == "POST" and not Stumbling.stumbled:
                Stumbling.stumbled += 1
                return response.replace(status=500)
            return response

    async with simulator() as capsolver:
        done = await crawl(
            capsolver, ["/recaptcha-v2/1"], DOWNLOADER_MIDDLEWARES={Stumbling: 900}, RETRY_ENABLED=True, RETRY_TIMES=2
        )
        assert done.response.css(".product::text").get() == "Product 1"
        assert done.ours()["wasted/already_sent"] == 1
        tokens = capsolver.state()["tokens"]
        assert (tokens["accepted"], tokens["presented_twice"], tokens["refused"]) == (2, 0, {})


class Refusing:
    """A site that refuses the first connection by which a solution would come."""

    refused = 0

    def process_request(self, request: Request, spider: Any = None) -> None:
        if request.method == "POST" and not Refusing.refused:
            Refusing.refused += 1
            raise ConnectError


@deferred_f_from_coro_f
async def test_a_solution_that_brought_no_page_is_waste() -> None:
    Refusing.refused = 0
    async with simulator() as capsolver:
        done = await crawl(capsolver, ["/recaptcha-v2/1"], DOWNLOADER_MIDDLEWARES={Refusing: 900})
        assert type(done.error) is ConnectError
        assert done.ours()["wasted/undelivered"] == 1


@deferred_f_from_coro_f
async def test_a_token_that_never_left_is_sent_by_the_retry() -> None:
    Refusing.refused = 0
    async with simulator() as capsolver:
        done = await crawl(
            capsolver, ["/recaptcha-v2/1"], DOWNLOADER_MIDDLEWARES={Refusing: 900}, RETRY_ENABLED=True, RETRY_TIMES=2
        )
        assert done.response.css(".product::text").get() == "Product 1"
        assert capsolver.state()["tasks"]["paid"] == 1


@deferred_f_from_coro_f
async def test_tokens_are_never_shared() -> None:
    async with simulator() as capsolver:
        done = await crawl(capsolver, [f"/recaptcha-v2/{n}" for n in range(30)])
        assert sorted(r.css(".product::text").get() for r in done.responses) == sorted(
            f"Product {n}" for n in range(30)
        )
        state = capsolver.state()
        assert state["tasks"]["paid"] == 30
        assert done.ours()["estimated_cost_usd"] == 0.024  # not 0.02400000000000001
        assert (state["tokens"]["accepted"], state["tokens"]["presented_twice"], state["tokens"]["refused"]) == (
            30,
            0,
            {},
        )


@deferred_f_from_coro_f
async def test_requests_that_meet_a_gate_at_once_each_stay_in_their_session() -> None:
    """Each first response gives a session of its own, to which its form is bound; one cookie jar holds the last."""
    async with simulator(solve_seconds=(1, 20)) as capsolver:
        done = await crawl(capsolver, [f"/{gate}/{n}" for n in range(8) for gate in ("turnstile", "recaptcha-v2")])
        assert len(done.responses) == 16
        assert capsolver.state()["tasks"]["paid"] == 16


@deferred_f_from_coro_f
async def test_cookies_that_are_the_authors_own_business_are_left_alone() -> None:
    async with simulator() as capsolver:
        meta = {"capsolver": {"inject": {"query": "captcha"}}, "dont_merge_cookies": True}
        request = Request(f"{capsolver.site_url}/query/recaptcha-v2/1", meta=meta, headers={"Cookie": "mine=1"})
        done = await crawl(capsolver, [request])
        assert done.response.css(".product::text").get() == "Product 1"
        assert done.response.request.headers["Cookie"] == b"mine=1"
        assert done.response.request.cookies == {}


@deferred_f_from_coro_f
async def test_image_answers_stay_in_their_session() -> None:
    async with simulator() as capsolver:
        flag = {"type": "ImageToTextTask", "selector": "img#captcha", "inject": {"form": "answer"}}
        urls = [Request(f"{capsolver.site_url}/image/{n}", meta={"capsolver": flag}) for n in range(8)]
        done = await crawl(capsolver, urls)
        assert len(done.responses) == 8
        assert capsolver.state()["tasks"]["paid"] == 8


# In the queue that a DOWNLOAD_DELAY makes


@deferred_f_from_coro_f
async def test_requests_with_a_solution_are_not_kept_waiting_by_a_delay() -> None:
    """Thirty pages wait for their turn when the solution comes; it goes before them."""
    async with simulator(solve_seconds=(1, 1)) as capsolver:
        order: list[str] = []

        class Noting:
            def process_response(self, request: Request, response: Any, spider: Any = None) -> Any:
                order.append("solution" if request.method == "POST" else request.url.rpartition("/")[0][-4:])
                return response

        requests = [Request(f"{capsolver.site_url}/recaptcha-v2/1", meta={"capsolver": True}, priority=10)]
        requests += [Request(f"{capsolver.site_url}/free/{n}") for n in range(30)]
        done = await crawl(
            capsolver,
            requests,
            DOWNLOAD_DELAY=2,
            CONCURRENT_REQUESTS=40,
            DOWNLOADER_MIDDLEWARES={Noting: 900},
        )
        assert len(done.responses) == 31, done.errors
        assert order.index("solution") <= 6


@pytest.mark.parametrize("delay", [1, 10])
@deferred_f_from_coro_f
async def test_no_token_is_sent_too_old_whatever_the_delay(delay: int) -> None:
    """Seconds; a token lives for 120."""
    async with simulator(solve_seconds=(1, 10)) as capsolver:
        number = 30 if delay == 1 else 8
        done = await crawl(
            capsolver, [f"/recaptcha-v2/{n}" for n in range(number)], DOWNLOAD_DELAY=delay, CAPSOLVER_RETRY_TIMES=10
        )
        assert len(done.responses) == number, done.errors
        tokens = capsolver.state()["tokens"]
        assert (tokens["refused"], tokens["presented_twice"]) == ({}, 0)
        assert tokens["accepted"] == number


class Queue:
    """As much of a downloader as :class:`DownloadQueue` asks for, with one site's queue: "U..." is urgent."""

    def __init__(self, *names: str, delay: float = 2.0) -> None:
        crawler: Any = get_crawler()
        self.crawler = crawler
        self.slot = SimpleNamespace(delay=delay, queue=deque())
        self.requests = {name: Request(f"https://www.example.com/{name}") for name in names}
        downloader = SimpleNamespace(slots={"www.example.com": self.slot})
        crawler.engine = self.engine = SimpleNamespace(downloader=downloader)
        self.queue = DownloadQueue(crawler, lambda request: request.url[24] == "U")

    async def arrive(self) -> list[str]:
        """As Scrapy's downloader has it, which tells of a request before that is in the queue; and what became of it."""
        for request in self.requests.values():
            self.crawler.signals.send_catch_log(signals.request_reached_downloader, request=request, spider=None)
            self.slot.queue.append((request, None))
            await maybe_deferred_to_future(deferLater(reactor(), 0, lambda: None))
        return [request.url[24:] for request, _ in self.slot.queue]


def reactor() -> Any:
    from twisted.internet import reactor

    return reactor


@deferred_f_from_coro_f
async def test_urgent_requests_go_first_and_in_the_order_in_which_they_came() -> None:
    queue = Queue("1", "2", "U1", "3", "U2", "U3", "4")
    queue.queue.hurry()
    queue.queue.hurry()
    assert await queue.arrive() == ["U1", "U2", "U3", "1", "2", "3", "4"]
    only = Queue("U1", "U2", "U3")
    only.queue.hurry()
    assert await only.arrive() == ["U1", "U2", "U3"]
    idle = Queue("1", "U1")
    assert await idle.arrive() == ["1", "U1"]  # nothing of ours is on its way: not a call for any request


@deferred_f_from_coro_f
async def test_the_longest_wait_is_that_behind_the_urgent_ones() -> None:
    queue = Queue("1", "2", "U1", "3", "U2")
    await queue.arrive()
    asked = Request("https://www.example.com/U3")
    assert queue.queue.wait(asked) == 3 * 2.0 * 1.5  # two of them, itself, and a delay that may be half as long again
    assert queue.queue.wait(Request("https://other.example.com/U3")) == 0.0
    queue.slot.delay = 0
    assert queue.queue.wait(asked) == 0.0
    queue.engine.downloader = object()  # somebody else's, without slots
    assert queue.queue.wait(asked) == 0.0
