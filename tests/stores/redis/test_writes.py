"""What workers write: once, in its order, and into the ledger again if the server forgets it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from scrapy.utils.defer import deferred_f_from_coro_f

from scrapy_capsolver.stores import Spend
from scrapy_capsolver.stores.redis.connection import StoreAwayError
from tests.redis_server import needs_redis
from tests.stores.redis.workers import KEY, ONE, beat, do, end, limits, open_task, opened, reconnect, until, written

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from tests.stores.redis.workers import Place

pytestmark = needs_redis


def lose_answers(store: Any, number: int) -> list[Any]:
    """Lose the answers of so many writes; they are done. Returns the arguments of all writes."""
    call, calls = store._link.call, []

    def lose(script: str, *arguments: Any) -> Any:
        answer: Deferred[Any] = call(script, *arguments)
        if script == "apply":
            calls.append(arguments)
            if len(calls) <= number:
                return answer.addCallback(lambda _: (_ for _ in ()).throw(StoreAwayError("lost")))
        return answer

    store._link.call = lose
    return calls


@deferred_f_from_coro_f
async def test_what_is_sent_twice_is_written_once(place: Place) -> None:
    """If an answer is lost the same batch is sent again."""
    async with opened(place, "a") as (a,):
        taken = await open_task(a, limits(a), 1)
        calls = lose_answers(a, 1)
        entry = Spend("s", taken.site, taken.family, "solved", 1, 100)
        await do(a.spend(entry, closes=taken.task, reservation=taken.reservation))
        await do(a.spend(replace(entry, account="rejected"), closes=""))
        await until(lambda: len(calls) == 1 and not a._journal._under_way)
        a._journal.flush()
        await written(a)
        assert calls[0] == calls[1]
        assert place.booked() == {"solved/tasks": 1, "solved/nano": 100, "rejected/tasks": 1, "rejected/nano": 100}


@deferred_f_from_coro_f
async def test_a_forgotten_ledger_is_entered_again(place: Place) -> None:
    """Before or after its worker has written more: each entry counts once."""
    async with opened(place, "a", "b") as (a, b):
        for number, store in enumerate((a, a, b)):
            await end(store, await open_task(store, limits(store), number), "solved" if number else "failed")
        waits = await open_task(a, limits(a), 7)
        before = place.booked()
        assert (before["solved/tasks"], before["failed/tasks"]) == (2, 1)
        place.forget()
        await end(a, waits)  # before a sign of life
        await beat(a, b, a)
        expected = {**before, "solved/tasks": 3, "solved/nano": before["solved/nano"] + 100}
        assert place.booked() == expected
        # A break of the connection alone is none of that.
        await reconnect(a)
        await beat(a, b)
        assert place.booked() == expected


@pytest.mark.parametrize("lost", ["workers:*", "seen", "session:*", "present:*", "run:*"])
@deferred_f_from_coro_f
async def test_another_lost_key_enters_nothing_again(place: Place, lost: str) -> None:
    async with opened(place, "a", "b") as (a, b):
        for number, store in enumerate((a, b)):
            await end(store, await open_task(store, limits(store), number))
        place.redis.delete(*(place.key(key) for key in place.keys(lost)))
        await end(a, await open_task(a, limits(a), 7))
        await beat(a, b)
        assert place.booked() == {"solved/tasks": 3, "solved/nano": 300}


@deferred_f_from_coro_f
async def test_a_ledger_that_went_back_is_completed(place: Place) -> None:
    """The replica that takes over may lack the last writes."""
    async with opened(place, "a") as (a,):
        own = limits(a)
        await end(a, await open_task(a, own, 1))
        (key,) = place.keys("ledger:*")
        earlier = place.hash(key)
        for number in (2, 3):
            await end(a, await open_task(a, own, number))
        place.redis.delete(place.key(key))
        place.redis.hset(place.key(key), mapping=earlier)
        await beat(a)
        assert place.booked() == {"solved/tasks": 3, "solved/nano": 300}


@deferred_f_from_coro_f
async def test_an_answer_that_is_lost_is_remembered(place: Place) -> None:
    """What a batch entered is known though its first answer was lost, and so it is entered again."""
    async with opened(place, "a") as (a,):
        taken = await open_task(a, limits(a), 1)
        calls = lose_answers(a, 1)
        entry = Spend("s", taken.site, taken.family, "solved", 1, 100)
        await do(a.spend(entry, closes=taken.task, reservation=taken.reservation))
        await until(lambda: len(calls) == 1 and not a._journal._under_way)
        a._journal.flush()
        await written(a)
        place.forget()
        await beat(a)
        assert place.booked() == {"solved/tasks": 1, "solved/nano": 100}


@deferred_f_from_coro_f
async def test_writes_of_the_solve_times_reach_who_comes(place: Place) -> None:
    async with opened(place, "a") as (a,):
        for seconds in (1.5, 2.5, 3.25):
            a.fleet.took("T", seconds)
        await written(a)
        learned: list[Any] = []
        async with opened(place, "c") as (c,):
            c.fleet._came_before = False  # as if it came now
            c.fleet.on_times = lambda task_type, times: learned.append((task_type, times))
            for _ in range(2):
                await reconnect(c)
    assert learned == [("T", [1.5, 2.5, 3.25])]  # once


@deferred_f_from_coro_f
async def test_every_key_has_the_prefix_and_an_expiry(place: Place) -> None:
    async with opened(place, "a", "b") as (a, b):
        own = limits(a, max_solves=5, max_solves_per_domain=5)
        await end(a, await open_task(a, own, 1, "mark"))
        await open_task(a, own, 2, "mark2")
        await open_task(b, limits(b, max_solves=5), 3)
        b.fleet.reservations.leave("r3")
        lease = await do(a.lease(KEY, ""))
        await do(a.save(KEY, ONE))
        a.fleet.took("T", 1.0)
        a.fleet.record("{}")
        a.fleet.tell_breaker("pause", {"kind": "pause"}, 5.0)
        await written(a, b)
        await beat(a)
        kinds = {key.split(":")[0] for key in place.keys("*")}
        assert kinds == {
            *(
                "account",
                "breaker",
                "clearances",
                "fence",
                "flight",
                "knows",
                "ledger",
                "left",
                "limits",
                "mark",
                "open",
            ),
            *("present", "records", "run", "runs", "seen", "session", "task", "times", "types", "workers"),
        }
        assert [key for key in place.keys("*") if place.redis.ttl(place.key(key)) < 0] == []
        lease.end()
