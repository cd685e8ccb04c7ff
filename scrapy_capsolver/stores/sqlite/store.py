"""A store in an SQLite file, for crawls of one machine and for the next run of a crawl.

What this process knows of clearances is served from memory; what other crawls write is looked for once in a while, and
always before a solve is paid for.
"""

from __future__ import annotations

import json
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError

from scrapy_capsolver.stores.base import Alone, Clearance, Key, Lease
from scrapy_capsolver.stores.sqlite.database import Database
from scrapy_capsolver.stores.sqlite.files import TASK_SECONDS
from scrapy_capsolver.stores.sqlite.journal import StoreJournal

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from scrapy_capsolver.stores.base import LimitJournal, Spend, TaskRow

logger = logging.getLogger(__name__)

SETTING = "CAPSOLVER_STORE"
_LOOK_SECONDS = 1.0  # after which other crawls may have written something of a site
_WAIT_SECONDS = 5.0  # for which a request waits for the file, which takes milliseconds if nothing is wrong
_LEAVE_SECONDS = 5.0  # to write the last
_MOST_SITES = 10_000  # whose clearances are kept in memory
_OLD_SECONDS = 30 * 86400.0  # after which a clearance without a known end is forgotten

_ABANDON = """
INSERT INTO ledger SELECT spider, site, family, 'abandoned', count(*), sum(nano_usd) FROM tasks WHERE opened < ?
GROUP BY spider, site, family
ON CONFLICT DO UPDATE SET tasks = tasks + excluded.tasks, nano_usd = nano_usd + excluded.nano_usd
"""


