"""The tasks of the simulated service: from creation to solution, and what they cost."""

from __future__ import annotations

import heapq
import random
import uuid
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import ApiError, invalid_task, solve_failed
from .spoiling import spoilt
from .task_types import MICRO, Attempt, Fields, Job, TaskType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .clearances import ClearanceRegistry
    from .clock import SimulatedClock
    from .shown import Shown, ShownChallenges
    from .tokens import TokenRegistry

# Limits of docs.capsolver.com/guide/api-gettaskresult and, the last, of docs.capsolver.com/guide/api-error.
MAX_QUERIES = 120
WINDOW_SECONDS = 300.0
TIMEOUT_SECONDS = 120.0

# The part of its solve time that a task waits before somebody works on it. Undocumented.
_IDLE_PART = 0.2

# Outcomes that are failures, see quirks.OUTCOMES.
_FAILURES: dict[str, ApiError] = {
    "solve-failed": solve_failed(),
    "failed-over-200": ApiError(solve_failed().code, solve_failed().description, status=200),
    "failed-over-400": solve_failed(),
    "unsolvable": ApiError("ERROR_CAPTCHA_UNSOLVABLE", "The captcha could not be recognised"),
    "proxy-banned": ApiError("ERROR_PROXY_BANNED", "The proxy is banned by the target"),
    "invalid-site-key-late": invalid_task("Invalid site key"),
}


@dataclass(eq=False)
class Task:
    """One task. Moments are in simulated seconds, see :class:`~scrapy_capsolver.simulator.clock.SimulatedClock`.

    ``fields`` is the task object as it was received. ``ready_at`` is when it ends, well or not; ``queries`` counts
    the calls of getTaskResult about it. ``address`` is the one that the site sees of the task's proxy, if it was
    looked for and found. ``found`` and ``doomed`` are what came of the solver's attempt.
    """

    id: str
    number: int
    type: TaskType
    fields: Fields
    created: float
    seconds: float
    ready_at: float
    random: random.Random
    outcome: str | None = None
    address: str | None = None
    found: Shown | None = None
    doomed: ApiError | None = None
    queries: int = 0
    delivered_at: float | None = None
    delivered: int = 0
    solution: object = None
    failure: ApiError | None = None
    paid: int = 0

    @property
    def open(self) -> bool:
        return self.solution is None and self.failure is None

    def status(self, now: float) -> str:
        if self.failure is not None:
            return "failed"
        if not self.open:
            return "ready"
        return "idle" if now < self.created + self.seconds * _IDLE_PART else "processing"


