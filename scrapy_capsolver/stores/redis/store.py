"""A store on a Redis server, for workers on many machines: what one learns all know, and what one pays for all use.

What is held for a site is kept here too, and followed by the news of the others: a look at it sends no command.
While the server is away the crawl goes on with what is known.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from contextlib import suppress
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError

from scrapy_capsolver._utils.waiters import Waiters
from scrapy_capsolver.errors import from_plain, store_fails, to_plain
from scrapy_capsolver.stores.base import Clearance, Key, Lease
from scrapy_capsolver.stores.redis.address import Address
from scrapy_capsolver.stores.redis.bookings import Bookings
from scrapy_capsolver.stores.redis.cluster import Fleet, instance_of
from scrapy_capsolver.stores.redis.connection import Link, ScriptError, StoreAwayError
from scrapy_capsolver.stores.redis.damage import Damage, shown
from scrapy_capsolver.stores.redis.journal import Journal
from scrapy_capsolver.stores.redis.subscriber import News
from scrapy_capsolver.stores.redis.timings import Timings
from scrapy_capsolver.stores.redis.waiting import reactor, within

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scrapy_capsolver.errors import CaptchaError
    from scrapy_capsolver.stores.base import Spend, TaskRow
    from scrapy_capsolver.stores.redis.scope import Scope

logger = logging.getLogger(__name__)

_MOST_SITES = 10_000  # whose clearances are kept here


class RedisStore:
    """Implements :class:`~scrapy_capsolver.stores.base.Store`."""

    def __init__(self, url: str, scope: Scope, timings: Timings | None = None) -> None:
        self._scope = scope
        self._timings = timings = timings or Timings()
        self._address = address = Address.parse(url)
        self._damage = Damage(address, self._count_damage)
        self._link = Link(address, scope.prefix, scope.worker, timings, self._came, self._damage.found)
        instance = instance_of(scope.worker)
        bookings = Bookings(scope.key("ledger", f"{scope.run}@{instance}"))
        self._journal = Journal(self._link, bookings, self._refused)
        self._news = News(address, scope.key("news"), timings, self._heard, self._gap)
        self.fleet = Fleet(self._link, self._journal, bookings, scope, instance, timings)
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

    def journal(self, crawl: str) -> None:
        """Limits are kept on the server."""

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
            except StoreAwayError:
                return
            except ScriptError:
                self._damage.report(self._scope.key("clearances", site), ["holds another kind of value"])
                rows = {}
            if site not in self._overtaken:
                break
        held = self._readable(site, rows)
        for one in self._journal.pending(site):
            _apply(site, one, held)
        self._known[site] = held
        if len(self._known) > _MOST_SITES:
            self._forget(next(iter(self._known)))
        if self._news.is_live:
            self._fresh.add(site)

    def _readable(self, site: str, rows: Mapping[str, str]) -> dict[Key, Clearance]:
        """Return what can be read, and report what cannot."""
        found, faults = {}, []
        for field, text in rows.items():
            read = _try_to_read(site, field, text)
            if isinstance(read, str):
                faults.append(read)
            else:
                found[read[0]] = read[1]
        if faults:
            self._damage.report(self._scope.key("clearances", site), faults)
        return found

    def _count_damage(self) -> None:
        self.fleet.on_damage()

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
        claim = uuid.uuid4().hex
        in_doubt = False  # the server may have given the lease, and this worker has not heard of it
        try:
            while True:
                # From before the question on, or the news could come between it and its answer.
                self._flights[flight] = Waiters(reactor())
                landing = self._flights[flight].join()
                try:
                    call = self._link.call("claim", flight, claim, key.site, _field(key), refused)
                    in_doubt = True
                    answer = await call
                    in_doubt = False
                    if answer[0] == "held":
                        return self._found(key.site, _field(key), answer[1])
                    if answer[0] == "lease":
                        return _RedisLease(self, flight, claim, int(answer[1]))
                    error = await _bounded(landing, max(float(answer[1]), 0.0) + self._timings.margin)
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
        finally:
            if in_doubt:
                self.land(flight, claim, None)

    def _found(self, site: str, field: str, text: str) -> Clearance:
        key, clearance = _read(site, field, text)
        self._known.setdefault(site, {})[key] = clearance
        return clearance

    def land(self, flight: str, claim: str, error: CaptchaError | None) -> None:
        """The solve of this lease is over."""
        self._journal.add("land", flight=flight, claim=claim, error=None if error is None else to_plain(error))

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
        # Others may publish anything there.
        with suppress(ValueError, TypeError, LookupError, AttributeError, RecursionError):
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
        self._journal.add("bye", run=self._scope.run, account=self._scope.account)
        try:
            await within(self._timings.leave, self._journal.written())
        except DeferredTimeoutError:
            logger.warning("CAPSOLVER_STORE: Redis is away at the end of the crawl: what was not written yet is lost")
        closing = asyncio.gather(self._news.close(), self._link.close(), return_exceptions=True)
        with suppress(asyncio.TimeoutError):
            await Deferred.fromFuture(asyncio.ensure_future(asyncio.wait_for(closing, self._timings.answer)))

    def close(self) -> None:
        """See :meth:`leave`."""


class _RedisLease(Lease):
    def __init__(self, store: RedisStore, flight: str, claim: str, fence: int) -> None:
        super().__init__(fence)
        self._store = store
        self._flight = flight
        self._claim = claim

    def end(self, error: CaptchaError | None = None) -> None:
        self._store.land(self._flight, self._claim, error)


async def _bounded(landing: Deferred[CaptchaError | None], seconds: float) -> CaptchaError | None:
    """Return how the solve of another worker ended. None if that has to be looked up: at the latest when that worker may be dead."""
    try:
        return await within(seconds, landing)
    except DeferredTimeoutError:
        return None


def _apply(site: str, write: dict[str, Any], held: dict[Key, Clearance]) -> None:
    """Do what lua/apply.lua will do with the write."""
    key = _key(site, write["field"])
    there = held.get(key)
    if write["op"] == "drop":
        if there is not None and there.id == write["id"]:
            del held[key]
    elif there is None or (there.fence, there.solved_at) <= (write["fence"], write["solved_at"]):
        held[key] = _read(site, write["field"], write["text"])[1]


def _field(key: Key) -> str:
    return json.dumps([key.scope, key.family, key.proxy, key.user_agent, key.jar])


def _key(site: str, field: str) -> Key:
    """Raises ValueError."""
    try:
        parts = json.loads(field)
    except (ValueError, RecursionError):
        parts = None
    if not isinstance(parts, list) or len(parts) != 5 or not all(isinstance(part, str) for part in parts):
        raise ValueError("no key of a clearance")
    return Key(site, *parts)


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
    """Read what :func:`_text` has written. Raises ValueError: it is the same that lua/prelude.lua takes for no clearance."""
    key = _key(site, field)
    try:
        values = json.loads(text)
        clearance = Clearance(**{"user_agent": None, **values})
        fine = (
            all(isinstance(one, str) for one in (clearance.id, clearance.host))
            and isinstance(clearance.cookies, dict)
            and all(isinstance(one, str) for one in clearance.cookies.values())
            and isinstance(clearance.user_agent, (str, type(None)))
            and isinstance(clearance.secure, bool)
            and _is_number(clearance.solved_at)
            and (clearance.expires is None or _is_number(clearance.expires))
            and _is_number(clearance.fence)
        )
    except (ValueError, TypeError, RecursionError):
        fine = False
    if not fine:
        raise ValueError("no clearance")
    return key, clearance


def _try_to_read(site: str, field: str, text: str) -> tuple[Key, Clearance] | str:
    """Return what :func:`_read` returns, or what is wrong."""
    try:
        return _read(site, field, text)
    except ValueError:
        return f"{shown(field)} is no clearance"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 2**53
