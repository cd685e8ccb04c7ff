"""What a report is told, and when."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from scrapy_capsolver.api.replies import Reply
from scrapy_capsolver.solving.feedback import Feedback
from scrapy_capsolver.solving.job import ResumeToken
from scrapy_capsolver.solving.ledger import Ledger, Receipt, TaskScope
from scrapy_capsolver.solving.outcomes import Outcomes
from scrapy_capsolver.solving.site_breaker import SiteStops
from scrapy_capsolver.solving.slow_start import SlowStart
from scrapy_capsolver.solving.solver import Solved
from scrapy_capsolver.stores import MemoryStore
from tests.solving.test_solver import READY, Script, job

if TYPE_CHECKING:
    from scrapy_capsolver.errors import CaptchaError

PROCESSING = Reply(status="processing", task_id="t")


class Told:
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.all: list[tuple[str, str]] = []

    def booked(self, receipt: Receipt, account: str) -> None:
        self.all.append((receipt.task, account))

    def accepted(self, receipt: Receipt) -> None:
        self.all.append((receipt.task, "accepted"))

    def handed_over(self, receipt: Receipt) -> None:
        self.all.append((receipt.task, "handed over"))

    def solved(self, solved: Solved) -> None:
        raise AssertionError("solved")

    def failed(self, error: CaptchaError, family: str) -> None:
        raise AssertionError("failed")


def ignore(name: str, value: float) -> None:
    pass


def test_each_entry_of_the_ledger_and_each_verdict_is_told_once() -> None:
    told = Told()
    ledger = Ledger("s", {"T": 0.8}, MemoryStore(), ignore, told)
    nobody: Any = None
    stops = SiteStops(0, ignore)
    feedback = Feedback(nobody, nobody, ignore, enabled=False)
    outcomes = Outcomes(ledger, stops, SlowStart(Clock(), stops), feedback, ignore)

    def receipt(task: str) -> Receipt:
        return ledger.receipt(TaskScope("a.example", "turnstile"), "T", task)

    for name in ("accepted", "rejected", "handed", "expired", "left"):
        ledger.paid(receipt(name))
        outcomes.expect(name, receipt(name))
    ledger.failed(receipt("failed"))
    ledger.unknown(receipt("lost"), "possibly_paid")
    ledger.opened(receipt("open"))
    assert (ledger.open_tasks, ledger.nano_spent) == (1, 5 * 800_000)
    for _ in range(2):
        outcomes.accepted("accepted")
        outcomes.rejected("rejected")
        outcomes.handed_over("handed")
        outcomes.wasted("expired", "expired")
    outcomes.close()
    ledger.close()
    paid = ["accepted", "rejected", "handed", "expired", "left"]
    assert told.all == [
        *((name, "solved") for name in paid),
        ("failed", "failed"),
        ("lost", "possibly_paid"),
        ("accepted", "accepted"),
        ("rejected", "rejected"),
        ("handed", "handed over"),
        ("expired", "expired"),
        ("left", "undelivered"),
        ("open", "abandoned"),
    ]


@pytest.mark.parametrize("waited", [0, 1, 3])
def test_a_pick_up_is_from_the_last_not_yet_to_the_answer(waited: int) -> None:
    """That answer takes a second to come; where there was no "not yet", the task's creation stands for it."""
    script = Script(results=[*[PROCESSING] * waited, Deferred()])
    asked: list[float] = []
    next_answer = script.get_task_result

    async def get_task_result(task_id: str) -> Reply:
        asked.append(script.clock.seconds())
        return await next_answer(task_id)

    script.get_task_result = get_task_result  # type: ignore[method-assign]
    answer = script.results[-1]
    outcome: list[Any] = []
    script.solver().solve(job()).addBoth(outcome.append)
    while len(asked) <= waited:
        script.clock.advance(0.1)
    script.clock.advance(1)
    answer.callback(READY)
    script.clock.advance(0)
    (solved,) = outcome
    assert isinstance(solved, Solved)
    before = asked[-2] if waited else 0.0
    assert solved.pick_up == pytest.approx(asked[-1] + 1 - before)
    assert solved.pick_up <= solved.seconds + 1e-9


def test_where_nobody_waited_there_is_none() -> None:
    assert Script(created=[READY]).solve(seconds=1).pick_up is None


def test_what_an_earlier_run_waited_for_has_none() -> None:
    script, outcome = Script(), []
    solver = script.solver()
    receipt = script.ledger.receipt(TaskScope("site.example", "recaptcha_v2"), "ReCaptchaV2TaskProxyLess", "t")
    note = ResumeToken(receipt, "m", time.time() - 20, 3)
    solver.solve(job(mark=lambda task: "m", resume=note)).addBoth(outcome.append)
    for _ in range(50):
        script.clock.advance(0.1)
    assert [one.pick_up for one in outcome] == [None]
    assert script.counts["tasks/resumed"] == 1
