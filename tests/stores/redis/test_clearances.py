"""Clearances and leases of several workers: what one has, all have."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from scrapy.utils.defer import deferred_f_from_coro_f
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from scrapy_capsolver.errors import UnsolvableCaptchaError
from scrapy_capsolver.stores import Lease
from tests.redis_server import needs_redis
from tests.stores.redis.workers import KEY, ONE, TIMINGS, beat, begun, do, end_of, opened, until, written

if TYPE_CHECKING:
    from tests.stores.redis.workers import Place

pytestmark = needs_redis


@deferred_f_from_coro_f
async def test_others_follow_what_one_saves(place: Place) -> None:
    """Saved, issued again, and dropped: the others know without asking."""
    async with opened(place, "a", "b") as (a, b):
        assert await do(b.load(KEY.site)) == {}
        before = b.commands
        for cookies in ({"datadome": "a"}, {"datadome": "b"}):
            saved = replace(ONE, cookies=cookies)
            await do(a.save(KEY, saved))
            await until(lambda saved=saved: b.known(KEY.site) == {KEY: saved})
            assert await do(b.load(KEY.site)) == {KEY: saved}
        await do(a.delete(KEY, "1"))
        await until(lambda: b.known(KEY.site) == {})
        assert b.commands == before


@deferred_f_from_coro_f
async def test_missed_news_is_asked_for(place: Place) -> None:
    async with opened(place, "a", "b") as (a, b):
        await do(b.load(KEY.site))
        place.redis.client_kill_filter(_type="pubsub")
        await until(lambda: not b._news.is_live)
        await do(a.save(KEY, ONE))
        await written(a)
        assert await do(b.load(KEY.site)) == {KEY: ONE}
        await until(lambda: b._news.is_live)


@deferred_f_from_coro_f
async def test_news_during_a_look_up_is_not_lost(place: Place) -> None:
    async with opened(place, "a", "b") as (a, b):
        call = b._link.call

        def overtaken(name: str, *arguments: str) -> Any:
            return Deferred.fromCoroutine(late(call(name, *arguments))) if name == "HGETALL" else call(name, *arguments)

        async def late(answer: Deferred[Any]) -> Any:
            rows = await answer
            b._link.call = call
            await a.save(KEY, ONE)
            while KEY.site not in b._overtaken:
                from twisted.internet import reactor

                await deferLater(reactor, 0.01)  # type: ignore[arg-type]
            return rows

        b._link.call = overtaken
        assert await do(b.load(KEY.site)) == {KEY: ONE}


@deferred_f_from_coro_f
async def test_news_that_is_none_is_ignored(place: Place) -> None:
    async with opened(place, "a") as (a,):
        for news in (
            "",
            "[" * 100_000,
            "[]",
            "{}",
            b"\xff",
            '{"kind": "clearance"}',
            '{"kind": "clearance", "site": "shop.example", "field": "x", "text": "{}"}',
            '{"kind": "flight", "flight": []}',
            '{"kind": "breaker"}',
        ):
            place.redis.publish(place.key("news"), news)
        await do(a.save(KEY, ONE))
        await written(a)
        assert await do(a.load(KEY.site)) == {KEY: ONE}
        assert a._news.is_live


@deferred_f_from_coro_f
async def test_one_solves_and_the_other_has_it(place: Place) -> None:
    async with opened(place, "a", "b") as (a, b):
        lease = await do(a.lease(KEY, ""))
        assert isinstance(lease, Lease)
        waiting = begun(b.lease(KEY, ""))
        await until(lambda: b._flights)
        solved = replace(ONE, id="2", fence=lease.fence, solved_at=time.time())
        await do(a.save(KEY, solved))
        lease.end()
        assert await end_of(waiting) == solved
        # The site refuses it: one of them solves again.
        other = await do(b.lease(KEY, "2"))
        assert isinstance(other, Lease)
        assert other.fence > lease.fence
        other.end()


@deferred_f_from_coro_f
async def test_a_failed_solve_fails_for_all_who_wait(place: Place) -> None:
    """One that is only given up does not: another worker may solve."""
    async with opened(place, "a", "b") as (a, b):
        for error in (UnsolvableCaptchaError("no", code="ERROR_X"), None):
            lease = await do(a.lease(KEY, ""))
            before = b.commands
            waiting = begun(b.lease(KEY, ""))
            await until(lambda: b._flights)
            await written(a)
            lease.end(error)
            if error is None:
                mine = await end_of(waiting)
                assert isinstance(mine, Lease)
                mine.end()
            else:
                with pytest.raises(UnsolvableCaptchaError, match="no") as caught:
                    await end_of(waiting)
                assert caught.value.code == "ERROR_X"
            assert b.commands - before < 4


@deferred_f_from_coro_f
async def test_a_lease_of_a_dead_worker_passes_on(place: Place) -> None:
    """What the dead one solves then comes too late, whatever the clocks say."""
    async with opened(place, "a", "b") as (a, b):
        late = await do(a.lease(KEY, ""))
        place.silence("a")
        lease = await do(b.lease(KEY, ""))
        assert isinstance(lease, Lease)
        newer = replace(ONE, id="2", fence=lease.fence, solved_at=1.0)  # b's clock is years behind
        await do(b.save(KEY, newer))
        lease.end()
        await written(b)
        # The dead one was only paused.
        await do(a.save(KEY, replace(ONE, id="3", fence=late.fence, solved_at=time.time())))
        late.end()
        await written(a)
        assert a.known(KEY.site) == b.known(KEY.site) == {KEY: newer}


@deferred_f_from_coro_f
async def test_a_death_wakes_who_waits_for_a_lease(place: Place) -> None:
    """At the moment at which the holder counts as dead. The waiting worker's signs of life are the time that passes."""
    async with opened(place, "a", "b", timings=replace(TIMINGS, alive=0.4)) as (a, b):
        await do(a.lease(KEY, ""))
        waiting = begun(b.lease(KEY, ""))
        while not waiting.called:
            await beat(b)
        lease = await end_of(waiting)
        assert isinstance(lease, Lease)
        lease.end()


