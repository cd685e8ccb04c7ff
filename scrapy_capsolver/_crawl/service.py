"""CapSolver at the service of one crawl: solves in Scrapy's terms, without holding up the crawl or its end."""

from __future__ import annotations

import asyncio
import logging
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypeVar, cast

from scrapy.utils.defer import maybe_deferred_to_future
from twisted.internet.defer import CancelledError, Deferred, fail, gatherResults
from twisted.internet.task import LoopingCall

from scrapy_capsolver._compat.engine import close_spider, is_stopping
from scrapy_capsolver._compat.slots import SlotLender
from scrapy_capsolver._crawl.cluster import ClusterCoordinator, limits_of, scope_of
from scrapy_capsolver._crawl.progress import Progress, Tally
from scrapy_capsolver.api.client import CapSolverClient
from scrapy_capsolver.errors import CaptchaCancelledError
from scrapy_capsolver.families import FAMILIES, PRICES, SolutionKind
from scrapy_capsolver.solving.account import Account
from scrapy_capsolver.solving.breaker import Breaker
from scrapy_capsolver.solving.clearances import Clearances
from scrapy_capsolver.solving.feedback import Feedback
from scrapy_capsolver.solving.job import ResumeToken, plain
from scrapy_capsolver.solving.ledger import NANO, Ledger
from scrapy_capsolver.solving.outcomes import Outcomes
from scrapy_capsolver.solving.site_breaker import SiteStops
from scrapy_capsolver.solving.slow_start import SlowStart
from scrapy_capsolver.solving.solver import Solved, Solver
from scrapy_capsolver.stores import StoreError, open_journal, open_store, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy.crawler import Crawler

    from scrapy_capsolver.report.record import Record
    from scrapy_capsolver.settings import CapSolverSettings
    from scrapy_capsolver.solving.clock import Clock
    from scrapy_capsolver.solving.job import Job
    from scrapy_capsolver.solving.observer import Observer
    from scrapy_capsolver.stores.base import LimitJournal

    T = TypeVar("T")

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.25  # between looks at whether the crawl is stopping
_CLOSE_SECONDS = 0.5  # to tell CapSolver the last, and then for connections that will not close (Twisted issue 7738)


