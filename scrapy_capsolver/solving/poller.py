"""Asks for the results of all open tasks, each at its time, all together at a bounded rate.

A poll costs about half a millisecond of CPU and some of the service's patience. So polls are bounded to a few hundred a
second over all tasks; where more are due, those go first whose tasks are likeliest to be ready. What a busy event loop
makes late is not caught up with: where a crawl needs all of the CPU, it has it, and solutions wait a little longer.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from scrapy_capsolver.api.codes import Action
from scrapy_capsolver.api.transport import TransportError
from scrapy_capsolver.solving.schedule import MAX_AGE, MAX_QUERIES, Solve, SolveTimes

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from scrapy_capsolver.api.replies import Reply
    from scrapy_capsolver.solving.breaker import Breaker
    from scrapy_capsolver.solving.clock import Clock, Timer

POLLS_PER_SECOND = 300.0
POLLS_IN_FLIGHT = 64  # as many as the transport keeps connections
DOUBTS = 3  # errors that may concern a query only, or replies without the solution, after which the task is given up
_OVERLOAD_TICK = 0.05  # seconds between looks at tasks that are due and may not be asked yet
_RANK_SECONDS = 1.0  # between looks at which of them are the likeliest: with 10,000 that takes some 20 ms
_MAX_BACK_OFF = 5.0  # seconds, after polls that failed


class ResultLostError(Exception):
    """CapSolver will not answer for this task any more: 120 queries or 5 minutes are used up."""


@dataclass(eq=False, slots=True)
class OpenTask:
    """A task at CapSolver that has no result yet. Times are the clock's seconds."""

    type: str
    id: str
    created: float
    queries: int = 0
    resumed: bool = False
    """It was created by an earlier run of the crawl."""
    asked_age: float = 0.0
    """Age at the last query that was answered with "not yet"."""
    failures: int = 0
    """Polls in a row that brought no answer."""
    doubts: int = 0
    """Errors that do not say whether the task has ended, and replies that are ready without a solution."""
    result: Deferred[Reply] = field(init=False)  # both begin with Poller.result_of
    solve: Solve = field(init=False)

    @property
    def done(self) -> bool:
        return self.solve.ended


