"""One captcha to be solved, and what has been done about it so far."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from scrapy_capsolver.solving.ledger import Receipt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.internet.defer import Deferred

    from scrapy_capsolver.solving.ledger import TaskScope
    from scrapy_capsolver.solving.poller import OpenTask

MakeTask: TypeAlias = "Callable[[str], Deferred[dict[str, Any]]]"


@dataclass(frozen=True, slots=True)
class ResumeToken:
    """An open task, as plain data: another run of the crawl can ask for its result."""

    receipt: Receipt
    mark: str
    """Of the task; a result is good for a task with the same mark."""
    created: float
    """Unix seconds."""
    queries: int

    @property
    def age(self) -> float:
        """Seconds."""
        return max(time.time() - self.created, 0.0)

    def to_dict(self) -> dict[str, Any]:
        return {**self.receipt.to_dict(), "mark": self.mark, "created": self.created, "queries": self.queries}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> ResumeToken:
        rest = dict(values)
        mark, created, queries = rest.pop("mark"), rest.pop("created"), rest.pop("queries")
        return cls(Receipt(**rest), mark, created, queries)


def plain(note: ResumeToken | None) -> dict[str, Any] | None:
    return None if note is None else note.to_dict()


@dataclass(slots=True)
class Job:
    """See :meth:`Solver.solve <scrapy_capsolver.solving.solver.Solver.solve>`."""

    task_scope: TaskScope
    make_task: MakeTask
    """Gives each attempt's task, from what CapSolver said of the attempt before. May raise what it likes."""
    attempts_allowed: int
    mark: Callable[[dict[str, Any]], str] = lambda task: ""
    complete: Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]] = lambda solution, task: solution
    """Returns a solution with what it leaves out and the task has, under the names that are documented."""
    resume: ResumeToken | None = None
    """A task of an earlier run that is open still."""
    gets_verdict: bool = True
    """It will be known whether the site takes the solution."""

    attempts: int = 0
    """Tasks created."""
    lost: int = 0
    """How many of them were given up, and may be charged."""
    timed_out: bool = False
    said: str = ""
    task: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The latest one."""
    refusals: Counter[str] = field(default_factory=Counter)
    """By what they are among the stats."""
    connect_failures: int = 0
    receipt: Receipt | None = None
    """Of the task under way, from before it is sent until it is settled."""
    open_task: OpenTask | None = None
    """The same, once CapSolver has it."""
    open_mark: str = ""

    def note(self, now: float) -> ResumeToken | None:
        """The open task for the next run. ``now`` by the clock that the task's times are of."""
        task = self.open_task
        if task is None or self.receipt is None:
            return self.resume
        return ResumeToken(self.receipt, self.open_mark, time.time() - (now - task.created), task.queries)
