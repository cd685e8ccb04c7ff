"""How many solves a site may have under way before it has shown that it takes them."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from scrapy_capsolver.solving.ledger import Receipt, TaskScope
from scrapy_capsolver.solving.site_breaker import REJECTED, SiteStops
from scrapy_capsolver.solving.slow_start import START, VERDICT_SECONDS, SlowStart

ONE = TaskScope("one.example", "turnstile")
OTHER = TaskScope("two.example", "turnstile")


class Site:
    """A site whose requests all come at once, and what is under way for them."""

    def __init__(self, most: int = 10) -> None:
        self.clock = Clock()
        self.stops = SiteStops(most, lambda name, value: None)
        self.starts = SlowStart(self.clock, self.stops)
        self.begun: list[tuple[int, Any]] = []
        self.number = 0
        self.solves: list[Deferred[None]] = []

    def come(self, number: int, scope: TaskScope = ONE) -> None:
        for _ in range(number):
            self.solves.append(Deferred.fromCoroutine(self._come(self.number, scope)))
            self.number += 1

    async def _come(self, name: int, scope: TaskScope) -> None:
        place = await self.starts.enter(scope)
        self.begun.append((name, place))

    def receipt(self, name: int, scope: TaskScope = ONE) -> Receipt:
        return Receipt("", "T", scope.site, scope.family, None, str(name))

    def solve(self, count: int) -> list[Receipt]:
        """So many of the oldest get their solutions."""
        solved, self.begun = self.begun[:count], self.begun[count:]
        receipts = [self.receipt(name) for name, _ in solved]
        for (_, place), receipt in zip(solved, receipts, strict=True):
            self.starts.solved(place, receipt)
        self.clock.advance(0)
        return receipts

    def accept(self, *receipts: Receipt) -> None:
        for receipt in receipts:
            self.stops.succeeded(receipt.task_scope, REJECTED)
            self.starts.accepted(receipt)
        self.clock.advance(0)

    def reject(self, *receipts: Receipt) -> None:
        for receipt in receipts:
            self.stops.failed(receipt.task_scope, REJECTED)
            self.starts.rejected(receipt)
        self.clock.advance(0)

    @property
    def under_way(self) -> int:
        return len(self.begun)


def test_a_new_site_begins_with_a_few() -> None:
    site = Site()
    site.come(300)
    assert site.under_way == START
    site.come(3, OTHER)
    assert site.under_way == START + 3


def test_a_solution_without_a_verdict_keeps_its_place() -> None:
    site = Site()
    site.come(300)
    site.solve(START)
    assert site.under_way == 0


def test_each_that_is_taken_doubles_the_number() -> None:
    """After four pages there are more than CAPSOLVER_CONCURRENCY allows."""
    site = Site()
    site.come(300)
    receipts = site.solve(4)
    for taken, receipt in enumerate(receipts, start=1):
        site.accept(receipt)
        assert site.under_way + len(receipts) - taken == START * 2**taken
    assert site.under_way == 160


@pytest.mark.parametrize(("most", "cost"), [(10, 19), (20, 29), (3, 5), (1, 1)])
def test_a_site_that_rejects_all_costs_its_rejections_and_what_was_under_way(most: int, cost: int) -> None:
    site = Site(most)
    site.come(300)
    paid = 0
    while not site.stops.is_stopped(ONE):
        (receipt,) = site.solve(1)
        paid += 1
        under_way = site.under_way
        site.reject(receipt)
    assert paid + under_way == cost
    assert site.under_way == 300 - paid  # all others were let go, to be refused


def test_one_that_rejects_after_a_good_start_does_not_grow() -> None:
    site = Site(most=50)
    site.come(300)
    site.accept(*site.solve(3))
    before = site.under_way
    assert before == 8 * START
    for _ in range(20):
        site.reject(*site.solve(1))
        assert site.under_way == before
    site.accept(*site.solve(1))
    assert site.under_way == 2 * before


def test_a_solve_that_fails_makes_room() -> None:
    site = Site()
    site.come(START + 1)
    _, place = site.begun.pop()
    site.starts.leave(place)
    site.starts.leave(place)  # once
    site.clock.advance(0)
    assert site.under_way == START
    assert site.begun[-1][0] == START


def test_a_verdict_that_does_not_come_is_not_waited_for() -> None:
    """As of a solution in a slow queue, or one that got lost."""
    site = Site()
    site.come(3 * START)
    site.solve(START)
    site.clock.advance(VERDICT_SECONDS - 1)
    assert site.under_way == 0
    site.clock.advance(1)
    assert site.under_way == START
    site.starts.close()
    assert site.clock.getDelayedCalls() == []


def test_who_is_cancelled_leaves_the_line() -> None:
    site = Site()
    site.come(START + 2)
    site.solves[START].addErrback(lambda _: None)
    site.solves[START].cancel()
    site.accept(*site.solve(1))
    assert site.begun[-1][0] == START + 1


def test_without_a_limit_of_rejections_nothing_is_held_back() -> None:
    site = Site(most=0)
    site.come(300)
    assert site.under_way == 300
    site.starts.accepted(site.receipt(1))
    site.starts.rejected(site.receipt(2))
    site.starts.leave(None)


def test_what_is_remembered_is_bounded() -> None:
    site = Site()
    for n in range(10_050):
        scope = TaskScope(f"{n}.example", "turnstile")
        site.come(1, scope)
        ((_, place),) = site.begun
        site.begun.clear()
        receipt = site.receipt(n, scope)
        site.starts.solved(place, receipt)
        site.accept(receipt)
    assert len(site.starts._sites) == 10_000
    site.come(1, OTHER)
    ((_, place),) = site.begun
    site.starts.leave(place)
    assert OTHER not in site.starts._sites