class SQLiteStore(Alone):
    """Implements :class:`~scrapy_capsolver.stores.base.Store`."""

    def __init__(self, path: str) -> None:
        """Raise :class:`~scrapy_capsolver.stores.StoreError` if the file cannot be used."""
        self.database = Database(path, SETTING)
        self._known: dict[str, dict[Key, Clearance]] = {}
        self._looked_at: dict[str, float] = {}  # time.monotonic() of the last look at a site's clearances
        self._lookups: dict[str, list[Deferred[None]]] = {}  # those under way, and who waits for them
        self._overtaken: set[str] = set()  # sites that were changed here during such a look

    @property
    def is_empty(self) -> bool:
        return False  # another crawl may have written just now

    def open(self) -> None:
        self.database.insist(_tidy).addErrback(
            lambda failure: logger.error("%s: what is old could not be removed: %s", SETTING, failure.value)
        )

    def journal(self, crawl: str) -> LimitJournal:
        return StoreJournal(self.database, crawl)

    # Clearances

    async def load(self, site: str) -> Mapping[Key, Clearance]:
        if site not in self._known:
            await self._bounded_look(site)
        elif time.monotonic() - self._looked_at.get(site, 0.0) >= _LOOK_SECONDS and site not in self._lookups:
            Deferred.fromCoroutine(self._bounded_look(site))
        return self.known(site)

    async def _bounded_look(self, site: str) -> None:
        looking = Deferred.fromCoroutine(self._look(site))
        with suppress(DeferredTimeoutError):
            await looking.addTimeout(_WAIT_SECONDS, _reactor())

    async def _look(self, site: str) -> None:
        """Read what is held for ``site``, or wait for a look that is under way."""
        if site in self._lookups:
            looked: Deferred[None] = Deferred()
            self._lookups[site].append(looked)
            await looked
            return
        waiting = self._lookups[site] = []
        try:
            while True:
                self._overtaken.discard(site)
                rows = await self.database.ask(lambda connection: self._rows(connection, site))
                if site not in self._overtaken:
                    break
            self._remember(site, rows)
        except CancelledError:
            raise
        except Exception:  # noqa: BLE001 - the database has reported it
            self._looked_at[site] = time.monotonic()
        finally:
            del self._lookups[site]
            for one in waiting:
                if not one.called:
                    one.callback(None)

    def _rows(self, connection: sqlite3.Connection, site: str) -> dict[Key, Clearance]:
        """In the database's thread."""
        rows = connection.execute("SELECT * FROM clearances WHERE site = ?", (site,))
        found = dict(read for row in rows if (read := _read(row)) is not None)
        self.database.overlay(site, found)
        return found

    def _remember(self, site: str, rows: dict[Key, Clearance]) -> None:
        self._known[site] = rows
        self._looked_at[site] = time.monotonic()
        if len(self._known) > _MOST_SITES:
            oldest = next(iter(self._known))
            del self._known[oldest]
            self._looked_at.pop(oldest, None)

    def known(self, site: str) -> Mapping[Key, Clearance]:
        return self._known.get(site, {})

    async def lease(self, key: Key, refused: str) -> Lease | Clearance:
        """Return what another crawl has solved meanwhile, else the right to solve: crawls do not wait for each other."""
        await self._bounded_look(key.site)
        held = self.known(key.site).get(key)
        if held is None or held.id == refused or (held.expires is not None and held.expires <= time.time()):
            return Lease()
        return held

    async def save(self, key: Key, clearance: Clearance) -> None:
        held = (await self.load(key.site)).get(key)
        if held is not None and held.solved_at > clearance.solved_at:
            return
        self._overtaken.add(key.site)
        self._known.setdefault(key.site, {})[key] = clearance
        with self.database.changes() as changes:
            changes.save(key, clearance)
        # It was paid for: it is not used before it is sure that a crawl that is killed does not pay for it again.
        with suppress(DeferredTimeoutError):
            await self.database.tried().addTimeout(_WAIT_SECONDS, _reactor())

    async def delete(self, key: Key, clearance_id: str) -> None:
        held = self._known.get(key.site, {})
        if key in held and held[key].id == clearance_id:
            del held[key]
        self._overtaken.add(key.site)
        with self.database.changes() as changes:
            changes.delete(key, clearance_id)

    # The ledger

    async def open_task(self, task: TaskRow) -> None:
        with self.database.changes() as changes:
            changes.open_task(task)

    async def spend(self, entry: Spend, *, closes: str, reservation: str = "", wasted: bool = False) -> None:
        with self.database.changes() as changes:
            if closes:
                changes.close_task(closes, entry)
            else:
                changes.spend(entry)

    # The end

    async def leave(self) -> None:
        self._report(await self.database.end(_LEAVE_SECONDS))

    def close(self) -> None:
        self._report(self.database.close(_LEAVE_SECONDS))

    def _report(self, left: str) -> None:
        if left:
            logger.error("%s: what could not be written until the end is lost: %s", SETTING, left)


def _tidy(connection: sqlite3.Connection) -> None:
    """Forget old clearances, and book as abandoned the tasks of crawls that were killed."""
    now = time.time()
    connection.execute("DELETE FROM clearances WHERE coalesce(expires, solved_at + ?) <= ?", (_OLD_SECONDS, now))
    connection.execute(_ABANDON, (now - TASK_SECONDS,))
    connection.execute("DELETE FROM tasks WHERE opened < ?", (now - TASK_SECONDS,))


def _read(row: tuple[Any, ...]) -> tuple[Key, Clearance] | None:
    """Return what a row holds; None if somebody else has written it."""
    id_, host, cookies, agent, solved_at, expires, secure = row[6:]
    try:
        values = json.loads(cookies)
    except (ValueError, TypeError, RecursionError):
        return None
    texts = (*row[:6], id_, host, *values.values()) if isinstance(values, dict) else (None,)
    if (
        not all(isinstance(text, str) for text in texts)
        or not isinstance(agent, str | None)
        or not isinstance(solved_at, float)
        or not isinstance(expires, float | None)
    ):
        return None
    return Key(*row[:6]), Clearance(id_, host, values, agent, solved_at, expires, bool(secure))


def _reactor() -> Any:
    """Not at module level: that would install Twisted's default reactor."""
    from twisted.internet import reactor

    return reactor
