"""The server fails, in all the ways in which it can, and is there again."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from scrapy.utils.defer import deferred_f_from_coro_f

from scrapy_capsolver.errors import CaptchaBudgetError, CaptchaStoreError
from scrapy_capsolver.stores import Lease
from tests.redis_server import Route, needs_redis, redis_server
from tests.stores.redis.workers import (
    KEY,
    ONE,
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
    reconnect,
    until,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = needs_redis


@deferred_f_from_coro_f
async def test_each_change_is_reported_once(own_place: Place, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(own_place, "a") as (a,):
        await do(a.save(KEY, ONE))
        await written(a)
        for _ in range(2):
            caplog.clear()
            own_place.server.kill()
            with pytest.raises(Exception, match=r"Redis is away|Connection"):
                await end_of(a._link.call("PING"))
            await do(a.save(KEY, replace(ONE, id="2")))
            assert await do(a.load(KEY.site)) == {KEY: replace(ONE, id="2")}
            assert await do(a.load("other.example")) == {}
            own_place.server.start()
            await do(a.fleet.back())
            lines = [record.getMessage() for record in caplog.records if record.name.startswith("scrapy_capsolver")]
            assert len(lines) == 2
            assert lines[0].startswith(f"CAPSOLVER_STORE: redis://127.0.0.1:{own_place.server.port}/0 is away (")
            assert " is back after " in lines[1]
        await written(a)
        a._fresh.clear()
        assert await do(a.load(KEY.site)) == {KEY: replace(ONE, id="2")}  # written once it was back


@deferred_f_from_coro_f
async def test_without_a_ledger_only_what_is_allowed_is_bought(own_place: Place) -> None:
    async with opened(own_place, "a") as (a,):
        a.fleet.patience = 0.2
        own_place.server.kill()
        await end_of(a._link.call("PING").addErrback(lambda _: None))
        own = limits(a, max_solves=3, allowance=2)
        for number in (1, 2):
            assert await do(own.reserve(receipt(number))) is None
        with pytest.raises(CaptchaStoreError, match=r"did not come back within 0\.2 s"):
            await do(own.reserve(receipt(3)))
        with pytest.raises(CaptchaStoreError):
            await do(a.lease(KEY, ""))
        a.allows_offline = True
        assert isinstance(await do(a.lease(KEY, "")), Lease)
        a.fleet.patience = 20.0
        waiting = begun(own.reserve(receipt(4)))
        own_place.server.start()
        assert await end_of(waiting) is None
        await written(a)
        for number in (1, 2, 4):
            await end(a, receipt(number))
        with pytest.raises(CaptchaBudgetError, match="3 solves"):
            await do(own.reserve(receipt(5)))


def full(client: Any) -> Callable[[], Any]:
    """Returns what makes room again."""
    client.config_set("maxmemory", "1")
    return lambda: client.config_set("maxmemory", "0")


def read_only(client: Any) -> Callable[[], Any]:
    """Returns what has it take writes again."""
    client.replicaof("127.0.0.1", "1")
    return lambda: client.replicaof("NO", "ONE")


@pytest.mark.parametrize("refuses", [full, read_only])
@deferred_f_from_coro_f
async def test_a_server_that_takes_no_writes_is_away(own_place: Place, refuses: Any) -> None:
    """Nothing is half done: when it takes writes again, each counts once."""
    async with opened(own_place, "a") as (a,):
        own = limits(a)
        taken = await open_task(a, own, 1, "mark")
        mend = refuses(own_place.redis)
        waiting = begun(own.reserve(receipt(2)))
        await until(lambda: not a._link.is_up)
        a.fleet.reservations.finish(taken.reservation, "solved", charged=True)
        assert not waiting.called
        mend()
        assert await end_of(waiting) is None
        await written(a)
        assert own_place.booked() == {"solved/tasks": 1, "solved/nano": 100}
        assert list(own_place.parts()) == ["r2"]


@deferred_f_from_coro_f
async def test_a_fail_over_to_a_replica_loses_nothing(own_place: Place) -> None:
    server = own_place.server
    own_place.redis.config_set("repl-diskless-sync-delay", 0)
    route = Route(server.port)
    with redis_server(replicaof=f"127.0.0.1 {server.port}") as replica:
        there = Place(replica, own_place.prefix)
        await until(lambda: replica.client().info("replication")["master_link_status"] == "up")
        async with opened(Place(_Routed(route), own_place.prefix), "a") as (a,):  # type: ignore[arg-type]
            own = limits(a, max_solves=3)
            await end(a, await open_task(a, own, 1))
            taken = await open_task(a, own, 2)
            await until(lambda: there.keys("task:r2"))
            server.kill()
            route.lead_to(replica.port)
            waiting = begun(own.reserve(receipt(3)))
            replica.client().replicaof("NO", "ONE")
            assert await end_of(waiting) is None
            await end(a, taken)
            await end(a, receipt(3))
            with pytest.raises(CaptchaBudgetError):
                await do(own.reserve(receipt(4)))
            assert there.booked()["solved/tasks"] == 3
    route.close()


class _Routed:
    def __init__(self, route: Route) -> None:
        self.url = route.url


@deferred_f_from_coro_f
async def test_many_solves_wait_once_for_a_slow_server(place: Place) -> None:
    """What is asked meanwhile goes together: some round trips for all, and not one for each."""
    route = Route(place.server.port)
    async with opened(Place(_Routed(route), place.prefix), "a") as (a,):  # type: ignore[arg-type]
        own = limits(a)
        await do(own.reserve(receipt(0)))
        pipe, sent = a._link._pipe, list[int]()
        a._link._pipe = lambda batch: (sent.append(len(batch)), pipe(batch))[1]
        route.delay = 0.1
        asked = [begun(own.reserve(receipt(number))) for number in range(1, 31)]
        for one in asked:
            assert await end_of(one) is None
        route.delay = 0.0
        assert sum(sent) == 30
        assert len(sent) <= 2
    route.close()


@deferred_f_from_coro_f
async def test_scripts_that_the_server_lost_are_sent_again(place: Place) -> None:
    async with opened(place, "a") as (a,):
        place.redis.script_flush()
        own = limits(a)
        assert [await end_of(one) for one in [begun(own.reserve(receipt(number))) for number in range(3)]] == [None] * 3
        assert len(place.parts()) == 3


@deferred_f_from_coro_f
async def test_calls_fail_at_once_while_it_is_away(place: Place) -> None:
    """Those that are queued too, so that nothing is sent before the new connection has said what is this worker's."""
    async with opened(place, "a", timings=replace(TIMINGS, retry=1000.0, leave=0.1)) as (a,):
        calls = [a._link.call("NOSUCHCOMMAND"), *(a._link.call("PING") for _ in range(600))]
        outcomes = [await end_of(one.addErrback(lambda failure: failure.value)) for one in calls]
        assert outcomes[1] is True  # of the same pipeline
        assert str(outcomes[-1]) == "Redis is away"
        assert a._link.is_away


@deferred_f_from_coro_f
async def test_an_answer_that_is_not_understood_is_reported(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """A mistake of this package ends nothing: the connection is made again."""
    async with opened(place, "a") as (a,):
        came, failed = a._link._came, list[int]()

        async def fails_once() -> None:
            if not failed:
                failed.append(1)
                raise KeyError("a bug")
            await came()

        a._link._came = fails_once
        await reconnect(a)
        await beat(a)
    assert failed
    texts = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert texts == [f"CAPSOLVER_STORE: {place.url} answered what is not understood"]
