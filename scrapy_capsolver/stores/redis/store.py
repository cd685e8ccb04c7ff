"""A store on a Redis server, for workers on many machines: what one learns all know, and what one pays for all use.

What is held for a site is kept here too, and followed by what the others tell: a look at it asks the server for nothing.
While the server is away the crawl goes on with what is known.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError

from scrapy_capsolver._utils.waiters import Waiters
from scrapy_capsolver.errors import from_plain, store_fails, to_plain
from scrapy_capsolver.stores.base import Clearance, Key, Lease
from scrapy_capsolver.stores.redis.address import Address
from scrapy_capsolver.stores.redis.cluster import Fleet
from scrapy_capsolver.stores.redis.connection import COMMAND_SECONDS, Link, ScriptError, StoreAwayError
from scrapy_capsolver.stores.redis.journal import Journal
from scrapy_capsolver.stores.redis.subscriber import News
from scrapy_capsolver.stores.redis.waiting import kept, reactor, within

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scrapy_capsolver.errors import CaptchaError
    from scrapy_capsolver.stores.base import Spend, TaskRow
    from scrapy_capsolver.stores.redis.scope import Scope

logger = logging.getLogger(__name__)

_MOST_SITES = 10_000  # whose clearances are kept here
_MARGIN_SECONDS = 0.05  # after which a lease that should have passed on is looked at
_LEAVE_SECONDS = 5.0  # to write the last, where the server does not answer at once


class RedisStore:
    """Implements :class:`~scrapy_capsolver.stores.base.Store`."""

    def __init__(self, url: str, scope: Scope) -> None:
        address = Address.parse(url)
        self._scope = scope
        self._link = Link(address, scope.prefix, self._came)
        self._journal = Journal(self._link, scope.worker, self._refused)
        self._news = News(address, scope.key("news"), self._heard, self._gap)
        self.fleet = Fleet(self._link, self._journal, scope)
        self.fleet.on_forgotten = self._save_again
        self.allows_offline = False
        """Solving goes on while the server is away."""
        self._known: dict[str, dict[Key, Clearance]] = {}
        self._fresh: set[str] = set()  # sites of which all news has been heard since they were asked for
        self._lookups: dict[str, Waiters[None]] = {}  # sites that are asked for, and who waits for that
        self._overtaken: set[str] = set()  # of which there was news meanwhile
        self._flights: dict[str, Waiters[CaptchaError | None]] = {}
        self._open = False

    @property
    def is_empty(self) -> bool:
        return False

    @property
    def commands(self) -> int:
        """That were sent to the server; it sends the news by itself."""
        return self._link.commands

    def open(self) -> None:
        self._open = True
        self._link.open()
        self._news.open()
        self.fleet.open()

    async def _came(self) -> None:
        await self.fleet.came_()
        # Not before the link counts as there.
        asyncio.get_running_loop().call_soon(self._journal.flush)
        self._wake_flights()

    # Clearances

    async def load(self, site: str) -> Mapping[Key, Clearance]:
        if site in self._lookups:  # somebody is at it
            await self._lookups[site].join()
        elif self._link.is_up and site not in self._fresh:
            waiting = self._lookups[site] = Waiters(reactor())
            try:
                await self._look_up(site)
            finally:
                del self._lookups[site]
                waiting.release_all(None)
        return self.known(site)

    async def _look_up(self, site: str) -> None:
        """Again, where there was news of the site before the answer came."""
        while True:
            self._overtaken.discard(site)
            try:
                rows = await self._link.call("HGETALL", self._scope.key("clearances", site))
            except (StoreAwayError, ScriptError):
                return
            if site not in self._overtaken:
                break
        for one in self._journal.pending(site):
            _apply(one, rows)
        self._known[site] = _readable(site, rows)
        if len(self._known) > _MOST_SITES:
            self._forget(next(iter(self._known)))
        if self._news.is_live:
            self._fresh.add(site)

    def known(self, site: str) -> Mapping[Key, Clearance]:
        return self._known.get(site, {})

    async def save(self, key: Key, clearance: Clearance) -> None:
        held = self.known(key.site).get(key)
        if held is not None and (held.fence, held.solved_at) > (clearance.fence, clearance.solved_at):
            return
        self._known.setdefault(key.site, {})[key] = clearance
        self._write(key, clearance)

    def _write(self, key: Key, clearance: Clearance) -> None:
        self._journal.add(
            "save",
            site=key.site,
            field=_field(key),
            text=_text(clearance),
            fence=clearance.fence,
            solved_at=clearance.solved_at,
            expires=clearance.expires,
        )

    def _save_again(self) -> None:
        """The server has lost what it had. What expired meanwhile is forgotten there by itself."""
        for held in self._known.values():
            for key, clearance in held.items():
                self._write(key, clearance)

    async def delete(self, key: Key, clearance_id: str) -> None:
        held = self.known(key.site).get(key)
        if held is not None and held.id == clearance_id:
            del self._known[key.site][key]
        self._journal.add("drop", site=key.site, field=_field(key), id=clearance_id)

    def _forget(self, site: str) -> None:
        self._known.pop(site, None)
        self._fresh.discard(site)

    def _refused(self, site: str, field: str, text: str) -> None:
        """There is a newer one than this worker had."""
        if site in self._known:
            self._found(site, field, text)

    # One solve for all

    async def lease(self, key: Key, refused: str) -> Lease | Clearance:
        flight = blake2b(f"{key.site} {_field(key)}".encode(), digest_size=16).hexdigest()
        while True:
            # From before the question on, or the news could come between it and its answer.
            self._flights[flight] = Waiters(reactor())
            landing = self._flights[flight].join()
            try:
                call = self._link.call("claim", flight, self._scope.worker, key.site, _field(key), refused)
                answer = await kept(call, lambda late: self._give_back(late, flight))
                if answer[0] == "held":
                    return self._found(key.site, _field(key), answer[1])
                if answer[0] == "lease":
                    return _RedisLease(self, flight, int(answer[1]))
                error = await _bounded(landing, max(float(answer[1]), 0.0) / 1000 + _MARGIN_SECONDS)
            except StoreAwayError:
                if self.allows_offline:
                    return Lease()
                await self.fleet.back()
                continue
            except ScriptError as error:
                raise store_fails(str(error)) from None
            finally:
                self._flights.pop(flight, None)
            if error is not None:
                raise error.shared()

    def _found(self, site: str, field: str, text: str) -> Clearance:
        key, clearance = _read(site, field, text)
        self._known.setdefault(site, {})[key] = clearance
        return clearance

    def _give_back(self, late: list[str], flight: str) -> None:
        if late[0] == "lease":
            self.land(flight, None)

    def land(self, flight: str, error: CaptchaError | None) -> None:
        self._journal.add("land", flight=flight, error=None if error is None else to_plain(error))

    def _wake_flights(self) -> None:
        for flight in list(self._flights):
            self._land(flight, None)

    def _land(self, flight: str, error: CaptchaError | None) -> None:
        landing = self._flights.pop(flight, None)
        if landing is not None:
            landing.release_all(error)

    # What the others tell

    def _gap(self) -> None:
        self._fresh.clear()
        self._wake_flights()
        self.fleet.reservations.news()

    def _heard(self, news: dict[str, Any]) -> None:
        # What is no news of ours means nothing.
        with suppress(ValueError, TypeError, LookupError, AttributeError):
            self._understand(news)

    def _understand(self, news: dict[str, Any]) -> None:
        kind, mine = news.get("kind"), news.get("by") == self._scope.worker
        if kind == "clearance" and not mine:
            self._changed(news["site"], news["field"], news.get("text"))
        elif kind == "flight" and not mine:  # whoever waits here for a solve of this worker is told without it
            told = news.get("error")
            self._land(news["flight"], from_plain(told) if isinstance(told, dict) else None)
        elif kind == "limits":
            self.fleet.reservations.news()
        elif kind == "breaker" and not mine and news["account"] == self._scope.account:
            self.fleet.on_breaker(news["what"], float(news["seconds"]))

    def _changed(self, site: str, field: str, text: str | None) -> None:
        if site in self._lookups:
            self._overtaken.add(site)
        if site not in self._known:
            return
        if text is None:
            self._known[site].pop(_key(site, field), None)
        else:
            self._found(site, field, text)

    # The ledger

    async def open_task(self, task: TaskRow) -> None:
        self.fleet.reservations.opened(task.reservation, task.id)

    async def spend(self, entry: Spend, *, closes: str, reservation: str = "", wasted: bool = False) -> None:
        if reservation and not wasted:
            self.fleet.reservations.finish(reservation, entry.account, charged=entry.account != "failed")
        else:
            self.fleet.reservations.spend(entry, reservation)

    # The end

    async def leave(self) -> None:
        if not self._open:
            return
        self._open = False
        self.fleet.close()
        self._journal.add("bye", name=self._scope.run, account=self._scope.account)
        try:
            await within(_LEAVE_SECONDS, self._journal.written())
        except DeferredTimeoutError:
            logger.warning("CAPSOLVER_STORE: Redis is away at the end of the crawl: what was not written yet is lost")
        closing = asyncio.gather(self._news.close(), self._link.close(), return_exceptions=True)
        with suppress(asyncio.TimeoutError):
            await Deferred.fromFuture(asyncio.ensure_future(asyncio.wait_for(closing, COMMAND_SECONDS)))

    def close(self) -> None:
        """See :meth:`leave`."""


class _RedisLease(Lease):
    def __init__(self, store: RedisStore, flight: str, fence: int) -> None:
        super().__init__(fence)
        self._store = store
        self._flight = flight

    def end(self, error: CaptchaError | None = None) -> None:
        self._store.land(self._flight, error)


async def _bounded(landing: Deferred[CaptchaError | None], seconds: float) -> CaptchaError | None:
    """What came of the solve of another worker. None where that has to be looked up: at the latest when it may be dead."""
    try:
        return await within(seconds, landing)
    except DeferredTimeoutError:
        return None


def _readable(site: str, rows: Mapping[str, str]) -> dict[Key, Clearance]:
    """Without what somebody else has written there."""
    found = {}
    for field, text in rows.items():
        with suppress(ValueError, TypeError, LookupError):
            key, clearance = _read(site, field, text)
            found[key] = clearance
    return found


def _apply(write: dict[str, Any], rows: dict[str, str]) -> None:
    """What lua/apply.lua will do with the write."""
    held = json.loads(rows.get(write["field"], "null"))
    if write["op"] == "drop":
        if held is not None and held["id"] == write["id"]:
            del rows[write["field"]]
    elif held is None or (held["fence"], held["solved_at"]) <= (write["fence"], write["solved_at"]):
        rows[write["field"]] = write["text"]


def _field(key: Key) -> str:
    return json.dumps([key.scope, key.family, key.proxy, key.user_agent, key.jar])


def _key(site: str, field: str) -> Key:
    return Key(site, *json.loads(field))


def _text(clearance: Clearance) -> str:
    values = {
        "id": clearance.id,
        "host": clearance.host,
        "cookies": dict(clearance.cookies),
        "user_agent": clearance.user_agent,
        "solved_at": clearance.solved_at,
        "expires": clearance.expires,
        "secure": clearance.secure,
        "fence": clearance.fence,
    }
    return json.dumps({name: value for name, value in values.items() if value is not None})


def _read(site: str, field: str, text: str) -> tuple[Key, Clearance]:
    values = {"user_agent": None, **json.loads(text)}
    return _key(site, field), Clearance(**values)
