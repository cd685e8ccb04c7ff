from __future__ import annotations

import json
import logging
from collections import Counter
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from scrapy_capsolver.api.replies import Fault, read_reply
from scrapy_capsolver.errors import (
    CapSolverAccountError,
    CapSolverUnavailableError,
    CaptchaError,
    UnsupportedCaptchaError,
)
from scrapy_capsolver.solving.breaker import JITTER, MANY, MOST, UNREACHABLE_IN_A_ROW, WINDOW, Breaker


def fault(code: str) -> Fault:
    reply = read_reply(400, f'{{"errorId": 1, "errorCode": "{code}"}}'.encode())
    assert reply.fault is not None
    return reply.fault


BUSY = fault("ERROR_SERVICE_UNAVALIABLE")  # wait 5 seconds
LIMITED = fault("ERROR_RATE_LIMIT")  # wait 30 seconds
BLOCKED = fault("ERROR_KEY_TEMP_BLOCKED")  # wait 300 seconds
BAD = fault("ERROR_CAPTCHA_UNSOLVABLE")  # wait for nothing
WRONG_KEY = CapSolverAccountError("the key is wrong", code="ERROR_KEY_DENIED_ACCESS")


class Gate:
    """A breaker, and who came through it in which order: a name, and whether it is a trial."""

    def __init__(self, dice: float = 0.0) -> None:
        self.clock = Clock()
        self.counts: Counter[str] = Counter()
        self.breaker = Breaker(self.clock, self._count, lambda: dice)
        self.through: list[tuple[str, bool]] = []
        self.trials: dict[str, int] = {}
        self.refused: dict[str, CaptchaError] = {}

    def _count(self, name: str, value: float) -> None:
        self.counts[name] += value  # type: ignore[assignment]

    def come(self, *names: str) -> list[Deferred[Any]]:
        return [Deferred.fromCoroutine(self._come(name)) for name in names]

    async def _come(self, name: str) -> None:
        try:
            trial = await self.breaker.admit()
            self.trials[name] = trial
            self.through.append((name, trial != 0))
        except CaptchaError as error:
            self.refused[name] = error

    @property
    def names(self) -> str:
        return "".join(name for name, _ in self.through)


def ours(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("scrapy_capsolver")]


def test_nothing_in_the_way() -> None:
    gate = Gate()
    gate.come("a", "b")
    assert gate.through == [("a", False), ("b", False)]
    gate.breaker.answered(BAD)
    gate.come("c")
    assert gate.names == "abc"
    assert gate.breaker.is_clear
    assert gate.clock.getDelayedCalls() == []


@pytest.mark.parametrize(("refusal", "seconds"), [(BUSY, 5.0), (LIMITED, 30.0), (BLOCKED, 300.0)])
@pytest.mark.parametrize("dice", [0.0, 1.0])
def test_a_pause_is_for_all_and_has_jitter(refusal: Fault, seconds: float, dice: float) -> None:
    gate = Gate(dice)
    gate.breaker.answered(refusal)
    gate.come("a")
    seconds *= 1 + JITTER * dice
    gate.clock.advance(seconds - 0.01)
    assert not gate.breaker.may_call
    assert not gate.breaker.is_clear
    assert gate.through == []
    gate.clock.advance(0.02)
    assert gate.through == [("a", True)]
    assert gate.counts[f"breaker/pauses/{refusal.code}"] == 1
    assert gate.counts["breaker/paused_seconds"] == pytest.approx(seconds)


def test_after_a_pause_one_goes_ahead_and_the_others_wait_for_it_in_their_order() -> None:
    gate = Gate()
    gate.breaker.answered(LIMITED)
    gate.come(*"abc")
    gate.clock.advance(30)
    gate.come("d")
    gate.clock.advance(100)
    assert gate.through == [("a", True)]
    assert not gate.breaker.may_call
    gate.breaker.answered(None)
    gate.breaker.leave(gate.trials["a"])
    gate.clock.advance(0)
    assert gate.through == [("a", True), ("b", False), ("c", False), ("d", False)]
    assert gate.breaker.is_clear


