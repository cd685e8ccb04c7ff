"""Stores that tests open and close."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from scrapy.utils.defer import maybe_deferred_to_future
from twisted.internet.defer import Deferred

from scrapy_capsolver.stores import Clearance, Key, SQLiteStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine
    from pathlib import Path

KEY = Key("shop.example", "shop.example", "datadome", "", "Chrome", "")
ONE = Clearance("1", "www.shop.example", {"datadome": "a"}, "Chrome/146", 1000.0)


def do(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Return what asyncio can await, whatever the coroutine itself waits for."""
    return maybe_deferred_to_future(Deferred.fromCoroutine(coroutine))


def fired(waiting: Deferred[Any]) -> Any:
    return maybe_deferred_to_future(waiting)


@asynccontextmanager
async def sqlite_stores(path: Path, number: int = 1) -> AsyncIterator[list[SQLiteStore]]:
    """The same file, as several crawls open it."""
    stores = [SQLiteStore(str(path)) for _ in range(number)]
    for store in stores:
        store.open()
    try:
        yield stores
    finally:
        for store in stores:
            await do(store.leave())
            store.close()


async def held(store: Any, site: str = KEY.site) -> dict[Key, Clearance]:
    return dict(await do(store.load(site)))


async def held_in_file(store: SQLiteStore, site: str = KEY.site) -> dict[Key, Clearance]:
    """What a look into the file finds."""
    await do(store._look(site))
    return dict(store.known(site))


async def written(store: Any) -> None:
    """What one store saved is there for others."""
    if isinstance(store, SQLiteStore):
        await fired(store.database.written())
    elif store.fleet is not None:
        await fired(store._journal.written())
