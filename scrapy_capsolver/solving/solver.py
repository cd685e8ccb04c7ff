"""The way of a solve: a turn, a task, its result, and what to do where that fails."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError

from scrapy_capsolver._utils.numbers import finite
from scrapy_capsolver._utils.waiters import Turns
from scrapy_capsolver.api.codes import Action
from scrapy_capsolver.api.transport import TransportError
from scrapy_capsolver.errors import (
    CapSolverUnavailableError,
    CaptchaCancelledError,
    CaptchaError,
    CaptchaTimeoutError,
    UnsolvableCaptchaError,
)
from scrapy_capsolver.solving.clock import Lasting, sleep
from scrapy_capsolver.solving.deadline import Deadline
from scrapy_capsolver.solving.job import plain
from scrapy_capsolver.solving.poller import OpenTask, Poller, ResultLostError
from scrapy_capsolver.solving.schedule import MAX_AGE, MAX_QUERIES
from scrapy_capsolver.solving.site_breaker import REFUSED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from scrapy_capsolver.api.client import CapSolverClient
    from scrapy_capsolver.api.replies import Reply
    from scrapy_capsolver.solving.account import Account
    from scrapy_capsolver.solving.breaker import Breaker
    from scrapy_capsolver.solving.clock import Clock
    from scrapy_capsolver.solving.job import Job, ResumeToken
    from scrapy_capsolver.solving.ledger import Ledger, Receipt
    from scrapy_capsolver.solving.limits import Limits
    from scrapy_capsolver.solving.site_breaker import SiteStops
    from scrapy_capsolver.solving.slow_start import SlowStart
    from scrapy_capsolver.stores.redis.limits import SharedLimits

CONNECT_TRIES = 4  # createTask, where no connection comes about
CREATES_IN_FLIGHT = 128  # each over a connection of its own, and thousands may be let go at once, after a pause say
_CONNECT_BACK_OFF = 1.0  # seconds, doubled each time
_CREATE_GRACE = 0.75  # seconds that a createTask under way may take when its solve is cancelled: then its id is known


@dataclass(frozen=True, slots=True)
class Solved:
    """A solution, and what it took."""

    solution: Mapping[str, Any] = field(repr=False)
    """As CapSolver gives it; its keys depend on the task type."""
    receipt: Receipt
    attempts: int
    """Tasks created, failed ones included."""
    seconds: float
    """That were spent on the solve, waiting for its turn and pauses that CapSolver asked for not included."""
    polls: int
    solved_at: float
    """Unix seconds at which the solution came to be, as far as is known."""
    pick_up: float | None = None
    """Seconds from the last query that was answered with "not yet", or from the task's creation, until the solution was in hand: it
    lay ready for that long at most. None where there was nothing to wait for, or an earlier run waited for it."""
    lost: int = 0
    """How many of the attempts before were given up, and may have been charged as well."""

    @property
    def charged(self) -> int:
        """How many of the attempts may have been charged: the last one surely was."""
        return self.lost + 1


class Solver:
    """Solves tasks for one account: ``concurrency`` at a time, each within ``timeout`` seconds of its turn."""

    def __init__(
        self,
        client: CapSolverClient,
        clock: Clock,
        *,
        concurrency: int,
        timeout: float,
        account: Account,
        breaker: Breaker,
        stops: SiteStops,
        slow_start: SlowStart,
        limits: Limits | SharedLimits,
        ledger: Ledger,
        count: Callable[[str, float], None],
    ) -> None:
        self._client = client
        self._clock = clock
        self._turns = Turns(clock, concurrency)
        self._sending = Turns(clock, CREATES_IN_FLIGHT)
        self._timeout = timeout
        self._account = account
        self._breaker = breaker
        self._stops = stops
        self._slow_start = slow_start
        self._limits = limits
        self._ledger = ledger
        self._count = count
        self._solves: set[Deferred[Solved]] = set()
        self._is_cut_off = False
        self._adopted: set[str] = set()
        self._taken_up: set[str] = set()
        self.poller = Poller(client.get_task_result, clock, breaker, lambda: count("polls", 1))

    def solve(self, job: Job) -> Deferred[Solved]:
        """Fails with a :class:`~scrapy_capsolver.errors.CaptchaError`, or with what the job's task maker raised.

        May be cancelled at any time.
        """
        solving = Deferred.fromCoroutine(self._solve(job))
        if not solving.called:
            self._solves.add(solving)
            solving.addBoth(self._ended, solving)
        return solving

    def _ended(self, result: Any, solving: Deferred[Solved]) -> Any:
        self._solves.discard(solving)
        return result

    async def _solve(self, job: Job) -> Solved:
        place = None
        try:
            if job.gets_verdict:
                place = await self._slow_start.enter(job.task_scope)
            await self._turns.acquire()
        except CancelledError:
            self._slow_start.leave(place)
            raise CaptchaCancelledError(
                "cancelled before its turn came; nothing was paid", open_task=plain(job.resume)
            ) from None
        try:
            await self._account.known()
            solved = await self._with_turn(job)
            self._slow_start.solved(place, solved.receipt)
            return solved
        except CaptchaError as error:  # what ends all solves knows nothing of this one's attempts
            error.attempts, error.possibly_paid = job.attempts, max(job.lost, error.possibly_paid)
            raise
        except CancelledError:
            note = job.note(self._clock.seconds())
            raise CaptchaCancelledError(
                "the solve was cancelled",
                attempts=job.attempts,
                possibly_paid=job.lost + (job.receipt is not None),
                open_task=plain(note),
            ) from None
        finally:
            self._leave(job)
            self._turns.release()
            self._slow_start.leave(place)

    async def _with_turn(self, job: Job) -> Solved:
        """Attempts within the deadline."""
        solving = Deferred.fromCoroutine(self._attempts(job))

        def strike() -> None:
            job.timed_out = True
            solving.cancel()

        deadline = Deadline(self._clock, self._breaker, self._timeout, strike)
        try:
            return replace(await solving, seconds=deadline.spent)
        except CancelledError:
            if not job.timed_out:
                raise
            if not job.attempts and self._limits.is_away:
                raise self._limits.away() from None
            never = not job.attempts and self._breaker.is_unreachable
            raise (CapSolverUnavailableError if never else CaptchaTimeoutError)(
                f"{'CapSolver cannot be reached' if never else 'no solution'} within {self._timeout:g} s (CAPSOLVER_TIMEOUT)",
                attempts=job.attempts,
                possibly_paid=self._give_up(job),
            ) from None
        finally:
            deadline.over()

    async def _attempts(self, job: Job) -> Solved:
        """One after the other, until one brings a solution or an error that is final."""
        while True:
            self._stops.check(job.task_scope)
            trial = await self._breaker.admit()
            try:
                solved = await self._attempt(job, trial=trial)
            finally:
                self._breaker.leave(trial)
            if solved is not None:
                return solved

    async def _attempt(self, job: Job, *, trial: int) -> Solved | None:
        """One task, from its making to its solution. None: it came to nothing, and another may be tried."""
        job.task = task = await job.make_task(job.said)
        self._breaker.check(task["type"])
        reply: Reply | None
        if self._take_up(job, task):
            self._breaker.leave(trial)  # or its polls would wait for it
            reply = await self._result(job)
        else:
            reply = await self._create(job, task, trial=trial)
            if reply is not None and reply.fault is None and not reply.complete:
                reply = await self._result(job)
        if reply is None:
            return None
        if reply.fault is not None:
            self._follow(reply, job, task)
            return None
        return self._settle(reply, job)

    def _take_up(self, job: Job, task: dict[str, Any]) -> bool:
        """Go on with a task of an earlier run, where it is the same and CapSolver still answers for it."""
        note, job.resume = job.resume, None
        if note is None or self._limits.is_shared:  # those know of all open tasks
            return False
        if note.receipt.task in self._taken_up:
            return False  # by another request
        self._taken_up.add(note.receipt.task)
        age = note.age
        if note.mark != job.mark(task) or age >= MAX_AGE or note.queries >= MAX_QUERIES:
            self._ledger.unknown(note.receipt, "abandoned")
            return False
        self._limits.resume(note.receipt)
        self._resume(job, note)
        return True

    def _resume(self, job: Job, note: ResumeToken) -> None:
        self._count("tasks/resumed", 1)
        self._client.learn_task(job.task)  # it is the same one
        job.attempts += 1
        job.receipt, job.open_mark = note.receipt, note.mark
        job.open_task = self._earlier(note)

    def _earlier(self, note: ResumeToken) -> OpenTask:
        created = self._clock.seconds() - note.age
        return OpenTask(note.receipt.type, note.receipt.task, created, queries=note.queries, resumed=True)

    async def _create(self, job: Job, task: dict[str, Any], *, trial: int) -> Reply | None:
        """Send createTask. It is sent again only where no task can have come of it: None says so."""
        receipt = self._ledger.receipt(job.task_scope, task["type"])

        def waits() -> None:
            """For the end of other tasks, and they must not wait for this one's trial."""
            nonlocal trial
            self._breaker.leave(trial)
            trial = 0

        left = await self._limits.reserve(receipt, job.mark(task), waits)
        if left is not None:
            self._breaker.leave(trial)
            self._ledger.adopted(left.receipt)
            self._resume(job, left)
            return await self._result(job)
        await self._sending_turn(receipt)
        try:
            return await self._send(job, task, receipt, trial=trial)
        finally:
            self._sending.release()

    async def _sending_turn(self, receipt: Receipt) -> None:
        try:
            await self._sending.acquire()
        except CancelledError:
            self._limits.settle(receipt, charged=False)
            raise

    async def _send(self, job: Job, task: dict[str, Any], receipt: Receipt, *, trial: int) -> Reply | None:
        job.receipt = receipt  # paid, for all that is known, until a reply says otherwise
        if not trial and not self._breaker.may_create:  # since it was admitted
            self._free(job)
            return None
        call = Lasting(self._client.create_task(task))
        cancelled = False
        try:
            try:
                reply = await call.wait()
            except CancelledError:
                if job.timed_out or self._is_cut_off:
                    call.cancel()
                    raise
                cancelled = True
                reply = await self._outlast(call)
        except TransportError as error:
            self._breaker.unanswered()
            if error.sent:
                self._lose(job, str(error))
            self._free(job)
            if cancelled:
                raise CancelledError from None
            job.connect_failures += 1
            if job.connect_failures == CONNECT_TRIES:
                raise CapSolverUnavailableError(f"createTask: {error}", attempts=job.attempts) from None
            await sleep(self._clock, _CONNECT_BACK_OFF * 2 ** (job.connect_failures - 1))
            return None
        fault = reply.fault
        if fault is not None and not fault.in_envelope and fault.rule.action is Action.POLL:
            self._breaker.unanswered()
            self._lose(job, str(fault))
        if fault is None and not reply.ready and reply.task_id is None:
            self._lose(job, "the reply has no taskId")
        self._breaker.answered(fault, ended=fault is not None or reply.ready)
        job.attempts += 1
        if fault is not None:
            self._count(f"tasks/refused/{fault.stat}", 1)
            self._free(job)
        else:
            self._count("tasks", 1)
            job.receipt = replace(receipt, task=reply.task_id or "")
            if not reply.complete:
                self._limits.opened(job.receipt)
                self._ledger.opened(job.receipt)
                job.open_task = OpenTask(task["type"], job.receipt.task, self._clock.seconds())
                job.open_mark = job.mark(task)
        if cancelled:
            if reply.complete:
                self._ledger.wasted(self._settle(reply, job).receipt, "abandoned")
            raise CancelledError
        return reply

    async def _outlast(self, call: Lasting[Reply]) -> Reply:
        """The reply to a createTask whose solve was cancelled: it tells the task's id, if it comes soon."""
        try:
            return await call.wait().addTimeout(_CREATE_GRACE, cast("Any", self._clock))
        except (DeferredTimeoutError, CancelledError):
            call.cancel()
            raise CancelledError from None

    async def _result(self, job: Job) -> Reply | None:
        """The final reply about the open task. None: it was of an earlier run, and comes too late."""
        assert job.open_task is not None
        assert job.receipt is not None
        try:
            reply = await self.poller.result_of(job.open_task)
        except ResultLostError as error:
            if job.open_task.resumed:
                self._give_up(job)
                return None
            raise CaptchaTimeoutError(
                f"CapSolver answers no more queries about this task ({error})",
                attempts=job.attempts,
                possibly_paid=self._give_up(job),
            ) from None
        if reply.fault is not None:
            self._count(f"tasks/failed/{reply.fault.stat}", 1)
            if reply.ended:
                self._ledger.failed(job.receipt)
                self._free(job)
            else:
                self._give_up(job)  # the task may go on without us
        return reply

    def _follow(self, reply: Reply, job: Job, task: dict[str, Any]) -> None:
        """Do what the error asks for and return where another task may be made; else raise."""
        fault = reply.fault
        assert fault is not None
        rule, seen = fault.rule, job.refusals[fault.stat]
        job.refusals[fault.stat] += 1
        job.said = fault.description
        after = f" after {job.attempts} tasks" if job.attempts > 1 else ""
        error = rule.error(
            str(fault) + after,
            code=fault.code or None,
            attempts=job.attempts,
            possibly_paid=job.lost,
        )
        if rule.action is Action.CRAWL or (rule.ends_crawl and seen >= rule.times):
            self._breaker.open(error, task["type"] if rule.of_type else None)
            raise error
        if rule.action is Action.WAIT and seen < rule.times:
            job.attempts -= 1  # a refusal to work now is no attempt; the breaker has everybody wait
            return
        if rule.action is Action.REQUEST or seen >= rule.times or job.attempts >= job.attempts_allowed:
            if rule.error is UnsolvableCaptchaError:
                self._stops.failed(job.task_scope, REFUSED)
            raise error

    def _settle(self, reply: Reply, job: Job) -> Solved:
        """Account for a task that is ready, whether or not its solution is of use."""
        receipt, task = job.receipt, job.open_task
        assert receipt is not None
        pick_up = None if task is None or task.resumed else self._clock.seconds() - task.created - task.asked_age
        # Read before it is booked: if that ever raised, the task would be counted as abandoned, and not be lost to the account.
        solution = {} if reply.solution is None else job.complete(reply.solution, job.task)
        solved_at = _solved_at(solution)
        self._ledger.paid(receipt)
        self._limits.settle(receipt, charged=True)
        job.receipt = job.open_task = None
        self._stops.succeeded(job.task_scope, REFUSED)
        if reply.solution is None:
            self._ledger.wasted(receipt, "no_solution")
            raise UnsolvableCaptchaError(
                f"CapSolver says that {receipt.type} is ready and sends no solution",
                attempts=job.attempts,
                possibly_paid=job.lost + 1,
            )
        polls = 0 if task is None else task.queries
        return Solved(solution, receipt, job.attempts, 0.0, polls, solved_at, pick_up, job.lost)

    def _lose(self, job: Job, why: str) -> NoReturn:
        """What became of a createTask is not known, so it is not sent again."""
        job.attempts += 1
        self._give_up(job)
        raise CapSolverUnavailableError(
            f"createTask: {why}; the task may exist and be charged", attempts=job.attempts, possibly_paid=job.lost
        )

    def _free(self, job: Job) -> None:
        """The task under way surely costs nothing."""
        assert job.receipt is not None
        self._limits.settle(job.receipt, charged=False)
        job.receipt = job.open_task = None

    def _give_up(self, job: Job) -> int:
        """The task under way may be charged, and nobody asks for it any more. Gives how many the job has of those."""
        if job.receipt is None:
            return job.lost
        job.lost += 1
        self._ledger.unknown(job.receipt, "possibly_paid" if job.open_task is None else "abandoned")
        self._limits.settle(job.receipt, charged=True)
        job.receipt = job.open_task = None
        return job.lost

    def _leave(self, job: Job) -> None:
        """The solve is over. A task that is open now has its result asked for in the next run, or is abandoned."""
        if job.receipt is not None and job.open_task is not None:
            self._limits.leave(job.receipt)
        else:
            self._give_up(job)

    def close(self) -> None:
        """All solves are over."""
        self.poller.close()
        self._slow_start.close()

    def cut_off(self) -> None:
        """The process ends at once: give up all solves, and wait for no reply."""
        self._is_cut_off = True
        for solving in list(self._solves):
            solving.cancel()
        self.close()

    # Between two runs of a crawl

    def adopt(self, note: ResumeToken) -> None:
        """An earlier run left this task open: it counts as paid, unless its result says otherwise."""
        if note.receipt.task not in self._adopted and not self._limits.is_shared:
            self._adopted.add(note.receipt.task)
            self._ledger.adopted(note.receipt)
            self._limits.adopt(note.receipt)

    async def watch(self, note: ResumeToken) -> Reply | None:
        """What becomes of a task that nobody waits for any more; None where CapSolver does not tell."""
        try:
            return await self.poller.result_of(self._earlier(note))
        except ResultLostError:
            return None

    def carry_over(self, task_id: str) -> None:
        """The next run takes care of this task."""
        self._ledger.carried(task_id)


def _solved_at(solution: Mapping[str, Any]) -> float:
    """When a solution came to be, in Unix seconds: a token's life counts from there.

    ``createTime`` is in milliseconds (docs.capsolver.com/en/guide/captcha/ReCaptchaV2/). It is the server's clock, so
    one that disagrees with ours by more than a solve can take is not used.
    """
    now = time.time()
    created = finite(solution.get("createTime"))
    return created / 1000 if created is not None and 0 <= now - created / 1000 <= 300 else now
