"""What a crawl uses of its limits, in a file: before a task is created it is on disk there that one may be.

Each run has its own sums, and its reservations: tasks whose end is not known. A run that ended by itself leaves nothing, or in
a ``JOBDIR`` all that it had. What one that was killed had used, its reservations included, is taken over by the next run
of the same crawl.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from typing import TYPE_CHECKING

from scrapy_capsolver.stores.base import Reserved, StoreError, Used
from scrapy_capsolver.stores.sqlite.database import Database
from scrapy_capsolver.stores.sqlite.files import TASK_SECONDS
from scrapy_capsolver.stores.sqlite.limit_changes import USE
from scrapy_capsolver.stores.sqlite.running import RunLock

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from twisted.internet.defer import Deferred

logger = logging.getLogger(__name__)

FILE = "capsolver.sqlite"
_LEAVE_SECONDS = 5.0  # to write the last


class _Journal:
    """Implements :class:`~scrapy_capsolver.stores.base.LimitJournal`, but for what is taken over, and what is left."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._run = uuid.uuid4().hex[:16]

    @property
    def name(self) -> str:
        return self._database.name

    @property
    def is_away(self) -> bool:
        return self._database.is_away

    @property
    def away_seconds(self) -> float:
        return self._database.away_seconds

    @property
    def trouble(self) -> str:
        return self._database.trouble

    def load(self) -> Deferred[Used]:
        return self._database.insist(self._load)

    def reserve(self, one: Reserved, *, again: bool = False) -> Deferred[None]:
        with self._database.changes() as changes:
            changes.limits.reserve(self._run, one, again=again)
        return self._database.written()

    def opened(self, reservation: str, task: str) -> None:
        with self._database.changes() as changes:
            changes.limits.name(reservation, task)

    def settle(self, one: Reserved, *, charged: bool) -> None:
        with self._database.changes() as changes:
            changes.limits.release(one.id)
            if charged:
                changes.limits.use(self._run, one.site, 1, one.nano_usd)

    def _load(self, connection: sqlite3.Connection) -> Used:
        """In the database's thread, and in one transaction."""
        lost: list[Reserved] = []
        for run in self._ended(connection):
            lost += self._take_over(connection, run)
        solves, nano, sites = 0, 0, {}
        for site, number, price in connection.execute(
            "SELECT site, solves, nano_usd FROM limits WHERE run = ?", (self._run,)
        ):
            solves, nano, sites[site] = solves + number, nano + price, number
        left = [one for one, _ in _reservations(connection, self._run)]
        for one in left:
            solves, nano, sites[one.site] = solves + 1, nano + one.nano_usd, sites.get(one.site, 0) + 1
        return Used(solves, nano, sites, left, lost)

    def _ended(self, connection: sqlite3.Connection) -> Iterable[str]:
        """Return the runs whose sums and reservations are for this one."""
        raise NotImplementedError

    def _take_over(self, connection: sqlite3.Connection, run: str) -> Iterable[Reserved]:
        """Have what another run used count for this one. Return the tasks that it was creating."""
        lost: list[Reserved] = []
        for one, reserved in _reservations(connection, run):
            if not one.task:
                lost.append(one)
            if not one.task or reserved < time.time() - TASK_SECONDS:  # nobody will go on with it
                connection.execute("DELETE FROM reservations WHERE id = ?", (one.id,))
                connection.execute(USE, (self._run, one.site, 1, one.nano_usd))
        for site, solves, nano in connection.execute(
            "SELECT site, solves, nano_usd FROM limits WHERE run = ?", (run,)
        ).fetchall():
            connection.execute(USE, (self._run, site, solves, nano))
        connection.execute("DELETE FROM limits WHERE run = ?", (run,))
        connection.execute("DELETE FROM runs WHERE id = ?", (run,))
        connection.execute("UPDATE reservations SET run = ? WHERE run = ?", (self._run, run))
        return lost


def open_journal(folder: str) -> JobJournal:
    """Return the journal in a ``JOBDIR``, which is made if need be. Raises :class:`StoreError` if it cannot be used."""
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder} cannot be made: {error}") from error
    return JobJournal(Database(os.path.join(folder, FILE), "JOBDIR"))


class JobJournal(_Journal):
    """In a file of the ``JOBDIR``: what all runs of that have used counts."""

    def _ended(self, connection: sqlite3.Connection) -> Iterable[str]:
        runs = connection.execute("SELECT run FROM limits UNION SELECT run FROM reservations").fetchall()
        return [run for (run,) in runs if run != self._run]

    async def end(self) -> None:
        left = await self._database.end(_LEAVE_SECONDS)
        if left:
            logger.error("JOBDIR: what could not be written until the end is lost: %s", left)

    def close(self) -> None:
        self._database.close(_LEAVE_SECONDS)


class StoreJournal(_Journal):
    """In the file of a store, for one of its crawls: what runs have used that were killed counts."""

    def __init__(self, database: Database, crawl: str) -> None:
        super().__init__(database)
        self._crawl = crawl
        self._lock = RunLock(database.path, self._run)

    def _ended(self, connection: sqlite3.Connection) -> Iterable[str]:
        self._lock.take()
        connection.execute("INSERT OR IGNORE INTO runs VALUES (?, ?)", (self._run, self._crawl))
        self._lock.clean_up()
        runs = connection.execute("SELECT id FROM runs WHERE crawl = ?", (self._crawl,)).fetchall()
        return [run for (run,) in runs if not self._lock.is_alive(run)]

    async def end(self) -> None:
        with self._database.changes() as changes:
            changes.limits.ended.add(self._run)

    def close(self) -> None:
        self._lock.release()


def _reservations(connection: sqlite3.Connection, run: str) -> list[tuple[Reserved, float]]:
    """Return those of a run, and the Unix seconds of each."""
    rows = connection.execute(
        "SELECT id, site, family, nano_usd, task, reserved FROM reservations WHERE run = ?", (run,)
    ).fetchall()
    return [(Reserved(*row[:-1]), row[-1]) for row in rows]
