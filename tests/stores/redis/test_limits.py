"""Limits over all workers: kept exactly, given back, and remembered for a server that forgets."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from scrapy.utils.defer import deferred_f_from_coro_f

from scrapy_capsolver.errors import CaptchaBudgetError, CaptchaStoreError
from scrapy_capsolver.stores.redis.connection import StoreAwayError
from tests.redis_server import needs_redis
from tests.stores.redis.workers import (
    TIMINGS,
    beat,
    begun,
    do,
    end,
    end_of,
    limits,
    open_task,
    opened,
    receipt,
    reconnect,
    until,
    written,
)

if TYPE_CHECKING:
    from tests.stores.redis.workers import Place

pytestmark = needs_redis


@pytest.mark.parametrize("most", [{"max_solves": 2}, {"max_solves_per_domain": 2}, {"budget": 250e-9}], ids=str)
@deferred_f_from_coro_f
async def test_limits_are_those_of_all(place: Place, most: dict[str, Any]) -> None:
    async with opened(place, "a", "b") as (a, b):
        own, other = limits(a, **most), limits(b, **most)
        one, two = await open_task(a, own, 1), await open_task(b, other, 2)
        waiting, waits = begun(own.reserve(receipt(3))), begun(own.reserve(receipt(4)))
        await until(lambda: place.waiting(a))
        other.settle(two, charged=False)  # the other worker's task was not charged
        assert await end_of(waiting) is None
        await end(a, one)
        await end(a, receipt(3))
        with pytest.raises(CaptchaBudgetError, match="is reached"):
            await end_of(waits)
        with pytest.raises(CaptchaBudgetError, match="is reached"):
            await do(other.reserve(receipt(5)))
        if "max_solves_per_domain" in most:
            assert await do(other.reserve(receipt(6, site="other.example"))) is None


@deferred_f_from_coro_f
async def test_a_limit_that_was_reached_is_not_asked_again(place: Place) -> None:
    """It is refused at once, also while Redis is away, and each time it is reported."""
    async with opened(place, "a") as (a,):
        told: list[str] = []
        own = limits(a, max_solves=1)
        own._exhausted = told.append
        await end(a, await open_task(a, own, 1))
        for number in (2, 3):
            with pytest.raises(CaptchaBudgetError, match=r"CAPSOLVER_MAX_SOLVES is reached \(1 solves\)"):
                await do(own.reserve(receipt(number)))
        a._link.is_up, before = False, a.commands
        with pytest.raises(CaptchaBudgetError):
            await do(own.reserve(receipt(4)))
        a._link.is_up = True
        assert a.commands == before
        assert told == ["MAX_SOLVES"] * 3


@deferred_f_from_coro_f
async def test_a_cheaper_task_may_fit_a_reached_budget(place: Place) -> None:
    async with opened(place, "a") as (a,):
        own = limits(a, budget=250e-9)
        await end(a, await open_task(a, own, 1))
        with pytest.raises(CaptchaBudgetError):
            await do(own.reserve(receipt(2, nano=160)))
        with pytest.raises(CaptchaBudgetError):
            await do(own.reserve(receipt(3, nano=170)))
        assert await do(own.reserve(receipt(4, nano=150))) is None


@deferred_f_from_coro_f
async def test_a_reached_limit_of_one_site_leaves_others(place: Place) -> None:
    async with opened(place, "a") as (a,):
        own = limits(a, max_solves_per_domain=1)
        await end(a, await open_task(a, own, 1))
        for number in (2, 3):
            with pytest.raises(CaptchaBudgetError, match=r"1 solves for shop\.example"):
                await do(own.reserve(receipt(number)))
        assert await do(own.reserve(receipt(4, site="other.example"))) is None


@deferred_f_from_coro_f
async def test_only_who_waits_for_others_lets_them_go_first(place: Place) -> None:
    """After a pause one task goes ahead as a trial: the way to the server and back is no reason to give that up."""
    async with opened(place, "a") as (a,):
        own, waited = limits(a, max_solves=1), list[int]()
        await do(own.reserve(receipt(0)))  # new limits are held for a moment
        own.settle(receipt(0), charged=False)
        await written(a)
        assert await do(own.reserve(receipt(1), "", lambda: waited.append(1))) is None
        assert waited == []
        waiting = begun(own.reserve(receipt(2), "", lambda: waited.append(2)))
        await until(lambda: waited == [2])
        own.settle(receipt(1), charged=False)
        assert await end_of(waiting) is None


@deferred_f_from_coro_f
async def test_a_reservation_that_is_asked_twice_counts_once(place: Place) -> None:
    async with opened(place, "a") as (a,):
        own = limits(a, max_solves=2)
        for _ in range(3):
            assert await do(own.reserve(receipt(1))) is None
        assert await do(own.reserve(receipt(2))) is None


@deferred_f_from_coro_f
async def test_who_is_cancelled_gives_its_part_back(place: Place) -> None:
    async with opened(place, "a") as (a,):
        own = limits(a, max_solves=1)
        asked = begun(own.reserve(receipt(1)))
        asked.addErrback(lambda _: None)
        asked.cancel()
        assert await do(own.reserve(receipt(2))) is None


@pytest.mark.parametrize("loses", ["everything", "limits:*"])
@deferred_f_from_coro_f
async def test_new_limits_are_held_if_they_may_be_forgotten(place: Place, loses: str) -> None:
    """By a worker that knows nothing of them, after the server has lost everything, or those that others know."""
    async with opened(place, "a", "b", timings=replace(TIMINGS, grace=0.3)) as (a, b):
        await end(a, await open_task(a, limits(a, max_solves=1), 1))
        await beat(a)
        place.forget() if loses == "everything" else place.redis.delete(*map(place.key, place.keys(loses)))
        asked = begun(limits(b, max_solves=1).reserve(receipt(2)))
        await until(lambda: place.hash("limits", a.fleet.run).get("hold"))
        assert not asked.called
        await beat(a)
        with pytest.raises(CaptchaBudgetError):
            await end_of(asked)


@deferred_f_from_coro_f
async def test_limits_that_begin_later_are_not_held(place: Place) -> None:
    async with opened(place, "a", "b", timings=replace(TIMINGS, grace=1000.0)) as (a, b):
        place.redis.zincrby(place.key("seen"), -1001, "@born")
        for number, store in enumerate((a, b)):
            assert await do(limits(store, max_solves=2).reserve(receipt(number))) is None


@deferred_f_from_coro_f
async def test_without_limits_nothing_is_held(place: Place) -> None:
    async with opened(place, "a", timings=replace(TIMINGS, grace=1000.0)) as (a,):
        assert await do(limits(a).reserve(receipt(1))) is None


@pytest.mark.parametrize("window", ["run", "hour", "day"])
@deferred_f_from_coro_f
async def test_limits_count_for_their_window_and_run(place: Place, window: str) -> None:
    async with (
        opened(place, "a", window=window) as (a,),
        opened(place, "b", window=window, run="other") as (b,),
    ):
        own, other = limits(a, max_solves=1), limits(b, max_solves=1)
        await end(a, await open_task(a, own, 1))
        assert await do(other.reserve(receipt(2))) is None
        for number in (3, 4):
            with pytest.raises(CaptchaBudgetError):
                await do(own.reserve(receipt(number)))
        (key,) = [key for key in place.keys("limits:run*") if not key.endswith(":open")]
        assert key.startswith(f"limits:{a.fleet.run}" if window == "run" else f"limits:run:{window}:")
        assert 0 < place.redis.ttl(place.key(key)) <= {"run": 3600, "hour": 7200, "day": 2 * 86400}[window]


# A server that forgets


def forgets(place: Place) -> None:
    place.forget()


def evicts(place: Place) -> None:
    place.redis.delete(*map(place.key, place.keys("limits:*")))


@pytest.mark.parametrize("loses", [forgets, evicts])
@deferred_f_from_coro_f
async def test_what_the_server_forgot_the_workers_remember(place: Place, loses: Any) -> None:
    """Each of them knows what it has seen last: the others' part as well, if it came later."""
    async with opened(place, "a", "b") as (a, b):
        own, other = limits(a, max_solves=4), limits(b, max_solves=4)
        await end(a, await open_task(a, own, 1))
        under_way = await open_task(b, other, 2)
        loses(place)
        third = begun(own.reserve(receipt(3)))
        await beat(b)
        assert await end_of(third) is None
        assert await do(other.reserve(receipt(4))) is None
        waiting = begun(own.reserve(receipt(5)))
        await until(lambda: place.waiting(a))
        other.settle(under_way, charged=False)
        assert await end_of(waiting) is None


