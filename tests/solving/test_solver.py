from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from scrapy_capsolver.api.replies import Reply, read_reply
from scrapy_capsolver.api.transport import TransportError
from scrapy_capsolver.errors import (
    CapSolverAccountError,
    CapSolverUnavailableError,
    CaptchaBudgetError,
    CaptchaCancelledError,
    CaptchaProxyError,
    CaptchaTimeoutError,
    UnsolvableCaptchaError,
    UnsupportedCaptchaError,
)
from scrapy_capsolver.solving.account import Account
from scrapy_capsolver.solving.breaker import Breaker
from scrapy_capsolver.solving.clock import sleep
from scrapy_capsolver.solving.job import Job, ResumeToken
from scrapy_capsolver.solving.ledger import Ledger, Receipt, TaskScope
from scrapy_capsolver.solving.limits import Limits
from scrapy_capsolver.solving.site_breaker import SiteStops
from scrapy_capsolver.solving.slow_start import SlowStart
from scrapy_capsolver.solving.solver import CREATES_IN_FLIGHT, Solved, Solver
from scrapy_capsolver.stores import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PRICES = {"ReCaptchaV2TaskProxyLess": 0.8}
TASK = {"type": "ReCaptchaV2TaskProxyLess", "websiteKey": "k"}
CREATED = Reply(task_id="t")
READY = Reply(status="ready", task_id="t", solution={"gRecaptchaResponse": "token"})


def job(attempts: int = 3, task: dict[str, Any] = TASK, site: str = "site.example", **values: Any) -> Job:
    return Job(TaskScope(site, "recaptcha_v2"), lambda said: succeed(task), attempts, **values)


def fault(code: str, description: str = "") -> Reply:
    return read_reply(400, f'{{"errorId": 1, "errorCode": "{code}", "errorDescription": "{description}"}}'.encode())


class Script:
    """A client that answers as it is told, one after the other, and then with the last for ever."""

    def __init__(self, created: Sequence[Any] = (CREATED,), results: Sequence[Any] = (READY,)) -> None:
        self.created, self.results = list(created), list(results)
        self.tasks: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.polls = 0
        self.clock = Clock()
        self.counts: Counter[str] = Counter()

    async def create_task(self, task: dict[str, Any]) -> Reply:
        self.tasks.append(task)
        self.times.append(self.clock.seconds())
        return await self._next(self.created)

    def learn_task(self, task: Any) -> None:
        self.learned = task

    async def get_task_result(self, task_id: str) -> Reply:
        self.polls += 1
        return await self._next(self.results)

    async def _next(self, answers: list[Any]) -> Reply:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Deferred):
            answer = await answer
        reply: Reply = answer
        return reply

    @property
    def unknown(self) -> int:
        return self.counts["wasted/possibly_paid"] + self.counts["wasted/abandoned"]

    def count(self, name: str, value: float) -> None:
        self.counts[name] += value  # type: ignore[assignment]

    def solver(
        self,
        concurrency: int = 10,
        timeout: float = 150,
        max_rejections: int = 10,
        on_limit: Callable[[str], None] = lambda name: None,
        **limits: Any,
    ) -> Solver:
        client: Any = self
        self.breaker = Breaker(self.clock, self.count, dice=lambda: 0)
        self.limits = Limits(
            self.clock,
            **{"max_solves": None, "max_solves_per_domain": None, "budget": None, "exhausted": on_limit, **limits},
        )
        self.ledger = Ledger("s", PRICES, MemoryStore(), self.count)
        stops = SiteStops(max_rejections, self.count)
        return Solver(
            client,
            self.clock,
            concurrency=concurrency,
            timeout=timeout,
            account=Account(client, self.clock, self.breaker, self.count),
            breaker=self.breaker,
            stops=stops,
            slow_start=SlowStart(self.clock, stops),
            limits=self.limits,
            ledger=self.ledger,
            count=self.count,
        )

    def solve(self, attempts: int = 3, task: dict[str, Any] = TASK, seconds: float = 400, **kwargs: Any) -> Any:
        """The outcome after so many seconds."""
        outcome: list[Any] = []
        self.solver(**kwargs).solve(job(attempts, task)).addBoth(outcome.append)
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)
        (result,) = outcome
        return getattr(result, "value", result)


