"""What every store does, be it in memory, in a file or on a server."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest
from scrapy.utils.defer import deferred_f_from_coro_f, maybe_deferred_to_future

from scrapy_capsolver.solving.clearances import Clearances
from scrapy_capsolver.stores import MEMORY, Clearance, Key, Lease, Scope, Store, open_store
from tests.redis_server import BINARY, on_asyncio, redis_server
from tests.stores.opened import KEY, ONE, do, held, written

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture(params=["memory", "sqlite", "redis"])
def name(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "memory":
        yield MEMORY
    elif request.param == "sqlite":
        yield str(tmp_path / "clearances.sqlite")
    elif BINARY is None or not on_asyncio():
        pytest.skip("there is no redis-server here, or no asyncio reactor")
    else:
        with redis_server() as server:
            yield server.url


@asynccontextmanager
async def opened(name: str, number: int = 1) -> AsyncIterator[list[Store]]:
    """The same store, as several crawls open it."""
    stores = [open_store(name, Scope(worker=f"worker{one}")) for one in range(number)]
    for store in stores:
        store.open()
        if store.fleet is not None:
            await do(store.fleet.back())
    try:
        yield stores
    finally:
        for store in stores:
            await do(store.leave())
            store.close()


@deferred_f_from_coro_f
async def test_what_is_saved_is_loaded_for_its_site_alone(name: str) -> None:
    async with opened(name) as (store,):
        assert await held(store) == {}
        await do(store.save(KEY, ONE))
        assert await held(store) == {KEY: ONE} == dict(store.known(KEY.site))
        assert await held(store, "other.example") == {}
        assert not store.is_empty


HOSTILE = [
    "'; DROP TABLE clearances; --",
    "' OR '1'='1",
    '"quoted"',
    "back`tick\\",
    "%_?1:name@x$y",
    "line\nbreak\0null",
    "\u2028 \U0001f36a \u0142",
    "",
]


@pytest.mark.parametrize("text", HOSTILE)
@deferred_f_from_coro_f
async def test_any_text_is_kept_as_it_is(name: str, text: str) -> None:
    """Names of sites, user agents and cookies are what strangers wrote."""
    now = time.time()
    key, mine = Key(*[text] * 6), replace(ONE, solved_at=now)
    one = Clearance(text, text, {text: text, "b": text}, text, now)
    again = replace(key, jar=f"{text}2")
    async with opened(name, 1 if name == MEMORY else 2) as stores:
        await do(stores[0].save(KEY, mine))
        await do(stores[0].save(key, one))
        await do(stores[0].save(again, one))
        await written(stores[0])
        for each in stores:
            assert await held(each, text) == {key: one, again: one}
            assert await held(each) == {KEY: mine}
        await do(stores[0].delete(key, text))
        await written(stores[0])
        for each in stores:  # whether the news has come is another test's business
            each.__dict__.get("_fresh", set()).clear()
            each.__dict__["_known"].pop(text, None) if name.endswith(".sqlite") else None
            assert await held(each, text) == {again: one}
            assert await held(each) == {KEY: mine}


@pytest.mark.parametrize("field", ["scope", "family", "proxy", "user_agent", "jar"])
@deferred_f_from_coro_f
async def test_each_part_of_a_key_counts(name: str, field: str) -> None:
    other = replace(KEY, **{field: "x"})
    async with opened(name) as (store,):
        await do(store.save(KEY, ONE))
        await do(store.save(other, replace(ONE, id="2")))
        assert {key: one.id for key, one in (await held(store)).items()} == {KEY: "1", other: "2"}
        await do(store.delete(KEY, "1"))
        assert list(await held(store)) == [other]


@deferred_f_from_coro_f
async def test_the_newest_stays(name: str) -> None:
    newer = replace(ONE, id="2", solved_at=2000.0)
    async with opened(name) as (store,):
        await do(store.save(KEY, newer))
        await do(store.save(KEY, ONE))
        assert await held(store) == {KEY: newer}
        renewed = replace(newer, cookies={"datadome": "b"})
        await do(store.save(KEY, renewed))
        assert await held(store) == {KEY: renewed}


@deferred_f_from_coro_f
async def test_only_the_one_that_is_meant_is_deleted(name: str) -> None:
    async with opened(name) as (store,):
        await do(store.save(KEY, replace(ONE, id="2")))
        await do(store.delete(KEY, "1"))
        await do(store.delete(replace(KEY, jar="none"), "2"))
        assert [one.id for one in (await held(store)).values()] == ["2"]


@deferred_f_from_coro_f
async def test_what_expired_is_not_used(name: str) -> None:
    async with opened(name) as (store,):
        await do(store.save(KEY, replace(ONE, expires=time.time() - 1)))
        good = replace(KEY, jar="1")
        await do(store.save(good, replace(ONE, expires=time.time() + 1000)))
        from twisted.internet import reactor

        clearances = Clearances(store, (KEY.family,), cast("Any", reactor))
        assert await do(clearances.load(KEY.site))
        assert clearances.of(KEY, "www.shop.example", secure=True) == {}
        assert list(clearances.of(good, "www.shop.example", secure=True)) == [good]
        solved: Any = object()

        async def solve() -> Any:
            return solved, replace(ONE, id="2")

        outcomes = [await maybe_deferred_to_future(clearances.obtain(key, "", solve)) for key in (KEY, good)]
        assert [(outcome.solved, outcome.clearance.id) for outcome in outcomes] == [(solved, "2"), (None, "1")]


@deferred_f_from_coro_f
async def test_a_crawl_by_itself_may_solve_at_once(name: str) -> None:
    async with opened(name) as (store,):
        lease = await do(store.lease(KEY, ""))
        assert isinstance(lease, Lease)
        lease.end()


@deferred_f_from_coro_f
async def test_the_next_crawl_finds_it(name: str) -> None:
    if name == MEMORY:
        pytest.skip("it ends with its crawl")
    mine = replace(ONE, expires=time.time() + 1000, solved_at=time.time(), secure=False, user_agent=None)
    async with opened(name) as (store,):
        await do(store.save(KEY, mine))
    async with opened(name) as (store,):
        assert await held(store) == {KEY: mine}
