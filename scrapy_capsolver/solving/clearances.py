"""Clearances: one solve shared by all who wait for it, and what came of it for those who come later."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from scrapy_capsolver._utils.waiters import Waiters
from scrapy_capsolver.errors import CaptchaCancelledError, CaptchaError
from scrapy_capsolver.stores.base import Clearance

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from scrapy_capsolver.solving.clock import Clock
    from scrapy_capsolver.solving.solver import Solved
    from scrapy_capsolver.stores import Key, Store


@dataclass(frozen=True, slots=True)
class Obtained:
    """A clearance, and the solve that brought it; None where it was held already."""

    clearance: Clearance
    solved: Solved | None = None
    shared: bool = False
    """Another request began the solve."""


class _Flight:
    """A solve that is under way, and those who wait for it. When the last of them leaves, it ends."""

    def __init__(self, obtaining: Deferred[Obtained], clock: Clock) -> None:
        self._obtaining = obtaining
        self._waiting: Waiters[Obtained] = Waiters(clock)

    def join(self) -> Deferred[Obtained]:
        return self._waiting.join(self._leave)

    def cancel(self) -> None:
        self._obtaining.cancel()

    def _leave(self, waiting: Deferred[Obtained]) -> None:
        waiting.errback(CaptchaCancelledError("cancelled while waiting for a clearance"))
        if not self._waiting:
            self._obtaining.cancel()

    def land(self, outcome: Obtained | Failure) -> None:
        """Let all go on, each with its own outcome: the first began the solve, and the rest share it."""
        # All shares first: a request that goes on may write into an error what it was raised for.
        self._waiting.release([outcome if number == 0 else _share(outcome) for number in range(len(self._waiting))])


def _share(outcome: Obtained | Failure) -> Obtained | Failure:
    if not isinstance(outcome, Failure):
        return replace(outcome, shared=True)
    return Failure(outcome.value.shared()) if isinstance(outcome.value, CaptchaError) else outcome


class Clearances:
    """Those of one crawl. ``families`` are the names of all families that have clearances."""

    def __init__(self, store: Store, families: tuple[str, ...], clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._families = families
        self._flights: dict[Key, _Flight] = {}

    @property
    def is_idle(self) -> bool:
        """Nothing is held, and nothing is under way."""
        return not self._flights and self._store.is_empty

    async def load(self, site: str) -> bool:
        """Look up what is held for ``site``, for :meth:`held` to tell. Is there anything?"""
        return bool(await self._store.load(site))

    def held(self, site: str) -> Mapping[Key, Clearance]:
        """What :meth:`load` found last, with what has become known since."""
        return self._store.known(site)

    def of(self, key: Key, host: str, *, secure: bool) -> dict[Key, Clearance]:
        """The clearances that fit a request of this key (its family and scope do not count) to ``host``, over https or not.

        One a family, that of the host before that of the site.
        """
        held = self.held(key.site)
        found = {}
        for family in self._families if held else ():
            for scope in (host, key.site):
                candidate = replace(key, family=family, scope=scope)
                clearance = _good(held.get(candidate))
                if clearance is not None and (secure or not clearance.secure):
                    found[candidate] = clearance
                    break
        return found

    def under_way(self, key: Key, host: str) -> Deferred[Obtained] | None:
        """What a request of this key to ``host`` should wait for, since it would meet the gate as well."""
        for family in self._families if self._flights else ():
            for scope in (host, key.site):
                flight = self._flights.get(replace(key, family=family, scope=scope))
                if flight is not None:
                    return flight.join()
        return None

    def obtain(
        self, key: Key, refused: str, solve: Callable[[], Awaitable[tuple[Solved, Clearance]]]
    ) -> Deferred[Obtained]:
        """A clearance of this key other than the one whose id is ``refused``: held, under way, or solved now.

        Fails with what ``solve`` raises, for everybody who waits.
        """
        flight = self._flights.get(key)
        if flight is None:
            obtaining = Deferred.fromCoroutine(self._obtain(key, refused, solve))
            if obtaining.called:  # there was nothing to wait for
                return obtaining
            flight = self._flights[key] = _Flight(obtaining, self._clock)
            joined = flight.join()
            obtaining.addBoth(self._landed, key, flight)
            return joined
        return flight.join()

    def _landed(self, outcome: Any, key: Key, flight: _Flight) -> None:
        del self._flights[key]
        flight.land(outcome)

    async def _obtain(
        self, key: Key, refused: str, solve: Callable[[], Awaitable[tuple[Solved, Clearance]]]
    ) -> Obtained:
        held = _good((await self._store.load(key.site)).get(key))
        if held is not None:
            if held.id != refused:
                return Obtained(held)
            await self.drop(key, held)
        lease = await self._store.lease(key, refused)
        if isinstance(lease, Clearance):
            return Obtained(lease, shared=True)
        error = None
        try:
            solved, clearance = await solve()
            clearance = replace(clearance, fence=lease.fence)
            await self.keep(key, clearance)
        except CaptchaError as raised:
            # One that was cancelled here may well be solved by another.
            error = None if isinstance(raised, CaptchaCancelledError) else raised
            raise
        finally:
            lease.end(error)
        return Obtained(clearance, solved)

    def note(self, key: Key, clearance: Clearance) -> None:
        """Keep a clearance whose cookies the site has issued anew, unless it was dropped or replaced meanwhile."""
        held = self.held(key.site).get(key)
        if held is not None and held.id == clearance.id:
            # At once: whoever asks the store next must not get the old ones.
            Deferred.fromCoroutine(self.keep(key, clearance))

    async def keep(self, key: Key, clearance: Clearance) -> None:
        # All at once: a store may wait for its file, and the next request must not find only one of them.
        for saving in [Deferred.fromCoroutine(self._store.save(one, clearance)) for one in _keys(key, clearance)]:
            await saving

    async def drop(self, key: Key, clearance: Clearance) -> None:
        for one in _keys(key, clearance):
            await self._store.delete(one, clearance.id)

    def cancel_all(self) -> None:
        """Nobody waits for anything any more: all are told what came of the solve until now."""
        for flight in list(self._flights.values()):
            flight.cancel()

    def close(self) -> None:
        self._store.close()


def _good(clearance: Clearance | None) -> Clearance | None:
    """The clearance, unless it has expired."""
    expired = clearance is not None and clearance.expires is not None and clearance.expires <= time.time()
    return None if expired else clearance


def _keys(key: Key, clearance: Clearance) -> tuple[Key, ...]:
    """Also that of a request which comes with the clearance's user agent by itself."""
    if clearance.user_agent is None or clearance.user_agent == key.user_agent:
        return (key,)
    return (key, replace(key, user_agent=clearance.user_agent))