def test_solved() -> None:
    script = Script(results=[Reply(status="processing"), READY])
    solved = script.solve()
    assert isinstance(solved, Solved)
    assert solved.solution == {"gRecaptchaResponse": "token"}
    assert (solved.attempts, solved.polls) == (1, 2)
    assert solved.seconds == pytest.approx(2, abs=0.2)
    assert script.counts["estimated_cost_usd"] == pytest.approx(0.0008)
    assert "token" not in repr(solved)
    assert script.unknown == 0
    assert script.clock.getDelayedCalls() == []


def test_a_reply_that_is_ready_is_never_polled() -> None:
    script = Script(created=[READY], results=[AssertionError("polled")])
    assert script.solve(seconds=1).polls == 0


# Others may be of a query, and not of its task, which goes on then and is charged.
ENDED = {"ERROR_CAPTCHA_UNSOLVABLE", "ERROR_CAPTCHA_SOLVE_FAILED", "ERROR_TASK_TIMEOUT", "ERROR_PROXY_BANNED"}


@pytest.mark.parametrize(
    ("code", "error", "tasks"),
    [
        ("ERROR_CAPTCHA_UNSOLVABLE", UnsolvableCaptchaError, 3),
        ("ERROR_CAPTCHA_SOLVE_FAILED", UnsolvableCaptchaError, 3),
        ("ERROR_TASK_TIMEOUT", CaptchaTimeoutError, 3),
        ("ERROR_TASKID_INVALID", UnsolvableCaptchaError, 2),
        ("ERROR_BAD_REQUEST", UnsolvableCaptchaError, 2),
        ("ERROR_OF_TOMORROW", UnsolvableCaptchaError, 2),
        ("ERROR_PROXY_BANNED", CaptchaProxyError, 1),
        ("ERROR_INVALID_TASK_DATA", UnsolvableCaptchaError, 1),
        ("ERROR_ZERO_BALANCE", CapSolverAccountError, 1),
        ("ERROR_TASK_NOT_SUPPORTED", UnsupportedCaptchaError, 1),
    ],
)
@pytest.mark.parametrize("where", ["created", "results"])
def test_each_code_is_followed_as_often_as_its_rule_says(code: str, error: type, tasks: int, where: str) -> None:
    script = Script(**{where: [fault(code)]})
    failed = script.solve(attempts=5)
    assert type(failed) is error
    assert (failed.code, failed.attempts, len(script.tasks)) == (code, tasks, tasks)
    ended = where == "created" or code in ENDED
    assert failed.possibly_paid == script.unknown == (0 if ended else tasks)


def test_a_refusal_to_work_now_is_no_attempt() -> None:
    script = Script([fault("ERROR_SERVICE_UNAVALIABLE"), CREATED], [fault("ERROR_CAPTCHA_UNSOLVABLE"), READY])
    solved = script.solve(attempts=2)
    assert isinstance(solved, Solved)
    assert solved.attempts == 2


def test_attempts_bound_all_codes_together() -> None:
    script = Script(results=[fault("ERROR_CAPTCHA_UNSOLVABLE"), fault("ERROR_TASK_TIMEOUT")])
    assert script.solve(attempts=2).attempts == 2


@pytest.mark.parametrize(
    ("code", "pauses"),
    [
        ("ERROR_SERVICE_UNAVALIABLE", [5, 10, 20]),
        ("ERROR_RATE_LIMIT", [30, 60, 60]),
        ("ERROR_KEY_TEMP_BLOCKED", [300]),
        ("ERROR_IP_BANNED", [1800]),
    ],
)
def test_a_refusal_to_work_now_is_final_once_it_came_after_so_many_pauses(code: str, pauses: list[int]) -> None:
    script = Script(created=[fault(code)])
    failed: Any = script.solve(timeout=1, seconds=sum(pauses) + 1)  # of which the pauses are no part
    assert isinstance(failed, CapSolverUnavailableError)
    assert (failed.code, failed.attempts, failed.possibly_paid, script.unknown) == (code, 1, 0, 0)
    times = [0, *(sum(pauses[: n + 1]) for n in range(len(pauses)))]
    assert script.times == pytest.approx(times, abs=0.5)
    assert script.clock.getDelayedCalls() == []


