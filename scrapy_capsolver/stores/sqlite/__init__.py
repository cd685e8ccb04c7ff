"""An SQLite file as the store of a machine's crawls, and of what a crawl has used of its limits.

All of it runs in a thread of its own (``database.py``), so that no lock and no disk ever holds up the reactor.
"""

from scrapy_capsolver.stores.sqlite.files import read_ledger
from scrapy_capsolver.stores.sqlite.journal import open_journal
from scrapy_capsolver.stores.sqlite.store import SQLiteStore

__all__ = ["SQLiteStore", "open_journal", "read_ledger"]
