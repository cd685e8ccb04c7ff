"""Tasks that dead workers, or others that do not need them any more, have left open."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from scrapy.utils.defer import deferred_f_from_coro_f

from tests.redis_server import needs_redis
from tests.stores.redis.workers import (
    KEY,
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


def orphans_of(store: Any) -> list[Any]:
    """Return a list that all tasks are added to which this worker has to look after."""
    orphans: list[Any] = []
    store.fleet.on_orphan = orphans.append
    return orphans


@deferred_f_from_coro_f
async def test_who_needs_the_same_goes_on_with_it(place: Place) -> None:
    async with opened(place, "a", "b") as (a, b):
        own, other = limits(a, max_solves=1), limits(b, max_solves=1)
        taken = await open_task(a, own, 1, "mark")
        place.silence("a")
        for mark in ("another", ""):
            waiting = begun(other.reserve(receipt(2), mark))
            waiting.addErrback(lambda _: None)
            await until(lambda: place.waiting(a))
            waiting.cancel()
        note = await do(other.reserve(receipt(3), "mark"))
        assert (note.receipt.task, note.receipt.reservation, note.mark) == ("t1", "r1", "mark")
        assert time.time() - note.created < 20
        await end(a, taken, "failed")  # it was only paused, and is not heard
        await end(b, note.receipt)
        assert place.booked() == {"solved/tasks": 1, "solved/nano": 100}
        assert place.parts() == {}


@deferred_f_from_coro_f
async def test_a_task_that_was_left_is_there_at_once(place: Place) -> None:
    async with opened(place, "a", "b") as (a, b):
        taken = await open_task(a, limits(a), 1, "mark")
        a.fleet.reservations.leave(taken.reservation)
        await written(a)
        note = await do(limits(b).reserve(receipt(2), "mark"))
        assert note.receipt.task == "t1"


@deferred_f_from_coro_f
async def test_a_task_that_was_left_frees_its_limit(place: Place) -> None:
    """Though its worker lives: another one sees what becomes of it as soon as somebody waits for the limit."""
    async with opened(place, "a", "b") as (a, b):
        taken = await open_task(a, limits(a, max_solves=1), 1)
        a.fleet.reservations.leave(taken.reservation)
        await written(a)
        waiting = begun(limits(a, max_solves=1).reserve(receipt(2)))
        await until(lambda: place.waiting(a))
        orphans = orphans_of(b)
        await beat(b)
        assert [left.task for left in orphans] == ["t1"]
        b.fleet.reservations.finish("r1", "failed", charged=False)
        assert await end_of(waiting) is None


@deferred_f_from_coro_f
async def test_a_task_of_a_living_worker_is_its_own(place: Place) -> None:
    async with opened(place, "a", "b") as (a, b):
        await open_task(a, limits(a), 1, "mark")
        assert await do(limits(b).reserve(receipt(2), "mark")) is None


@deferred_f_from_coro_f
async def test_a_worker_that_was_just_silent_is_waited_for(place: Place) -> None:
    """It may have been killed, and the one that asks be its restart. It is heard of, or it is dead."""
    async with opened(place, "a", "b", timings=replace(TIMINGS, alive=1.0)) as (a, b):
        await open_task(a, limits(a), 1, "mark")
        await open_task(a, limits(a), 2, "mark2")
        place.redis.zincrby(place.key("seen"), -0.5, "a")
        waited: list[int] = []
        waiting = begun(limits(b).reserve(receipt(3), "mark", lambda: waited.append(1)))
        await until(lambda: waited)
        assert not waiting.called
        await beat(a)
        assert await end_of(waiting) is None
        place.redis.zincrby(place.key("seen"), -0.9, "a")
        note = await do(limits(b).reserve(receipt(4), "mark2"))
        assert note.receipt.task == "t2"


@deferred_f_from_coro_f
async def test_what_a_dead_worker_left_is_settled(place: Place) -> None:
    """If a limit waits for it somebody asks at once what became of its tasks."""
    async with opened(place, "a", "b") as (a, b):
        own, other = limits(a, max_solves=3), limits(b, max_solves=3)
        for number in (1, 2):
            await open_task(a, own, number, f"mark{number}")
        assert await do(own.reserve(receipt(3))) is None  # it dies before CapSolver answers
        orphans = orphans_of(b)
        place.silence("a")
        waiting = begun(other.reserve(receipt(4)))
        while len(orphans) < 2:
            await until(lambda: place.waiting(b))
            await beat(b)
        assert {left.task for left in orphans} == {"t1", "t2"}
        b.fleet.reservations.paid("r1")
        b.fleet.reservations.finish("r2", "failed", charged=False)
        assert await end_of(waiting) is None
        await written(b)
        assert place.booked() == {
            "solved/tasks": 1,
            "solved/nano": 100,
            "undelivered/tasks": 1,
            "undelivered/nano": 100,
            "failed/tasks": 1,
            "possibly_paid/tasks": 1,
            "possibly_paid/nano": 100,
        }
        # Whoever needs it still may fetch it: then it was of use.
        note = await do(other.reserve(receipt(5), "mark1"))
        await end(b, note.receipt)
        assert "undelivered/tasks" not in place.booked()
        assert place.booked()["solved/tasks"] == 1
        assert list(place.parts()) == ["r4"]


@pytest.mark.parametrize("account", ["a", "other"])
@deferred_f_from_coro_f
async def test_tasks_of_an_ended_run_are_looked_after(place: Place, account: str) -> None:
    """The limits of a day outlive a run. CapSolver answers for a task only to the key that it was created with."""
    async with opened(place, "a", window="day") as (a,):
        await open_task(a, limits(a, max_solves=1), 1)
        place.silence("a")
        place.redis.delete(place.key("run", "run"))
        async with opened(place, "b", account=account, window="day") as (b,):
            orphans = orphans_of(b)
            waiting = begun(limits(b, max_solves=1).reserve(receipt(2)))
            waiting.addErrback(lambda _: None)
            await until(lambda: place.redis.hgetall(place.key(place.keys("limits:run:day:*")[0])).get("waiting"))
            await beat(b, b)
            assert [left.task for left in orphans] == (["t1"] if account == "a" else [])
            waiting.cancel()


@deferred_f_from_coro_f
async def test_a_task_that_is_too_old_is_given_up(place: Place) -> None:
    async with opened(place, "a", "b") as (a, b):
        await open_task(a, limits(a, max_solves=1), 1, "mark")
        client = place.redis
        text = client.get(place.key("task", "r1"))
        created = text.partition('"created":')[2].partition(",")[0].rstrip("}")
        client.set(place.key("task", "r1"), text.replace(created, str(float(created) - 300)))
        place.silence("a")
        orphans = orphans_of(b)
        await beat(b, b)
        assert orphans == []
        assert place.booked() == {"abandoned/tasks": 1, "abandoned/nano": 100}
        assert place.parts() == {}


# Not dead after all


@deferred_f_from_coro_f
async def test_a_paused_worker_has_its_tasks_back(place: Place) -> None:
    """Unless another one has taken them over meanwhile. Each is booked once, by who had it."""
    async with opened(place, "a", "b") as (a, b):
        own = limits(a, max_solves=9)
        tasks = [await open_task(a, own, number, f"mark{number}") for number in (1, 2)]
        assert await do(own.reserve(receipt(3))) is None
        place.silence("a")
        await beat(b)  # buries it
        assert place.booked() == {"possibly_paid/tasks": 1, "possibly_paid/nano": 100}
        note = await do(limits(b).reserve(receipt(4), "mark2"))
        await beat(a)
        a.fleet.reservations.opened("r3", "t3")
        await written(a)
        assert place.booked() == {}
        for one in (tasks[0], tasks[1], replace(receipt(3), task="t3")):
            await end(a, one)
        await end(b, note.receipt)
        assert place.booked() == {"solved/tasks": 3, "solved/nano": 300}
        assert place.parts() == {}
        assert place.hash("limits", a.fleet.run)["u:s"] == "3"


@pytest.mark.parametrize("account", ["failed", "solved", None])
@deferred_f_from_coro_f
async def test_a_task_that_was_given_up_is_booked_right(place: Place, account: str | None) -> None:
    """Its worker knows better what became of it, as soon as it is heard of."""
    async with opened(place, "a", "b") as (a, b):
        assert await do(limits(a, max_solves=1).reserve(receipt(1))) is None
        place.silence("a")
        await beat(b)
        assert place.booked() == {"possibly_paid/tasks": 1, "possibly_paid/nano": 100}
        a.fleet.reservations.finish("r1", account, charged=account == "solved")
        await written(a)
        solved = {"solved/tasks": 1, "solved/nano": 100}
        assert place.booked() == {"failed": {"failed/tasks": 1}, "solved": solved, None: {}}[account]
        assert place.hash("limits", a.fleet.run)["u:s"] == ("1" if account == "solved" else "0")


@deferred_f_from_coro_f
async def test_who_was_watched_is_heard_before_the_watcher(place: Place) -> None:
    async with opened(place, "a", "b") as (a, b):
        own = limits(a, max_solves=1)
        taken = await open_task(a, own, 1)
        place.silence("a")
        waiting = begun(limits(b, max_solves=1).reserve(receipt(2)))
        await until(lambda: place.waiting(b))
        orphans = orphans_of(b)
        await beat(b)
        assert len(orphans) == 1
        await end(a, taken)
        b.fleet.reservations.paid("r1")
        await written(b)
        assert place.booked() == {"solved/tasks": 1, "solved/nano": 100}
        waiting.addErrback(lambda _: None)
        waiting.cancel()


# Deaths are told by listening


@deferred_f_from_coro_f
async def test_nobody_dies_while_the_server_stands_still(place: Place) -> None:
    async with opened(place, "a", "b") as (a, b):
        await open_task(a, limits(a), 1, "mark")
        await do(a.lease(KEY, ""))
        for _ in range(10):
            place.redis.zincrby(place.key("seen"), -1000, "@now")  # as if its last command were that old
            note = await do(limits(b).reserve(receipt(2), "another"))
            assert note is None
            await beat(a)
        place.redis.zincrby(place.key("seen"), -1000, "@now")
        assert await do(limits(b).reserve(receipt(3), "mark")) is None
        claim = begun(b.lease(KEY, ""))
        claim.addErrback(lambda _: None)
        await beat(b)
        assert not claim.called
        claim.cancel()


@deferred_f_from_coro_f
async def test_nobody_dies_because_the_server_forgot(place: Place) -> None:
    """What is not known is no proof of death. Silence since then is."""
    async with opened(place, "a", "b") as (a, b):
        taken = await open_task(a, limits(a), 1, "mark")
        place.forget()
        a.fleet.reservations.opened("r1", "t1")  # a write, and no sign of life
        await written(a)
        place.redis.zrem(place.key("seen"), "a")
        assert await do(limits(b).reserve(receipt(2), "mark")) is None
        await reconnect(a)
        place.silence("a")
        note = await do(limits(b).reserve(receipt(3), "mark"))
        assert note.receipt.task == taken.task