def test_a_pause_is_no_part_of_the_time_that_a_solve_took() -> None:
    script = Script(created=[fault("ERROR_KEY_TEMP_BLOCKED"), CREATED], results=[Reply(status="processing"), READY])
    solved = script.solve(timeout=20)
    assert isinstance(solved, Solved)
    assert solved.seconds < 5


def test_pauses_while_a_task_is_open_are_no_part_of_its_time() -> None:
    limited = fault("ERROR_RATE_LIMIT")
    script = Script(results=[limited, limited, limited, READY])  # 30, 60 and 60 seconds
    solved = script.solve(timeout=60)
    assert isinstance(solved, Solved)
    assert solved.seconds < 10


def test_solves_that_fail_are_errors_though_their_tasks_were_taken() -> None:
    script = Script(results=[fault("ERROR_CAPTCHA_UNSOLVABLE")])
    solver = script.solver(concurrency=4, max_rejections=0)
    outcomes: list[Any] = []
    for _ in range(20):
        solver.solve(job()).addBoth(outcomes.append)
    for _ in range(300):
        script.clock.advance(0.1)
    assert 20 <= len(script.tasks) < 30  # as many errors in a minute block the key
    assert len(outcomes) < 10
    for _ in range(3000):
        script.clock.advance(0.1)
    assert len(outcomes) == 20


def test_all_wait_while_one_is_told_to() -> None:
    script = Script(created=[CREATED, fault("ERROR_RATE_LIMIT"), CREATED])
    solver = script.solver()
    outcomes: list[Any] = []
    for _ in range(5):
        solver.solve(job()).addBoth(outcomes.append)
    assert len(script.tasks) == 2  # the first came about, the second was refused
    script.clock.advance(29.9)
    assert (len(script.tasks), script.polls, outcomes) == (2, 0, [])
    for _ in range(50):
        script.clock.advance(0.1)
    assert [type(outcome) for outcome in outcomes] == [Solved] * 5
    assert len(script.tasks) == 6


def test_a_trial_that_waits_for_a_limit_does_not_hold_up_those_it_waits_for() -> None:
    """Only the end of another task tells whether there is a part left for it."""
    poll: Deferred[Reply] = Deferred()
    busy = fault("ERROR_SERVICE_UNAVALIABLE")
    script = Script(created=[CREATED, busy, busy, CREATED], results=[poll, READY])
    solver = script.solver(max_solves_per_domain=1)
    outcomes: dict[str, Any] = {}

    def solve(name: str, site: str) -> None:
        solver.solve(job(site=site)).addBoth(lambda outcome: outcomes.update({name: outcome}))

    solve("open", "one.example")
    while not script.polls:
        script.clock.advance(0.1)
    solve("refused", "other.example")
    solve("limited", "one.example")
    script.clock.pump([5, 10])  # the one that is refused goes ahead, is refused again, and stands behind the other
    poll.errback(TransportError("lost", sent=True))
    for _ in range(300):
        script.clock.advance(0.1)
    assert isinstance(outcomes.get("open"), Solved)
    assert isinstance(outcomes.get("refused"), Solved)
    assert type(outcomes["limited"].value) is CaptchaBudgetError


def test_a_settlement_that_fails_twice_ends_all_solving() -> None:
    script = Script(created=[fault("ERROR_SETTLEMENT_FAILED")])
    assert type(script.solve()) is CapSolverAccountError
    assert len(script.tasks) == 2


