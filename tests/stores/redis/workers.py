"""Workers of a cluster, each a store in this process."""

from __future__ import annotations

import json
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pytest
from scrapy.utils.defer import maybe_deferred_to_future
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from scrapy_capsolver.solving.ledger import Receipt
from scrapy_capsolver.stores import Clearance, Key, Scope, Spend, TaskRow
from scrapy_capsolver.stores.redis.connection import StoreAwayError
from scrapy_capsolver.stores.redis.limits import SharedLimits
from scrapy_capsolver.stores.redis.store import RedisStore
from scrapy_capsolver.stores.redis.timings import Timings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from tests.redis_server import RedisServer

KEY = Key("shop.example", "shop.example", "datadome", "", "Chrome", "")
ONE = Clearance("1", "www.shop.example", {"datadome": "a"}, "Chrome/146", 1000.0)

TIMINGS = Timings(beat=1000.0, alive=10.0, answer=10.0, retry=0.02, grace=0.1, look=1000.0, quiet=1000.0, margin=0.01)
"""No sign of life, and no look, but those that a test asks for."""
BEATING = replace(TIMINGS, beat=0.05)


@dataclass
class Place:
    """Where the workers of a test meet."""

    server: RedisServer
    prefix: str

    @property
    def url(self) -> str:
        return self.server.url

    @cached_property
    def redis(self) -> Any:
        return self.server.client()

    def key(self, *parts: str) -> str:
        return ":".join((self.prefix, *parts))

    def keys(self, pattern: str) -> list[str]:
        """Return the keys that match, without prefix."""
        found: list[str] = self.redis.keys(f"{self.prefix}:{pattern}")
        return sorted(key[len(self.prefix) + 1 :] for key in found)

    def hash(self, *parts: str) -> dict[str, str]:
        found: dict[str, str] = self.redis.hgetall(self.key(*parts))
        return found

    def waiting(self, store: Any) -> Any:
        """True if somebody waits for the limits of this worker's run."""
        return self.hash("limits", store.fleet.run).get("waiting")

    def parts(self) -> dict[str, list[Any]]:
        """Return the parts of limits that are under way, by reservation."""
        found = {}
        for key in self.keys("limits:*:open"):
            found.update({name: json.loads(text) for name, text in self.hash(key).items()})
        return found

    def booked(self) -> dict[str, int]:
        """Return tasks and nano-dollars by account."""
        found: dict[str, int] = {}
        for key in self.keys("ledger:*"):
            for field, value in self.hash(key).items():
                name = "/".join(field.split("/")[-2:])
                if not name.endswith("/bookings"):
                    found[name] = found.get(name, 0) + int(value)
        return {name: value for name, value in found.items() if value}

    def forget(self) -> None:
        """Lose everything of this test, as FLUSHALL does."""
        client = self.redis
        client.delete(*client.keys(f"{self.prefix}:*"))

    def silence(self, worker: str) -> None:
        """As if the worker had been silent for a minute in which the server listened. The store in this process goes on, as a paused one
        would.
        """
        client = self.redis
        client.zincrby(self.key("seen"), -60, worker)
        for key in (*self.keys("present:*"), *self.keys("workers:*")):
            if client.zscore(self.key(key), worker) is not None:
                client.zincrby(self.key(key), -60, worker)


def do(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Return what asyncio can wait for, whatever the coroutine itself waits for."""
    return maybe_deferred_to_future(Deferred.fromCoroutine(coroutine))


def begun(coroutine: Coroutine[Any, Any, Any]) -> Deferred[Any]:
    """Begin what may be cancelled."""
    return Deferred.fromCoroutine(coroutine)


def end_of(waiting: Deferred[Any]) -> Any:
    """Return what asyncio can wait for. It fails if that takes very long."""
    return maybe_deferred_to_future(waiting.addTimeout(20, _reactor()))


@asynccontextmanager
async def opened(place: Place, *names: str, timings: Timings = TIMINGS, **scope: Any) -> AsyncIterator[list[Any]]:
    """A store for each worker, all of them there."""
    stores: list[Any] = [
        RedisStore(place.url, Scope(**{"prefix": place.prefix, "worker": name, "account": "a", **scope}), timings)
        for name in names
    ]
    for store in stores:
        store.open()
    for store in stores:
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
        await end_of(store._journal.written())


async def beat(*stores: Any) -> None:
    """Have each worker give a sign of life, and do what it hears."""
    for store in stores:
        await end_of(store.fleet.beat())
        await written(store)


async def reconnect(store: Any) -> None:
    """Have the worker lose its connection, and make another one."""
    with pytest.raises(StoreAwayError):
        await end_of(store._link.call("NOSUCHCOMMAND"))
    await do(store.fleet.back())


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
