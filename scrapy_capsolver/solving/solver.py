"""The way of a solve: a turn, a task, its result, and what to do where that fails."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.defer import TimeoutError as DeferredTimeoutError

from scrapy_capsolver.api.codes import Action
from scrapy_capsolver.api.transport import TransportError
from scrapy_capsolver.errors import (
    CapSolverUnavailableError,
    CaptchaCancelledError,
    CaptchaError,
    CaptchaTimeoutError,
    UnsolvableCaptchaError,
)
from scrapy_capsolver.solving.breaker import Breaker
from scrapy_capsolver.solving.clock import sleep
from scrapy_capsolver.solving.poller import OpenTask, Poller, ResultLostError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from scrapy_capsolver.api.client import CapSolverClient
    from scrapy_capsolver.api.replies import Fault, Reply
    from scrapy_capsolver.solving.clock import Clock

MakeTask: TypeAlias = "Callable[[str], Deferred[dict[str, Any]]]"

CONNECT_TRIES = 4  # createTask, where no connection comes about
_CONNECT_BACK_OFF = 1.0  # seconds, doubled each time


@dataclass(frozen=True, slots=True)
class Solved:
    """A solution, and what it took."""

    solution: Mapping[str, Any] = field(repr=False)
    """As CapSolver gives it; its keys depend on the task type."""
    task_type: str
    attempts: int
    """Tasks created, failed ones included."""
    seconds: float
    """From the start of the solve, waiting for its turn not included."""
    polls: int
    solved_at: float
    """Unix seconds at which the solution came to be, as far as is known."""


@dataclass(slots=True)
class _Progress:
    """What one solve has done so far; it is needed where a deadline cuts the solve off."""

    attempts: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    creating: bool = False
    open_task: OpenTask | None = None

    @property
    def possibly_paid(self) -> int:
        return int(self.creating or self.open_task is not None)


class Solver:
    """Solves tasks for one account: ``concurrency`` at a time, each within ``timeout`` seconds of its turn."""

    def __init__(
        self,
        client: CapSolverClient,
        clock: Clock,
        *,
        concurrency: int,
        timeout: float,
        prices: Mapping[str, float],
        count: Callable[[str, float], None],
    ) -> None:
        self._client = client
        self._clock = clock
        self._turns = DeferredSemaphore(concurrency)
        self._timeout = timeout
        self._prices = prices
        self._count = count
        self._breaker = Breaker()
        self._poller = Poller(client.get_task_result, clock, lambda: count("polls", 1))

    def solve(self, make_task: MakeTask, attempts: int) -> Deferred[Solved]:
        """Solve a captcha with ``attempts`` tasks at most; ``make_task`` gives each attempt's task.

        It is called with what CapSolver said of the attempt before (``errorDescription``), and may raise what it likes.

        Fails with a :class:`~scrapy_capsolver.errors.CaptchaError`. May be cancelled at any time.
        """
        return Deferred.fromCoroutine(self._solve(make_task, attempts))

    async def _solve(self, make_task: MakeTask, attempts: int) -> Solved:
        progress = _Progress()
        try:
            await self._turns.acquire()
        except CancelledError:
            raise CaptchaCancelledError("cancelled before its turn came; nothing was paid") from None
        try:
            solved = Deferred.fromCoroutine(self._attempt(make_task, attempts, progress))
            return await solved.addTimeout(self._timeout, cast("Any", self._clock))
        except DeferredTimeoutError:
            raise CaptchaTimeoutError(
                f"no solution within {self._timeout:g} s (CAPSOLVER_TIMEOUT)",
                attempts=progress.attempts,
                possibly_paid=progress.possibly_paid,
            ) from None
        except CancelledError:
            raise CaptchaCancelledError(
                "the solve was cancelled", attempts=progress.attempts, possibly_paid=progress.possibly_paid
            ) from None
        finally:
            if progress.possibly_paid:
                self._count("possibly_paid", 1)
            self._turns.release()

    async def _attempt(self, make_task: MakeTask, attempts: int, progress: _Progress) -> Solved:
        started = self._clock.seconds()
        said = ""
        while True:
            task = await make_task(said)
            self._breaker.check(task["type"])
            reply = await self._create(task, progress)
            polls = 0
            if not reply.ready and reply.fault is None:
                reply, polls = await self._result(task["type"], reply, progress)
            if reply.fault is not None:
                await self._follow(reply.fault, task, attempts, progress, started)
                said = reply.fault.description
                continue
            self._settle(task["type"], reply, progress)
            assert reply.solution is not None
            return Solved(
                solution=reply.solution,
                task_type=task["type"],
                attempts=progress.attempts,
                seconds=self._clock.seconds() - started,
                polls=polls,
                solved_at=_solved_at(reply.solution),
            )

    async def _create(self, task: dict[str, Any], progress: _Progress) -> Reply:
        """createTask, sent again only where no connection came about: anything else may have made a task."""
        for connecting in range(1, CONNECT_TRIES + 1):
            progress.creating = True
            try:
                reply = await self._client.create_task(task)
            except TransportError as error:
                progress.creating = error.sent
                if error.sent or connecting == CONNECT_TRIES:
                    progress.attempts += error.sent
                    paid = "; the task may exist and be charged" if error.sent else ""
                    raise self._give_up(f"createTask: {error}{paid}", progress) from None
                await sleep(self._clock, _CONNECT_BACK_OFF * 2 ** (connecting - 1))
                continue
            fault = reply.fault
            progress.attempts += 1
            if fault is not None and not fault.in_envelope and fault.rule.action is Action.POLL:
                raise self._give_up(f"createTask: {fault}; the task may exist and be charged", progress)
            if fault is None and not reply.ready and reply.task_id is None:
                raise self._give_up("createTask: the reply has no taskId; the task may exist and be charged", progress)
            progress.creating = False
            if fault is None:
                self._count("tasks", 1)
            else:
                self._count(f"tasks/refused/{fault.code or 'no_envelope'}", 1)
            return reply
        raise AssertionError("unreachable")

    async def _result(self, task_type: str, created: Reply, progress: _Progress) -> tuple[Reply, int]:
        """The final reply about a task that was created, and the polls that it took."""
        assert created.task_id is not None
        progress.open_task = task = OpenTask(task_type, created.task_id, self._clock.seconds())
        try:
            reply = await self._poller.result_of(task)
        except ResultLostError as error:
            raise CaptchaTimeoutError(
                f"CapSolver answers no more queries about this task ({error})",
                attempts=progress.attempts,
                possibly_paid=1,
            ) from None
        progress.open_task = None  # it ended, one way or the other
        if reply.fault is not None:
            self._count(f"tasks/failed/{reply.fault.code or 'unknown'}", 1)
        return reply, task.queries

    async def _follow(
        self, fault: Fault, task: dict[str, Any], attempts: int, progress: _Progress, started: float
    ) -> None:
        """Do what the error asks for and return where another task may be made; else raise."""
        rule, seen = fault.rule, progress.refusals[fault.code]
        progress.refusals[fault.code] += 1
        after = f" after {progress.attempts} tasks" if progress.attempts > 1 else ""
        error = rule.error(scrub(str(fault), task) + after, code=fault.code or None, attempts=progress.attempts)
        if rule.action is Action.CRAWL or (rule.ends_crawl and seen >= rule.times):
            self._breaker.open(error, task["type"] if rule.of_type else None)
            raise error
        if rule.action is Action.REQUEST or seen >= rule.times:
            raise error
        if rule.action is Action.WAIT:
            left = started + self._timeout - self._clock.seconds()
            wait = rule.wait * 2**seen
            if wait >= left:
                raise error
            progress.attempts -= 1  # a refusal to work now is no attempt
            await sleep(self._clock, wait)
        elif progress.attempts >= attempts:
            raise error

    def _settle(self, task_type: str, reply: Reply, progress: _Progress) -> None:
        """Account for a task that is ready, whether or not its solution is of use."""
        price = self._prices.get(task_type)
        if price is None:
            self._count("unpriced", 1)
        else:
            self._count("estimated_cost_usd", price / 1000)
        if not reply.solution:
            self._count("wasted/no_solution", 1)
            raise UnsolvableCaptchaError(
                f"CapSolver says that {task_type} is ready and sends no solution",
                attempts=progress.attempts,
                possibly_paid=1,
            )

    def _give_up(self, message: str, progress: _Progress) -> CaptchaError:
        return CapSolverUnavailableError(message, attempts=progress.attempts, possibly_paid=progress.possibly_paid)


def scrub(text: str, task: Mapping[str, Any]) -> str:
    """``text`` without what the task tells CapSolver in confidence, should an error quote it."""
    for key in ("proxy", "proxyPassword", "proxyLogin"):
        secret = task.get(key)
        if isinstance(secret, str) and secret:
            text = text.replace(secret, f"[{key}]")
    return text


def _solved_at(solution: Mapping[str, Any]) -> float:
    """When a solution came to be, in Unix seconds: a token's life counts from there.

    ``createTime`` is in milliseconds (docs.capsolver.com/en/guide/captcha/ReCaptchaV2/). It is the server's clock, so
    one that disagrees with ours by more than a solve can take is not used.
    """
    now = time.time()
    created = solution.get("createTime")
    if isinstance(created, (int, float)) and not isinstance(created, bool) and 0 <= now - created / 1000 <= 300:
        return created / 1000
    return now
