from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from scrapy_capsolver.api.replies import Balance, Package, read_reply
from scrapy_capsolver.api.transport import TransportError
from scrapy_capsolver.errors import CapSolverAccountError
from scrapy_capsolver.solving.account import Account
from scrapy_capsolver.solving.breaker import Breaker


def fault(status: int, body: str) -> Any:
    return read_reply(status, body.encode()).fault


WRONG_KEY = fault(401, '{"errorId": 1, "errorCode": "ERROR_KEY_DENIED_ACCESS"}')
EMPTY = fault(400, '{"errorId": 1, "errorCode": "ERROR_ZERO_BALANCE"}')
LIMITED = fault(400, '{"errorId": 1, "errorCode": "ERROR_RATE_LIMIT"}')
UNKNOWN = fault(400, '{"errorId": 1, "errorCode": "ERROR_OF_TOMORROW"}')


class Asked:
    """An account whose balance is what the test says, when it says so."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.clock = Clock()
        self.breaker = Breaker(self.clock, lambda name, value: None, lambda: 0)
        self.balance: Deferred[Any] = Deferred()
        self.waited: list[Any] = []
        client: Any = self
        self.account = Account(client, self.clock, self.breaker, self._count)

    def _count(self, name: str, value: float) -> None:
        self.counts[name] += value  # type: ignore[assignment]

    async def get_balance(self) -> Any:
        return await self.balance

    def answer(self, balance: Any) -> None:
        (self.balance.errback if isinstance(balance, Exception) else self.balance.callback)(balance)
        self.clock.advance(0)

    def wait(self) -> Deferred[Any]:
        waiting = Deferred.fromCoroutine(self.account.known())
        waiting.addBoth(self.waited.append)
        return waiting

    @property
    def stopped(self) -> bool:
        try:
            self.breaker.check()
        except CapSolverAccountError:
            return True
        return False


def test_nobody_waits_where_nothing_was_asked() -> None:
    asked = Asked()
    asked.wait()
    assert asked.waited == [None]


def test_all_wait_for_the_answer() -> None:
    asked = Asked()
    asked.account.ask()
    asked.wait()
    asked.wait()
    assert asked.waited == []
    asked.answer(Balance(1.5))
    assert asked.waited == [None, None]
    asked.wait()
    assert len(asked.waited) == 3
    assert asked.counts == {"balance_usd": 1.5, "packages": 0}
    assert not asked.stopped


def test_whoever_stops_waiting_leaves_the_others() -> None:
    asked = Asked()
    asked.account.ask()
    first = asked.wait()
    asked.wait()
    first.cancel()
    assert asked.waited[0].check(CancelledError)
    asked.answer(Balance(1.5))
    assert asked.waited[1:] == [None]


@pytest.mark.parametrize(
    ("usd", "packages", "stopped"),
    [
        (0.0, (), True),
        (-0.5, (), True),
        (0.0001, (), False),
        (0.0, (Package("p", 10, 0),), False),
        (0.0, (Package("p", 10, int(time.time()) + 3600),), False),
        (0.0, (Package("p", 10, int(time.time()) - 3600),), True),
    ],
)
def test_without_a_balance_and_a_package_nothing_is_solved(usd: float, packages: Any, stopped: bool) -> None:
    asked = Asked()
    asked.account.ask()
    asked.answer(Balance(usd, packages))
    assert asked.stopped == stopped


@pytest.mark.parametrize(("answer", "stopped"), [(WRONG_KEY, True), (EMPTY, True), (UNKNOWN, False)], ids=str)
def test_a_refusal_of_the_key_is_one_of_all_calls(answer: Any, stopped: bool) -> None:
    asked = Asked()
    asked.account.ask()
    asked.wait()
    asked.answer(answer)
    assert (asked.stopped, asked.waited) == (stopped, [None])


@pytest.mark.parametrize("status", [401, 403, 404, 502])
def test_what_is_not_of_capsolver_itself_may_be_of_this_call_alone(status: int) -> None:
    asked = Asked()
    asked.account.ask()
    asked.answer(fault(status, "<html>"))
    assert not asked.stopped
    assert asked.breaker.may_create


def test_a_refusal_to_work_now_is_a_pause() -> None:
    asked = Asked()
    asked.account.ask()
    asked.answer(LIMITED)
    assert not asked.stopped
    assert not asked.breaker.may_call


def test_no_answer_is_none() -> None:
    asked = Asked()
    asked.account.ask()
    asked.wait()
    asked.answer(TransportError("lost", sent=True))
    assert (asked.stopped, asked.waited, asked.counts) == (False, [None], {})


def test_closing_wakes_those_who_wait() -> None:
    asked = Asked()
    asked.account.ask()
    asked.wait()
    asked.account.close()
    asked.clock.advance(0)
    assert asked.waited == [None]
    asked.account.close()
