"""Each request ends in one callback or errback, whatever ends the crawl, though hundreds of them wait at once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from scrapy import Request, Spider
from scrapy.exceptions import CloseSpider
from scrapy.utils.defer import deferred_f_from_coro_f, deferred_from_coro, maybe_deferred_to_future
from scrapy.utils.test import get_crawler
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from scrapy_capsolver.api.client import CapSolverClient
from scrapy_capsolver.errors import CaptchaError
from tests.crawls import run, settings_for, simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from scrapy.crawler import Crawler
    from scrapy.http import Response
    from twisted.python.failure import Failure

WAITING = 250  # so many that each refused inside the one before it would reach Python's recursion limit


@dataclass(frozen=True)
class Reason:
    """Why the requests end, and what their endings are."""

    pages: int | None
    """Callbacks; None if it is not known how many."""
    errors: str
    """Names of the exceptions, any of them."""
    path: str = "/recaptcha-v2/{}"
    settings: dict[str, Any] = field(default_factory=dict)
    simulator: dict[str, Any] = field(default_factory=dict)
    stop: str = ""
    """What the spider does once all wait: "close", or "signal" as at SIGINT."""


REASONS = {
    "MAX_SOLVES": Reason(5, "CaptchaBudgetError", settings={"CAPSOLVER_MAX_SOLVES": 5}),
    "MAX_SOLVES_PER_DOMAIN": Reason(5, "CaptchaBudgetError", settings={"CAPSOLVER_MAX_SOLVES_PER_DOMAIN": 5}),
    "BUDGET": Reason(5, "CaptchaBudgetError", settings={"CAPSOLVER_BUDGET": 0.004}),
    "ON_LIMIT=close": Reason(
        None,
        "CaptchaBudgetError CaptchaCancelledError",
        settings={"CAPSOLVER_MAX_SOLVES": 5, "CAPSOLVER_ON_LIMIT": "close"},
    ),
    "zero balance": Reason(0, "CapSolverAccountError", simulator={"balance": 0.0}),
    "wrong key": Reason(0, "CapSolverAccountError", settings={"CAPSOLVER_API_KEY": "CAP-WRONG"}),
    "breaker stop": Reason(0, "CapSolverAccountError", simulator={"quirks": ["create-zero-balance"]}),
    "site that rejects": Reason(0, "UnsolvableCaptchaError", path="/reject/recaptcha-v2/{}"),
    "pause that ends": Reason(
        WAITING,
        "",
        settings={"CAPSOLVER_CONCURRENCY": 50, "CAPSOLVER_TIMEOUT": 300},
        simulator={"quirks": ["create-service-unavailable:1"], "speed": 4.0},
    ),
    "unsolvable type": Reason(0, "UnsupportedCaptchaError", path="/hcaptcha/{}"),
    "single flight that fails": Reason(
        0, "UnsolvableCaptchaError", path="/aws-waf/{}", simulator={"quirks": ["unsolvable"]}
    ),
    "CloseSpider": Reason(0, "CaptchaCancelledError", stop="close"),
    "signal": Reason(0, "CaptchaCancelledError", stop="signal"),
}


@dataclass
class Endings:
    pages: Counter[int] = field(default_factory=Counter)
    errors: Counter[int] = field(default_factory=Counter)
    kinds: set[type[BaseException]] = field(default_factory=set)
    crawler: Crawler | None = None


async def end(
    reason: Reason, capsolver: Any, monkeypatch: pytest.MonkeyPatch, number: int = WAITING, **settings: Any
) -> Endings:
    """Let all requests meet their gate, and only then CapSolver's answer about the balance come, which all wait for."""
    endings, all_wait = Endings(), Deferred[None]()
    ask = CapSolverClient.get_balance

    async def ask_when_all_wait(self: CapSolverClient) -> Any:
        await all_wait
        return await ask(self)

    monkeypatch.setattr(CapSolverClient, "get_balance", ask_when_all_wait)

    class Waiting(Spider):
        name = "waiting"

        async def start(self) -> AsyncIterator[Request]:
            for n in range(number):
                yield Request(
                    capsolver.site_url + reason.path.format(n),
                    errback=self.failed,
                    meta={"capsolver": True},
                    cb_kwargs={"n": n},
                )
            yield Request(capsolver.site_url + "/free/1", self.all_sent, priority=-1)

        async def all_sent(self, response: Response) -> None:
            if reason.stop:
                await maybe_deferred_to_future(all_met)
            if reason.stop == "close":
                raise CloseSpider("enough")
            if reason.stop == "signal":
                stop(self.crawler)

        def parse(self, response: Response, n: int) -> None:
            endings.pages[n] += 1

        def failed(self, failure: Failure) -> None:
            endings.errors[failure.request.cb_kwargs["n"]] += 1  # type: ignore[attr-defined]
            endings.kinds.add(failure.type)

    all_met = Deferred[None]()

    def look() -> None:
        assert endings.crawler is not None
        assert endings.crawler.stats is not None
        met = sum(v for k, v in endings.crawler.stats.get_stats().items() if k.startswith("capsolver/challenges/"))
        waited = endings.crawler.stats.get_value("capsolver/clearances/awaited", 0)
        if met + waited >= number and not all_wait.called:
            all_wait.callback(None)
            all_met.callback(None)

    endings.crawler = get_crawler(
        Waiting, settings_for(capsolver, **{"CLOSESPIDER_TIMEOUT": 0, "CAPSOLVER_CONCURRENCY": 4, **settings})
    )
    looking = LoopingCall(look)
    looking.start(0.01, now=False)
    try:
        await maybe_deferred_to_future(run(endings.crawler))
    finally:
        looking.stop()
    return endings


def stop(crawler: Any) -> None:
    """What Scrapy does at the first SIGINT."""
    from twisted.internet import reactor

    clock: Any = reactor
    clock.callLater(
        0, lambda: deferred_from_coro(crawler.stop_async()) if hasattr(crawler, "stop_async") else crawler.stop()
    )


@pytest.mark.parametrize("name", REASONS)
@deferred_f_from_coro_f
async def test_each_ends_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reason = REASONS[name]
    async with simulator(**{"speed": 1.0, "solve_seconds": (0.1, 0.1), **reason.simulator}) as capsolver:
        endings = await end(reason, capsolver, monkeypatch, **reason.settings)
    ends = endings.pages + endings.errors
    assert set(ends) == set(range(WAITING))
    assert set(ends.values()) == {1}
    assert {kind.__name__ for kind in endings.kinds} <= set(reason.errors.split())
    assert all(issubclass(kind, CaptchaError) for kind in endings.kinds)
    if reason.pages is not None:
        assert endings.pages.total() == reason.pages


# Scrapy 2.13 does not close the empty queues that it looks for on disk.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@deferred_f_from_coro_f
async def test_with_a_jobdir_each_ends_once_over_both_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reason = REASONS["signal"]
    async with simulator(speed=1.0, solve_seconds=(0.1, 0.1)) as capsolver:
        first = await end(reason, capsolver, monkeypatch, JOBDIR=str(tmp_path))
        assert not first.pages + first.errors
        monkeypatch.undo()
        second = await end(
            Reason(WAITING, ""), capsolver, monkeypatch, 0, CAPSOLVER_CONCURRENCY=50, JOBDIR=str(tmp_path)
        )
    assert second.pages == Counter(range(WAITING))
    assert not second.errors