def test_the_breaker_opens_for_the_key_or_for_the_type() -> None:
    script = Script(created=[fault("ERROR_TASK_NOT_SUPPORTED"), CREATED])
    solver = script.solver()
    outcomes: list[Any] = []
    for task_type in ("A", "A", "B"):
        solver.solve(job(task={"type": task_type})).addBoth(outcomes.append)
    script.clock.advance(2)
    assert [type(getattr(o, "value", o)) for o in outcomes] == [
        UnsupportedCaptchaError,
        UnsupportedCaptchaError,
        Solved,
    ]
    assert [task["type"] for task in script.tasks] == ["A", "B"]
    assert "ERROR_TASK_NOT_SUPPORTED" in str(outcomes[1].value)


def test_create_task_is_sent_again_where_no_connection_came_about_and_nowhere_else() -> None:
    refused = TransportError("no connection", sent=False)
    script = Script(created=[refused, refused, CREATED])
    assert isinstance(script.solve(), Solved)
    assert len(script.tasks) == 3
    script = Script(created=[TransportError("lost", sent=True), CREATED])
    failed = script.solve()
    assert type(failed) is CapSolverUnavailableError
    assert (len(script.tasks), failed.possibly_paid, script.unknown) == (1, 1, 1)


def test_the_deadline_bounds_everything_and_tells_what_may_be_paid() -> None:
    script = Script(results=[Reply(status="processing")])
    failed = script.solve(timeout=30, seconds=31)
    assert type(failed) is CaptchaTimeoutError
    assert "30 s (CAPSOLVER_TIMEOUT)" in str(failed)
    assert (failed.possibly_paid, script.unknown) == (1, 1)
    assert script.clock.getDelayedCalls() == []
    script = Script(created=[Deferred()])
    failed = script.solve(timeout=30, seconds=31)
    assert (type(failed), failed.possibly_paid) == (CaptchaTimeoutError, 1)


def test_the_deadline_begins_with_the_turn() -> None:
    script = Script(results=[Reply(status="processing")] * 18 + [READY] * 20)
    solver = script.solver(concurrency=1, timeout=60)
    outcomes: list[Any] = []
    for _ in range(3):
        solver.solve(job(1)).addBoth(outcomes.append)
    for _ in range(1200):
        script.clock.advance(0.1)
    assert [type(outcome) for outcome in outcomes] == [Solved] * 3


def test_cancelling_at_any_moment_frees_the_turn_and_leaves_nothing() -> None:
    script = Script(results=[Reply(status="processing")])
    solver = script.solver(concurrency=1)
    outcomes: list[Any] = []
    solving = [solver.solve(job(1)).addBoth(outcomes.append) for _ in range(3)]
    script.clock.advance(3)
    for one in reversed(solving):
        one.cancel()
    assert [type(outcome.value) for outcome in outcomes] == [CaptchaCancelledError] * 3
    assert [outcome.value.possibly_paid for outcome in outcomes] == [0, 0, 1]
    assert len(script.tasks) == 1
    assert script.clock.getDelayedCalls() == []


def test_a_failing_task_maker_is_the_callers_error_and_nothing_is_created() -> None:
    script = Script()
    outcome: list[Any] = []

    def broken(said: str) -> Deferred[dict[str, Any]]:
        raise UnsupportedCaptchaError("no image")

    script.solver().solve(Job(TaskScope("site.example", "raw"), broken, 3)).addBoth(outcome.append)
    assert str(outcome[0].value) == "no image"
    assert script.tasks == []


def test_create_time_is_used_where_it_can_be_true() -> None:
    now = time.time()
    created = Script(created=[Reply(status="ready", solution={"createTime": (now - 20) * 1000})]).solve(seconds=1)
    assert created.solved_at == pytest.approx(now - 20, abs=0.01)
    for odd in (now * 1000 + 60_000, 0, "yesterday", True, None, float("nan"), -1e300):
        solved = Script(created=[Reply(status="ready", solution={"createTime": odd})]).solve(seconds=1)
        assert solved.solved_at == pytest.approx(now, abs=5)


NUMBERS = [
    0,
    -0.0,
    -1,
    10**400,
    -(10**400),
    float("nan"),
    float("inf"),
    True,
    None,
    "",
    "x",
    "1e400",
    [],
    {},
    1e-320,
    10**5000,
]