class Service:
    """One account's client and solver, and the requests that wait for them."""

    clock: Clock | None = None
    """For tests: what tells the time instead of the reactor."""

    def __init__(
        self,
        crawler: Crawler,
        settings: CapSolverSettings,
        count: Callable[[str, float], None],
        observer: Observer | None = None,
    ) -> None:
        # Not at module level: that would install Twisted's default reactor.
        from twisted.internet import reactor

        self._crawler = crawler
        self._settings = settings
        self._clock = self.clock or cast("Clock", reactor)
        self._client = CapSolverClient(
            api_key=settings.api_key,
            api_url=settings.api_url,
            app_id=settings.app_id,
            reactor=reactor,
            clock=self._clock,
        )
        spider = getattr(crawler.spider, "name", None) or ""
        try:
            self._store = store = open_store(settings.store, scope_of(settings, spider))
        except StoreError as error:
            raise StoreError(f"CAPSOLVER_STORE is {shown(settings.store)!r}: {error}") from None
        self._breaker = breaker = Breaker(self._clock, count)
        stops = SiteStops(settings.max_rejections, count)
        slow_start = SlowStart(self._clock, stops)
        self._account = Account(self._client, self._clock, breaker, count)
        self._journal = None if store.fleet is not None else self._open_journal(spider)
        self._limits = limits_of(settings, store.fleet, self._journal, self._clock, self._exhausted, count)
        self._ledger = Ledger(spider, {**PRICES, **settings.prices}, store, count, observer)
        self._solver = Solver(
            self._client,
            self._clock,
            concurrency=settings.concurrency,
            timeout=settings.timeout,
            account=self._account,
            breaker=breaker,
            stops=stops,
            slow_start=slow_start,
            limits=self._limits,
            ledger=self._ledger,
            count=count,
        )
        self._feedback = Feedback(self._client, breaker, count, enabled=settings.feedback)
        self.outcomes = Outcomes(self._ledger, stops, slow_start, self._feedback, count)
        self._slots = SlotLender(crawler, settings.max_pending)
        families = tuple(one.name for one in FAMILIES if one.kind is SolutionKind.CLEARANCE)
        self.clearances = Clearances(store, families, self._clock)
        self._waiting: set[Deferred[Any]] = set()
        self._sharing: set[Deferred[Any]] = set()
        self._coordinator = None
        if store.fleet is not None:
            store.fleet.patience = settings.timeout
            store.allows_offline = bool(settings.offline_solves)
            self._coordinator = ClusterCoordinator(store.fleet, spider, self._solver, breaker, count)
        self._watch = LoopingCall(self._look)
        self._progress = Progress(self._clock, crawler.settings.getfloat("LOGSTATS_INTERVAL"), self._tally)
        self._count = count
        self._cutting_off: Any = None
        self._closes = False

    def _open_journal(self, spider: str) -> LimitJournal | None:
        """Return where limits are kept over runs of this crawl: in its ``JOBDIR``, else in its store; None if it has neither.

        Raises :class:`~scrapy_capsolver.stores.StoreError` if that cannot be used and a limit is set.
        """
        folder = self._crawler.settings["JOBDIR"]
        if not folder:
            return self._store.journal(f"{self._settings.run}/{spider}")
        try:
            return open_journal(str(folder))
        except StoreError as error:
            if self._settings.has_limit:
                raise StoreError(f"JOBDIR, where limits are counted: {error}") from None
            logger.warning("JOBDIR: solves are not counted for later runs: %s", error)
            return None

    def open(self, snapshot: Callable[[], Record | None]) -> None:
        """The crawl begins: join the other workers, who are shown the ``snapshot``, and ask for the balance."""
        self._store.open()
        self._limits.open(self._ledger.lost)
        if self._coordinator is not None:
            self._coordinator.open(snapshot)
        self._account.ask()
        from twisted.internet import reactor

        events = cast("Any", reactor)
        self._cutting_off = events.addSystemEventTrigger("before", "shutdown", self._cut_off)

    def solve(self, job: Job) -> Deferred[Solved]:
        """See :meth:`Solver.solve`; to be waited for with :meth:`wait`."""
        if self.is_stopping():
            return fail(CaptchaCancelledError("not tried: the crawl is stopping", open_task=plain(job.resume)))
        return self._solver.solve(job)

    async def wait(self, outcome: Deferred[T], *, shared: bool = False, lend: bool = True) -> T:
        """Wait with a slot lent to the engine. Raises CaptchaCancelledError soon after the crawl began to stop.

        ``lend``: False where it is no request that waits, and holds a slot. ``shared``: of :attr:`clearances`, which tell all who wait when they are cancelled.
        """
        (self._sharing if shared else self._waiting).add(outcome)
        if not self._watch.running:
            self._watch.start(_LOOK_SECONDS, now=False)
        self._progress.begin()
        try:
            with self._slots.lend() if lend else nullcontext():
                return await maybe_deferred_to_future(outcome)
        except (asyncio.CancelledError, CancelledError):
            # Never out of a hook: Scrapy's engine would wait for this request for ever.
            raise CaptchaCancelledError("cancelled while its captcha was being solved") from None
        finally:
            self._waiting.discard(outcome)
            self._sharing.discard(outcome)

    def refuse(self) -> None:
        """Buy nothing in this crawl."""
        self._closes = True

    def is_stopping(self) -> bool:
        return self._closes or is_stopping(self._crawler)

    def _tally(self) -> Tally:
        stats = self._crawler.stats.get_stats() if self._crawler.stats is not None else {}

        def sum_of(kind: str) -> int:
            return sum(times for name, times in stats.items() if name.startswith(f"capsolver/{kind}/"))

        waiting = len(self._waiting) + len(self._sharing)
        return Tally(
            self._ledger.open_tasks, waiting, sum_of("solved"), sum_of("failed"), self._ledger.nano_spent / NANO
        )

    def adopt(self, note: dict[str, Any]) -> None:
        """A request brings an open task from an earlier run of this crawl."""
        self._solver.adopt(ResumeToken.of(note))

    def carry_over(self, note: dict[str, Any]) -> None:
        """A request takes its open task into the next run."""
        self._solver.carry_over(ResumeToken.of(note).receipt.task)

    def _exhausted(self, limit: str) -> None:
        self._count(f"limits/{limit}", 1)
        # A limit on one domain leaves the others.
        if self._settings.on_limit == "close" and limit != "MAX_SOLVES_PER_DOMAIN" and not self.is_stopping():
            self._closes = True
            close_spider(self._crawler, "capsolver_budget")

    def _look(self) -> None:
        waiting = len(self._waiting) + len(self._sharing)
        if waiting and self.is_stopping():
            logger.info("The crawl is stopping: %d requests that wait for a captcha are given back", waiting)
            self._cancel_all()
        elif not waiting:
            self._watch.stop()

    def _cancel_all(self) -> None:
        # Once each: the end of a solve may take a moment.
        waiting, self._waiting, self._sharing = self._waiting, set(), set()
        self.clearances.cancel_all()
        for solving in waiting:
            solving.cancel()

    def _cut_off(self) -> None:
        """Settle the accounts when the reactor stops before the crawl has, as at a second Ctrl-C.

        Scrapy has not written its queue then.
        """
        self._cutting_off = None
        self._solver.cut_off()
        self.outcomes.close(cut_off=True)
        self._ledger.close(cut_off=True)
        # What was written to a file until here stays; this run has not ended by itself, so its limits go on counting.
        self._store.close()
        if self._journal is not None:
            self._journal.close()

    async def close(self) -> None:
        """Give up what is left, settle the accounts, and close the connections."""
        from twisted.internet import reactor

        if self._cutting_off is not None:
            cast("Any", reactor).removeSystemEventTrigger(self._cutting_off)
            self._cutting_off = None
        self._progress.close()
        self._cancel_all()
        if self._watch.running:
            self._watch.stop()
        self._account.close()
        if self._coordinator is not None:
            self._coordinator.close()
        self._solver.close()
        self.outcomes.close()
        self._ledger.close()
        self._breaker.close()
        timer = cast("Clock", reactor).callLater(_CLOSE_SECONDS, self._feedback.drop)
        await maybe_deferred_to_future(self._feedback.flush())
        if timer.active():
            timer.cancel()
        closing = self._client.close()
        closing.addTimeout(_CLOSE_SECONDS, cast("Any", reactor), lambda _, __: None)
        await maybe_deferred_to_future(closing)

    async def leave(self, record: Record | None) -> None:
        """All is settled: say so to the other workers, with what the report is to say of this one."""
        if self._coordinator is not None and record is not None:
            self._coordinator.show(record, finished=True)
        ending = [] if self._journal is None else [Deferred.fromCoroutine(self._journal.end())]
        ending.append(Deferred.fromCoroutine(self._store.leave()))
        await maybe_deferred_to_future(gatherResults(ending))
        self.clearances.close()
        if self._journal is not None:
            self._journal.close()
