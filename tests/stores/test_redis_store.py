"""What workers have in common over Redis: each here is a store of its own, in this process."""

from __future__ import annotations

import json
import logging
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from scrapy.utils.defer import deferred_f_from_coro_f, maybe_deferred_to_future
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from scrapy_capsolver.errors import CaptchaBudgetError, CaptchaStoreError, UnsolvableCaptchaError
from scrapy_capsolver.solving.ledger import Receipt
from scrapy_capsolver.stores import Clearance, Key, Lease, Scope, Spend, StoreError, TaskRow, open_store
from scrapy_capsolver.stores.redis import connection as link
from scrapy_capsolver.stores.redis.limits import SharedLimits
from tests.redis_server import BINARY, RedisServer, Route, needs_redis, on_asyncio, redis_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

pytestmark = needs_redis

KEY = Key("shop.example", "shop.example", "datadome", "", "Chrome", "")
ONE = Clearance("1", "www.shop.example", {"datadome": "a"}, "Chrome/146", 1000.0)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    if BINARY is None or not on_asyncio():
        pytest.skip("there is no redis-server here, or no asyncio reactor")
    with redis_server() as found:
        yield found


def do(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return maybe_deferred_to_future(Deferred.fromCoroutine(coroutine))


@asynccontextmanager
async def opened(url: str, *names: str, **scope: Any) -> AsyncIterator[list[Any]]:
    """A store for each worker, all of them there."""
    stores: list[Any] = [open_store(url, Scope(worker=name, account="a", **scope)) for name in names]
    for store in stores:
        store.fleet.reservations.young = False  # or limits are held for the server's first seconds
        store.open()
        await do(store.fleet.back())
        await until(lambda store=store: store._news.is_live)
    try:
        yield stores
    finally:
        for store in stores:
            await do(store.leave())


async def until(condition: Callable[[], Any]) -> None:
    """Wait for what no event tells."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        await maybe_deferred_to_future(deferLater(_reactor(), 0.01))


def _reactor() -> Any:
    from twisted.internet import reactor

    return reactor


async def written(*stores: Any) -> None:
    for store in stores:
        await maybe_deferred_to_future(store._journal.written())


def die(server: RedisServer, name: str) -> None:
    """As if the worker had not been heard of for long; the store in this process goes on, as a paused one would."""
    client = server.client()
    client.delete(f"capsolver:alive:{name}")
    for key in (*client.keys("capsolver:present:*"), *client.keys("capsolver:workers:*")):
        if client.zscore(key, name) is not None:
            client.zadd(key, {name: time.time() - 60})


def receipt(number: int, nano: int | None = 100, site: str = "shop.example") -> Receipt:
    return Receipt("", "T", site, "datadome", nano, f"r{number}")


def limits(store: Any, **most: Any) -> SharedLimits:
    values = {"max_solves": None, "max_solves_per_domain": None, "budget": None, "allowance": 0, **most}
    return SharedLimits(store.fleet, exhausted=lambda name: None, count=lambda name, value: None, **values)


async def open_task(store: Any, own: SharedLimits, number: int, mark: str = "") -> Receipt:
    """A task that CapSolver has begun."""
    taken = replace(receipt(number), task=f"t{number}")
    assert await do(own.reserve(taken, mark)) is None
    await do(store.open_task(TaskRow(taken.task, "s", taken.site, taken.family, taken.type, 100, taken.reservation)))
    await written(store)
    return taken


async def end(store: Any, taken: Receipt, account: str = "solved") -> None:
    entry = Spend("s", taken.site, taken.family, account, 1, 100)
    await do(store.spend(entry, closes=taken.task, reservation=taken.reservation))
    await written(store)


def booked(server: RedisServer) -> dict[str, int]:
    """Tasks and nano-dollars by account."""
    client = server.client()
    found: dict[str, int] = {}
    for key in client.keys("capsolver:ledger:*"):
        for field, value in client.hgetall(key).items():
            name = "/".join(field.split("/")[-2:])
            found[name] = found.get(name, 0) + int(value)
    return {name: value for name, value in found.items() if value}


# Clearances


@deferred_f_from_coro_f
async def test_what_one_saves_renews_and_drops_the_others_know_without_asking(server: RedisServer) -> None:
    async with opened(server.url, "a", "b") as (a, b):
        assert await do(b.load(KEY.site)) == {}
        before = b.commands
        for cookies in ({"datadome": "a"}, {"datadome": "b"}):
            saved = replace(ONE, cookies=cookies)
            await do(a.save(KEY, saved))
            await until(lambda saved=saved: b.known(KEY.site) == {KEY: saved})
            assert await do(b.load(KEY.site)) == {KEY: saved}
        await do(a.delete(KEY, "1"))
        await until(lambda: b.known(KEY.site) == {})
        assert b.commands - before <= 1  # a beat, perhaps


@deferred_f_from_coro_f
async def test_news_that_was_missed_is_asked_for(server: RedisServer) -> None:
    async with opened(server.url, "a", "b") as (a, b):
        await do(b.load(KEY.site))
        server.client().client_kill_filter(_type="pubsub")
        await until(lambda: not b._news.is_live)
        await do(a.save(KEY, ONE))
        await written(a)
        assert await do(b.load(KEY.site)) == {KEY: ONE}
        await until(lambda: b._news.is_live)


@deferred_f_from_coro_f
async def test_news_that_comes_while_a_site_is_loaded_is_not_lost(server: RedisServer) -> None:
    async with opened(server.url, "a", "b") as (a, b):
        call = b._link.call

        def overtaken(name: str, *arguments: str) -> Any:
            return Deferred.fromCoroutine(late(call(name, *arguments))) if name == "HGETALL" else call(name, *arguments)

        async def late(answer: Deferred[Any]) -> Any:
            rows = await answer
            b._link.call = call
            await a.save(KEY, ONE)
            while KEY.site not in b._overtaken:
                await deferLater(_reactor(), 0.01)
            return rows

        b._link.call = overtaken
        assert await do(b.load(KEY.site)) == {KEY: ONE}


@deferred_f_from_coro_f
async def test_what_is_no_clearance_there_is_passed_over(server: RedisServer) -> None:
    field = json.dumps([KEY.scope, KEY.family, KEY.proxy, KEY.user_agent, KEY.jar])
    client = server.client()
    for name, text in (("{", "{}"), ("[]", "{}"), (field, "["), (field[:-1] + ', "more"]', "{}"), ("1", "null")):
        client.hset("capsolver:clearances:shop.example", name, text)
    async with opened(server.url, "a") as (a,):
        assert await do(a.load(KEY.site)) == {}
        for news in (
            "",
            "[]",
            "{}",
            '{"kind": "clearance"}',
            '{"kind": "flight", "flight": []}',
            '{"kind": "breaker"}',
        ):
            client.publish("capsolver:news", news)
        await do(a.save(KEY, ONE))
        assert await do(a.load(KEY.site)) == {KEY: ONE}


@deferred_f_from_coro_f
async def test_one_solves_and_the_other_has_it_at_once(server: RedisServer) -> None:
    async with opened(server.url, "a", "b") as (a, b):
        lease = await do(a.lease(KEY, ""))
        assert isinstance(lease, Lease)
        waiting = Deferred.fromCoroutine(b.lease(KEY, ""))
        await written(a)
        solved = replace(ONE, id="2", fence=lease.fence, solved_at=time.time())
        await do(a.save(KEY, solved))
        lease.end()
        assert await maybe_deferred_to_future(waiting) == solved
        # It is refused by the site: one of them solves anew.
        other = await do(b.lease(KEY, "2"))
        assert isinstance(other, Lease)
        assert other.fence > lease.fence
        other.end()


@deferred_f_from_coro_f
async def test_a_solve_that_fails_fails_for_all_who_wait_and_one_that_is_given_up_does_not(server: RedisServer) -> None:
    async with opened(server.url, "a", "b") as (a, b):
        for error in (UnsolvableCaptchaError("no", code="ERROR_X"), None):
            lease = await do(a.lease(KEY, ""))
            waiting = Deferred.fromCoroutine(b.lease(KEY, ""))
            await written(a, b)
            before = b.commands
            await until(lambda: KEY and b._flights)
            lease.end(error)
            if error is None:
                mine = await maybe_deferred_to_future(waiting)
                assert isinstance(mine, Lease)
                mine.end()
            else:
                with pytest.raises(UnsolvableCaptchaError, match="no") as caught:
                    await maybe_deferred_to_future(waiting)
                assert caught.value.code == "ERROR_X"
            assert b.commands - before < 4


@deferred_f_from_coro_f
async def test_a_lease_passes_on_when_its_worker_dies_and_what_it_solves_then_comes_too_late(
    server: RedisServer,
) -> None:
    async with opened(server.url, "a", "b") as (a, b):
        late = await do(a.lease(KEY, ""))
        die(server, "a")
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
async def test_who_waits_for_the_dead_is_woken_when_it_counts_as_dead(server: RedisServer) -> None:
    async with opened(server.url, "a", "b") as (a, b):
        await do(a.lease(KEY, ""))
        a.fleet.close()  # its heart stands still
        server.client().pexpire("capsolver:alive:a", 300)
        lease = await do(b.lease(KEY, ""))
        assert isinstance(lease, Lease)
        lease.end()


@deferred_f_from_coro_f
async def test_a_lease_whose_answer_is_lost_is_there_when_it_is_asked_for_again(server: RedisServer) -> None:
    async with opened(server.url, "a") as (a,):
        first = await do(a.lease(KEY, ""))
        began = time.monotonic()
        assert (await do(a.lease(KEY, ""))).fence == first.fence
        assert time.monotonic() - began < 2
        first.end()


@deferred_f_from_coro_f
async def test_several_who_look_at_once_ask_once(server: RedisServer) -> None:
    server.client().hset("capsolver:clearances:shop.example", "[]", "{}")
    async with opened(server.url, "a") as (a,):
        before = a.commands
        looking = [Deferred.fromCoroutine(a.load(KEY.site)) for _ in range(5)]
        assert [await maybe_deferred_to_future(one) for one in looking] == [{}] * 5
        assert a.commands - before <= 2  # with a beat, perhaps


@deferred_f_from_coro_f
async def test_clearances_that_the_server_has_forgotten_are_given_to_it_again(server: RedisServer) -> None:
    async with opened(server.url, "a", "b") as (a, b):
        await do(a.save(KEY, ONE))
        await until(lambda: b.known(KEY.site) == {} or True)
        await written(a)
        server.kill()
        await until(lambda: not a._link.is_up)
        server.start()
        await do(a.fleet.back())
        await written(a)
        await do(b.fleet.back())
        b._fresh.clear()
        assert await do(a.load(KEY.site)) == await do(b.load(KEY.site)) == {KEY: ONE}


@deferred_f_from_coro_f
async def test_whoever_stops_waiting_leaves_no_lease_behind(server: RedisServer) -> None:
    async with opened(server.url, "a", "b") as (a, b):
        asked = Deferred.fromCoroutine(a.lease(KEY, ""))
        asked.addErrback(lambda _: None)
        asked.cancel()
        lease = await do(b.lease(KEY, ""))
        assert isinstance(lease, Lease)
        lease.end()


# Writes


@deferred_f_from_coro_f
async def test_what_is_written_twice_counts_once(server: RedisServer) -> None:
    """An answer that gets lost has the same batch sent again."""
    async with opened(server.url, "a") as (a,):
        own = limits(a)
        taken = await open_task(a, own, 1)
        call, calls = a._link.call, []

        def lose(script: str, *arguments: Any) -> Any:
            calls.append(arguments)
            answer = call(script, *arguments)
            if len(calls) > 1:
                return answer
            return answer.addCallback(lambda _: (_ for _ in ()).throw(link.StoreAwayError("lost")))

        a._link.call = lose
        entry = Spend("s", taken.site, taken.family, "solved", 1, 100)
        await do(a.spend(entry, closes=taken.task, reservation=taken.reservation))
        await do(a.spend(replace(entry, account="rejected"), closes=""))
        await until(lambda: len(calls) == 1 and not a._journal._under_way)
        a._journal.flush()
        await written(a)
        assert calls[0] == calls[1]
        assert booked(server) == {"solved/tasks": 1, "solved/nano": 100, "rejected/tasks": 1, "rejected/nano": 100}


@deferred_f_from_coro_f
async def test_what_the_server_forgot_of_the_ledger_the_workers_book_again(server: RedisServer) -> None:
    async with opened(server.url, "a", "b") as (a, b):
        for number, store in enumerate((a, a, b)):
            await end(store, await open_task(store, limits(store), number), "solved" if number else "failed")
        waits = await open_task(a, limits(a), 7)
        before = booked(server)
        assert (before["solved/tasks"], before["failed/tasks"]) == (2, 1)
        server.kill()
        await until(lambda: not a._link.is_up)
        entry = Spend("s", waits.site, waits.family, "solved", 1, 100)
        await do(a.spend(entry, closes=waits.task, reservation=waits.reservation))  # waits until it is back
        server.start()
        await do(a.fleet.back())
        expected = {**before, "solved/tasks": 3, "solved/nano": before["solved/nano"] + 100}
        await until(lambda: booked(server) == expected)  # each when it is heard of next
        # A break of the connection alone is none of that.
        a._link._fall(ConnectionError("cut"))
        await do(a.fleet.back())
        await written(a)
        assert booked(server) == expected


# Limits


@pytest.mark.parametrize("most", [{"max_solves": 2}, {"max_solves_per_domain": 2}, {"budget": 250e-9}], ids=str)
@deferred_f_from_coro_f
async def test_limits_are_those_of_all(
    server: RedisServer, most: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scrapy_capsolver.stores.redis.reservations._LOOK_SECONDS", 1000.0)  # the news is what wakes
    async with opened(server.url, "a", "b") as (a, b):
        own, other = limits(a, **most), limits(b, **most)
        one, two = await open_task(a, own, 1), await open_task(b, other, 2)
        waiting = Deferred.fromCoroutine(own.reserve(receipt(3)))
        waits = Deferred.fromCoroutine(own.reserve(receipt(4)))
        await until(lambda: server.client().hgetall(f"capsolver:limits:{a.fleet.run}").get("waiting"))
        other.settle(two, charged=False)  # the other worker's task was not charged
        assert await maybe_deferred_to_future(waiting.addTimeout(20, _reactor())) is None
        await end(a, one)
        await end(a, receipt(3))
        with pytest.raises(CaptchaBudgetError, match="is reached"):
            await maybe_deferred_to_future(waits)
        with pytest.raises(CaptchaBudgetError, match="is reached"):
            await do(other.reserve(receipt(5)))
        if "max_solves_per_domain" in most:
            assert await do(other.reserve(receipt(6, site="other.example"))) is None


@deferred_f_from_coro_f
async def test_only_who_waits_for_others_lets_them_go_ahead(server: RedisServer) -> None:
    """After a pause one task goes ahead as a trial: the way to the server and back is no reason to give that up."""
    async with opened(server.url, "a") as (a,):
        own, waited = limits(a, max_solves=1), []
        assert await do(own.reserve(receipt(1), "", lambda: waited.append(1))) is None
        assert waited == []
        waiting = Deferred.fromCoroutine(own.reserve(receipt(2), "", lambda: waited.append(2)))
        await until(lambda: waited == [2])
        own.settle(receipt(1), charged=False)
        assert await maybe_deferred_to_future(waiting) is None


@deferred_f_from_coro_f
async def test_a_reservation_whose_answer_is_lost_counts_once(server: RedisServer) -> None:
    async with opened(server.url, "a") as (a,):
        own = limits(a, max_solves=2)
        for _ in range(3):
            assert await do(own.reserve(receipt(1))) is None
        assert await do(own.reserve(receipt(2))) is None


@deferred_f_from_coro_f
async def test_whoever_stops_waiting_gives_its_part_back(server: RedisServer) -> None:
    async with opened(server.url, "a") as (a,):
        own = limits(a, max_solves=1)
        asked = Deferred.fromCoroutine(own.reserve(receipt(1)))
        asked.addErrback(lambda _: None)
        asked.cancel()
        assert await do(own.reserve(receipt(2))) is None


@deferred_f_from_coro_f
async def test_limits_are_held_where_a_server_has_just_begun_and_may_have_forgotten_them(server: RedisServer) -> None:
    store: Any = open_store(server.url, Scope(worker="a"))
    assert store.fleet.reservations.young
    store.open()
    began = time.monotonic()
    assert await do(limits(store).reserve(receipt(1))) is None  # there are none
    assert time.monotonic() - began < 2
    assert server.client().hget(f"capsolver:limits:{store.fleet.run}", "hold")
    server.client().delete(f"capsolver:limits:{store.fleet.run}")
    store.fleet.reservations._known.key = ""
    assert await do(limits(store, max_solves=5).reserve(receipt(2))) is None
    assert time.monotonic() - began >= 3
    await do(store.leave())


@pytest.mark.parametrize("window", ["run", "hour", "day"])
@deferred_f_from_coro_f
async def test_limits_count_for_their_window_and_run(server: RedisServer, window: str) -> None:
    async with (
        opened(server.url, "a", window=window) as (a,),
        opened(server.url, "b", window=window, run="other") as (b,),
    ):
        own, other = limits(a, max_solves=1), limits(b, max_solves=1)
        await end(a, await open_task(a, own, 1))
        assert await do(other.reserve(receipt(2))) is None
        with pytest.raises(CaptchaBudgetError):
            await do(own.reserve(receipt(3)))
        client = server.client()
        (key,) = [key for key in client.keys("capsolver:limits:run*") if not key.endswith(":open")]
        assert key.startswith(
            f"capsolver:limits:{a.fleet.run}" if window == "run" else f"capsolver:limits:run:{window}:"
        )
        assert 0 < client.ttl(key) <= {"run": 3600, "hour": 7200, "day": 2 * 86400}[window]


def forgets(server: RedisServer) -> None:
    server.client().flushall()


def evicts(server: RedisServer) -> None:
    client = server.client()
    client.delete(*client.keys("capsolver:limits:*"))


@pytest.mark.parametrize("loses", [forgets, evicts])
@deferred_f_from_coro_f
async def test_what_the_server_forgot_the_workers_remember(server: RedisServer, loses: Any) -> None:
    """Each of them knows what it has seen last: the others' part as well, where it came later."""
    async with opened(server.url, "a", "b") as (a, b):
        own, other = limits(a, max_solves=4), limits(b, max_solves=4)
        await end(a, await open_task(a, own, 1))
        under_way = await open_task(b, other, 2)
        loses(server)
        assert await do(own.reserve(receipt(3))) is None
        assert await do(other.reserve(receipt(4))) is None
        waiting = Deferred.fromCoroutine(own.reserve(receipt(5)))
        await until(lambda: server.client().hgetall(f"capsolver:limits:{a.fleet.run}").get("waiting"))
        other.settle(under_way, charged=False)
        assert await maybe_deferred_to_future(waiting) is None


@deferred_f_from_coro_f
async def test_a_server_that_went_back_in_time_is_brought_up_to_date(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The replica that takes over may lack the last writes."""
    monkeypatch.setattr("scrapy_capsolver.stores.redis.reservations._GRACE_SECONDS", 0.2)
    monkeypatch.setattr(link, "COMMAND_SECONDS", 1.0)
    async with opened(server.url, "a") as (a,):
        own = limits(a, max_solves=3)
        await end(a, await open_task(a, own, 1))
        await end(a, await open_task(a, own, 2))
        client = server.client()
        client.hset(f"capsolver:limits:{a.fleet.run}", "u:s", "1")
        client.client_kill_filter(_type="normal", skipme=True)
        a._link._fall(ConnectionError("failed over"))
        await do(a.fleet.back())
        assert await do(own.reserve(receipt(3))) is None
        await end(a, receipt(3))
        with pytest.raises(CaptchaBudgetError):
            await do(own.reserve(receipt(4)))


@pytest.mark.parametrize("window", ["run", "day"])
@deferred_f_from_coro_f
async def test_what_was_bought_without_the_server_counts_where_it_belongs(server: RedisServer, window: str) -> None:
    async with opened(server.url, "a", window=window) as (a,):
        own = limits(a, max_solves=1, allowance=1)
        a._link._fall(ConnectionError("cut"))
        assert await do(own.reserve(receipt(1))) is None
        await do(a.fleet.back())
        await written(a)
        await end(a, receipt(1))
        with pytest.raises(CaptchaBudgetError):
            await do(own.reserve(receipt(2)))
        (key,) = server.client().keys("capsolver:limits:*")
        assert server.client().ttl(key) > (3600 if window == "day" else 0)


@deferred_f_from_coro_f
async def test_a_worker_that_comes_while_limits_are_forgotten_does_not_go_ahead(server: RedisServer) -> None:
    async with opened(server.url, "a", "b") as (a, b):
        own, other = limits(a, max_solves=2), limits(b, max_solves=2)
        await end(a, await open_task(a, own, 1))
        await end(a, await open_task(a, own, 2))
        await until(lambda: server.client().hgetall("capsolver:knows:run").get("a"))  # by its next sign of life
        evicts(server)
        with pytest.raises(CaptchaBudgetError):
            await do(other.reserve(receipt(3)))


@deferred_f_from_coro_f
async def test_limits_that_begin_are_not_held(server: RedisServer) -> None:
    async with opened(server.url, "a", "b") as (a, b):
        began = time.monotonic()
        for number, store in enumerate((a, b)):
            assert await do(limits(store, max_solves=2).reserve(receipt(number))) is None
        assert time.monotonic() - began < 2


@deferred_f_from_coro_f
async def test_keys_of_somebody_else_are_an_error_that_says_so(server: RedisServer) -> None:
    async with opened(server.url, "a") as (a,):
        server.client().set(f"capsolver:limits:{a.fleet.run}", "x")
        with pytest.raises(CaptchaStoreError, match="is the prefix of its keys another's"):
            await do(limits(a, max_solves=2).reserve(receipt(1)))
        server.client().set("capsolver:clearances:shop.example", "x")
        with pytest.raises(CaptchaStoreError, match="WRONGTYPE"):
            await do(a.lease(KEY, ""))
        assert a._link.is_up


# What the dead have left


@deferred_f_from_coro_f
async def test_who_needs_the_same_goes_on_with_it(server: RedisServer) -> None:
    async with opened(server.url, "a", "b") as (a, b):
        own, other = limits(a, max_solves=1), limits(b, max_solves=1)
        taken = await open_task(a, own, 1, "mark")
        die(server, "a")
        for mark in ("another", ""):
            waiting = Deferred.fromCoroutine(other.reserve(receipt(2), mark))
            waiting.addErrback(lambda _: None)
            await until(lambda: server.client().hgetall(f"capsolver:limits:{a.fleet.run}").get("waiting"))
            waiting.cancel()
        note = await do(other.reserve(receipt(3), "mark"))
        assert (note.receipt.task, note.receipt.reservation, note.mark) == ("t1", "r1", "mark")
        assert time.time() - note.created < 20
        await end(a, taken, "failed")  # it was only paused, and is not heard
        await end(b, note.receipt)
        assert booked(server) == {"solved/tasks": 1, "solved/nano": 100}


@deferred_f_from_coro_f
async def test_a_task_of_a_worker_that_left_is_there_at_once(server: RedisServer) -> None:
    async with opened(server.url, "a", "b") as (a, b):
        taken = await open_task(a, limits(a), 1, "mark")
        a.fleet.reservations.leave(taken.reservation)
        await written(a)
        note = await do(limits(b).reserve(receipt(2), "mark"))
        assert note.receipt.task == "t1"


@deferred_f_from_coro_f
async def test_a_task_of_a_worker_that_lives_is_its_own(server: RedisServer) -> None:
    async with opened(server.url, "a", "b") as (a, b):
        await open_task(a, limits(a), 1, "mark")
        assert await do(limits(b).reserve(receipt(2), "mark")) is None


@deferred_f_from_coro_f
async def test_where_a_limit_waits_for_a_dead_worker_somebody_asks_what_became_of_its_tasks(
    server: RedisServer,
) -> None:
    async with opened(server.url, "a", "b") as (a, b):
        own, other = limits(a, max_solves=3), limits(b, max_solves=3)
        for number in (1, 2):
            await open_task(a, own, number, f"mark{number}")
        assert await do(own.reserve(receipt(3))) is None  # it dies before CapSolver answers: nobody knows
        orphans: list[Any] = []
        b.fleet.on_orphan = orphans.append
        a.fleet.close()  # its heart stands still
        die(server, "a")
        waiting = Deferred.fromCoroutine(other.reserve(receipt(4)))
        await until(lambda: len(orphans) == 2)
        assert {left.task for left in orphans} == {"t1", "t2"}
        b.fleet.reservations.paid("r1")
        b.fleet.reservations.finish("r2", "failed", charged=False)
        assert await maybe_deferred_to_future(waiting) is None
        await written(b)
        assert booked(server) == {
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
        assert "undelivered/tasks" not in booked(server)
        assert booked(server)["solved/tasks"] == 1


@pytest.mark.parametrize("account", ["a", "other"])
@deferred_f_from_coro_f
async def test_the_dead_of_an_ended_run_are_looked_after_by_who_can_ask_for_them(
    server: RedisServer, account: str
) -> None:
    """The limits of a day outlive a run; CapSolver answers for a task only to the key that it was created with."""
    async with opened(server.url, "a", window="day") as (a,):
        await open_task(a, limits(a, max_solves=1), 1)
        a.fleet.close()
        die(server, "a")
        server.client().delete("capsolver:run:run")
        store: Any = open_store(server.url, Scope(worker="b", account=account, window="day"))
        orphans: list[Any] = []
        store.fleet.on_orphan = orphans.append
        store.open()
        await do(store.fleet.back())
        assert store.fleet.run != a.fleet.run
        waiting = Deferred.fromCoroutine(limits(store, max_solves=1).reserve(receipt(2)))
        waiting.addErrback(lambda _: None)
        if account == "a":
            await until(lambda: orphans)
            assert [left.task for left in orphans] == ["t1"]
        else:
            beats = store.commands
            await until(lambda: store.commands >= beats + 3)
            assert orphans == []
        waiting.cancel()
        await do(store.leave())


# What one learns for all


@deferred_f_from_coro_f
async def test_solve_times_are_there_for_who_comes_later(server: RedisServer) -> None:
    async with opened(server.url, "a") as (a,):
        for seconds in (1.5, 2.5, 3.25):
            a.fleet.took("T", seconds)
        await written(a)
        store: Any = open_store(server.url, Scope(worker="b"))
        learned: list[Any] = []
        store.fleet.on_times = lambda task_type, seconds: learned.append((task_type, seconds))
        store.open()
        await do(store.fleet.back())
        store._link._fall(ConnectionError("cut"))
        await do(store.fleet.back())
        await do(store.leave())
    assert learned == [("T", [1.5, 2.5, 3.25])]  # once


@deferred_f_from_coro_f
async def test_a_breaker_is_heard_of_by_workers_of_the_account_alone_and_by_those_who_come(server: RedisServer) -> None:
    async with (
        opened(server.url, "a", "b") as (a, b),
        opened(server.url, "c", run="other") as (c,),
    ):
        stranger: Any = open_store(server.url, Scope(worker="d", account="other"))
        stranger.open()
        await do(stranger.fleet.back())
        heard: list[Any] = []
        for name, store in {"a": a, "b": b, "c": c, "d": stranger}.items():
            store.fleet.on_breaker = lambda what, seconds, name=name: heard.append((name, what["kind"], round(seconds)))
        began = time.monotonic()
        a.fleet.tell_breaker("pause", {"kind": "pause", "why": "w", "code": "c"}, 100.0)
        await until(lambda: len(heard) == 2)
        assert time.monotonic() - began < 20
        assert sorted(heard) == [("b", "pause", 100), ("c", "pause", 100)]
        a.fleet.tell_breaker("stop ", {"kind": "stop", "name": "x", "message": "m", "code": None, "type": None}, 100.0)
        await until(lambda: len(heard) == 4)
        late: Any = open_store(server.url, Scope(worker="e", account="a"))
        late.fleet.on_breaker = lambda what, seconds: heard.append(("e", what["kind"], round(seconds)))
        late.open()
        await do(late.fleet.back())
        assert [one for one in heard if one[0] == "e"] == [("e", "pause", 100)]  # it looks at the account itself
        late._link._fall(ConnectionError("cut"))
        await do(late.fleet.back())
        assert {kind for name, kind, _ in heard if name == "e"} == {"pause", "stop"}
        for store in (stranger, late):
            await do(store.leave())


# The server fails


@deferred_f_from_coro_f
async def test_each_change_is_told_once(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(server.url, "a") as (a,):
        await do(a.save(KEY, ONE))
        await written(a)
        for _ in range(2):
            caplog.clear()
            server.kill()
            await until(lambda: not a._link.is_up)
            await do(a.save(KEY, replace(ONE, id="2")))
            assert await do(a.load(KEY.site)) == {KEY: replace(ONE, id="2")}
            assert await do(a.load("other.example")) == {}
            server.start()
            await do(a.fleet.back())
            lines = [record.getMessage() for record in caplog.records if record.name.startswith("scrapy_capsolver")]
            assert len(lines) == 2
            assert lines[0].startswith(f"CAPSOLVER_STORE: redis://127.0.0.1:{server.port}/0 is away (")
            assert " is back after " in lines[1]
        await written(a)
        a._fresh.clear()
        assert await do(a.load(KEY.site)) == {KEY: replace(ONE, id="2")}  # written once it was back


@deferred_f_from_coro_f
async def test_without_a_ledger_nothing_is_bought_but_what_is_allowed(server: RedisServer) -> None:
    async with opened(server.url, "a") as (a,):
        a.fleet.patience = 0.5
        server.kill()
        await until(lambda: not a._link.is_up)
        own = limits(a, max_solves=3, allowance=2)
        for number in (1, 2):
            assert await do(own.reserve(receipt(number))) is None
        with pytest.raises(CaptchaStoreError, match=r"did not come back within 0\.5 s"):
            await do(own.reserve(receipt(3)))
        with pytest.raises(CaptchaStoreError):
            await do(a.lease(KEY, ""))
        a.allows_offline = True
        assert isinstance(await do(a.lease(KEY, "")), Lease)
        a.fleet.patience = 20.0
        waiting = Deferred.fromCoroutine(own.reserve(receipt(4)))
        server.start()
        assert await maybe_deferred_to_future(waiting) is None
        await written(a)
        for number in (1, 2, 4):
            await end(a, receipt(number))
        with pytest.raises(CaptchaBudgetError, match="3 solves"):
            await do(own.reserve(receipt(5)))


def full(client: Any) -> Callable[[], Any]:
    """Gives what makes room again."""
    client.config_set("maxmemory", "1mb")
    return lambda: client.config_set("maxmemory", "0")


def read_only(client: Any) -> Callable[[], Any]:
    """Gives what has it take writes again."""
    client.replicaof("127.0.0.1", "1")
    return lambda: client.replicaof("NO", "ONE")


@pytest.mark.parametrize("refuses", [full, read_only])
@deferred_f_from_coro_f
async def test_a_server_that_takes_no_writes_is_away_until_it_does(server: RedisServer, refuses: Any) -> None:
    async with opened(server.url, "a") as (a,):
        own = limits(a)
        mend = refuses(server.client())
        waiting = Deferred.fromCoroutine(own.reserve(receipt(1)))
        await until(lambda: not a._link.is_up)
        assert not waiting.called
        mend()
        assert await maybe_deferred_to_future(waiting) is None


@deferred_f_from_coro_f
async def test_a_fail_over_to_a_replica_loses_nothing(server: RedisServer) -> None:
    route = Route(server.port)
    with redis_server(replicaof=f"127.0.0.1 {server.port}") as replica:
        await until(lambda: replica.client().info("replication")["master_link_status"] == "up")
        async with opened(route.url, "a") as (a,):
            own = limits(a, max_solves=3)
            await end(a, await open_task(a, own, 1))
            taken = await open_task(a, own, 2)
            await until(lambda: replica.client().keys("capsolver:task:r2"))
            server.kill()
            route.lead_to(replica.port)
            waiting = Deferred.fromCoroutine(own.reserve(receipt(3)))
            replica.client().replicaof("NO", "ONE")
            assert await maybe_deferred_to_future(waiting) is None
            await end(a, taken)
            await end(a, receipt(3))
            with pytest.raises(CaptchaBudgetError):
                await do(own.reserve(receipt(4)))
            assert booked(replica)["solved/tasks"] == 3
    route.close()


@deferred_f_from_coro_f
async def test_a_slow_server_is_waited_for(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    route = Route(server.port)
    async with opened(route.url, "a") as (a,):
        own = limits(a, max_solves=30)
        route.delay = 0.5
        began = time.monotonic()
        asked = [Deferred.fromCoroutine(own.reserve(receipt(number))) for number in range(30)]
        for one in asked:
            assert await maybe_deferred_to_future(one) is None
        assert time.monotonic() - began < 10  # together, not one after the other
        route.delay = 0.0
    assert not [record for record in caplog.records if "away" in record.getMessage()]
    route.close()


# At the start


def refused(url: str) -> str:
    with pytest.raises(StoreError) as caught:
        open_store(url)
    return str(caught.value)


def test_a_server_that_does_not_answer_is_said_so_at_the_start(server: RedisServer) -> None:
    server.kill()
    message = refused(f"redis://user:secret@127.0.0.1:{server.port}/3")
    assert message.startswith(f"redis://127.0.0.1:{server.port}/3 cannot be used: ConnectionError")
    assert "secret" not in message


def test_a_wrong_password_is_said_so_and_not_shown(server: RedisServer) -> None:
    server.client().config_set("requirepass", "right")
    message = refused(f"redis://:wrong@127.0.0.1:{server.port}/0")
    assert "AuthenticationError" in message
    assert "wrong" not in message.replace("wrong number", "")
    open_store(f"redis://:right@127.0.0.1:{server.port}/0").close()


@pytest.mark.skipif(on_asyncio(), reason="it needs another reactor: pytest --reactor=default")
def test_another_reactor_is_said_so() -> None:
    assert "needs Twisted's asyncio reactor" in refused("redis://127.0.0.1:1/0")


def test_a_server_that_forgets_keys_is_warned_of(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    client = server.client()
    client.config_set("maxmemory", "50mb")
    client.config_set("maxmemory-policy", "allkeys-lru")
    with caplog.at_level(logging.WARNING):
        open_store(server.url).close()
    (line,) = [record.getMessage() for record in caplog.records]
    assert "maxmemory-policy allkeys-lru" in line


@deferred_f_from_coro_f
async def test_every_key_has_the_prefix_and_an_expiry(server: RedisServer) -> None:
    async with opened(server.url, "a", "b", prefix="mine") as (a, _):
        own = limits(a, max_solves=5, max_solves_per_domain=5)
        await end(a, await open_task(a, own, 1, "mark"))
        await open_task(a, own, 2, "mark2")
        lease = await do(a.lease(KEY, ""))
        await do(a.save(KEY, ONE))
        a.fleet.took("T", 1.0)
        a.fleet.record("{}")
        a.fleet.tell_breaker("pause", {"kind": "pause"}, 5.0)
        await written(a)
        client = server.client()
        await until(lambda: client.exists("mine:knows:run"))
        keys = client.keys("*")
        assert {key.split(":")[0] for key in keys} == {"mine"}
        assert [key for key in keys if client.ttl(key) < 0] == []
        assert len({key.split(":")[1] for key in keys}) == 20
        lease.end()