class TaskTable:
    """All tasks, by id in the order of their creation, and the account that pays for them.

    Nothing happens on its own: :meth:`settle` brings the table to the present, and everything that looks at it calls
    that first. Money is in micro-dollars.
    """

    def __init__(
        self,
        clock: SimulatedClock,
        tokens: TokenRegistry,
        clearances: ClearanceRegistry,
        shown: ShownChallenges,
        keys: Mapping[str, str],
        *,
        seed: int,
        balance: float,
        solve_seconds: tuple[float, float] | None,
    ) -> None:
        self._clock = clock
        self._tokens = tokens
        self._clearances = clearances
        self._shown = shown
        self._keys = keys
        self._seed = seed
        self._generation = 0
        self.solve_seconds = solve_seconds
        self.first_balance = balance
        self.reset()

    def reset(self) -> None:
        # Ids of an earlier life must not name tasks of this one; solve times and tokens, however, repeat.
        self._generation += 1
        self.by_id: dict[str, Task] = {}
        self.by_type: Counter[str] = Counter()
        self._due: list[tuple[float, int, Task]] = []
        self._reserved = 0
        self.balance = round(self.first_balance * MICRO)
        self.spent = self.paid = self.ready = self.failed = 0

    def create(self, type_: TaskType, fields: Fields, outcome: str | None = None, address: str | None = None) -> Task:
        """Accept a task with valid fields. Raise :class:`ApiError` if the money does not suffice for it."""
        self.settle()
        if self.balance - self._reserved < type_.price:
            raise ApiError("ERROR_ZERO_BALANCE", "Your account balance is insufficient")
        number = len(self.by_id) + 1
        dice = random.Random(f"{self._seed}:{number}")
        now = self._clock.now()
        seconds = self._seconds(type_, dice, outcome)
        task = Task(
            id=str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self._seed}:{self._generation}:{number}")),
            number=number,
            type=type_,
            fields=fields,
            created=now,
            seconds=seconds,
            ready_at=now + seconds,
            random=dice,
            outcome=outcome,
            address=address,
        )
        self._attempt(task)
        if type_.seconds is None:
            self._end(task)
            if task.failure is not None:
                raise task.failure  # A recognition that fails leaves no task behind, only an error.
            task.delivered_at, task.delivered = now, 1
        else:
            self._reserved += type_.price
            heapq.heappush(self._due, (task.ready_at, number, task))
        self.by_id[task.id] = task
        self.by_type[type_.name] += 1
        return task

    def _attempt(self, task: Task) -> None:
        if task.type.dials and task.address is None:
            task.doomed = solve_failed()  # What users of the live service see of a proxy that is of no use.
        elif task.type.attempt is not None:
            try:
                task.found = task.type.attempt(Attempt(task.fields, self._clearances, self._shown, task.address or ""))
            except ApiError as failure:
                task.doomed = failure

    def _seconds(self, type_: TaskType, dice: random.Random, outcome: str | None) -> float:
        # The dice are thrown in any case, so that what follows does not depend on where the range comes from.
        part = dice.random()
        if type_.seconds is None:
            return 0.0
        low, high = self.solve_seconds or type_.seconds
        return TIMEOUT_SECONDS if outcome == "task-timeout" else min(low + part * (high - low), TIMEOUT_SECONDS)

    def query(self, task_id: object) -> Task:
        """Count a query and return its task; raise :class:`ApiError` if the result cannot be had (any more)."""
        self.settle()
        task = self.by_id.get(task_id) if isinstance(task_id, str) else None
        if task is not None:
            task.queries += 1
        if (
            task is None
            or task.type.seconds is None  # Its solution came with the reply to createTask.
            or task.queries > MAX_QUERIES
            or self._clock.now() >= task.created + WINDOW_SECONDS
        ):
            raise ApiError("ERROR_TASKID_INVALID", "Task ID is invalid or no longer exists")
        return task

    def note_delivery(self, task: Task) -> None:
        task.delivered += 1
        if task.delivered_at is None:
            task.delivered_at = self._clock.now()

    def settle(self) -> None:
        """End the tasks whose time has come."""
        now = self._clock.now()
        while self._due and self._due[0][0] <= now:
            task = heapq.heappop(self._due)[2]
            self._reserved -= task.type.price
            self._end(task)

    def _end(self, task: Task) -> None:
        try:
            task.solution = self._solve(task)
        except ApiError as failure:
            task.failure = failure
            self.failed += 1
            return
        task.paid = task.type.price
        self.balance -= task.paid
        self.spent += task.paid
        self.paid += 1
        self.ready += 1

    def _solve(self, task: Task) -> object:
        if task.outcome in _FAILURES:
            raise _FAILURES[task.outcome]
        if task.type.seconds is not None and task.seconds >= TIMEOUT_SECONDS:
            raise ApiError("ERROR_TASK_TIMEOUT", "The task was not solved within 120 seconds")
        if task.doomed is not None:
            raise task.doomed
        if task.outcome == "ready-without-solution":
            return {}
        solved_at = task.ready_at - (WINDOW_SECONDS * 10 if task.outcome == "expired-token" else 0)
        solution = task.type.solve(
            Job(
                task.fields,
                task.random,
                solved_at,
                self._clock.epoch(solved_at),
                self._tokens,
                self._clearances,
                self._shown,
                self._keys,
                task.address or "",
                task.found,
            )
        )
        return spoilt(solution, task.outcome, task.random)

    def state(self) -> dict[str, Any]:
        self.settle()
        queries = [task.queries for task in self.by_id.values() if task.type.seconds is not None]
        return {
            "created": len(self.by_id),
            "open": len(self._due),
            "ready": self.ready,
            "failed": self.failed,
            "delivered": sum(task.delivered > 0 and task.solution is not None for task in self.by_id.values()),
            "paid": self.paid,
            "by_type": dict(self.by_type),
            "queries": {
                "max": max(queries, default=0),
                "mean": round(sum(queries) / len(queries), 3) if queries else 0.0,
            },
        }

    def rows(self) -> list[dict[str, Any]]:
        """Return one JSON-able row for each task. Moments are real Unix seconds, ``seconds`` simulated ones."""
        self.settle()
        now = self._clock.now()
        epoch = self._clock.epoch
        return [
            {
                "id": task.id,
                "number": task.number,
                "type": task.type.name,
                "status": task.status(now),
                "seconds": task.seconds,
                "created": epoch(task.created),
                "ready_at": epoch(task.ready_at),
                "delivered_at": None if task.delivered_at is None else epoch(task.delivered_at),
                "delivered": task.delivered,
                "queries": task.queries,
                "paid": task.paid / MICRO,
                "error": None if task.failure is None else task.failure.code,
                "fields": task.fields,
                "address": task.address,
            }
            for task in self.by_id.values()
        ]
