"""The file: who may read it, how it is opened, and the tables in it.

It holds cookies that open sites, so only its owner may read it. WAL (sqlite.org/wal.html) lets readers and a writer of
several processes go on beside each other, and survives a process that is killed.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from scrapy_capsolver.stores.base import Spend, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

TASK_SECONDS = 600.0
"""Age at which nobody waits for a task any more: CapSolver keeps a result for 5 minutes."""
_VERSION = 1  # of the tables; PRAGMA user_version
_BUSY_SECONDS = 0.1  # for which one attempt to write waits for another process
_READ_BUSY_SECONDS = 1.0
_LOOK_SECONDS = 5.0  # in which a file system answers that works at all

_TABLES = {
    "tasks": """
        id TEXT PRIMARY KEY, spider TEXT NOT NULL, site TEXT NOT NULL, family TEXT NOT NULL, type TEXT NOT NULL,
        nano_usd INTEGER NOT NULL, opened REAL NOT NULL""",
    "ledger": """
        spider TEXT NOT NULL, site TEXT NOT NULL, family TEXT NOT NULL, account TEXT NOT NULL,
        tasks INTEGER NOT NULL, nano_usd INTEGER NOT NULL,
        PRIMARY KEY (spider, site, family, account)""",
    "clearances": """
        site TEXT NOT NULL, scope TEXT NOT NULL, family TEXT NOT NULL, proxy TEXT NOT NULL,
        user_agent TEXT NOT NULL, jar TEXT NOT NULL,
        id TEXT NOT NULL, host TEXT NOT NULL, cookies TEXT NOT NULL, agent TEXT, solved_at REAL NOT NULL, expires REAL,
        secure INTEGER NOT NULL,
        PRIMARY KEY (site, scope, family, proxy, user_agent, jar)""",
    "runs": "id TEXT PRIMARY KEY, crawl TEXT NOT NULL",
    "limits": """
        run TEXT NOT NULL, site TEXT NOT NULL, solves INTEGER NOT NULL, nano_usd INTEGER NOT NULL,
        PRIMARY KEY (run, site)""",
    "reservations": """
        id TEXT PRIMARY KEY, run TEXT NOT NULL, task TEXT NOT NULL, site TEXT NOT NULL, family TEXT NOT NULL,
        nano_usd INTEGER NOT NULL, reserved REAL NOT NULL""",
}
_LEDGER = """
SELECT spider, site, family, account, tasks, nano_usd FROM ledger
UNION ALL
SELECT spider, site, family, CASE WHEN opened < ? THEN 'abandoned' ELSE 'open' END AS state, count(*), sum(nano_usd) FROM tasks
GROUP BY spider, site, family, state
"""


def is_lock(error: Exception) -> bool:
    """Return whether another process has the file for now."""
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


def connect(path: str) -> sqlite3.Connection:
    """Return a connection without implicit transactions, for the calling thread. Make the file and its tables if need be.

    Raises:
        sqlite3.Error: it cannot be used, or it is locked and its tables are not there yet.
        OSError: it cannot be made, or it is a symbolic link.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    for name in (path, f"{path}-wal", f"{path}-shm"):  # SQLite makes the other two with the mode of the first
        with suppress(FileNotFoundError):
            _close_to_others(name)
    connection = sqlite3.connect(os.path.abspath(path), timeout=_BUSY_SECONDS, isolation_level=None)
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")  # one bad text does not hide the others
    try:
        prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def look_at(path: str) -> None:
    """Raise :class:`StoreError` if the file cannot be used. One that is only locked can.

    It is looked at in a thread, and waited for: some milliseconds, at the start of a crawl.
    """

    def look() -> None:
        with closing(connect(path)) as connection:
            connection.execute("PRAGMA busy_timeout = 0")
            connection.execute("BEGIN IMMEDIATE")  # which fails if it cannot be written
            connection.execute("ROLLBACK")

    try:
        _in_a_thread(look, _LOOK_SECONDS)
    except (sqlite3.Error, OSError) as error:
        if not is_lock(error):
            raise StoreError(f"{path} cannot be used as an SQLite store: {error}") from error


def read_ledger(path: str) -> list[Spend]:
    """Return the ledger in the file, which is not changed. Tasks that are open now are on an account ``open``. Raises StoreError."""
    try:
        with closing(
            sqlite3.connect(f"{Path(path).resolve().as_uri()}?mode=ro", timeout=_READ_BUSY_SECONDS, uri=True)
        ) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version != _VERSION:
                raise StoreError(_other_version(version))
            return [Spend(*row) for row in connection.execute(_LEDGER, (time.time() - TASK_SECONDS,))]
    except sqlite3.Error as error:
        raise StoreError(f"it cannot be read: {error}") from error


def prepare(connection: sqlite3.Connection) -> None:
    """Have the tables in it, unless it is another program's. Raises sqlite3.Error."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version not in {0, _VERSION}:
        raise sqlite3.DatabaseError(_other_version(version))
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if version == 0 and tables:
        raise sqlite3.DatabaseError(f"it belongs to another program, with tables such as {min(tables)!r:.40}")
    # Each commit is on disk when it returns: what limits count on must survive a machine that loses its power.
    connection.execute("PRAGMA synchronous = FULL")
    if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if not _TABLES.keys() <= tables:
        connection.execute("BEGIN IMMEDIATE")
        try:
            for name, columns in _TABLES.items():
                connection.execute(f"CREATE TABLE IF NOT EXISTS {name} ({columns}) WITHOUT ROWID")
            connection.execute(f"PRAGMA user_version = {_VERSION}")
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise


def _other_version(version: int) -> str:
    return f"its version is {version}, and this is version {_VERSION}"


def _in_a_thread(call: Callable[[], None], seconds: float) -> None:
    """Wait for ``call`` in another thread, for so long at most. Raises what it raises, or OSError."""
    errors: list[Exception] = []

    def run() -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - it is raised below
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise OSError(f"its file system does not answer within {seconds:g} s")
    if errors:
        raise errors[0]


def _close_to_others(path: str) -> None:
    """Take from others what rights they have to a file that was there before: made by hand, copied, or left by a crawl.

    One that has the right mode is not opened: to close a descriptor of it would release the locks that SQLite holds for
    another store of this process (sqlite.org/howtocorrupt.html, 2.2).
    """
    mode = os.lstat(path).st_mode
    if stat.S_ISLNK(mode):  # which somebody else may have put there, to have another file written or shown
        raise OSError(f"{os.path.basename(path)} is a symbolic link, and only a file itself is taken")
    if not stat.S_ISREG(mode):
        kind = "directory" if stat.S_ISDIR(mode) else "device or pipe"
        raise OSError(f"{os.path.basename(path)} is a {kind}, and only a file is taken")
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            os.fchmod(file, 0o600)
        finally:
            os.close(file)
