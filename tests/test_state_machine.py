"""Crawls that are stopped and taken up again while the API changes its moods: each request ends once, and the accounts agree."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any, ClassVar

import pytest
import pytest_twisted  # type: ignore[import-untyped,unused-ignore]
from greenlet import greenlet  # type: ignore[import-untyped,unused-ignore]
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from scrapy import Request
from scrapy.exceptions import CloseSpider
from scrapy.utils.defer import deferred_from_coro, maybe_deferred_to_future
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from benchmarks.faults import money, settled
from scrapy_capsolver.errors import CaptchaError
from tests.crawls import Crawl, crawl, simulator

MOODS = (
    "solve-failed/3",
    "unsolvable/4",
    "ready-without-token/3",
    "ready-without-solution/4",
    "unknown-token/3",
    "expired-token/3",
    "create-reply-lost/3",
    "create-truncated-json/4",
    "create-request-lost/3",
    "create-bad-request/3",
    "poll-html-502/2",
    "poll-reply-lost/2",
    "poll-truncated-json/3",
)
EXAMPLES = settings(
    max_examples=25,
    stateful_step_count=8,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def wait_for(coroutine: Any) -> Any:
    return pytest_twisted.blockon(deferred_from_coro(coroutine))


class Crawls(RuleBasedStateMachine):
    """Runs of one crawl with one JOBDIR, and one simulator for all of them."""

    total: ClassVar[Counter[str]] = Counter()
    """Of all examples: did they come to what they are for?"""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.fresh: list[str] = []
        self.asked = 0
        self.stats: list[dict[str, Any]] = []
        self.endings: Counter[int] = Counter()
        self.unfinished = False
        self.checked = True

    @initialize()
    def start(self) -> None:
        async def enter() -> None:
            self.stack = AsyncExitStack()
            self.capsolver = await self.stack.enter_async_context(simulator(solve_seconds=(10, 30)))

        wait_for(enter())

    @rule(gates=st.lists(st.sampled_from(["recaptcha-v2", "turnstile", "free"]), min_size=1, max_size=6))
    def add(self, gates: list[str]) -> None:
        for gate in gates:
            self.fresh.append(gate)

    @rule(quirks=st.lists(st.sampled_from(MOODS), max_size=2, unique=True))
    def change_mood(self, quirks: list[str]) -> None:
        self.capsolver.configure(quirks=quirks)

    @precondition(lambda self: self.fresh)
    @rule(solves=st.integers(1, 4))
    def run_until_so_many_solves_are_open(self, solves: int) -> None:
        self.run(stop_at=solves)

    @precondition(lambda self: self.fresh or self.unfinished)
    @rule()
    def run_to_the_end(self) -> None:
        self.run(stop_at=0)

    def run(self, *, stop_at: int) -> None:
        site, requests = self.capsolver.site_url, []
        for gate in self.fresh:
            url = f"{site}/{gate}/{self.asked}"
            requests.append(Request(url, meta={"capsolver": gate != "free"}, cb_kwargs={"n": self.asked}))
            self.asked += 1
        self.fresh = []
        if stop_at:
            requests.append(Request(f"{site}/free/{10_000 + len(self.stats)}", cb_kwargs={"n": -1}, priority=10))

        async def parse(done: Crawl, spider: Any, response: Any) -> None:
            if response.cb_kwargs["n"] == -1:
                from twisted.internet import reactor

                clock: Any = reactor
                engine = spider.crawler.engine
                # Until so many are open, or nothing but this callback is left to be done.
                while self.capsolver.state()["tasks"]["open"] < stop_at:
                    if not engine.downloader.active and not engine._slot.scheduler.has_pending_requests():
                        break
                    await maybe_deferred_to_future(deferLater(clock, 0.2))
                raise CloseSpider("enough")

        async def crawled() -> Crawl:
            return await crawl(
                self.capsolver,
                requests,
                parse=parse,
                JOBDIR=self.folder,
                CAPSOLVER_TIMEOUT=100,
                CAPSOLVER_MAX_REJECTIONS=0,
            )

        done = wait_for(crawled())
        for response in done.responses:
            n = response.cb_kwargs["n"]
            assert n == -1 or f">Product {n}<" in response.text
            self.endings[n] += 1
        for failure in done.failures:
            assert isinstance(failure.value, CaptchaError), failure
            self.endings[failure.request.cb_kwargs["n"]] += 1
        self.stats.append(done.ours())
        Crawls.total.update(
            runs=1, **{name: done.ours().get(name, 0) for name in ("tasks/carried_over", "tasks/resumed")}
        )
        self.unfinished, self.checked = bool(stop_at), False

    @invariant()
    def no_request_ends_twice(self) -> None:
        assert all(times == 1 for n, times in self.endings.items() if n != -1)

    @invariant()
    def accounts_agree_once_all_is_done(self) -> None:
        if self.checked or self.unfinished:
            return
        self.checked = True
        assert self.endings.keys() - {-1} == set(range(self.asked))
        told = money(wait_for(settled(self.capsolver)), *self.stats)
        assert told.agrees, told

    def teardown(self) -> None:
        if self.unfinished or self.fresh:
            self.run(stop_at=0)
            self.no_request_ends_twice()
            self.accounts_agree_once_all_is_done()
        wait_for(self.stack.aclose())
        shutil.rmtree(self.folder)


# Scrapy 2.13 does not close the empty queues that it looks for on disk.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_any_series_of_runs() -> Deferred[None]:
    from twisted.internet import reactor

    clock: Any = reactor
    done: Deferred[None] = Deferred()

    def explore() -> None:
        try:
            run_state_machine_as_test(Crawls, settings=EXAMPLES)  # type: ignore[no-untyped-call,unused-ignore]
            assert Crawls.total["tasks/carried_over"]
            assert Crawls.total["tasks/resumed"]
        except BaseException as error:  # noqa: BLE001 - pytest's business
            clock.callLater(0, done.errback, Failure(error))
        else:
            clock.callLater(0, done.callback, None)

    greenlet(
        explore
    ).switch()  # Hypothesis wants functions that return, and only beside Twisted's greenlet can they wait
    return done
