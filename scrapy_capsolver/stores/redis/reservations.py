"""What a worker has under way, counted against the limits of all: reserved before createTask, and settled with its entry in the ledger.

The worker also remembers the limits as it saw them last, for a server that forgets.

A reservation belongs to exactly one side at any time. Until its answer is heard it is nobody's: the next connection tells the server which
reservations this worker knows, and the server takes back all others.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.python.failure import Failure

from scrapy_capsolver._utils.waiters import Waiters
from scrapy_capsolver.solving.clock import sleep
from scrapy_capsolver.stores.redis.connection import ScriptError
from scrapy_capsolver.stores.redis.waiting import kept, reactor, within

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred

    from scrapy_capsolver.stores.base import Spend
    from scrapy_capsolver.stores.redis.bookings import Bookings
    from scrapy_capsolver.stores.redis.connection import Link
    from scrapy_capsolver.stores.redis.journal import Journal
    from scrapy_capsolver.stores.redis.scope import Scope
    from scrapy_capsolver.stores.redis.timings import Timings


@dataclass(frozen=True, slots=True)
class Most:
    """Limits over all workers; None for no limit."""

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
    version: int = 0
    totals: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps({"key": self.key, "generation": self.generation, "version": self.version})


class Reservations:
    """Those of one worker in the run of that whole name."""

    def __init__(
        self, link: Link, journal: Journal, bookings: Bookings, scope: Scope, timings: Timings, run: str
    ) -> None:
        self._link = link
        self._journal = journal
        self._bookings = bookings
        self._scope = scope
        self._timings = timings
        self._run = run
        self._known = _Known()
        self._mine: dict[str, dict[str, Any]] = {}  # what is under way here, by its reservation
        self._reached: dict[tuple[str, str], tuple[int, int]] = {}  # by limit and site: used, for that much money
        self._news = 0  # of limits
        self._waiting: Waiters[None] = Waiters(reactor())

    async def reserve(self, wanted: Wanted, most: Most, waits: Callable[[], None]) -> Left | None:
        """Take the part of one task.

        Returns a task that would be the same and that another worker has left, if there is one; then no part is taken.
        ``waits`` is called if the answer does not come at once.

        Raises:
            LimitReachedError: nothing is left, whatever becomes of what is under way.
            ScriptError: the limits cannot be read.
            StoreAwayError: the server is away.
        """
        self._refuse_again(wanted)
        task = self._describe(wanted, most)
        while True:
            news = self._news
            call = self._link.call(
                "reserve",
                wanted.id,
                json.dumps(task),
                self._run,
                self._scope.run,
                self._scope.window,
                most.to_json(),
                self._known.to_json(),
                self._timings.grace if most.any else 0.0,
            )
            call.addCallback(self._note, wanted, task)
            answer = await kept(call, lambda late: self._undo(late, wanted.id))
            if isinstance(answer, Left):
                return answer
            word, detail = answer
            if word == "ok":
                return None
            waits()
            if word == "lost":
                await self.remind()
            elif word == "hold":
                await sleep(reactor(), float(detail) + 0.01)
            elif news == self._news:
                await self._some_news()

    def _note(self, answer: list[str], wanted: Wanted, task: dict[str, Any]) -> Left | tuple[str, str]:
        """Take over what the answer gives, before anybody hears of it. Returns a task, or the answer's word and detail."""
        if answer[0] == "take":
            _, reservation, text, age = answer
            return self.adopt(reservation, json.loads(text), float(age))
        word, key, generation, version, solves, nano, of_site, detail = answer
        if word == "broken":
            raise ScriptError(detail)
        if word in {"ok", "wait", "refuse"}:
            totals = {"u:s": solves, "u:n": nano, **({f"site:{wanted.site}": of_site} if task["by_site"] else {})}
            self._remember(key, generation, int(version), {name: int(total) for name, total in totals.items()})
        if word == "ok":
            self._mine[wanted.id] = {**task, "limits": key, "worker": self._scope.worker}
        if word == "refuse":
            used = int({"MAX_SOLVES": solves, "BUDGET": nano, "MAX_SOLVES_PER_DOMAIN": of_site}[detail])
            if self._scope.window == "run":  # or it would be over at some time
                self._reached[detail, wanted.site if detail == "MAX_SOLVES_PER_DOMAIN" else ""] = (used, wanted.nano)
            raise LimitReachedError(detail, used)
        return word, detail

    def _refuse_again(self, wanted: Wanted) -> None:
        """Raise LimitReachedError if the server has refused as much before: what is used of a run's limits is used for good."""
        for (name, site), (used, nano) in self._reached.items():
            if site in {"", wanted.site} and (name != "BUDGET" or wanted.nano >= nano):
                raise LimitReachedError(name, used)

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
            self._journal.add("finish", id=reservation, account=account, charged=charged, task=task)

    def adopt(self, reservation: str, task: dict[str, Any], age: float) -> Left:
        """Look after a task of a dead worker."""
        self._mine[reservation] = task
        return _left(reservation, task, age)

    def leave(self, reservation: str) -> None:
        """Have another worker that needs the same go on with the task."""
        if self._mine.pop(reservation, None) is not None:
            self._journal.add("leave", id=reservation)

    def paid(self, reservation: str) -> None:
        """A dead worker's task has been solved."""
        if self._mine.pop(reservation, None) is not None:
            self._journal.add("paid", id=reservation)

    def spend(self, entry: Spend, reservation: str) -> None:
        """Enter something about a task that has ended; another worker does it if that has taken the task over."""
        task = {"row": self._row(entry.site, entry.family), "ledger": self._bookings.ledger}
        self._journal.add(
            "spend", id=reservation, task=task, account=entry.account, tasks=entry.tasks, nano=entry.nano_usd
        )

    def news(self) -> None:
        """Something may have become free."""
        self._news += 1
        self._waiting.release_all(None)

    async def _some_news(self) -> None:
        with suppress(DeferredTimeoutError):
            await within(self._timings.look, self._waiting.join())

    def _undo(self, late: Left | tuple[str, str] | Failure, reservation: str) -> None:
        """Give back what comes after its caller was cancelled. What failed is given back by the next connection."""
        if isinstance(late, Left):
            self.leave(late.id)
        elif not isinstance(late, Failure) and late[0] == "ok":
            self.finish(reservation, None, charged=False)

    def _remember(self, key: str, generation: str, version: int, totals: dict[str, int]) -> None:
        if key != self._known.key:
            self._known = _Known(key)
        self._known.generation, self._known.version = generation, version
        self._known.totals.update(totals)

    def _describe(self, wanted: Wanted, most: Most) -> dict[str, Any]:
        return {
            "run": self._scope.run,
            "spider": self._scope.spider,
            "site": wanted.site,
            "family": wanted.family,
            "type": wanted.type,
            "nano": wanted.nano,
            "mark": wanted.mark,
            "by_site": most.of_site is not None,
            "row": self._row(wanted.site, wanted.family),
            "ledger": self._bookings.ledger,
            "account": self._scope.account,
            "task": "",
            "created": 0,
            "state": "new",
        }

    def _row(self, site: str, family: str) -> str:
        return "".join(f"{quote(name, safe='')}/" for name in (self._scope.spider, site, family))

    # A server that forgets

    @property
    def known(self) -> tuple[str, str, int]:
        """Key, generation and version of the limits that this worker has seen."""
        return self._known.key, self._known.generation, self._known.version

    def all(self) -> list[str]:
        """Return the reservations that this worker knows of, those included of which something is still to be written."""
        return sorted(self._mine.keys() | self._journal.reservations())

    def remind(self) -> Deferred[None]:
        """Tell the server what it has forgotten of the limits and of the tasks under way."""
        return self._link.call("restore", *self._restore_arguments()).addCallback(self._reminded)

    async def remind_(self) -> None:
        """Do the same for asyncio, before the link counts as there."""
        if self._known.key or self._mine:
            self._reminded(await self._link.ask("restore", *self._restore_arguments()))

    def _reminded(self, generation: str) -> None:
        self._known.generation = generation

    def move(self, run: str, *, remember: bool) -> None:
        """Go on in another run. ``remember``: it is the same one, which the server has forgotten, so that its limits are the same."""
        self._run = run
        self._bookings.move(self._scope.key("ledger", run), remember=remember)
        if not remember:
            self._reached.clear()
        elif self._scope.window == "run" and self._known.key:
            known = self._known
            self._known = _Known(self._scope.key("limits", run), "moved", known.version, known.totals)

    def _restore_arguments(self) -> tuple[str | float, ...]:
        known = self._known
        # What was counted without asking has no limits yet: that is still to be written.
        mine = {reservation: task for reservation, task in self._mine.items() if "limits" in task}
        return (
            known.key,
            f"{self._scope.worker}-{time.time_ns()}",
            known.generation,
            known.version,
            self._run,
            self._scope.run,
            self._scope.window,
            self._timings.grace,
            json.dumps(known.totals),
            json.dumps(mine),
        )


def _left(reservation: str, task: dict[str, Any], age: float) -> Left:
    return Left(
        reservation, task["task"], task["type"], task["site"], task["family"], int(task["nano"]), task["mark"], age
    )