@pytest.mark.parametrize("created", NUMBERS, ids=range(len(NUMBERS)))
def test_any_create_time_leaves_the_accounts_right(created: object) -> None:
    """A number that no clock has is not used, and loses nothing that is paid."""
    reply = Reply(status="ready", solution={"token": "t", "createTime": created})
    script = Script(created=[reply])
    solved = script.solve(seconds=1)
    assert isinstance(solved, Solved)
    assert abs(solved.solved_at - time.time()) < 60
    assert script.counts["estimated_cost_usd"] == pytest.approx(0.0008)
    assert script.unknown == 0


def test_create_time_may_be_text() -> None:
    now = time.time()
    reply = Reply(status="ready", solution={"createTime": str(round((now - 20) * 1000))})
    assert Script(created=[reply]).solve(seconds=1).solved_at == pytest.approx(now - 20, abs=0.01)


def test_what_a_solution_leaves_out_is_completed_from_its_task() -> None:
    script = Script()
    outcome: list[Any] = []
    asked = job(task={**TASK, "userAgent": "agent"}, complete=lambda solution, task: {**solution, **task})
    script.solver().solve(asked).addBoth(outcome.append)
    script.clock.advance(1)
    (solved,) = outcome
    assert solved.solution == {"gRecaptchaResponse": "token", **TASK, "userAgent": "agent"}


def test_a_task_whose_solution_cannot_be_read_is_in_the_accounts() -> None:
    """Whatever the reader raises: what may have been paid is counted."""

    def broken(solution: Any, task: Any) -> Any:
        raise ZeroDivisionError

    script = Script(created=[READY])
    outcome: list[Any] = []
    script.solver(max_solves=1).solve(job(complete=broken)).addBoth(outcome.append)
    assert outcome[0].check(ZeroDivisionError)
    assert script.unknown == 1
    assert script.counts["estimated_cost_usd"] == 0


@pytest.mark.parametrize(
    ("times", "polls", "outcome"), [(1, 2, Solved), (2, 3, Solved), (3, 3, UnsolvableCaptchaError)]
)
def test_a_result_without_its_solution_is_asked_for_again(times: int, polls: int, outcome: type) -> None:
    """Three times in all: it may be ready a moment before its solution."""
    empty = Reply(status="ready", task_id="t")
    script = Script(results=[empty] * times + [READY])
    result = script.solve()
    assert isinstance(result, outcome)
    assert script.polls == polls
    assert script.counts["wasted/no_solution"] == (outcome is UnsolvableCaptchaError)


def test_a_createtask_without_its_solution_is_asked_about() -> None:
    """As a task that is open; without an id there is nothing to ask about."""
    script = Script(created=[Reply(status="ready", task_id="t")])
    assert isinstance(script.solve(), Solved)
    assert script.polls == 1
    lost = Script(created=[Reply(status="ready")], results=[AssertionError("polled")]).solve(seconds=1)
    assert isinstance(lost, UnsolvableCaptchaError)
    assert (lost.attempts, lost.possibly_paid) == (1, 1)


@pytest.mark.parametrize("code", ["ERROR_NEW_{}", "pw {}", ""])
def test_codes_that_are_not_known_share_one_stat(code: str) -> None:
    """And are one error to the attempts, however often the code changes."""
    codes = [fault(code.format(number), "why") for number in range(9)]
    script = Script(created=codes)
    failed = script.solve(attempts=9)
    assert script.counts["tasks/refused/unknown"] == len(script.tasks) == failed.attempts == 2
    assert not [name for name in script.counts if "NEW" in name or "pw" in name]
    script = Script(results=codes)
    script.solve(attempts=9)
    assert script.counts["tasks/failed/unknown"] > 0


ANSWER = Reply(status="ready", solution={"gRecaptchaResponse": "token"})  # for whichever task