@deferred_f_from_coro_f
async def test_a_server_that_went_back_is_brought_up_to_date(place: Place) -> None:
    """The replica that takes over may lack the last writes."""
    async with opened(place, "a") as (a,):
        own = limits(a, max_solves=3)
        await end(a, await open_task(a, own, 1))
        earlier = place.hash("limits", a.fleet.run)
        await end(a, await open_task(a, own, 2))
        place.redis.hset(place.key("limits", a.fleet.run), mapping=earlier)
        assert await do(own.reserve(receipt(3))) is None
        await end(a, receipt(3))
        with pytest.raises(CaptchaBudgetError):
            await do(own.reserve(receipt(4)))


@deferred_f_from_coro_f
async def test_a_new_connection_takes_nothing_back(place: Place) -> None:
    """What was given back since a worker saw the limits stays free: that worker knows of an earlier state only."""
    async with opened(place, "a", "b") as (a, b):
        own, other = limits(a, max_solves=2), limits(b, max_solves=2)
        under_way = await open_task(b, other, 1)
        await open_task(a, own, 2)
        other.settle(under_way, charged=False)
        await written(b)
        await reconnect(a)
        assert place.hash("limits", a.fleet.run)["u:s"] == "1"
        assert await do(own.reserve(receipt(3))) is None


@pytest.mark.parametrize("window", ["run", "day"])
@deferred_f_from_coro_f
async def test_what_was_bought_without_the_server_counts(place: Place, window: str) -> None:
    async with opened(place, "a", window=window, timings=replace(TIMINGS, retry=0.5)) as (a,):
        own = limits(a, max_solves=1, allowance=1)
        with pytest.raises(StoreAwayError):
            await end_of(a._link.call("NOSUCHCOMMAND"))
        assert await do(own.reserve(receipt(1))) is None
        await do(a.fleet.back())
        await written(a)
        await end(a, receipt(1))
        with pytest.raises(CaptchaBudgetError):
            await do(own.reserve(receipt(2)))
        (key,) = place.keys("limits:*")
        assert place.redis.ttl(place.key(key)) > (3600 if window == "day" else 0)


@deferred_f_from_coro_f
async def test_limits_of_another_type_are_an_error_that_says_so(place: Place) -> None:
    """They guard money. What does not need them goes on."""
    async with opened(place, "a") as (a,):
        key = place.key("limits", a.fleet.run)
        place.redis.set(key, "x")
        with pytest.raises(CaptchaStoreError, match=f"{key} holds another kind of value.*another's as well"):
            await do(limits(a, max_solves=2).reserve(receipt(1)))
        assert a._link.is_up
        a.fleet.took("T", 1.0)
        await written(a)
        assert place.keys("times:*") == ["times:T"]