def test_a_trial_that_tells_nothing_is_followed_by_another() -> None:
    gate = Gate()
    gate.breaker.answered(LIMITED)
    gate.come(*"abc")
    gate.clock.advance(30)
    gate.breaker.leave(gate.trials["a"])  # it ended before anything was called
    gate.clock.advance(0)
    assert gate.through == [("a", True), ("b", True)]


def test_an_error_that_asks_for_no_pause_ends_one_as_well() -> None:
    gate = Gate()
    gate.breaker.answered(LIMITED)
    gate.come(*"ab")
    gate.clock.advance(30)
    gate.breaker.answered(BAD)
    gate.clock.advance(0)
    assert gate.through == [("a", True), ("b", False)]


def test_whoever_stops_waiting_is_passed_over() -> None:
    gate = Gate()
    gate.breaker.answered(LIMITED)
    first, second, _ = gate.come(*"abc")
    for one in (first, second):
        one.addErrback(lambda _: None)
        one.cancel()
    gate.clock.advance(30)
    assert gate.through == [("c", True)]


def test_a_trial_of_before_ends_no_other() -> None:
    """A solve that was the trial of one pause goes on polling into the next, whose trial is another's."""
    gate = Gate()
    gate.breaker.answered(BUSY)
    gate.come("a")
    gate.clock.advance(5)
    gate.breaker.answered(None)  # to the createTask of a
    gate.breaker.answered(BUSY)
    gate.come(*"bc")
    gate.clock.advance(5)
    assert gate.through == [("a", True), ("b", True)]
    gate.breaker.leave(gate.trials["a"])  # it has its solution
    assert gate.through == [("a", True), ("b", True)]


def test_a_pause_grows_to_a_minute_while_trials_fail_and_begins_anew_after_a_success() -> None:
    gate = Gate()
    for seconds in (5, 10, 20, 40, 60, 60, 60):
        gate.breaker.answered(BUSY)
        gate.clock.advance(seconds - 0.01)
        assert not gate.breaker.may_call
        gate.clock.advance(0.02)
        assert gate.breaker.may_call
        trial = gate.breaker.begin()
        assert trial
        gate.breaker.leave(trial)
    gate.breaker.answered(None)
    assert gate.breaker.begin() == 0
    gate.breaker.answered(BUSY)
    gate.clock.advance(5.01)
    assert gate.breaker.may_call


def test_a_long_pause_does_not_grow() -> None:
    gate = Gate()
    for _ in range(3):
        gate.breaker.answered(BLOCKED)
        gate.clock.advance(299.9)
        assert not gate.breaker.may_call
        gate.clock.advance(0.2)
        assert gate.breaker.may_call
        gate.breaker.leave(gate.breaker.begin())


