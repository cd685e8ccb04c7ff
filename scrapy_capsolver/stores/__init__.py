"""State that outlives a request: the clearances that a crawl holds, its open tasks, and what it spent.

``memory`` ends with the crawl; a path names an SQLite file, which survives it, and which several crawls on one machine
share; the address of a Redis server has workers on many machines act as one.
"""

from __future__ import annotations

from scrapy_capsolver.stores.base import Clearance, Key, Lease, Spend, Store, StoreError, TaskRow
from scrapy_capsolver.stores.memory import MemoryStore
from scrapy_capsolver.stores.redis import look_at_redis, open_redis
from scrapy_capsolver.stores.redis.address import is_redis, shown
from scrapy_capsolver.stores.redis.scope import Scope
from scrapy_capsolver.stores.sqlite import SQLiteStore, open_journal, read_ledger

__all__ = [
    "MEMORY",
    "Clearance",
    "Key",
    "Lease",
    "MemoryStore",
    "SQLiteStore",
    "Scope",
    "Spend",
    "Store",
    "StoreError",
    "TaskRow",
    "is_redis",
    "look_at_redis",
    "open_journal",
    "open_store",
    "read_ledger",
    "shown",
]

MEMORY = "memory"


def open_store(name: str, scope: Scope | None = None) -> Store:
    """The store that CAPSOLVER_STORE names; ``scope`` says with whom one on a server is shared.

    Raises :class:`StoreError` where it cannot be opened.
    """
    if name == MEMORY:
        return MemoryStore()
    return open_redis(name, scope or Scope()) if is_redis(name) else SQLiteStore(name)
