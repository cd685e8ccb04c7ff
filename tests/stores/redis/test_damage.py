"""Keys that are damaged: each is reported at once, in one line, and what does not need them goes on."""

from __future__ import annotations

import json
import logging
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from scrapy.utils.defer import deferred_f_from_coro_f

from scrapy_capsolver.errors import CaptchaBudgetError, CaptchaStoreError
from scrapy_capsolver.stores import Lease, Spend
from tests.redis_server import needs_redis
from tests.stores.redis.workers import (
    KEY,
    ONE,
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
    written,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.stores.redis.workers import Place

pytestmark = needs_redis

FIELD = json.dumps([KEY.scope, KEY.family, KEY.proxy, KEY.user_agent, KEY.jar])
MOST = 1000  # solves


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged, without the connection that was lost on purpose, and the ledger that was entered again."""
    texts = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    return [text for text in texts if "NOSUCHCOMMAND" not in text and "entered again" not in text]


class Scenario:
    """Two workers that use every key there is."""

    def __init__(self, place: Place, a: Any, b: Any) -> None:
        self.place, self.a, self.b = place, a, b
        self.number = 0
        self.created = 0

    async def run(self) -> None:
        a, b = self.a, self.b
        await beat(a, b)
        await reconnect(b)
        for store, other in ((a, b), (b, a)):
            taken = await self.task(store, "mark")
            if taken is not None:
                store.fleet.reservations.leave(taken.reservation)
                await written(store)
            await self.task(other, "mark", ends=True)
            await self.task(store, "", ends=True)
            store._fresh.clear()
            await do(store.load(KEY.site))
            held = store.known(KEY.site).get(KEY)
            lease = await do(store.lease(KEY, "" if held is None else held.id))
            if isinstance(lease, Lease):
                await do(store.save(KEY, replace(ONE, id=f"{self.number}", fence=lease.fence)))
                lease.end()
            await do(store.save(replace(KEY, site="other.example"), ONE))
            store.fleet.took("T", 1.0)
            store.fleet.record("{}")
            store.fleet.tell_breaker("hold", {"kind": "hold"}, 5.0)
            await do(store.spend(Spend("s", "shop.example", "datadome", "rejected", 1, 100), closes=""))
            await written(store)
        await self.task(a, "", ends=False)
        b.fleet.reservations.leave((await self.task(b, "mark2") or receipt(0)).reservation)
        await do(a.lease(replace(KEY, jar="held"), ""))
        await written(a, b)
        await beat(a, b)

    async def task(self, store: Any, mark: str, *, ends: bool = False) -> Any:
        self.number += 1
        own = limits(store, max_solves=MOST, max_solves_per_domain=MOST)
        try:
            token = await do(own.reserve(receipt(self.number), mark))
        except CaptchaStoreError:
            return None
        taken = replace(receipt(self.number), task=f"t{self.number}") if token is None else token.receipt
        if token is None:
            self.created += 1
            store.fleet.reservations.opened(taken.reservation, taken.task)
        await written(store)
        if ends:
            await end(store, taken)
        return taken


def damages(place: Place, key: str, dice: random.Random) -> list[Callable[[], Any]]:
    """Return ways to damage the key, each anew."""
    name, redis = place.key(key), place.server.client(encoding_errors="replace")
    fields = redis.hkeys(name) if redis.type(name) == "hash" else []
    field = dice.choice(fields) if fields else ""
    member = redis.zrange(name, 0, -1) if redis.type(name) == "zset" else []
    kind = redis.type(name)

    def another_type() -> None:
        redis.delete(name)
        redis.set(name, dice.randbytes(20)) if kind != "string" else redis.rpush(name, "x")

    def another(value: Any) -> Callable[[], Any]:
        return {
            "string": lambda: redis.set(name, value),
            "hash": lambda: redis.hset(name, field, value),
            "set": lambda: redis.sadd(name, value),
            "list": lambda: redis.lset(name, 0, value),
            "zset": lambda: redis.zadd(name, {value: dice.choice([-1e300, 1e300, 0.0, 5e9])}),
        }[kind]

    def part(value: Any) -> Callable[[], Any]:
        """Of a JSON object."""

        def change() -> None:
            text = redis.get(name) if kind == "string" else redis.hget(name, field)
            try:
                whole = json.loads(text)
                whole[dice.choice(sorted(whole))] = value
            except (ValueError, TypeError, IndexError):
                whole = value
            another(json.dumps(whole))()

        return change

    values = [None, True, -1, 0.5, 1e300, 2**60, float("nan"), "x", "", [], {}, [[]], {"a": {"b": 1}}]
    found = [another_type, lambda: redis.delete(name), another(dice.randbytes(dice.randrange(30)))]
    found += [another(str(number)) for number in ("-5", "nan", "inf", "1e300", 2**60, "0x10", "")]
    found += [part(value) for value in dice.sample(values, 5)] if kind in {"string", "hash"} else []
    if fields:
        found.append(lambda: redis.hdel(name, field))
    if member:
        found += [
            lambda score=score: redis.zadd(name, {dice.choice(member): score})  # type: ignore[misc]
            for score in ("inf", "-inf", -1, 1e300)
        ]
    return found


KINDS = (
    *("account", "breaker", "clearances", "fence", "flight", "knows", "ledger", "left", "limits", "mark", "open"),
    *("present", "records", "run", "runs", "seen", "session", "task", "times", "types", "workers"),
)


async def damage_and_go_on(place: Place, caplog: pytest.LogCaptureFixture, kind: str, number: int, seed: str) -> None:
    """Damage keys of this kind so often, each time in another way."""
    dice = random.Random(seed)
    async with opened(place, "a", "b") as (a, b):
        scenario = Scenario(place, a, b)
        done = 0
        while done < number:
            await scenario.run()
            assert lines(caplog) == []
            key = dice.choice([key for key in place.keys("*") if key.split(":")[0] == kind])
            ways = damages(place, key, dice)
            dice.shuffle(ways)
            ways[0]()
            done += 1
            await scenario.run()
            said = lines(caplog)
            for line in said:
                assert line.startswith(f"CAPSOLVER_STORE: {place.url}: the key {place.key(key)[:60]}"), line
                assert "\n" not in line
            assert len(said) <= 2, said  # each worker says it
            assert a._link.is_up
            assert b._link.is_up
            caplog.clear()
            for store in (a, b):
                store._damage._known.clear()
            if place.redis.type(place.key(key)) not in {"none", "hash", "set", "zset"}:
                place.redis.delete(place.key(key))
        for lease in place.keys("flight:*"):
            place.redis.delete(place.key(lease))


@pytest.mark.parametrize("kind", KINDS)
@deferred_f_from_coro_f
async def test_whatever_is_in_a_key_the_rest_goes_on(place: Place, caplog: pytest.LogCaptureFixture, kind: str) -> None:
    """Random bytes, numbers and JSON, another type, and nothing: one line for the key at most, and none for any other."""
    await damage_and_go_on(place, caplog, kind, 5, kind)


TYPE = "holds another kind of value"


@pytest.mark.parametrize(
    ("key", "damage", "fault"),
    [
        ("limits:{run}", lambda redis, key: redis.hset(key, "u:s", b"gar\x00bage"), "u:s is no count"),
        ("limits:{run}", lambda redis, key: redis.hset(key, "u:n", "-1"), "u:n is no count"),
        (
            "limits:{run}",
            lambda redis, key: redis.hset(key, "site:shop.example", "1e9"),
            "site:shop.example is no count",
        ),
        ("limits:{run}", lambda redis, key: redis.hset(key, "version", 2**60), "version is no count"),
        ("limits:{run}", lambda redis, key: redis.hset(key, "hold", "x"), "hold is no time"),
        ("limits:{run}", lambda redis, key: redis.hset(key, "hold", "9e9"), "hold is no time"),
        ("limits:{run}", lambda redis, key: redis.hdel(key, "hold"), "hold is missing"),
        ("limits:{run}", lambda redis, key: redis.hset(key, "generation", "a b"), "generation is none"),
        ("limits:{run}:open", lambda redis, key: redis.hset(key, "r1", "{"), "r1 is no part of the limits"),
        ("limits:{run}:open", lambda redis, key: redis.hset(key, "r1", "[1, 2, 3]"), "r1 is no part of the limits"),
        ("task:r1", lambda redis, key: redis.set(key, b"\xff\x00"), "is no JSON object"),
        ("task:r1", lambda redis, key: redis.set(key, "[1]"), "spider is no text"),
        ("task:r1", lambda redis, key: redis.set(key, change(redis.get(key), nano=-1)), "nano is no count"),
        (
            "task:r1",
            lambda redis, key: redis.set(key, change(redis.get(key), state="x")),
            "state is none that a task has",
        ),
        ("task:r1", lambda redis, key: redis.set(key, change(redis.get(key), created=1e12)), "created is no time"),
        (
            "task:r1",
            lambda redis, key: redis.set(key, change(redis.get(key), ledger="x")),
            "ledger is no key of a ledger",
        ),
        ("task:r1", lambda redis, key: redis.set(key, change(redis.get(key), mark=None)), "mark is no text"),
        ("clearances:shop.example", lambda redis, key: redis.hset(key, FIELD, "{}"), f"{FIELD} is no clearance"),
        ("clearances:shop.example", lambda redis, key: [redis.delete(key), redis.set(key, "x")], TYPE),
        ("seen", lambda redis, key: redis.zrem(key, "@listened"), "has no time, or one that cannot be"),
        ("session:a", lambda redis, key: redis.hset(key, "connection", "x"), "connection is no count"),
        ("ledger:{run}", lambda redis, key: redis.hset(key, "worker/a/bookings", "x"), "worker/a/bookings is no count"),
        ("run:run", lambda redis, key: redis.set(key, "a b\n"), "is no beginning of a run"),
        ("breaker:a", lambda redis, key: redis.hset(key, "pause", "{}"), "pause is no state of a breaker"),
        ("times:T", lambda redis, key: redis.lset(key, 0, "x"), "1 is no number of seconds"),
        ("fence", lambda redis, key: redis.set(key, "x"), "is no count"),
        ("flight:*", lambda redis, key: redis.set(key, "x"), "is no lease"),
        ("workers:{run}", lambda redis, key: redis.zadd(key, {"x": "inf"}), "has a time that cannot be"),
        ("account:a", lambda redis, key: redis.zadd(key, {"x": "inf"}), "has a time that cannot be"),
        ("mark:mark", lambda redis, key: [redis.delete(key), redis.set(key, "x")], TYPE),
    ],
)
@deferred_f_from_coro_f
async def test_what_is_damaged_is_said_by_key(
    place: Place, caplog: pytest.LogCaptureFixture, key: str, damage: Any, fault: str
) -> None:
    """At once: by the next command that needs it. And all that was asked for is done."""
    async with opened(place, "a", "b") as (a, b):
        own = limits(a, max_solves=2, max_solves_per_domain=9)
        taken = await open_task(a, own, 1, "mark")
        lease = await do(a.lease(KEY, ""))
        await do(a.save(KEY, ONE))
        a.fleet.took("T", 1.0)
        a.fleet.tell_breaker("pause", {"kind": "pause"}, 5.0)
        await do(a.spend(Spend("s", "shop.example", "datadome", "rejected", 1, 100), closes=""))
        await written(a)
        await beat(a, b)
        (name,) = place.keys(key.format(run=a.fleet.run))
        damage(place.server.client(encoding_errors="replace"), place.key(name))
        counted: list[int] = []
        a.fleet.on_damage = lambda: counted.append(1)
        a._fresh.clear()
        await do(a.load(KEY.site))
        assert await do(own.reserve(receipt(2), "mark")) is None
        await do(a.lease(KEY, "1"))
        (await do(a.lease(replace(KEY, jar="2"), ""))).end()
        waiting = begun(own.reserve(receipt(3), "mark"))
        await reconnect(a)
        assert not waiting.called
        for one in (taken, receipt(2)):
            await end(a, one)
        with pytest.raises(CaptchaBudgetError):
            await end_of(waiting)
        start = f"CAPSOLVER_STORE: {place.url}: the key {place.key(name)} is damaged"
        assert lines(caplog) == [f"{start} ({fault}). What cannot be read counts as forgotten"]
        assert counted == [1]
        assert place.booked()["solved/tasks"] == 2
        assert place.parts() == {}
        lease.end()


@deferred_f_from_coro_f
async def test_a_time_that_cannot_be_is_no_life(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """A worker with such a sign of life counts as heard now, and is dead when it is silent from then on."""
    async with opened(place, "a", "b") as (a, b):
        await do(a.lease(KEY, ""))
        place.redis.zadd(place.key("seen"), {"a": "inf"})
        waiting = begun(b.lease(KEY, ""))
        await beat(b)
        start = f"CAPSOLVER_STORE: {place.url}: the key {place.key('seen')} is damaged"
        assert lines(caplog) == [f"{start} (a has a time that cannot be). What cannot be read counts as forgotten"]
        assert not waiting.called
        waiting.addErrback(lambda _: None)
        waiting.cancel()
        place.silence("a")
        (await do(b.lease(KEY, ""))).end()


def change(text: str, **values: Any) -> str:
    return json.dumps({**json.loads(text), **values})


@deferred_f_from_coro_f
async def test_a_name_that_is_damaged_moves_no_cursor(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """It is shown in one line, and not all of it."""
    async with opened(place, "a") as (a,):
        a._damage.found(
            [f"{place.prefix}:x\n\x1b[2J" + "y" * 1000, "f\r" + "z" * 1000, "is no count"]
            + [part for number in range(9) for part in ("k", "", f"x{number}")]
        )
    first, second = lines(caplog)
    assert first.isprintable()
    assert "x\\n\\x1b[2Jyyy" in first
    assert len(first) < 600
    assert "the key k is damaged (x0, x1, x2, x3, x4 and 4 more)" in second
