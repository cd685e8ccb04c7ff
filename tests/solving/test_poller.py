from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from scrapy_capsolver.api.replies import Reply, read_reply
from scrapy_capsolver.api.transport import TransportError
from scrapy_capsolver.solving import poller
from scrapy_capsolver.solving.breaker import Breaker
from scrapy_capsolver.solving.poller import POLLS_IN_FLIGHT, POLLS_PER_SECOND, OpenTask, Poller, ResultLostError
from scrapy_capsolver.solving.schedule import MAX_QUERIES

if TYPE_CHECKING:
    from collections.abc import Callable

READY = Reply(status="ready", solution={"token": "t"})
PROCESSING = Reply(status="processing")
DEAD = read_reply(400, b'{"errorId": 1, "errorCode": "ERROR_CAPTCHA_UNSOLVABLE"}')
LIMITED = read_reply(400, b'{"errorId": 1, "errorCode": "ERROR_RATE_LIMIT"}')
UNREADABLE = read_reply(502, b"<html>")


class Service:
    """Answers polls at once, as ``answer`` says, and remembers when they came."""

    def __init__(self, answer: Callable[[str, float], Reply | Exception | Deferred[Any]]) -> None:
        self.clock = Clock()
        self.answer = answer
        self.asked: list[tuple[float, str]] = []
        self.polls = 0
        self.poller = Poller(
            self.ask, self.clock, Breaker(self.clock, lambda name, value: None, dice=lambda: 0), self.count
        )

    def count(self) -> None:
        self.polls += 1

    async def ask(self, task_id: str) -> Reply:
        now = self.clock.seconds()
        self.asked.append((now, task_id))
        answer = self.answer(task_id, now)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Deferred):
            reply: Reply = await answer
            return reply
        return answer

    def open(self, task_id: str = "a", task_type: str = "T") -> list[Any]:
        """The outcome, once there is one."""
        outcome: list[Any] = []
        task = OpenTask(task_type, task_id, self.clock.seconds())
        self.result = self.poller.result_of(task)
        self.result.addBoth(outcome.append)
        return outcome

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 100)):
            self.clock.advance(0.01)


def ready_at(seconds: float) -> Callable[[str, float], Reply]:
    return lambda _, now: READY if now >= seconds else PROCESSING


def test_a_task_is_asked_about_until_it_is_ready() -> None:
    service = Service(ready_at(4.5))
    outcome = service.open()
    service.run(4.6)
    assert not outcome
    service.run(1)
    assert outcome == [READY]
    assert [round(at) for at, _ in service.asked] == [1, 2, 3, 4, 5]
    assert service.polls == 5
    assert service.clock.getDelayedCalls() == []


def test_an_error_that_ends_the_task_ends_the_polling() -> None:
    service = Service(lambda _, now: DEAD)
    outcome = service.open()
    service.run(2)
    assert outcome == [DEAD]
    assert service.polls == 1


OF_ANOTHER = Reply(status="ready", task_id="b", solution={"token": "another's"})


@pytest.mark.parametrize("failing", [TransportError("gone", sent=True), UNREADABLE, OF_ANOTHER])
def test_polls_that_bring_nothing_never_lose_the_task(failing: Reply | Exception) -> None:
    service = Service(lambda _, now: READY if now > 8 else failing)
    outcome = service.open()
    service.run(20)
    assert outcome == [READY]
    assert 3 <= service.polls <= 8  # later each time


def test_a_wait_pauses_the_polls_of_all_tasks() -> None:
    service = Service(lambda task, now: LIMITED if now < 1.5 else READY)
    outcomes = [service.open(name) for name in "abc"]
    service.run(0.6)
    outcomes.append(service.open("later"))
    service.run(29)
    assert not any(outcomes)
    assert service.polls <= 3
    service.run(5)
    assert outcomes == [[READY]] * 4


def test_an_unexpected_error_reaches_the_caller() -> None:
    service = Service(lambda _, now: ZeroDivisionError())
    outcome = service.open()
    service.run(2)
    assert isinstance(outcome[0].value, ZeroDivisionError)


