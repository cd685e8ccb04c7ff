"""State that outlives a request: the clearances that a crawl holds, its open tasks, and what it spent.

``memory`` ends with the crawl; a path names an SQLite file, which survives it, and which several crawls on one machine
share.
"""

from __future__ import annotations

from scrapy_capsolver.stores.base import Clearance, Key, Spend, Store, StoreError, TaskRow
from scrapy_capsolver.stores.memory import MemoryStore
from scrapy_capsolver.stores.sqlite import SQLiteStore, read_ledger

__all__ = [
    "MEMORY",
    "Clearance",
    "Key",
    "MemoryStore",
    "SQLiteStore",
    "Spend",
    "Store",
    "StoreError",
    "TaskRow",
    "open_store",
    "read_ledger",
]

MEMORY = "memory"


def open_store(name: str) -> Store:
    """The store that CAPSOLVER_STORE names. Raises :class:`StoreError` where it cannot be opened."""
    return MemoryStore() if name == MEMORY else SQLiteStore(name)
