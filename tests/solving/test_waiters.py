"""The line in which everything waits that another one must make room for."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from scrapy_capsolver._utils.waiters import AT_ONCE, Turns, Waiters


def depth() -> int:
    frame, number = sys._getframe(), 0
    while frame.f_back is not None:
        frame, number = frame.f_back, number + 1
    return number


class TurnsMachine(RuleBasedStateMachine):
    """Turns beside a plain list: who has one, who waits, in which order."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.number = 3
        self.turns = Turns(self.clock, self.number)
        self.waiting: list[int] = []
        self.held: list[int] = []
        self.due = False
        self.ends_at_once: set[int] = set()
        self.asked: dict[int, Deferred[None]] = {}
        self.order: list[int] = []
        self.cancelled: set[int] = set()

    @rule(ends_at_once=st.booleans())
    def acquire(self, *, ends_at_once: bool) -> None:
        name = len(self.asked)
        if ends_at_once:
            self.ends_at_once.add(name)
        self.waiting.append(name)
        self.asked[name] = self.turns.acquire()
        self.asked[name].addCallbacks(self._got, self._failed, (name,), None, (name,))

    def _got(self, _: None, name: int) -> None:
        self.waiting.remove(name)
        self.order.append(name)
        if name in self.ends_at_once:
            self.turns.release()  # as one that is refused
            self.due = True
        else:
            self.held.append(name)

    def _failed(self, failure: Failure, name: int) -> None:
        failure.trap(CancelledError)
        self.waiting.remove(name)
        self.cancelled.add(name)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        before = list(self.order)
        self.held.remove(data.draw(st.sampled_from(self.held)))
        self.turns.release()
        self.due = True
        assert self.order == before  # nobody goes on inside the caller

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if self.asked:
            self.asked[data.draw(st.sampled_from(sorted(self.asked)))].cancel()

    @rule()
    def turn_of_the_reactor(self) -> None:
        self.clock.advance(0)
        self.due = False
        assert not self.waiting or len(self.held) == self.number  # no wake-up is lost

    @invariant()
    def counts_are_exact(self) -> None:
        assert self.turns.free == self.number - len(self.held)
        assert self.turns.waiting == len(self.waiting)
        assert not self.waiting or len(self.held) == self.number or self.due

    @invariant()
    def first_come_first_served(self) -> None:
        assert self.order == sorted(self.order)
        assert self.waiting == sorted(self.waiting)
        assert not self.cancelled & set(self.order)


TestTurns = TurnsMachine.TestCase
TestTurns.settings = settings(stateful_step_count=60)


class WaitersMachine(RuleBasedStateMachine):
    """Waiters that are let go by a count of places, or released with outcomes."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.places = 0
        self.line: Waiters[int] = Waiters(self.clock, self._take)
        self.waiting: list[int] = []
        self.released: dict[int, int] = {}
        self.asked: list[Deferred[int]] = []
        self.got: dict[int, Any] = {}
        self.heard: list[int] = []

    def _take(self) -> bool:
        if not self.places:
            return False
        self.places -= 1
        return True

    @rule()
    def join(self) -> None:
        name = len(self.asked)
        self.asked.append(self.line.join(lambda _: self.heard.append(name)))
        self.asked[name].addBoth(lambda outcome: self.got.update({name: outcome}))
        self.waiting.append(name)
        self.line.look()  # there may be places

    @rule(number=st.integers(1, 70))
    def make_room(self, number: int) -> None:
        self.places += number
        self.line.look()

    @rule()
    def release(self) -> None:
        self.released.update({name: 100 + name for name in self.waiting})
        self.line.release([100 + name for name in self.waiting])
        self.waiting = []

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if self.asked:
            name = data.draw(st.sampled_from(range(len(self.asked))))
            self.asked[name].cancel()
            if name in self.waiting:
                self.waiting.remove(name)
                assert self.heard[-1] == name

    @rule()
    def turn_of_the_reactor(self) -> None:
        let_go, self.waiting = self.waiting[: self.places], self.waiting[self.places :]
        self.clock.advance(0)
        for name in let_go:
            assert self.got[name] is None
        for name, outcome in self.released.items():
            if not isinstance(self.got[name], Failure):
                assert self.got[name] == outcome
        assert not self.waiting or not self.places

    @invariant()
    def each_has_one_end(self) -> None:
        assert len(self.line) == len(self.waiting)
        assert not set(self.waiting) & set(self.got)
        assert set(self.heard) <= {name for name, outcome in self.got.items() if isinstance(outcome, Failure)}


TestWaiters = WaitersMachine.TestCase
TestWaiters.settings = settings(stateful_step_count=60)


@pytest.mark.parametrize("number", [10, 10_000])
def test_depth_does_not_grow_with_those_that_wait(number: int) -> None:
    """Each is refused as soon as it has its turn, and so frees it for the next."""
    clock = Clock()
    turns = Turns(clock, 1)
    depths: list[int] = []

    async def refused() -> None:
        await turns.acquire()
        try:
            depths.append(depth())
        finally:
            turns.release()

    turns.acquire()
    ended = [Deferred.fromCoroutine(refused()) for _ in range(number)]
    here = depth()
    turns.release()
    assert depths == []
    clock.advance(0)
    assert all(one.called for one in ended)
    assert len(depths) == number
    assert max(depths) - here < 20
    assert len(set(depths)) == 1


def test_thousands_do_not_keep_the_reactor() -> None:
    """Other calls get their turn between the batches."""
    clock = Clock()
    line: Waiters[None] = Waiters(clock)
    ended: list[None] = []
    for _ in range(2 * AT_ONCE + 1):
        line.join().addCallback(ended.append)
    seen: list[int] = []
    line.release_all(None)
    for _ in range(3):
        clock.callLater(0, lambda: seen.append(len(ended)))
    clock.advance(0)
    assert seen == [AT_ONCE] * 3
    assert len(ended) == 2 * AT_ONCE + 1


def test_one_that_is_cancelled_leaves_its_turn_to_the_next() -> None:
    clock = Clock()
    turns = Turns(clock, 1)
    turns.acquire()
    first, second = turns.acquire(), turns.acquire()
    first.addErrback(lambda failure: failure.trap(CancelledError))
    turns.release()
    first.cancel()
    clock.advance(0)
    assert second.called
    assert (turns.free, turns.waiting) == (0, 0)


def test_more_turns_than_there_are_cannot_be_given_back() -> None:
    with pytest.raises(AssertionError, match="more turns"):
        Turns(Clock(), 1).release()


def test_outcomes_are_for_those_that_wait_and_a_failure_is_one() -> None:
    clock = Clock()
    line: Waiters[int] = Waiters(clock)
    outcomes: list[Any] = []
    for _ in range(2):
        line.join().addBoth(outcomes.append)
    with pytest.raises(ValueError, match="zip"):
        line.release([1])
    line.release([1, Failure(KeyError())])
    line.join()
    clock.advance(0)
    assert outcomes[0] == 1
    assert outcomes[1].check(KeyError)
    assert len(line) == 1