def test_no_more_than_120_queries_and_5_minutes() -> None:
    service = Service(ready_at(1e9))
    outcome = service.open()
    service.run(400)
    assert isinstance(outcome[0].value, ResultLostError)
    assert service.polls <= MAX_QUERIES
    assert service.asked[-1][0] <= 300
    assert service.clock.getDelayedCalls() == []


def test_a_task_that_was_asked_about_120_times_is_not_asked_about_again() -> None:
    service = Service(ready_at(0))
    outcome: list[Any] = []
    service.poller.result_of(OpenTask("T", "a", 0.0, queries=MAX_QUERIES)).addBoth(outcome.append)
    service.run(2)
    assert isinstance(outcome[0].value, ResultLostError)
    assert service.polls == 0


def test_cancelling_stops_the_polls() -> None:
    service = Service(ready_at(1e9))
    outcome = service.open()
    service.run(3)
    asked = service.polls
    service.result.cancel()
    assert isinstance(outcome[0].value, CancelledError)
    service.run(30)
    assert service.polls == asked
    assert service.clock.getDelayedCalls() == []


def test_cancelling_one_of_two_keeps_the_other() -> None:
    service = Service(ready_at(5))
    kept = service.open("kept")
    service.open("dropped")
    service.run(2)
    service.result.cancel()
    service.run(10)
    assert kept == [READY]
    assert [name for at, name in service.asked if at > 2.5] == ["kept"] * 3


def test_polls_over_all_tasks_are_bounded_and_none_is_forgotten() -> None:
    service = Service(ready_at(20))
    outcomes = [service.open(str(n)) for n in range(2000)]
    for _ in range(60):
        before = service.polls
        service.run(1)
        assert service.polls - before <= POLLS_PER_SECOND * 1.15
    assert outcomes == [[READY]] * 2000


def test_past_the_bound_the_likeliest_go_first() -> None:
    service = Service(ready_at(1e9))
    for n in range(32):
        times = service.poller.times["quick"]
        times.end(times.begin(), 0.55 + n / 100)
    for n in range(600):
        service.open(f"quick{n}", "quick")
        service.open(f"other{n}", "other")
    service.run(1.9)
    # Both kinds are due within the first second, and there are four seconds' worth of them.
    first = [name for _, name in service.asked][:200]
    assert sum(name.startswith("quick") for name in first) > 190


def test_a_busy_event_loop_is_not_made_busier_by_catching_up() -> None:
    service = Service(ready_at(1e9))
    for n in range(500):
        service.open(str(n))
    for _ in range(20):
        before = service.polls
        service.clock.advance(2)  # the loop had no turn for so long
        assert service.polls - before <= 20


@pytest.mark.parametrize("bound", [1.0, 5.0])
def test_polls_go_on_however_low_the_bound(bound: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "POLLS_PER_SECOND", bound)
    service = Service(ready_at(0))
    outcomes = [service.open(str(n)) for n in range(5)]
    service.run(10)
    assert outcomes == [[READY]] * 5


def test_a_likely_one_does_not_wait_for_thousands_that_were_due_before_it() -> None:
    service = Service(ready_at(1e9))
    for n in range(32):
        times = service.poller.times["quick"]
        times.end(times.begin(), 0.55 + n / 100)
    for n in range(3000):
        service.open(f"other{n}", "other")
    service.run(3)
    service.open("quick", "quick")
    service.run(3)
    assert "quick" in [name for _, name in service.asked]


def test_past_the_bound_nobody_is_left_out_where_all_are_equally_likely() -> None:
    service = Service(ready_at(1e9))
    for n in range(3000):
        service.open(str(n))
    service.run(40)  # past the times that are expected of solves that nobody has seen yet
    began = len(service.asked)
    service.run(12)
    assert len({name for _, name in service.asked[began:]}) > 2950


def test_polls_in_flight_are_bounded() -> None:
    waiting: list[Deferred[Reply]] = []

    def silent(_: str, __: float) -> Deferred[Reply]:
        waiting.append(Deferred())
        return waiting[-1]

    service = Service(silent)
    outcomes = [service.open(str(n)) for n in range(200)]
    service.run(10)
    assert len(waiting) == POLLS_IN_FLIGHT
    for answer in waiting[:10]:
        answer.callback(READY)
    service.run(2)
    assert len(waiting) == POLLS_IN_FLIGHT + 10
    assert sum(map(bool, outcomes)) == 10