def resumed(created: float, queries: int = 0, mark: str = "m") -> tuple[Script, Any]:
    """What becomes of a job that an earlier run left with an open task, ``created`` at that time."""
    script = Script(results=[ANSWER])
    solver = script.solver()
    note = ResumeToken(
        Receipt("earlier", TASK["type"], "site.example", "recaptcha_v2", 800_000), mark, created, queries
    )
    solver.adopt(note)
    solver.adopt(note)  # another request has it, too
    outcome: list[Any] = []
    solver.solve(job(mark=lambda task: "m", resume=ResumeToken.of(note.to_dict()))).addBoth(outcome.append)
    for _ in range(400):
        script.clock.advance(0.1)
    script.ledger.close()
    return script, outcome[0]


@pytest.mark.parametrize("age", [0, 10, 299, -3600])  # the last: the machine's clock was set back
def test_an_open_task_of_an_earlier_run_is_asked_for_first(age: float) -> None:
    script, solved = resumed(time.time() - age)
    assert isinstance(solved, Solved)
    assert (script.tasks, script.counts["tasks/resumed"], script.unknown) == ([], 1, 0)
    assert solved.receipt.task == "earlier"
    assert script.counts["estimated_cost_usd"] == pytest.approx(0.0008)


@pytest.mark.parametrize(
    ("age", "queries", "mark"),
    [(300, 0, "m"), (1e9, 0, "m"), (10, 120, "m"), (10, 0, "another")],
)
def test_one_that_is_too_old_or_used_up_or_another_is_abandoned(age: float, queries: int, mark: str) -> None:
    script, solved = resumed(time.time() - age, queries, mark)
    assert isinstance(solved, Solved)
    assert (len(script.tasks), script.counts["tasks/resumed"]) == (1, 0)
    assert (script.counts["wasted/abandoned"], script.counts["possible_cost_usd"]) == (1, pytest.approx(0.0008))


def test_a_pause_that_is_over_does_not_keep_the_one_who_tries_from_its_own_task() -> None:
    script = Script(results=[ANSWER])
    solver = script.solver()
    note = ResumeToken(Receipt("earlier", TASK["type"], "site.example", "recaptcha_v2", 800_000), "m", time.time(), 0)
    solver.adopt(note)
    script.breaker.answered(fault("ERROR_RATE_LIMIT").fault)
    outcome: list[Any] = []
    solver.solve(job(mark=lambda task: "m", resume=note)).addBoth(outcome.append)
    for _ in range(400):
        script.clock.advance(0.1)
    assert isinstance(outcome[0], Solved)
    assert script.tasks == []


def test_one_that_ends_without_a_result_is_made_anew() -> None:
    script = Script(results=[Reply(status="processing")] * 3 + [ANSWER])
    solver = script.solver()
    note = ResumeToken(Receipt("earlier", TASK["type"], "site.example", "recaptcha_v2", 800_000), "m", time.time(), 118)
    solver.adopt(note)
    outcome: list[Any] = []
    solver.solve(job(mark=lambda task: "m", resume=note)).addBoth(outcome.append)
    for _ in range(900):
        script.clock.advance(0.1)
    assert isinstance(outcome[0], Solved)
    assert (len(script.tasks), script.counts["tasks/resumed"], script.counts["wasted/abandoned"]) == (1, 1, 1)


def test_a_task_is_taken_up_once() -> None:
    script = Script(results=[ANSWER])
    solver = script.solver()
    note = ResumeToken(Receipt("earlier", TASK["type"], "site.example", "recaptcha_v2", 800_000), "m", time.time(), 0)
    solver.adopt(note)
    outcomes: list[Any] = []
    for _ in range(2):
        solver.solve(job(mark=lambda task: "m", resume=note)).addBoth(outcomes.append)
    for _ in range(100):
        script.clock.advance(0.1)
    assert [type(one) for one in outcomes] == [Solved, Solved]
    assert (len(script.tasks), script.counts["tasks/resumed"]) == (1, 1)