def test_a_longer_pause_extends_one_and_a_shorter_does_not(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    gate.breaker.answered(LIMITED)
    gate.come("a")
    gate.clock.advance(10)
    for shorter in (BUSY, LIMITED):
        gate.breaker.answered(shorter)  # calls that were on their way when it began
    assert gate.breaker.paused_until == 30
    gate.breaker.answered(BLOCKED)
    assert gate.breaker.paused_until == 310
    gate.clock.advance(299)
    assert gate.through == []
    gate.clock.advance(1)
    assert gate.through == [("a", True)]
    assert gate.counts["breaker/paused_seconds"] == 310
    assert len(ours(caplog)) == 2


def test_an_answer_to_a_call_of_before_does_not_end_a_pause() -> None:
    gate = Gate()
    gate.breaker.answered(LIMITED)
    gate.clock.advance(1)
    gate.breaker.answered(None)
    assert not gate.breaker.may_call
    assert not gate.breaker.is_clear


def test_one_line_for_each_change(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    for _ in range(MANY - 1):
        gate.breaker.answered(LIMITED)
    gate.clock.advance(30)
    assert gate.breaker.begin()
    for _ in range(50):
        gate.breaker.answered(None)
    gate.breaker.leave(1)
    assert ours(caplog) == [
        "No captchas are solved for 30 seconds, and requests wait: the account sends more than its package allows",
        "CapSolver answers again: captchas are being solved",
    ]


def test_one_who_listens_hears_when_calls_may_be_made_again() -> None:
    gate = Gate()
    heard: list[float] = []
    gate.breaker.listen(lambda: heard.append(gate.clock.seconds()))
    gate.breaker.answered(LIMITED)
    gate.come("a")
    gate.clock.advance(30)
    assert heard == []  # a is on trial
    gate.clock.advance(3)
    gate.breaker.answered(None)
    gate.clock.advance(0)
    assert heard == [33]


def test_nothing_is_left_when_it_is_closed() -> None:
    gate = Gate()
    gate.breaker.answered(LIMITED)
    for one in gate.come("a"):
        one.addErrback(lambda _: None)
        one.cancel()
    gate.breaker.close()
    assert gate.clock.getDelayedCalls() == []


# No answers at all


def test_an_outage_is_a_pause() -> None:
    gate = Gate()
    for _ in range(UNREACHABLE_IN_A_ROW - 1):
        gate.breaker.unanswered()
    gate.breaker.answered(BAD)  # so it is there
    for _ in range(UNREACHABLE_IN_A_ROW - 1):
        gate.breaker.unanswered()
    assert gate.breaker.may_call
    gate.breaker.unanswered()
    assert gate.breaker.paused_until == 5
    gate.clock.advance(5)
    assert gate.breaker.begin()
    gate.breaker.unanswered()  # the trial
    assert gate.breaker.paused_until == 5 + 10
    assert gate.counts["breaker/pauses/unreachable"] == 2


# Rationing


def test_many_errors_hold_new_tasks_back_and_let_polls_go_on(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    for _ in range(MANY - 1):
        gate.breaker.answered(BAD)
        gate.clock.advance(1)
    assert gate.breaker.may_create
    gate.breaker.answered(BAD)
    assert not gate.breaker.may_create
    assert gate.breaker.may_call
    gate.come(*"ab")
    gate.clock.advance(MANY // 2 + WINDOW - MANY)  # until half of them are a minute old
    assert gate.through == []
    gate.clock.advance(1.1)
    assert gate.names == "ab"
    assert gate.counts["breaker/held"] == 1
    assert len(ours(caplog)) == 1
    assert "20 errors of CapSolver within a minute: no new tasks for " in ours(caplog)[0]


def test_many_errors_among_more_successes_hold_nothing_back() -> None:
    gate = Gate()
    for _ in range(10 * MANY):
        gate.breaker.answered(None)
        gate.breaker.answered(BAD)
    assert gate.breaker.may_create


def test_the_most_errors_hold_back_however_many_successes_there_are() -> None:
    gate = Gate()
    for _ in range(MOST - 1):
        gate.breaker.answered(None)
        gate.breaker.answered(None)
        gate.breaker.answered(BAD)
    assert gate.breaker.may_create
    gate.breaker.answered(BAD)
    assert not gate.breaker.may_create


def test_answers_that_tell_nothing_do_not_count_as_successes() -> None:
    gate = Gate()
    for _ in range(MANY):
        for _ in range(10):
            gate.breaker.answered(None, ended=False)
        gate.breaker.answered(BAD)
    assert not gate.breaker.may_create


def test_errors_of_long_ago_do_not_count() -> None:
    gate = Gate()
    for _ in range(10 * MANY):
        gate.breaker.answered(BAD)
        gate.clock.advance(WINDOW / (MANY - 2))
    assert gate.breaker.may_create


def test_errors_that_go_on_are_let_through_at_a_rate_below_the_limit() -> None:
    """As solves that fail one after the other do: fewer than 30 in any minute, which is what blocks a key."""
    gate = Gate()
    times: list[float] = []
    for _ in range(6000):
        if gate.breaker.may_create:
            gate.breaker.answered(BAD)
            times.append(gate.clock.seconds())
        gate.clock.advance(0.1)
    assert len(times) > 60
    assert max(sum(at <= one < at + WINDOW for one in times) for at in times) < 30


# What ends solving


def test_what_is_open_for_all_wakes_those_who_wait(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    gate.breaker.answered(LIMITED)
    gate.come(*"ab")
    gate.breaker.open(WRONG_KEY, None)
    gate.breaker.open(CapSolverUnavailableError("another"), None)
    gate.clock.advance(0)
    gate.come("c")
    assert sorted(gate.refused) == ["a", "b", "c"]
    for error in gate.refused.values():
        assert (type(error), error.code) == (CapSolverAccountError, "ERROR_KEY_DENIED_ACCESS")
        assert str(error) == "not tried, since an earlier task failed: the key is wrong"
        assert error.__cause__ is WRONG_KEY
    assert gate.through == []
    assert gate.clock.getDelayedCalls() == []
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert lines == ["No more captchas are solved in this crawl: the key is wrong"]
    assert gate.counts["breaker/stopped"] == 1


def test_what_is_open_for_a_type_is_for_that_alone(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    cause = UnsupportedCaptchaError("no such type")
    for _ in range(2):
        gate.breaker.open(cause, "A")
    gate.breaker.check("B")
    gate.breaker.check()
    with pytest.raises(UnsupportedCaptchaError, match="no such type"):
        gate.breaker.check("A")
    gate.come("b")
    assert gate.names == "b"
    assert gate.breaker.is_clear
    assert ours(caplog) == ["No more A tasks are solved in this crawl: no such type"]
    assert gate.counts == {"breaker/stopped/A": 1}
    gate.breaker.open(WRONG_KEY, None)
    with pytest.raises(CapSolverAccountError):
        gate.breaker.check("B")


# With other workers


def together(first: Gate, second: Gate) -> None:
    """What the first is told, the second hears of as plain data."""
    first.breaker.share(lambda name, what, seconds: second.breaker.hear(json.loads(json.dumps(what)), seconds))


def test_a_pause_of_one_worker_is_one_of_the_other_and_goes_round_once(caplog: pytest.LogCaptureFixture) -> None:
    first, second = Gate(), Gate()
    together(first, second)
    together(second, first)
    first.breaker.answered(BLOCKED)
    for gate in (first, second):
        gate.come("a", "b")
        assert gate.names == ""
        gate.clock.advance(299)
        assert gate.names == ""
        gate.clock.advance(2)
        assert gate.through == [("a", True)]  # each goes ahead with one
        assert gate.counts["breaker/paused_seconds"] == 300
    lines = ours(caplog)
    assert len(lines) == 2
    assert lines[0].startswith("No captchas are solved for 300 seconds")
    assert lines[1].startswith("Another worker was told to wait: no captchas are solved for 300 seconds")


def test_a_pause_that_is_heard_of_has_a_jitter_of_its_own() -> None:
    first, second = Gate(), Gate(dice=1.0)
    together(first, second)
    first.breaker.answered(BLOCKED)
    assert second.breaker.paused_until == pytest.approx(300 * (1 + JITTER))
    second.breaker.hear({"kind": "pause", "why": "", "code": ""}, 10.0)
    assert second.breaker.paused_until == pytest.approx(300 * (1 + JITTER))  # the longer one counts


def test_an_outage_may_be_this_workers_own() -> None:
    first, second = Gate(), Gate()
    together(first, second)
    for _ in range(UNREACHABLE_IN_A_ROW):
        first.breaker.unanswered()
    first.come("a")
    second.come("a")
    assert (first.names, second.names) == ("", "a")


@pytest.mark.parametrize("task_type", [None, "T"])
def test_what_ends_all_solving_ends_it_for_all_workers(task_type: str | None) -> None:
    first, second = Gate(), Gate()
    together(first, second)
    together(second, first)
    first.breaker.open(WRONG_KEY, task_type)
    with pytest.raises(CapSolverAccountError, match="the key is wrong") as caught:
        second.breaker.check("T")
    assert caught.value.code == WRONG_KEY.code
    if task_type is not None:
        second.breaker.check("U")


def test_errors_that_are_too_many_hold_tasks_back_for_all_workers_and_each_has_its_share_of_them() -> None:
    first, second = Gate(), Gate()
    together(first, second)
    first.breaker.workers = second.breaker.workers = 4
    for _ in range(MANY // 4 - 1):
        first.breaker.answered(BAD)
    assert first.breaker.may_create
    first.breaker.answered(BAD)
    assert not first.breaker.may_create
    assert not second.breaker.may_create
    assert second.breaker.may_call
    second.clock.advance(WINDOW + 1)
    assert second.breaker.may_create


@pytest.mark.parametrize("what", [{"kind": "x"}, {"kind": None}])
def test_news_of_another_version_means_nothing(what: dict[str, Any]) -> None:
    gate = Gate()
    gate.breaker.hear(what, 100.0)
    assert gate.breaker.may_create
