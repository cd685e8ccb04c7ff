"""What a worker has under way, counted against the limits of all: reserved before createTask, and settled with its entry in the ledger.

The worker also remembers the limits as it saw them last, and what it booked, for a server that forgets.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from twisted.internet.defer import TimeoutError as DeferredTimeoutError

from scrapy_capsolver._utils.waiters import Waiters
from scrapy_capsolver.solving.clock import sleep
from scrapy_capsolver.stores.redis.waiting import kept, reactor, within

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred

    from scrapy_capsolver.stores.base import Spend
    from scrapy_capsolver.stores.redis.connection import Link
    from scrapy_capsolver.stores.redis.journal import Journal
    from scrapy_capsolver.stores.redis.scope import Scope

# For which limits are held that the server had forgotten: time for all workers to say what they know.
_GRACE_SECONDS = 3.0
_MOST_BOOKED = 20_000  # rows of the ledger that a worker remembers
_LOOK_SECONDS = 5.0  # between two looks at limits that are waited for, should the news of them have got lost


@dataclass(frozen=True, slots=True)
class Most:
    """Limits over all workers; None where there is none."""

    solves: int | None
    of_site: int | None
    nano: int | None

    @property
    def any(self) -> bool:
        return self.solves is not None or self.of_site is not None or self.nano is not None

    def to_json(self) -> str:
        named = {"solves": self.solves, "site": self.of_site, "nano": self.nano}
        return json.dumps({name: value for name, value in named.items() if value is not None})


@dataclass(frozen=True, slots=True)
class Wanted:
    """A task that is to be created."""

    id: str
    """Of its reservation."""
    site: str
    family: str
    type: str
    nano: int
    mark: str


@dataclass(frozen=True, slots=True)
class Left:
    """An open task that another worker has left."""

    id: str
    """Of its reservation."""
    task: str
    type: str
    site: str
    family: str
    nano: int
    mark: str
    age: float
    """Seconds."""


class LimitReachedError(Exception):
    """A limit leaves no room: its name without prefix, and how much of it is used."""

    def __init__(self, name: str, used: int) -> None:
        super().__init__(name)
        self.name = name
        self.used = used


@dataclass(slots=True)
class _Known:
    """The limits as this worker saw them last."""

    key: str = ""
    generation: str = ""
    totals: dict[str, int] = field(default_factory=dict)


class Reservations:
    """Those of one worker in the run of that whole name."""

    def __init__(self, link: Link, journal: Journal, scope: Scope, run: str) -> None:
        self._link = link
        self._journal = journal
        self._scope = scope
        self._run = run
        self._known = _Known()
        self._mine: dict[str, dict[str, Any]] = {}  # what is under way here, by its reservation
        self._booked: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])  # tasks and nano-dollars
        self._news = 0  # of limits
        self._waiting: Waiters[None] = Waiters(reactor())
        self.young = False
        """The server began lately: it may have forgotten what others know."""

    async def reserve(self, wanted: Wanted, most: Most, waits: Callable[[], None]) -> Left | None:
        """Take the part of one task. Gives a task that would be the same, which another worker has left; there is nothing taken then.

        ``waits`` is called where the answer does not come at once.

        Raises:
            LimitReachedError: nothing is left, whatever becomes of what is under way.
            StoreAwayError: the server is away.
        """
        task = self._describe(wanted, most)
        while True:
            news = self._news
            known = {"key": self._known.key, "generation": self._known.generation}
            call = self._link.call(
                "reserve",
                wanted.id,
                self._scope.worker,
                json.dumps(task),
                self._run,
                self._scope.run,
                self._scope.window,
                most.to_json(),
                json.dumps(known),
                _GRACE_SECONDS if most.any else 0.0,
                "1" if self.young else "",
            )
            answer = await kept(call, lambda late: self._undo(late, wanted.id, task))
            if answer[0] == "take":
                return self._take(answer)
            word, key, generation, solves, nano, of_site, detail = answer
            if key and word != "lost":
                self._remember(key, generation, solves, nano, {f"site:{wanted.site}": of_site} if most.of_site else {})
            if word == "ok":
                self._mine[wanted.id] = {**task, "limits": key, "worker": self._scope.worker}
                return None
            if word == "refuse":
                used = {"MAX_SOLVES": solves, "BUDGET": nano, "MAX_SOLVES_PER_DOMAIN": of_site}[detail]
                raise LimitReachedError(detail, int(used))
            waits()
            if word == "lost":
                await self.remind()
            elif word == "hold":
                await sleep(reactor(), float(detail) + 0.01)
            elif news == self._news:
                await self._some_news()

    def charge(self, wanted: Wanted, most: Most) -> None:
        """Count a task without asking, while the server is away."""
        self._mine[wanted.id] = task = {**self._describe(wanted, most), "worker": self._scope.worker}
        scope = self._scope
        self._journal.add("charge", id=wanted.id, task=task, this=self._run, run=scope.run, window=scope.window)

    def opened(self, reservation: str, task_id: str) -> None:
        """CapSolver has given the task an id."""
        task = self._mine.get(reservation)
        if task is not None:
            task |= {"task": task_id, "state": "open", "created": time.time()}
            self._journal.add("open", id=reservation, task=task)

    def finish(self, reservation: str, account: str | None, *, charged: bool) -> None:
        """The task is over; ``account`` is that of the ledger, None for none."""
        task = self._mine.pop(reservation, None)
        if task is not None:
            if account is not None:
                self._note(task["row"], account, 1, task["nano"] if charged else 0)
            self._journal.add("finish", id=reservation, account=account, charged=charged, task=task)

    def adopt(self, reservation: str, task: dict[str, Any], age: float) -> Left:
        """A task of a dead worker that this one is to look after."""
        self._mine[reservation] = task
        return _left(reservation, task, age)

    def leave(self, reservation: str) -> None:
        """Whoever needs the same may go on with the task."""
        if self._mine.pop(reservation, None) is not None:
            self._journal.add("leave", id=reservation)

    def paid(self, reservation: str) -> None:
        """A dead worker's task has been solved."""
        if self._mine.pop(reservation, None) is not None:
            self._journal.add("paid", id=reservation)

    def spend(self, entry: Spend, reservation: str) -> None:
        """An entry of the ledger about a task that has ended; it is another worker's if that has taken the task over."""
        row = self._row(entry.site, entry.family)
        self._note(row, entry.account, entry.tasks, entry.nano_usd)
        self._spend(row, entry.account, entry.tasks, entry.nano_usd, reservation)

    def _spend(self, row: str, account: str, tasks: int, nano: int, reservation: str | None = None) -> None:
        task = {"row": row, "ledger": self._ledger}
        self._journal.add("spend", id=reservation, task=task, account=account, tasks=tasks, nano=nano)

    def _note(self, row: str, account: str, tasks: int, nano: int) -> None:
        """What this worker booked, should the server forget it."""
        if (row, account) in self._booked or len(self._booked) < _MOST_BOOKED:
            self._booked[row, account][0] += tasks
            self._booked[row, account][1] += nano

    def news(self) -> None:
        """Something may have become free."""
        self._news += 1
        self._waiting.release_all(None)

    async def _some_news(self) -> None:
        with suppress(DeferredTimeoutError):
            await within(_LOOK_SECONDS, self._waiting.join())

    def _take(self, answer: list[str]) -> Left:
        _, reservation, text, age = answer
        return self.adopt(reservation, json.loads(text), float(age))

    def _undo(self, late: list[str], reservation: str, task: dict[str, Any]) -> None:
        """The answer to who does not wait for it any more."""
        if late[0] == "take":
            self.leave(self._take(late).id)
        elif late[0] == "ok":
            self._mine[reservation] = {**task, "limits": late[1], "worker": self._scope.worker}
            self.finish(reservation, None, charged=False)

    def _remember(self, key: str, generation: str, solves: str, nano: str, sites: dict[str, str]) -> None:
        if key != self._known.key:
            self._known = _Known(key)
        self._known.generation = generation
        totals = {"u:s": solves, "u:n": nano, **sites}
        self._known.totals.update({name: int(total) for name, total in totals.items()})

    def _describe(self, wanted: Wanted, most: Most) -> dict[str, Any]:
        return {
            "spider": self._scope.spider,
            "site": wanted.site,
            "family": wanted.family,
            "type": wanted.type,
            "nano": wanted.nano,
            "mark": wanted.mark,
            "by_site": most.of_site is not None,
            "row": self._row(wanted.site, wanted.family),
            "ledger": self._ledger,
            "account": self._scope.account,
            "task": "",
            "created": 0,
            "state": "new",
        }

    @property
    def _ledger(self) -> str:
        return self._scope.key("ledger", self._run)

    def _row(self, site: str, family: str) -> str:
        return "".join(f"{quote(name, safe='')}/" for name in (self._scope.spider, site, family))

    # A server that forgets

    @property
    def known(self) -> tuple[str, str]:
        """Key and generation of the limits that this worker has seen."""
        return self._known.key, self._known.generation

    def remind(self) -> Deferred[None]:
        """Tell the server of the limits what it has forgotten."""
        return self._link.call("restore", *self._restore_arguments()).addCallback(self._reminded)

    async def remind_(self) -> None:
        """The same for asyncio, before the link counts as there."""
        if self._known.key:
            self._reminded(await self._link.ask("restore", *self._restore_arguments()))

    def _reminded(self, generation: str) -> None:
        self._known.generation = generation

    def move(self, run: str, *, remember: bool) -> None:
        """The run is another one; ``remember``: since the server has forgotten it, so that its limits are the same."""
        self._run = run
        if remember and self._scope.window == "run" and self._known.key:
            self._known = _Known(self._scope.key("limits", run), "moved", self._known.totals)

    def book_again(self) -> None:
        """Enter into the ledger what this worker had entered, without what is still to be written."""
        pending: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
        for one in self._journal.entries():
            sums = pending[one["task"]["row"], one["account"]]
            sums[0] += one.get("tasks", 1)
            sums[1] += one["nano"] if one["op"] == "spend" else one["task"]["nano"] if one["charged"] else 0
        for (row, account), (tasks, nano) in self._booked.items():
            later = pending.get((row, account), [0, 0])
            if tasks > later[0]:
                self._spend(row, account, tasks - later[0], nano - later[1])

    def _restore_arguments(self) -> tuple[str | float, ...]:
        known = self._known
        mine = {id_: task for id_, task in self._mine.items() if task.get("limits") == known.key}
        return (
            self._scope.worker,
            known.key,
            f"{self._scope.worker}-{time.time_ns()}",
            self._run,
            self._scope.run,
            self._scope.window,
            _GRACE_SECONDS,
            json.dumps(known.totals),
            json.dumps(mine),
        )


def _left(reservation: str, task: dict[str, Any], age: float) -> Left:
    return Left(
        reservation, task["task"], task["type"], task["site"], task["family"], int(task["nano"]), task["mark"], age
    )
