"""The workers that share a Redis server: which of them live, and what each lets the others know."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import TimeoutError as DeferredTimeoutError

from scrapy_capsolver.errors import store_away
from scrapy_capsolver.stores.redis.connection import ScriptError, StoreAwayError
from scrapy_capsolver.stores.redis.reservations import Left, Reservations
from scrapy_capsolver.stores.redis.waiting import within

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    from scrapy_capsolver.stores.redis.bookings import Bookings
    from scrapy_capsolver.stores.redis.connection import Link
    from scrapy_capsolver.stores.redis.journal import Journal
    from scrapy_capsolver.stores.redis.scope import Scope
    from scrapy_capsolver.stores.redis.timings import Timings


class Fleet:
    """This worker, among the others. Its methods wait for Twisted's Deferreds; those whose names end with ``_``, for asyncio's."""

    def __init__(
        self, link: Link, journal: Journal, bookings: Bookings, scope: Scope, instance: str, timings: Timings
    ) -> None:
        self._link = link
        self._journal = journal
        self._scope = scope
        self._instance = instance
        self.timings = timings
        self.reservations = Reservations(link, journal, bookings, scope, timings, self.run)
        self._beating: asyncio.Task[None] | None = None
        self._came_before = False
        self.workers = 1
        """Workers that live and share the account."""
        self.patience = 150.0
        """Seconds for which the server may be away until whoever waits for it gives up."""
        self.on_times: Callable[[str, list[float]], None] = lambda task_type, seconds: None
        """Called with a task type and the seconds that its recent solves took."""
        self.on_breaker: Callable[[dict[str, Any], float], None] = lambda what, seconds: None
        """Called with what another worker's breaker did, and the seconds for which it holds."""
        self.on_orphan: Callable[[Left], None] = lambda left: None
        """Called with a task of a dead worker: this one has to see what becomes of it."""
        self.on_forgotten: Callable[[], None] = lambda: None
        """Called when the server does not know this worker any more: it has lost what it had."""
        self.on_wait: Callable[[], None] = lambda: None
        """Called when a solve has to wait for the server."""
        self.on_size: Callable[[int], None] = lambda workers: None
        """Called with the number of workers when it changes."""
        self.on_damage: Callable[[], None] = lambda: None
        """Called for each key that was found damaged."""

    @property
    def run(self) -> str:
        return f"{self._scope.run}@{self._instance}"

    @property
    def is_away(self) -> bool:
        """True if the server did not answer, or refused; not before the first answer."""
        return self._link.is_away

    async def back(self) -> None:
        """Wait until the server is there. Raises :class:`~scrapy_capsolver.CaptchaStoreError` if that takes too long."""
        if self._link.is_away:
            self.on_wait()
        try:
            await within(self.patience, self._link.up())
        except DeferredTimeoutError:
            raise store_away(self.patience) from None

    # Being one of them

    def open(self) -> None:
        self._beating = asyncio.get_running_loop().create_task(self._beat_())

    async def _beat_(self) -> None:
        while True:
            await asyncio.sleep(self.timings.beat)
            if self._link.is_up:
                self.beat().addErrback(_reported)

    def beat(self) -> Deferred[None]:
        """Give a sign of life. Fires when its answer is heard."""
        return self._link.call("beat", *self._beat_arguments()).addCallback(self._heard)

    def _beat_arguments(self, came: str = "") -> tuple[str | float, ...]:
        scope = self._scope
        return (scope.run, self._instance, scope.account, came, scope.window, *self.reservations.known)

    async def came_(self) -> None:
        """The server is there: join the others, say what is this worker's, and remind the server of what it may have forgotten."""
        mine = json.dumps(self.reservations.all())
        self._heard(await self._link.ask("beat", *self._beat_arguments("1"), mine))
        await self.reservations.remind_()
        self._came_before = True
        self.reservations.news()

    def _heard(self, text: str) -> None:
        heard = json.loads(text)
        same = heard["instance"] == self._instance
        if not same:
            # Of a run that others had begun, or have begun while this worker was not heard of.
            self._instance = heard["instance"]
            self.reservations.move(self.run, remember=self._came_before)
        if self._came_before and heard["new"] and same:
            self.on_forgotten()
        self._journal.check(heard["bookings"], list(heard["booked"]))
        if heard["workers"] != self.workers:
            self.workers = max(heard["workers"], 1)
            self.on_size(self.workers)
        if (heard.get("lost") or heard.get("missed")) and self._link.is_up:
            self.reservations.remind().addErrback(_reported)  # there will be another beat
        if not self._came_before:
            for task_type, seconds in dict(heard.get("times") or {}).items():
                self.on_times(task_type, [float(one) for one in reversed(seconds)])
        for state in list(heard.get("breaker") or ()):
            # What ended all solving for others ended it before this worker began: it looks at the account itself.
            if state["ends"] > heard["now"] and (self._came_before or state["what"]["kind"] != "stop"):
                self.on_breaker(state["what"], state["ends"] - heard["now"])
        for one in heard.get("orphans", ()):
            self.on_orphan(self.reservations.adopt(one["id"], one["task"], one["age"]))

    def close(self) -> None:
        if self._beating is not None:
            self._beating.cancel()

    # What one learns for all

    def took(self, task_type: str, seconds: float) -> None:
        """A solve took so long."""
        self._journal.add("time", type=task_type, seconds=f"{seconds:.3f}")

    def tell_breaker(self, name: str, what: dict[str, Any], seconds: float) -> None:
        """Let the others of the account know what the breaker did."""
        self._journal.add("breaker", account=self._scope.account, name=name, what=what, seconds=seconds)

    def record(self, text: str) -> None:
        """Have this in the report about this worker."""
        self._journal.add("record", run=self.run, text=text)


def _reported(failure: Failure) -> None:
    """The connection has reported what failed there."""
    failure.trap(StoreAwayError, ScriptError)


def instance_of(worker: str) -> str:
    """Return a name for a run that this worker begins now."""
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{worker[:4]}"