def test_createtask_is_under_way_so_many_times_at_once_and_who_waits_for_that_has_spent_nothing() -> None:
    under_way: list[Deferred[Reply]] = [Deferred() for _ in range(CREATES_IN_FLIGHT + 20)]
    script = Script(created=[*under_way, CREATED])
    outcomes: list[Any] = []
    solver = script.solver(concurrency=1000, max_solves=CREATES_IN_FLIGHT + 10, max_rejections=0)
    solving = [solver.solve(job(1)) for _ in range(CREATES_IN_FLIGHT + 10)]
    for one in solving:
        one.addBoth(outcomes.append)
    assert len(script.tasks) == CREATES_IN_FLIGHT
    solving[-1].cancel()
    (cancelled,) = outcomes
    assert cancelled.check(CaptchaCancelledError)
    assert cancelled.value.possibly_paid == 0
    solver.solve(job(1))  # what the cancelled one had reserved is there for it
    under_way[0].callback(CREATED)
    script.clock.advance(0)
    assert len(script.tasks) == CREATES_IN_FLIGHT + 1
    for one in under_way[1:]:
        one.callback(CREATED)
    script.clock.advance(0)
    assert len(script.tasks) == CREATES_IN_FLIGHT + 10
    assert script.unknown == 0


# With limits that other workers share


class Distant(Limits):
    """Limits on another machine: each answer takes a while, and a task that somebody left may be one."""

    is_shared = True

    def __init__(self, clock: Clock, left: ResumeToken | None = None) -> None:
        super().__init__(clock, max_solves=None, max_solves_per_domain=None, budget=None, exhausted=lambda name: None)
        self._left = left
        self.marks: list[str] = []

    async def reserve(
        self, receipt: Receipt, mark: str = "", waits: Callable[[], None] = lambda: None
    ) -> ResumeToken | None:
        self.marks.append(mark)
        await sleep(self._clock, 0.3)
        left, self._left = self._left, None
        return left


def test_after_a_pause_one_goes_ahead_also_where_its_limits_are_asked_for_elsewhere() -> None:
    script = Script(created=[fault("ERROR_RATE_LIMIT"), fault("ERROR_RATE_LIMIT"), CREATED])
    solver = script.solver()
    solver._limits = Distant(script.clock)
    outcomes: list[Any] = []
    for _ in range(5):
        solver.solve(job()).addBoth(outcomes.append)
    for _ in range(4000):
        script.clock.advance(0.1)
    assert len(outcomes) == 5
    assert all(isinstance(outcome, Solved) for outcome in outcomes)
    # After the second pause one is sent alone, and the others once CapSolver has answered it.
    alone, *others = [at for at in script.times if at > 90]
    assert len(others) == 4
    assert min(others) > alone


def test_a_task_that_another_worker_left_is_gone_on_with() -> None:
    receipt = Receipt("t", TASK["type"], "site.example", "recaptcha_v2", 800_000, "r")
    script = Script()
    solver = script.solver()
    distant = solver._limits = Distant(script.clock, ResumeToken(receipt, "m", time.time() - 20, 0))
    outcome: list[Any] = []
    solver.solve(job(mark=lambda task: "m", resume=ResumeToken(receipt, "m", time.time(), 0))).addBoth(outcome.append)
    for _ in range(100):
        script.clock.advance(0.1)
    assert distant.marks == ["m"]  # what the request brought along was not taken up without asking
    (solved,) = outcome
    assert (solved.receipt, solved.attempts, script.tasks) == (receipt, 1, [])
    assert script.counts["tasks/resumed"] == 1
    assert script.counts["solved"] == 0
    assert script.ledger.open_tasks == 0


@pytest.mark.parametrize(
    ("result", "status"),
    [(READY, "ready"), (fault("ERROR_CAPTCHA_UNSOLVABLE"), None), (fault("ERROR_TASKID_INVALID"), None)],
)
def test_a_task_that_nobody_waits_for_is_asked_after(result: Reply, status: str | None) -> None:
    script = Script(results=[result])
    receipt = Receipt("t", TASK["type"], "site.example", "recaptcha_v2", 800_000, "r")
    outcome: list[Any] = []
    Deferred.fromCoroutine(script.solver().watch(ResumeToken(receipt, "m", time.time() - 130, 0))).addBoth(
        outcome.append
    )
    for _ in range(200):
        script.clock.advance(0.1)
    assert outcome[0].status == status
    assert script.counts["estimated_cost_usd"] == 0  # it is another worker's
