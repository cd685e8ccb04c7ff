"""A store in an SQLite file, for crawls of one machine and for the next run of a crawl.

The file holds cookies that open sites: it is readable by its owner alone. Every statement takes some ten microseconds, so
they are run where they are asked for. WAL (sqlite.org/wal.html) lets readers and a writer of several processes go on
beside each other, and survives a process that is killed.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import stat
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scrapy_capsolver.stores.base import Alone, Clearance, Key, Spend, StoreError, TaskRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

logger = logging.getLogger(__name__)

_VERSION = 1  # of the table; PRAGMA user_version
_BUSY_SECONDS = 1.0  # for which a writer waits for another
_TASK_SECONDS = 600.0  # after which nobody waits for a task
_OLD_SECONDS = 30 * 86400.0  # after which a clearance without a known end is forgotten

_SCHEMA = """
CREATE TABLE IF NOT EXISTS tasks (
    id TEXT PRIMARY KEY, spider TEXT NOT NULL, site TEXT NOT NULL, family TEXT NOT NULL, type TEXT NOT NULL,
    nano_usd INTEGER NOT NULL, opened REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ledger (
    spider TEXT NOT NULL, site TEXT NOT NULL, family TEXT NOT NULL, account TEXT NOT NULL,
    tasks INTEGER NOT NULL, nano_usd INTEGER NOT NULL,
    PRIMARY KEY (spider, site, family, account)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS clearances (
    site TEXT NOT NULL, scope TEXT NOT NULL, family TEXT NOT NULL, proxy TEXT NOT NULL,
    user_agent TEXT NOT NULL, jar TEXT NOT NULL,
    id TEXT NOT NULL, host TEXT NOT NULL, cookies TEXT NOT NULL, agent TEXT, solved_at REAL NOT NULL, expires REAL,
    secure INTEGER NOT NULL,
    PRIMARY KEY (site, scope, family, proxy, user_agent, jar)
) WITHOUT ROWID
"""
_SAVE = """
INSERT INTO clearances VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET id = excluded.id, host = excluded.host, cookies = excluded.cookies, agent = excluded.agent,
    solved_at = excluded.solved_at, expires = excluded.expires, secure = excluded.secure
WHERE excluded.solved_at >= solved_at
"""
_OPEN_TASK = "INSERT OR IGNORE INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?)"
_CLOSE_TASK = "DELETE FROM tasks WHERE id = ?"
_SPEND = """
INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET tasks = tasks + excluded.tasks, nano_usd = nano_usd + excluded.nano_usd
"""
# CapSolver keeps a result for 5 minutes: a task that is open for longer belongs to a crawl that was killed.
_ABANDON = """
INSERT INTO ledger SELECT spider, site, family, 'abandoned', count(*), sum(nano_usd) FROM tasks WHERE opened < ?
GROUP BY spider, site, family
ON CONFLICT DO UPDATE SET tasks = tasks + excluded.tasks, nano_usd = nano_usd + excluded.nano_usd
"""
_LEDGER = """
SELECT spider, site, family, account, tasks, nano_usd FROM ledger
UNION ALL
SELECT spider, site, family, CASE WHEN opened < ? THEN 'abandoned' ELSE 'open' END AS state, count(*), sum(nano_usd) FROM tasks
GROUP BY spider, site, family, state
"""
_DELETE = """
DELETE FROM clearances
WHERE site = ? AND scope = ? AND family = ? AND proxy = ? AND user_agent = ? AND jar = ? AND id = ?
"""


class SQLiteStore(Alone):
    """Implements :class:`~scrapy_capsolver.stores.base.Store`.

    A file that fails later (a full disk, a lock that is not let go) is told once, and the crawl goes on with what it
    knows.
    """

    def __init__(self, path: str) -> None:
        self._known: dict[str, dict[Key, Clearance]] = {}
        self._seen_version = -1
        self._told = False
        try:
            self._connection = _open(path)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{path} cannot be used as an SQLite store: {error}") from error

    @property
    def is_empty(self) -> bool:
        return False  # another crawl may have written just now

    async def load(self, site: str) -> Mapping[Key, Clearance]:
        try:
            # Changes when another connection has written; our own writes are in _known already.
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
            if version != self._seen_version:
                self._known.clear()
                self._seen_version = version
            if site not in self._known:
                rows = self._connection.execute("SELECT * FROM clearances WHERE site = ?", (site,))
                self._known[site] = dict(read for row in rows if (read := _read(row)) is not None)
        except sqlite3.Error as error:
            self._tell(error)
        return self._known.get(site, {})

    def known(self, site: str) -> Mapping[Key, Clearance]:
        return self._known.get(site, {})

    async def save(self, key: Key, clearance: Clearance) -> None:
        known = (await self.load(key.site)).get(key)
        if known is not None and known.solved_at > clearance.solved_at:
            return
        self._known.setdefault(key.site, {})[key] = clearance
        self._write(
            _SAVE,
            *_columns(key),
            clearance.id,
            clearance.host,
            json.dumps(dict(clearance.cookies)),
            clearance.user_agent,
            clearance.solved_at,
            clearance.expires,
            clearance.secure,
        )

    async def delete(self, key: Key, clearance_id: str) -> None:
        held = self._known.get(key.site, {})
        if key in held and held[key].id == clearance_id:
            del held[key]
        self._write(_DELETE, *_columns(key), clearance_id)

    async def open_task(self, task: TaskRow) -> None:
        self._write(_OPEN_TASK, *astuple(task)[:-1], time.time())  # its reservation is of a store with others

    async def spend(self, entry: Spend, *, closes: str, reservation: str = "", wasted: bool = False) -> None:
        with self._writing() as connection:
            # One that another run has entered already is not open any more.
            if not closes or connection.execute(_CLOSE_TASK, (closes,)).rowcount:
                connection.execute(_SPEND, astuple(entry))

    def close(self) -> None:
        self._connection.close()

    def _write(self, statement: str, *values: Any) -> None:
        with self._writing() as connection:
            connection.execute(statement, values)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, whose failure is told."""
        try:
            with self._connection:
                yield self._connection
        except sqlite3.Error as error:
            self._tell(error)

    def _tell(self, error: sqlite3.Error) -> None:
        if not self._told:
            self._told = True
            logger.warning("CAPSOLVER_STORE: what comes from here on is kept in memory alone: %s", error)


def read_ledger(path: str) -> list[Spend]:
    """The ledger in the file, which is not changed. Tasks that are open now are on an account ``open``. Raises StoreError."""
    try:
        with closing(
            sqlite3.connect(f"{Path(path).resolve().as_uri()}?mode=ro", timeout=_BUSY_SECONDS, uri=True)
        ) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version != _VERSION:
                raise StoreError(f"its version is {version}, and this is version {_VERSION}")
            return [Spend(*row) for row in connection.execute(_LEDGER, (time.time() - _TASK_SECONDS,))]
    except sqlite3.Error as error:
        raise StoreError(f"it cannot be read: {error}") from error


def _open(path: str) -> sqlite3.Connection:
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    for name in (path, f"{path}-wal", f"{path}-shm"):  # SQLite makes the other two with the mode of the first
        with suppress(FileNotFoundError):
            _close_to_others(name)
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, check_same_thread=False)
    try:
        with closing(connection.execute("PRAGMA journal_mode = WAL")):
            pass
        connection.execute("PRAGMA synchronous = NORMAL")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version not in {0, _VERSION}:
            raise sqlite3.DatabaseError(f"its version is {version}, and this is version {_VERSION}")
        now = time.time()
        with connection:
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {_VERSION}")
            connection.execute(
                "DELETE FROM clearances WHERE coalesce(expires, solved_at + ?) <= ?", (_OLD_SECONDS, now)
            )
            connection.execute(_ABANDON, (now - _TASK_SECONDS,))
            connection.execute("DELETE FROM tasks WHERE opened < ?", (now - _TASK_SECONDS,))
    except BaseException:
        connection.close()
        raise
    return connection


def _close_to_others(path: str) -> None:
    """Take from others what rights they have to a file that was there before: made by hand, copied, or left by a crawl.

    One that has the right mode is not opened: to close a descriptor of it would let go the locks that SQLite holds for
    another store of this process (sqlite.org/howtocorrupt.html, 2.2).
    """
    mode = os.lstat(path).st_mode
    if stat.S_ISLNK(mode):  # which somebody else may have put there, to have another file written or shown
        raise OSError(f"{os.path.basename(path)} is a symbolic link, and only a file itself is taken")
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            os.fchmod(file, 0o600)
        finally:
            os.close(file)


def _columns(key: Key) -> tuple[str, ...]:
    return (key.site, key.scope, key.family, key.proxy, key.user_agent, key.jar)


def _read(row: tuple[Any, ...]) -> tuple[Key, Clearance] | None:
    """A row; None where somebody else's hand was in the file."""
    id_, host, cookies, agent, solved_at, expires, secure = row[6:]
    try:
        values = json.loads(cookies)
    except ValueError:
        return None
    if not isinstance(values, dict):
        return None
    return Key(*row[:6]), Clearance(id_, host, values, agent, solved_at, expires, bool(secure))
