"""One crawl among the workers that share its store: what they learn from each other, and what they leave to each other."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from scrapy_capsolver.solving.limits import Limits
from scrapy_capsolver.stores import Scope, is_redis
from scrapy_capsolver.stores.redis.scope import account_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy_capsolver.api.replies import Reply
    from scrapy_capsolver.report.record import Record
    from scrapy_capsolver.settings import CapSolverSettings
    from scrapy_capsolver.solving.breaker import Breaker
    from scrapy_capsolver.solving.clock import Clock
    from scrapy_capsolver.solving.solver import Solver
    from scrapy_capsolver.stores.base import LimitJournal
    from scrapy_capsolver.stores.redis.cluster import Fleet
    from scrapy_capsolver.stores.redis.limits import SharedLimits
    from scrapy_capsolver.stores.redis.reservations import Left


def scope_of(settings: CapSolverSettings, spider: str) -> Scope | None:
    if not is_redis(settings.store):
        return None
    return Scope(settings.store_prefix, settings.run, settings.limit_window, account_of(settings.api_key), spider)


def limits_of(
    settings: CapSolverSettings,
    fleet: Fleet | None,
    journal: LimitJournal | None,
    clock: Clock,
    exhausted: Callable[[str], None],
    count: Callable[[str, float], None],
) -> Limits | SharedLimits:
    """Return this crawl's own, kept in the journal, or those of the fleet."""
    own: dict[str, Any] = {
        "max_solves": settings.max_solves,
        "max_solves_per_domain": settings.max_solves_per_domain,
        "budget": settings.budget,
        "exhausted": exhausted,
    }
    if fleet is None:
        return Limits(clock, journal=journal, patience=settings.timeout, **own)
    from scrapy_capsolver.stores.redis.limits import SharedLimits  # noqa: PLC0415 - it loads redis-py, an extra

    return SharedLimits(fleet, allowance=settings.offline_solves, count=count, **own)


class ClusterCoordinator:
    """Joins a crawl's solving with that of the others."""

    def __init__(
        self, fleet: Fleet, spider: str, solver: Solver, breaker: Breaker, count: Callable[[str, float], None]
    ) -> None:
        self._fleet = fleet
        self._spider = spider
        self._solver = solver
        self._count = count
        self._watched: set[Deferred[Any]] = set()
        self._snapshot: Callable[[], Record | None] = lambda: None
        self._shown = ""
        self._showing = LoopingCall(self._show)
        breaker.share(fleet.tell_breaker)
        fleet.on_breaker = breaker.hear
        fleet.on_size = lambda workers: setattr(breaker, "workers", workers)
        solver.poller.took = fleet.took
        fleet.on_times = lambda task_type, seconds: solver.poller.times[task_type].learn(seconds)
        fleet.on_orphan = self._watch
        fleet.on_wait = lambda: count("store/waits", 1)
        fleet.on_damage = lambda: count("store/damaged", 1)

    def open(self, snapshot: Callable[[], Record | None]) -> None:
        self._snapshot = snapshot
        self._showing.start(self._fleet.timings.show)

    def _show(self) -> None:
        record = self._snapshot()
        if record is not None:
            self.show(record, finished=False)

    def show(self, record: Record, *, finished: bool) -> None:
        """Have it in the report of the run."""
        values = record.to_dict()
        news = json.dumps({**values, "finished": finished})
        if news != self._shown:  # by more than the time
            self._shown = news
            self._fleet.record(json.dumps({"spider": self._spider, "finished": finished, "record": values}))

    def _watch(self, left: Left) -> None:
        """A worker died and left a task that nobody asked for: see whether it was paid, or the limits count it for good."""
        from scrapy_capsolver.stores.redis.limits import note_of  # noqa: PLC0415 - it loads redis-py, an extra

        self._count("store/orphans", 1)
        watched = Deferred.fromCoroutine(self._solver.watch(note_of(left)))
        self._watched.add(watched)
        watched.addCallback(self._ended, left)
        watched.addErrback(lambda _: self._fleet.reservations.leave(left.id))
        watched.addBoth(lambda _: self._watched.discard(watched))

    def _ended(self, reply: Reply | None, left: Left) -> None:
        if reply is None or (reply.fault is not None and not reply.ended):
            self._fleet.reservations.finish(left.id, "abandoned", charged=True)
        elif reply.fault is not None:
            self._fleet.reservations.finish(left.id, "failed", charged=False)
        else:
            self._fleet.reservations.paid(left.id)

    def close(self) -> None:
        if self._showing.running:
            self._showing.stop()
        for watched in list(self._watched):
            watched.cancel()