class Poller:
    """``ask(task_id)`` is one poll; :meth:`result_of` gives each task's final reply."""

    def __init__(
        self,
        ask: Callable[[str], Coroutine[Deferred[Any], Any, Reply]],
        clock: Clock,
        breaker: Breaker,
        count_poll: Callable[[], None],
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._breaker = breaker
        breaker.listen(self._set_timer)
        self._count_poll = count_poll
        self.times: defaultdict[str, SolveTimes] = defaultdict(SolveTimes)
        """By task type."""
        self.took: Callable[[str, float], None] = lambda task_type, seconds: None
        """Told how long a solve took."""
        self._waiting: list[tuple[float, int, OpenTask]] = []  # a heap by the time at which a task is due
        self._due: list[OpenTask] = []
        self._ranked: list[OpenTask] = []  # of those that are due too, the likeliest last
        self._ranked_at = 0.0
        self._order = count()
        self._open = 0
        self._in_flight = 0
        self._asked: set[Deferred[Reply]] = set()
        self._allowance = 1.0
        self._allowance_at = clock.seconds()
        self._timer: Timer | None = None

    def result_of(self, task: OpenTask) -> Deferred[Reply]:
        """Fires with the reply that is ready, or that ends the task by an error, as soon as it is known.

        Fails with :class:`ResultLostError`. Cancelling it stops the polling.
        """
        task.result = Deferred(lambda _: self._close(task))
        task.solve = self.times[task.type].begin()
        self._open += 1
        if task.resumed:
            self._schedule(task, self._clock.seconds())  # it may be ready for long, and soon be forgotten
        else:
            self._plan(task)
        return task.result

    def _plan(self, task: OpenTask, later: float = 0.0) -> None:
        """Ask when an answer is likely, or so many seconds later."""
        self._schedule(task, task.created + task.solve.next_age(self._clock.seconds() - task.created) + later)

    def _schedule(self, task: OpenTask, at: float) -> None:
        heapq.heappush(self._waiting, (at, next(self._order), task))
        self._set_timer()

    def _set_timer(self) -> None:
        """One timer for all tasks, set for the first that is due."""
        if self._due or self._ranked:
            at = self._clock.seconds() + (_OVERLOAD_TICK if self._in_flight < POLLS_IN_FLIGHT else 1.0)
        elif self._waiting:
            at = self._waiting[0][0]
        else:
            self._stop_timer()
            return
        at = max(at, self._breaker.paused_until)
        if self._timer is not None and self._timer.active():
            if self._timer.getTime() <= at:
                return
            self._timer.cancel()
        self._timer = self._clock.callLater(max(0.0, at - self._clock.seconds()), self._wake)

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _wake(self) -> None:
        self._timer = None
        if not self._breaker.may_call:
            if self._clock.seconds() < self._breaker.paused_until:
                self._set_timer()
            return  # else the breaker tells when its trial is over
        now = self._clock.seconds()
        while self._waiting and self._waiting[0][0] <= now:
            task = heapq.heappop(self._waiting)[2]
            if not task.done:
                self._due.append(task)
        self._allowance = min(
            max(POLLS_PER_SECOND * _OVERLOAD_TICK, 1.0),
            self._allowance + max(0.0, now - self._allowance_at) * POLLS_PER_SECOND,
        )
        self._allowance_at = now
        for task in self._take_likeliest(min(int(self._allowance), POLLS_IN_FLIGHT - self._in_flight), now):
            if self._breaker.may_call:
                self._poll(task)
            else:  # the one before is the trial for all
                self._due.append(task)
        self._set_timer()

    def _take_likeliest(self, number: int, now: float) -> list[OpenTask]:
        if len(self._due) + len(self._ranked) <= number:
            chosen, self._due, self._ranked = self._ranked + self._due, [], []
            return [task for task in chosen if not task.done]
        if not self._ranked or now - self._ranked_at >= _RANK_SECONDS:
            self._ranked = [task for task in self._ranked + self._due if not task.done]
            self._ranked.sort(key=lambda task: self._urgency(task, now - task.created))
            self._due.clear()
            self._ranked_at = now
        chosen = []
        while self._ranked and len(chosen) < number:
            task = self._ranked.pop()
            if not task.done:
                chosen.append(task)
        return chosen

    def _urgency(self, task: OpenTask, age: float) -> float:
        """How long a solution may have been waiting by now, by how likely there is one: nobody is left out for long."""
        return self.times[task.type].likelihood(task.asked_age, age) * (age - task.asked_age)

    def _poll(self, task: OpenTask) -> None:
        age = self._clock.seconds() - task.created
        if task.queries >= MAX_QUERIES or age >= MAX_AGE:
            self._end(task).errback(ResultLostError(f"after {task.queries} queries in {age:.0f} s"))
            return
        task.queries += 1
        self._in_flight += 1
        self._allowance -= 1
        self._count_poll()
        trial = self._breaker.begin()
        asked = Deferred.fromCoroutine(self._ask(task.id))
        self._asked.add(asked)
        asked.addBoth(self._landed, asked)
        asked.addBoth(self._left, trial)
        asked.addCallbacks(self._answered, self._unanswered, callbackArgs=(task, age), errbackArgs=(task,))
        asked.addErrback(lambda failure: None if task.done else self._end(task).errback(failure))

    def close(self) -> None:
        """Nobody waits for an answer any more."""
        for asked in list(self._asked):
            asked.cancel()

    def _landed(self, result: Reply | Failure, asked: Deferred[Reply]) -> Reply | Failure:
        self._asked.discard(asked)
        self._in_flight -= 1
        if self._due or self._ranked:
            self._set_timer()
        return result

    def _left(self, result: Reply | Failure, trial: int) -> Reply | Failure:
        if not isinstance(result, Failure) and (result.fault is None or result.fault.in_envelope):
            self._breaker.answered(result.fault, ended=result.fault is not None or result.ready)
        self._breaker.leave(trial)
        return result

    def _answered(self, reply: Reply, task: OpenTask, asked_age: float) -> None:
        if task.done:
            return
        fault = reply.fault
        if reply.is_of_another(task.id) or (reply.empty and self._may_follow(task)):
            self._back_off(task)
        elif reply.ready:
            self._end(task, (task.asked_age + asked_age) / 2).callback(reply)
        elif fault is None:
            task.asked_age, task.failures = asked_age, 0
            self._plan(task)
        elif fault.rule.action is Action.POLL or not fault.in_envelope:
            self._back_off(task)  # nothing readable
        elif fault.rule.action is Action.WAIT:
            self._schedule(task, self._breaker.paused_until)
        elif fault.rule.action in {Action.NEW, Action.REQUEST} and self._is_doubtful(reply, task):
            self._back_off(task)
        else:
            self._end(task).callback(reply)

    @staticmethod
    def _is_doubtful(reply: Reply, task: OpenTask) -> bool:
        """Does the error perhaps concern this query alone, and not the task?"""
        assert reply.fault is not None
        return not (reply.ended or reply.fault.rule.forgotten) and Poller._may_follow(task)

    @staticmethod
    def _may_follow(task: OpenTask) -> bool:
        """Return whether the task is asked about again after an answer that may be a mistake."""
        task.doubts += 1
        return task.doubts < DOUBTS

    def _unanswered(self, failure: Failure, task: OpenTask) -> None:
        if not failure.check(TransportError):
            failure.raiseException()
        if not task.done:
            self._back_off(task)

    def _back_off(self, task: OpenTask) -> None:
        """A poll that failed never loses the task: the next one follows, later each time."""
        task.failures += 1
        self._plan(task, later=min(0.5 * 2 ** min(task.failures - 1, 8) - 0.5, _MAX_BACK_OFF))

    def _end(self, task: OpenTask, seconds: float | None = None) -> Deferred[Reply]:
        self._close(task, seconds)
        return task.result

    def _close(self, task: OpenTask, seconds: float | None = None) -> None:
        """``seconds``: how long the solve took, as far as is known: it was ready between two queries."""
        if task.done:
            return
        self.times[task.type].end(task.solve, seconds)
        if seconds is not None and not task.resumed:
            self.took(task.type, seconds)
        self._open -= 1
        if not self._open:  # what is left in the heap and the list is done as well
            self._waiting.clear()
            self._due.clear()
            self._ranked.clear()
            self._stop_timer()
