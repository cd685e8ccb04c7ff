"""The workers that share a Redis server: which of them live, and what each tells the others."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import TimeoutError as DeferredTimeoutError

from scrapy_capsolver.errors import store_away
from scrapy_capsolver.stores.redis.reservations import Left, Reservations
from scrapy_capsolver.stores.redis.waiting import within

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy_capsolver.stores.redis.connection import Link
    from scrapy_capsolver.stores.redis.journal import Journal
    from scrapy_capsolver.stores.redis.scope import Scope

BEAT_SECONDS = 2.0  # five of them are the time after which a worker is taken for dead (lua/prelude.lua)


class Fleet:
    """This worker, among the others. What it waits for are Twisted's Deferreds; where a name ends with ``_``, asyncio's."""

    def __init__(self, link: Link, journal: Journal, scope: Scope) -> None:
        self._link = link
        self._journal = journal
        self._scope = scope
        self._instance = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{scope.worker[:4]}"
        self.reservations = Reservations(link, journal, scope, self.run)
        self._beating: asyncio.Task[None] | None = None
        self._came_before = False
        self.workers = 1
        """That live and share the account."""
        self.patience = 150.0
        """Seconds for which the server may be away until who waits for it gives up."""
        self.on_times: Callable[[str, list[float]], None] = lambda task_type, seconds: None
        """Told, with a task type, the seconds that its recent solves took."""
        self.on_breaker: Callable[[dict[str, Any], float], None] = lambda what, seconds: None
        """Told what another worker's breaker did, and for how many seconds it holds."""
        self.on_orphan: Callable[[Left], None] = lambda left: None
        """Told a task of a dead worker: somebody has to see what becomes of it."""
        self.on_forgotten: Callable[[], None] = lambda: None
        """Told when the server does not know of this worker any more: it has lost what it had."""
        self.on_wait: Callable[[], None] = lambda: None
        """Told when a solve has to wait for the server."""
        self.on_size: Callable[[int], None] = lambda workers: None

    @property
    def run(self) -> str:
        return f"{self._scope.run}@{self._instance}"

    @property
    def is_away(self) -> bool:
        """It was there, or should have been; not before the first answer."""
        return self._link.is_away

    async def back(self) -> None:
        """Wait until the server is there. Raises :class:`~scrapy_capsolver.CaptchaStoreError` where that takes too long."""
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
            await asyncio.sleep(BEAT_SECONDS)
            if self._link.is_up:
                self._link.call("beat", *self._beat_arguments(came=False)).addCallbacks(self._heard, lambda _: None)

    def _beat_arguments(self, *, came: bool) -> tuple[str, ...]:
        scope = self._scope
        return (
            scope.run,
            self._instance,
            scope.worker,
            scope.account,
            "1" if came else "",
            scope.window,
            *self.reservations.known,
        )

    async def came_(self) -> None:
        """The server is there: join the others, and remind it of what it may have forgotten."""
        self._heard(await self._link.ask("beat", *self._beat_arguments(came=True)))
        await self.reservations.remind_()
        self._came_before = True
        self.reservations.news()

    def _heard(self, text: str) -> None:
        heard = json.loads(text)
        if self._came_before and "new" in heard and heard["instance"] == self._instance:
            self.reservations.book_again()
            self.on_forgotten()
        if heard["instance"] != self._instance:
            # Of a run that others had begun, or have begun while this worker was not heard of.
            self._instance = heard["instance"]
            self.reservations.move(self.run, remember=self._came_before)
        if heard["workers"] != self.workers:
            self.workers = max(heard["workers"], 1)
            self.on_size(self.workers)
        if heard.get("lost") and self._link.is_up:
            self.reservations.remind().addErrback(lambda _: None)  # there will be another beat
        for task_type, seconds in ({} if self._came_before else heard.get("times", {})).items():
            self.on_times(task_type, [float(one) for one in reversed(seconds.split())])
        for one in heard.get("breaker", ()):
            state = json.loads(one)
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
        self._journal.add("breaker", account=self._scope.account, name=name, what=what, seconds=seconds)

    def record(self, text: str) -> None:
        """What is to be in the report about this worker."""
        self._journal.add("record", run=self.run, text=text)