@deferred_f_from_coro_f
async def test_a_lease_is_held_by_its_worker_alone(place: Place) -> None:
    """A worker that asks again has it at once: the answer may have got lost."""
    async with opened(place, "a") as (a,):
        first = await do(a.lease(KEY, ""))
        second = await do(a.lease(KEY, ""))
        assert second.fence == first.fence
        first.end()  # of a claim that was replaced
        await written(a)
        assert place.keys("flight:*")
        second.end()
        await written(a)
        assert not place.keys("flight:*")


@deferred_f_from_coro_f
async def test_several_look_ups_at_once_are_one(place: Place) -> None:
    async with opened(place, "a") as (a,):
        before = a.commands
        looking = [begun(a.load(KEY.site)) for _ in range(5)]
        assert [await end_of(one) for one in looking] == [{}] * 5
        assert a.commands - before == 1


@deferred_f_from_coro_f
async def test_forgotten_clearances_are_saved_again(place: Place) -> None:
    async with opened(place, "a", "b") as (a, b):
        await do(a.save(KEY, ONE))
        await written(a)
        place.forget()
        await beat(a, b)
        b._fresh.clear()
        assert await do(b.load(KEY.site)) == {KEY: ONE}
        assert json.loads(*place.hash("clearances", KEY.site).values())["id"] == "1"


@pytest.mark.parametrize("when", ["asked", "waiting"])
@deferred_f_from_coro_f
async def test_who_stops_waiting_leaves_no_lease(place: Place, when: str) -> None:
    async with opened(place, "a", "b") as (a, b):
        other = await do(b.lease(KEY, "")) if when == "waiting" else None
        asked = begun(a.lease(KEY, ""))
        asked.addErrback(lambda _: None)
        if other is not None:
            await beat(a)  # its question has been answered before
        asked.cancel()
        if other is not None:
            other.end()
            await written(b)
        await written(a)
        await until(lambda: not place.keys("flight:*"))
        lease = await do(b.lease(KEY, ""))
        assert isinstance(lease, Lease)
        lease.end()
