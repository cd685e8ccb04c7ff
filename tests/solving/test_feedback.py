from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from scrapy_capsolver.api.replies import Fault, read_reply
from scrapy_capsolver.api.transport import TransportError
from scrapy_capsolver.errors import CapSolverAccountError
from scrapy_capsolver.solving.breaker import Breaker
from scrapy_capsolver.solving.feedback import FAILURES, IN_FLIGHT, KEPT, Feedback


def fault(code: str) -> Fault:
    reply = read_reply(400, f'{{"errorId": 1, "errorCode": "{code}"}}'.encode())
    assert reply.fault is not None
    return reply.fault


class Told:
    """Verdicts, and a client that answers each when the test says so."""

    def __init__(self, *, enabled: bool = True) -> None:
        self.clock = Clock()
        self.counts: Counter[str] = Counter()
        self.calls: list[tuple[str, bool, str]] = []
        self.open: list[Deferred[Fault | None]] = []
        self.breaker = Breaker(self.clock, lambda name, value: None, lambda: 0)
        client: Any = self
        self.feedback = Feedback(client, self.breaker, self._count, enabled=enabled)

    def _count(self, name: str, value: float) -> None:
        self.counts[name] += int(value)

    async def feedback_task(self, task_id: str, *, invalid: bool, message: str = "") -> Fault | None:
        self.calls.append((task_id, invalid, message))
        answer: Deferred[Fault | None] = Deferred()
        self.open.append(answer)
        return await answer

    def answer(self, with_: Fault | Exception | None = None) -> None:
        one = self.open.pop(0)
        if isinstance(with_, Exception):
            one.errback(with_)
        else:
            one.callback(with_)


def test_what_is_told() -> None:
    told = Told()
    told.feedback.tell("a", invalid=True)
    told.feedback.tell("b", invalid=False)
    told.feedback.tell("", invalid=False)  # CapSolver gave no id
    assert told.calls == [("a", True, "rejected by the site"), ("b", False, "")]
    told.answer()
    assert told.counts == {"feedback/sent": 1}


def test_nothing_is_told_where_that_is_off() -> None:
    told = Told(enabled=False)
    told.feedback.tell("a", invalid=True)
    assert told.calls == []


def test_so_many_calls_at_a_time_and_the_oldest_verdicts_are_dropped() -> None:
    told = Told()
    for n in range(IN_FLIGHT + KEPT + 5):
        told.feedback.tell(str(n), invalid=False)
    assert len(told.calls) == IN_FLIGHT
    while told.open:
        told.answer()
        assert len(told.open) <= IN_FLIGHT
    assert len(told.calls) == IN_FLIGHT + KEPT
    assert [call[0] for call in told.calls[IN_FLIGHT - 1 : IN_FLIGHT + 1]] == [str(IN_FLIGHT - 1), str(IN_FLIGHT + 5)]


@pytest.mark.parametrize("failure", [TransportError("lost", sent=True), fault("ERROR_BAD_REQUEST")], ids=str)
def test_failures_in_a_row_end_it_by_one_line(failure: Any, caplog: pytest.LogCaptureFixture) -> None:
    told = Told()
    for n in range(20):
        told.feedback.tell(str(n), invalid=False)
    for _ in range(FAILURES - 1):
        told.answer(failure)
    told.answer()  # a success between
    for _ in range(FAILURES):
        told.answer(failure)
    in_flight = len(told.open)
    while told.open:
        told.answer(failure)
    told.feedback.tell("more", invalid=False)
    assert len(told.calls) == 2 * FAILURES + in_flight
    assert told.counts == {"feedback/failed": 2 * FAILURES - 1 + in_flight, "feedback/sent": 1}
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("CapSolver is told no more about what became of its solutions: ")


def test_nothing_is_told_during_a_pause_and_all_of_it_afterwards() -> None:
    told = Told()
    told.breaker.answered(fault("ERROR_RATE_LIMIT"))
    told.feedback.tell("a", invalid=False)
    assert told.calls == []
    told.clock.advance(30)
    told.feedback.tell("b", invalid=False)
    assert told.calls == []  # it is no trial
    told.breaker.answered(None)
    told.feedback.tell("c", invalid=False)
    assert [call[0] for call in told.calls] == ["a", "b", "c"]


def test_what_waited_for_the_end_of_a_pause_is_told_when_the_crawl_ends() -> None:
    told = Told()
    told.breaker.answered(fault("ERROR_RATE_LIMIT"))
    told.feedback.tell("a", invalid=False)
    told.clock.advance(30)
    told.breaker.answered(None)
    told.feedback.flush()
    assert [call[0] for call in told.calls] == ["a"]


def test_nothing_is_told_to_one_that_refuses_the_key() -> None:
    told = Told()
    told.breaker.open(CapSolverAccountError("wrong"), None)
    told.feedback.tell("a", invalid=False)
    assert told.calls == []


def test_flush_waits_for_all_of_it_unless_it_is_dropped() -> None:
    told = Told()
    for n in range(IN_FLIGHT + 2):
        told.feedback.tell(str(n), invalid=False)
    ended: list[Any] = []
    told.feedback.flush().addBoth(ended.append)
    for _ in range(IN_FLIGHT + 1):
        told.answer()
    assert ended == []
    told.answer()
    assert ended == [None]
    for n in range(IN_FLIGHT + 2):
        told.feedback.tell(str(n), invalid=False)
    told.feedback.flush().addBoth(ended.append)
    told.feedback.drop()
    assert ended == [None, None]
    assert len(told.calls) == 2 * IN_FLIGHT + 2
    assert told.counts == {"feedback/sent": IN_FLIGHT + 2}
