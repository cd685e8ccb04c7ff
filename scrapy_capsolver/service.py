"""CapSolver at the service of one crawl: solves in Scrapy's terms, without holding up the crawl or its end."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, TypeVar, cast

from scrapy.utils.defer import maybe_deferred_to_future
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.task import LoopingCall

from scrapy_capsolver.api.client import CapSolverClient
from scrapy_capsolver.errors import CaptchaCancelledError
from scrapy_capsolver.families import FAMILIES, PRICES, SolutionKind
from scrapy_capsolver.slots import SlotLender, is_stopping
from scrapy_capsolver.solving.clearances import Clearances
from scrapy_capsolver.solving.solver import Solved, Solver
from scrapy_capsolver.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy.crawler import Crawler

    from scrapy_capsolver.settings import CapSolverSettings
    from scrapy_capsolver.solving.clock import Clock
    from scrapy_capsolver.solving.solver import MakeTask

    T = TypeVar("T")

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5  # between looks at whether the crawl is stopping
_CLOSE_SECONDS = 1.0  # for connections that will not close (Twisted issue 7738)


class CapSolver:
    """One account's client and solver, and the requests that wait for them."""

    clock: Clock | None = None
    """For tests: what tells the time instead of the reactor."""

    def __init__(self, crawler: Crawler, settings: CapSolverSettings, count: Callable[[str, float], None]) -> None:
        # Not at module level: that would install Twisted's default reactor.
        from twisted.internet import reactor

        self._crawler = crawler
        self._clock = self.clock or cast("Clock", reactor)
        self._client = CapSolverClient(
            api_key=settings.api_key,
            api_url=settings.api_url,
            app_id=settings.app_id,
            reactor=reactor,
            clock=self._clock,
        )
        self._solver = Solver(
            self._client,
            self._clock,
            concurrency=settings.concurrency,
            timeout=settings.timeout,
            prices={**PRICES, **settings.prices},
            count=count,
        )
        self._slots = SlotLender(crawler, settings.max_pending)
        self.clearances = Clearances(
            open_store(settings.store), tuple(one.name for one in FAMILIES if one.kind is SolutionKind.CLEARANCE)
        )
        self._waiting: set[Deferred[Any]] = set()
        self._watch = LoopingCall(self._look)

    def solve(self, make_task: MakeTask, attempts: int) -> Deferred[Solved]:
        """See :meth:`Solver.solve`; to be waited for with :meth:`wait`."""
        return self._solver.solve(make_task, attempts)

    async def wait(self, outcome: Deferred[T]) -> T:
        """Wait with a slot lent to the engine. Raises CaptchaCancelledError soon after the crawl began to stop."""
        self._waiting.add(outcome)
        if not self._watch.running:
            self._watch.start(_LOOK_SECONDS, now=False)
        try:
            with self._slots.lend():
                return await maybe_deferred_to_future(outcome)
        except (asyncio.CancelledError, CancelledError):
            # Never out of a hook: Scrapy's engine would wait for this request for ever.
            raise CaptchaCancelledError("cancelled while its captcha was being solved") from None
        finally:
            self._waiting.discard(outcome)

    def is_stopping(self) -> bool:
        return is_stopping(self._crawler)

    def _look(self) -> None:
        if self.is_stopping():
            logger.info("The crawl is stopping: %d waiting requests are given back", len(self._waiting))
            self._cancel_all()
        if not self._waiting:
            self._watch.stop()

    def _cancel_all(self) -> None:
        for solving in list(self._waiting):
            solving.cancel()

    async def close(self) -> None:
        """Cancel what is left and close the connections."""
        self._cancel_all()
        if self._watch.running:
            self._watch.stop()
        closing = DeferredList([self._client.close()], consumeErrors=True)
        self.clearances.close()
        closing.addTimeout(_CLOSE_SECONDS, cast("Any", self._clock), lambda _, __: None)
        await maybe_deferred_to_future(closing)
