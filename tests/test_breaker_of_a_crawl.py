"""Crawls that CapSolver tells to wait, and such whose account cannot solve."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from scrapy import Request
from scrapy.utils.defer import deferred_f_from_coro_f

from scrapy_capsolver.errors import CapSolverAccountError, UnsolvableCaptchaError
from scrapy_capsolver.simulator.api import Api
from tests.crawls import Crawl, crawl, simulator
from tests.test_limits_of_a_crawl import check_money, check_paid

if TYPE_CHECKING:
    from collections.abc import Callable

GATES = [f"/recaptcha-v2/{n}" for n in range(30)]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, str]]:
    """Each call of the API that reached the service: when, in simulated seconds, and which."""
    seen: list[tuple[float, str]] = []
    handle: Callable[..., Any] = Api.handle

    def handled(self: Any, method: str, *args: Any) -> Any:
        seen.append((self._clock.now(), method))
        return handle(self, method, *args)

    monkeypatch.setattr(Api, "handle", handled)
    return seen


def ours(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    records = [record for record in caplog.records if record.name.startswith("scrapy_capsolver")]
    return [record.getMessage() for record in records if record.levelno >= level]


def products(done: Crawl) -> list[str]:
    assert done.errors == []
    return sorted(response.css(".product::text").get() or "" for response in done.responses)


PRODUCTS = sorted(f"Product {n}" for n in range(30))


@pytest.mark.parametrize(
    ("quirk", "seconds"),
    [
        ("create-service-unavailable:1", 5),
        ("create-rate-limit:1", 30),
        ("create-rate-limit-429:1", 30),
        ("create-key-temp-blocked:1", 300),
        ("create-ip-banned:1", 1800),
        ("poll-rate-limit:1", 30),
        ("poll-service-unavailable:1", 5),
    ],
)
@deferred_f_from_coro_f
async def test_all_wait_for_the_end_of_a_pause_and_nothing_is_lost(
    quirk: str, seconds: int, calls: list[tuple[float, str]], caplog: pytest.LogCaptureFixture
) -> None:
    async with simulator(quirks=[quirk], solve_seconds=(1, 2)) as capsolver:
        done = await crawl(capsolver, GATES[:12], CAPSOLVER_CONCURRENCY=1)
        assert products(done) == sorted(f"Product {n}" for n in range(12))
        method = "createTask" if quirk.startswith("create") else "getTaskResult"
        begin = next(at for at, name in calls if name == method)
        # What is told to CapSolver of earlier solutions waits as well.
        assert [name for at, name in calls if begin < at < begin + seconds] == []
        assert calls[-1][0] > begin + seconds
        stats = done.ours()
        (name,) = [name for name in stats if name.startswith("breaker/pauses/")]
        assert stats[name] == 1
        assert seconds <= stats["breaker/paused_seconds"] <= seconds * 1.1
        assert stats["solve_seconds/recaptcha_v2"] < 12 * 20  # of which the pause is no part
        (line,) = ours(caplog)
        assert line.startswith("No captchas are solved for ")
        assert len([line for line in ours(caplog, logging.INFO) if line.startswith("CapSolver answers again")]) == 1
        assert capsolver.state()["tasks"]["created"] == 12
        await check_money(capsolver, done)
        check_paid(capsolver, done)


@pytest.mark.parametrize("quirk", ["poll-rate-limit:2", "create-rate-limit:3"])
@deferred_f_from_coro_f
async def test_calls_that_were_on_their_way_when_a_pause_began_are_lost_neither(
    quirk: str, calls: list[tuple[float, str]]
) -> None:
    pause = 30
    async with simulator(quirks=[quirk], solve_seconds=(1, 2)) as capsolver:
        done = await crawl(capsolver, GATES)
        assert products(done) == PRODUCTS
        method = "createTask" if quirk.startswith("create") else "getTaskResult"
        begin = next(at for at, name in calls if name == method)
        assert [at for at, name in calls if begin < at < begin + pause and name == "createTask"] == []
        assert capsolver.state()["tasks"]["created"] == capsolver.state()["tasks"]["paid"] == 30
        await check_money(capsolver, done)
        check_paid(capsolver, done)


@deferred_f_from_coro_f
async def test_unflagged_requests_go_on_during_a_pause() -> None:
    async with simulator(quirks=["create-key-temp-blocked:1"], solve_seconds=(1, 2)) as capsolver:
        requests: list[Any] = [*GATES[:5], *(Request(f"{capsolver.site_url}/free/{n}") for n in range(30))]
        done = await crawl(capsolver, requests, CONCURRENT_REQUESTS=2, CAPSOLVER_CONCURRENCY=1)
        assert len(done.responses) == 35
        assert all("/free/" in response.url for response in done.responses[:30])


@deferred_f_from_coro_f
async def test_an_outage_is_waited_for() -> None:
    async with simulator(quirks=["create-request-lost:6"], solve_seconds=(1, 2)) as capsolver:
        done = await crawl(capsolver, GATES, CAPSOLVER_CONCURRENCY=1)
        # What became of a createTask that was sent is not known, so each of these is lost; no more are sent meanwhile.
        assert (len(done.errors), len(done.responses)) == (6, 24)
        stats = done.ours()
        assert stats["breaker/pauses/unreachable"] == 2  # after five in a row, and after the trial
        assert stats["wasted/possibly_paid"] == 6
        await check_money(capsolver, done)
        check_paid(capsolver, done)


@pytest.mark.parametrize("fails", ["solve-failed", "unsolvable", "failed-over-200", "create-unknown-error"])
@deferred_f_from_coro_f
async def test_solves_that_fail_do_not_get_the_key_blocked(fails: str, caplog: pytest.LogCaptureFixture) -> None:
    async with simulator(quirks=["lock-out", fails], solve_seconds=(1, 2)) as capsolver:
        done = await crawl(capsolver, GATES[:20], CAPSOLVER_CONCURRENCY=4, CAPSOLVER_MAX_REJECTIONS=0)
        assert {type(error) for error in done.errors} == {UnsolvableCaptchaError}
        assert len(done.errors) == 20
        errors = capsolver.state()["api"]["errors"]
        assert sum(errors.values()) >= 40
        assert "ERROR_KEY_TEMP_BLOCKED" not in errors
        stats = done.ours()
        assert stats["breaker/held"] >= 1
        assert len([line for line in ours(caplog) if "before it blocks the key" in line]) == stats["breaker/held"]
        await check_money(capsolver, done)


@deferred_f_from_coro_f
async def test_after_many_failures_solving_goes_on() -> None:
    async with simulator(quirks=["lock-out", "solve-failed:24"], solve_seconds=(1, 2)) as capsolver:
        done = await crawl(capsolver, GATES, CAPSOLVER_CONCURRENCY=4)
        assert len(done.errors) + len(done.responses) == 30
        assert 0 < len(done.errors) <= 8
        assert done.ours()["breaker/held"] == 1
        assert capsolver.state()["api"]["errors"] == {"ERROR_CAPTCHA_SOLVE_FAILED": 24}
        await check_money(capsolver, done)
        check_paid(capsolver, done)


# The account


async def mixed(capsolver: Any, **settings: Any) -> Crawl:
    """20 requests that are gated, and 20 that are not."""
    free = [Request(f"{capsolver.site_url}/free/{n}") for n in range(20)]
    return await crawl(capsolver, [*GATES[:20], *free], **settings)


@pytest.mark.parametrize("concurrency", [1, 100])
@deferred_f_from_coro_f
async def test_an_empty_account_solves_nothing_and_the_crawl_goes_on(
    concurrency: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with simulator(balance=0) as capsolver:
        done = await mixed(capsolver, CAPSOLVER_CONCURRENCY=concurrency)
        assert [type(error) for error in done.errors] == [CapSolverAccountError] * 20
        assert len(done.responses) == 20
        assert capsolver.state()["api"]["calls"] == {"getBalance": 1}
        assert ours(caplog) == [
            "No more captchas are solved in this crawl: the account's balance is used up, and it has no package"
        ]
        assert done.ours()["breaker/stopped"] == 1
        assert done.stats["capsolver/balance_usd"] == 0
        await check_money(capsolver, done)


@pytest.mark.parametrize(
    ("quirks", "key"),
    [([], "CAP-WRONG"), (["bad-key-400"], "CAP-WRONG"), (["balance-zero-balance"], None)],
    ids=["wrong", "wrong over 400", "empty"],
)
@deferred_f_from_coro_f
async def test_an_account_that_is_refused_solves_nothing(
    quirks: list[str], key: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    async with simulator(quirks=quirks) as capsolver:
        done = await mixed(capsolver, **({} if key is None else {"CAPSOLVER_API_KEY": key}))
        assert [type(error) for error in done.errors] == [CapSolverAccountError] * 20
        assert len(done.responses) == 20
        assert capsolver.state()["api"]["calls"] == {"getBalance": 1}
        (line,) = ours(caplog)
        assert line.startswith("No more captchas are solved in this crawl: ")


@pytest.mark.parametrize(
    "quirk",
    [
        "balance-silence",
        "balance-html-502",
        "balance-html-403",
        "balance-html-504",
        "balance-redirect",
        "balance-reply-lost",
        "balance-request-lost",
        "balance-truncated-json",
        "balance-json-list",
        "balance-json-null",
        "balance-empty-body",
        "balance-not-utf8",
        "balance-slow-drip",
        "balance-unknown-error",
        "balance-bad-request",
    ],
)
@deferred_f_from_coro_f
async def test_a_balance_that_is_not_known_does_not_stop_solving(quirk: str, caplog: pytest.LogCaptureFixture) -> None:
    async with simulator(quirks=[quirk], solve_seconds=(1, 2)) as capsolver:
        done = await mixed(capsolver)
        assert done.errors == []
        assert len(done.responses) == 40
        assert ours(caplog) == []
        told = [line for line in ours(caplog, logging.INFO) if line.startswith("The balance is not known")]
        assert len(told) == (quirk != "balance-slow-drip")  # which goes on for longer than the crawl
        assert not [name for name in done.ours() if name.startswith("breaker/")]
        await check_money(capsolver, done)
        check_paid(capsolver, done)


@deferred_f_from_coro_f
async def test_a_balance_that_is_slow_does_not_hold_up_the_end_of_a_crawl_that_solves_nothing() -> None:
    async with simulator(quirks=["balance-silence"]) as capsolver:
        done = await crawl(capsolver, [Request(f"{capsolver.site_url}/free/1")])
        assert len(done.responses) == 1


@deferred_f_from_coro_f
async def test_a_balance_that_is_asked_for_too_often_is_a_pause() -> None:
    async with simulator(quirks=["balance-rate-limit"], solve_seconds=(1, 2)) as capsolver:
        done = await crawl(capsolver, GATES)
        assert products(done) == PRODUCTS
        assert done.ours()["breaker/pauses/ERROR_RATE_LIMIT"] == 1


@deferred_f_from_coro_f
async def test_a_balance_that_is_used_up_meanwhile_ends_solving_by_one_line(caplog: pytest.LogCaptureFixture) -> None:
    async with simulator(balance=0.004, solve_seconds=(1, 2)) as capsolver:
        done = await mixed(capsolver, CAPSOLVER_CONCURRENCY=1)
        assert (len(done.responses), len(done.errors)) == (20 + 5, 15)
        assert {type(error) for error in done.errors} == {CapSolverAccountError}
        assert capsolver.state()["api"]["calls"]["createTask"] == 5 + 1
        lines = [line for line in ours(caplog) if line.startswith("No more captchas are solved")]
        assert len(lines) == 1
        await check_money(capsolver, done)
        check_paid(capsolver, done)
