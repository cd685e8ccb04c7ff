"""A server that stood still does later what it was asked for on connections that have ended, and answers nobody."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from scrapy.utils.defer import deferred_f_from_coro_f

from scrapy_capsolver.errors import CaptchaBudgetError, CaptchaStoreError
from scrapy_capsolver.stores import Lease
from tests.redis_server import needs_redis
from tests.stores.redis.stalls import StallingRoute
from tests.stores.redis.workers import (
    KEY,
    TIMINGS,
    Place,
    beat,
    begun,
    do,
    end,
    end_of,
    limits,
    open_task,
    opened,
    receipt,
    until,
    written,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from twisted.internet.defer import Deferred

pytestmark = needs_redis

ORDERS = [lambda number: 0, lambda number: number - 1]
"""The oldest connection is read first, or the newest."""


@asynccontextmanager
async def stalling(place: Place) -> AsyncIterator[tuple[Any, Any, StallingRoute]]:
    """Two workers, and the way of the second one."""
    route = StallingRoute(place.server.port)
    await route.open()
    try:
        timings = replace(TIMINGS, alive=1.0)
        async with (
            opened(place, "a", timings=timings) as (a,),
            opened(_through(route, place), "b", timings=timings) as (b,),
        ):
            await do(limits(a, max_solves=99).reserve(receipt(0)))  # new limits are held for a moment
            a.fleet.reservations.finish("r0", None, charged=False)
            await written(a)
            yield a, b, route
            route.is_deaf = False
            await route.resume()
    finally:
        await route.close()


def _through(route: StallingRoute, place: Place) -> Place:
    class Server:
        url = route.url

    return Place(Server(), place.prefix)  # type: ignore[arg-type]


async def fail(store: Any, route: StallingRoute, *, times: int = 1) -> None:
    """Have the worker give its connection up, and each of those that it makes after that but the last."""
    for _ in range(times):
        held = route.held
        route.cut()
        await until(lambda held=held: route.held > held)


def failing(waiting: Deferred[Any]) -> Deferred[Any]:
    return waiting.addErrback(lambda failure: failure.value)


@pytest.mark.parametrize("order", ORDERS)
@deferred_f_from_coro_f
async def test_it_takes_no_task_for_a_connection_that_ended(place: Place, order: Any) -> None:
    """Nor would it have to: the worker that has the task lives, however long the server stood still."""
    async with stalling(place) as (a, b, route):
        own, other = limits(a, max_solves=2), limits(b, max_solves=2)
        taken = await open_task(a, own, 1, "mark")
        route.stall()
        asked = begun(other.reserve(receipt(2), "mark"))
        await until(lambda: route.held)
        place.redis.zincrby(place.key("seen"), -12, "@now")
        await fail(b, route, times=3)
        await route.resume(order)
        await beat(a)
        assert await end_of(asked) is None
        await end(a, taken)
        assert place.booked() == {"solved/tasks": 1, "solved/nano": 100}
        assert list(place.parts()) == ["r2"]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("gives_up", ["cancelled", "out of patience", "not at all"])
@deferred_f_from_coro_f
async def test_a_late_reservation_is_given_back(place: Place, order: Any, gives_up: str) -> None:
    async with stalling(place) as (a, b, route):
        other = limits(b, max_solves=1)
        b.fleet.patience = 0.05 if gives_up == "out of patience" else 60.0
        route.stall()
        asked = failing(begun(other.reserve(receipt(1))))
        await until(lambda: route.held)
        if gives_up == "cancelled":
            asked.cancel()
        await fail(b, route, times=2)
        if gives_up == "out of patience":
            assert isinstance(await end_of(asked), CaptchaStoreError)
        await route.resume(order)
        await do(b.fleet.back())
        if gives_up == "not at all":
            assert await end_of(asked) is None
            b.fleet.reservations.finish("r1", None, charged=False)
            await written(b)
        assert place.parts() == {}
        taken = await open_task(a, limits(a, max_solves=1), 2)
        await end(a, taken)
        with pytest.raises(CaptchaBudgetError):
            await do(other.reserve(receipt(3)))


@deferred_f_from_coro_f
async def test_a_reservation_whose_answer_is_lost_is_given_back(place: Place) -> None:
    """It was made in time. Its caller is cancelled, and the answer is lost with the connection."""
    async with stalling(place) as (_, b, route):
        route.is_deaf = True
        asked = failing(begun(limits(b, max_solves=1).reserve(receipt(1))))
        await until(place.parts)
        asked.cancel()
        route.is_deaf = False
        route.cut()
        await until(lambda: not place.parts())


@deferred_f_from_coro_f
async def test_a_task_whose_answer_is_lost_is_there_for_the_next(place: Place) -> None:
    """A task of a dead worker, given to one that did not hear of it: it asks again, and has the same."""
    async with stalling(place) as (a, b, route):
        taken = await open_task(a, limits(a), 1, "mark")
        place.silence("a")
        route.is_deaf = True
        asked = begun(limits(b).reserve(receipt(2), "mark"))
        await until(lambda: place.redis.sismember(place.key("open", "b"), "r1"))
        route.is_deaf = False
        route.cut()
        note = await end_of(asked)
        assert note.receipt.task == taken.task
        assert list(place.parts()) == ["r1"]
        await end(b, note.receipt)
        assert place.booked() == {"solved/tasks": 1, "solved/nano": 100}
        assert place.parts() == {}


@deferred_f_from_coro_f
async def test_an_orphan_whose_answer_is_lost_is_offered_again(place: Place) -> None:
    async with stalling(place) as (a, b, route):
        await open_task(a, limits(a, max_solves=1), 1)
        place.silence("a")
        waiting = failing(begun(limits(b, max_solves=1).reserve(receipt(2))))
        await until(lambda: place.waiting(b))
        route.is_deaf = True
        b.fleet.beat().addErrback(lambda _: None)
        await until(lambda: place.redis.sismember(place.key("open", "b"), "r1"))
        route.is_deaf = False
        orphans: list[Any] = []
        b.fleet.on_orphan = orphans.append
        route.cut()
        await until(lambda: orphans)
        assert [left.task for left in orphans] == ["t1"]
        waiting.cancel()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("gives_up", ["cancelled", "out of patience"])
@deferred_f_from_coro_f
async def test_a_late_lease_is_given_back(place: Place, order: Any, gives_up: str) -> None:
    async with stalling(place) as (a, b, route):
        b.fleet.patience = 0.05 if gives_up == "out of patience" else 60.0
        route.stall()
        asked = failing(begun(b.lease(KEY, "")))
        await until(lambda: route.held)
        if gives_up == "cancelled":
            asked.cancel()
        await fail(b, route, times=2)
        await end_of(asked)
        await route.resume(order)
        await do(b.fleet.back())
        await written(b)
        assert not place.keys("flight:*")
        lease = await do(a.lease(KEY, ""))
        assert isinstance(lease, Lease)
        lease.end()


@pytest.mark.parametrize("order", ORDERS)
@deferred_f_from_coro_f
async def test_late_writes_are_written_once(place: Place, order: Any) -> None:
    async with stalling(place) as (_, b, route):
        taken = await open_task(b, limits(b, max_solves=1), 1)
        route.stall()
        b.fleet.reservations.finish(taken.reservation, "solved", charged=True)
        await until(lambda: route.held)
        await fail(b, route, times=2)
        b.fleet.took("T", 1.0)
        await route.resume(order)
        await written(b)
        assert place.booked() == {"solved/tasks": 1, "solved/nano": 100}
        assert place.parts() == {}
        assert place.keys("times:*")


@pytest.mark.parametrize("order", ORDERS)
@deferred_f_from_coro_f
async def test_a_task_that_begins_meanwhile_is_its_workers(place: Place, order: Any) -> None:
    """Its reservation was made before; createTask answered while the server stood still."""
    async with stalling(place) as (a, b, route):
        assert await do(limits(b, max_solves=1).reserve(receipt(1))) is None
        route.stall()
        b.fleet.reservations.opened("r1", "t1")
        await until(lambda: route.held)
        await fail(b, route, times=2)
        place.redis.zincrby(place.key("seen"), -12, "@now")
        await route.resume(order)
        await written(b)
        await beat(a, b)
        assert place.booked() == {}
        assert place.parts() == {"r1": ["b", 100, "shop.example"]}
