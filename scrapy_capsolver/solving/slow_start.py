"""A slow start: how many solves a site may have under way whose outcome is not known yet.

A site that takes no solution costs what is under way until its first verdicts come. So a site begins with a few, each
solution that it takes doubles their number, and one that it rejects keeps it from growing. A crawl of an honest site is at
its full concurrency after its first four pages.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from scrapy_capsolver._utils.waiters import Waiters

if TYPE_CHECKING:
    from scrapy_capsolver.solving.clock import Clock, Timer
    from scrapy_capsolver.solving.ledger import Receipt, TaskScope
    from scrapy_capsolver.solving.site_breaker import SiteStops

START = 10
VERDICT_SECONDS = 30.0  # after which a solution without a verdict, as one in a slow queue, is not waited for
_MOST_SITES = 10_000  # of which it is remembered how many they may have
_ENOUGH = 1 << 20  # under way; no concurrency reaches it


@dataclass(slots=True, eq=False)
class Place:
    """One solve of a site that is under way."""

    site: Site


@dataclass(slots=True, eq=False)
class Site:
    scope: TaskScope
    may_have: int
    line: Waiters[None]
    solving: set[Place] = field(default_factory=set)
    solved: dict[str, float] = field(default_factory=dict)
    """Until when a verdict is waited for, by reservation; the oldest first."""
    timer: Timer | None = None

    @property
    def under_way(self) -> int:
        return len(self.solving) + len(self.solved)

    @property
    def is_idle(self) -> bool:
        return not self.under_way and not self.line and self.timer is None


class SlowStart:
    """One for all sites of a crawl. Without a limit of rejections (``stops.most`` is 0) it holds nothing back."""

    def __init__(self, clock: Clock, stops: SiteStops) -> None:
        self._clock = clock
        self._stops = stops
        self._start = min(START, stops.most)
        self._sites: dict[TaskScope, Site] = {}

    async def enter(self, scope: TaskScope) -> Place | None:
        """Wait until the site may have one more under way, or is stopped."""
        if not self._start:
            return None
        site = self._site(scope)
        if site.line or not self._has_room(scope):
            waiting = site.line.join()
            self._set_timer(site)
            await waiting
        place = Place(site)
        site.solving.add(place)
        return place

    def leave(self, place: Place | None) -> None:
        """The solve is over, and there is no solution of which the site could be asked."""
        if place is not None and place in place.site.solving:
            place.site.solving.remove(place)
            place.site.line.look()
            self._forget_new(place.site)

    def solved(self, place: Place | None, receipt: Receipt) -> None:
        """The solve has brought a solution; what the site does with it will be told by the methods below."""
        if place is not None:
            place.site.solving.remove(place)
            place.site.solved[receipt.reservation] = self._clock.seconds() + VERDICT_SECONDS
            self._set_timer(place.site)

    def accepted(self, receipt: Receipt) -> None:
        self.ended(receipt)
        if self._start:
            site = self._site(receipt.task_scope)
            site.may_have = min(2 * site.may_have, _ENOUGH)
            site.line.look()

    def rejected(self, receipt: Receipt) -> None:
        self.ended(receipt)
        site = self._sites.get(receipt.task_scope)
        if site is not None:  # no more than there were when this one was among them
            site.may_have = max(min(site.may_have, site.under_way + 1), self._start)

    def ended(self, receipt: Receipt) -> None:
        """There is a verdict, or there will be none."""
        site = self._sites.get(receipt.task_scope)
        if site is not None:
            site.solved.pop(receipt.reservation, None)
            site.line.look()
            self._forget_new(site)

    def close(self) -> None:
        """Nobody waits any more."""
        for site in self._sites.values():
            if site.timer is not None:
                site.timer.cancel()
                site.timer = None

    def _site(self, scope: TaskScope) -> Site:
        site = self._sites.get(scope)
        if site is None:
            site = self._sites[scope] = Site(scope, self._start, Waiters(self._clock, partial(self._has_room, scope)))
            if len(self._sites) > _MOST_SITES:
                self._forget_oldest()
        return site

    def _forget_oldest(self) -> None:
        scope, site = next(iter(self._sites.items()))
        del self._sites[scope]
        if not site.is_idle:
            self._sites[scope] = site

    def _forget_new(self, site: Site) -> None:
        """A site of which there is nothing to remember."""
        if site.is_idle and site.may_have == self._start:
            self._sites.pop(site.scope, None)

    def _has_room(self, scope: TaskScope) -> bool:
        site = self._sites[scope]
        self._expire(site)
        return site.under_way < site.may_have or self._stops.is_stopped(scope)

    def _expire(self, site: Site) -> None:
        now = self._clock.seconds()
        while site.solved and next(iter(site.solved.values())) <= now:
            del site.solved[next(iter(site.solved))]

    def _set_timer(self, site: Site) -> None:
        if site.line and site.solved and site.timer is None:
            wait = next(iter(site.solved.values())) - self._clock.seconds()
            site.timer = self._clock.callLater(max(wait, 0.0), self._look, site)

    def _look(self, site: Site) -> None:
        site.timer = None
        self._expire(site)
        site.line.look()
        self._set_timer(site)
