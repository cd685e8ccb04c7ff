"""The workers that share a Redis server: which of them live, what the limits leave to them, and what one learns for all."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError

from scrapy_capsolver.errors import store_away
from scrapy_capsolver.solving.clock import sleep, wake
from scrapy_capsolver.stores.redis.waiting import kept

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy_capsolver.solving.clock import Clock
    from scrapy_capsolver.stores.redis.journal import Journal
    from scrapy_capsolver.stores.redis.link import Link
    from scrapy_capsolver.stores.redis.scope import Scope

logger = logging.getLogger(__name__)

BEAT_SECONDS = 2.0  # five of them are the time after which a worker is taken for dead (lua/prelude.lua)
_GRACE_SECONDS = (
    3.0  # for which limits are held that the server had forgotten: time for all workers to say what they know
)
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


class Fleet:
    """This worker, among the others. Waits on Twisted's Deferreds, but for what its name ends with ``_``."""

    def __init__(self, link: Link, journal: Journal, scope: Scope) -> None:
        self._link = link
        self._journal = journal
        self._scope = scope
        self._instance = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{scope.worker[:4]}"
        self._known = _Known()
        self._mine: dict[str, dict[str, Any]] = {}  # what is under way here, by its reservation
        self._booked: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])  # tasks and nano-dollars
        self._news = 0  # of limits
        self._waiting: list[Deferred[None]] = []
        self._beating: asyncio.Task[None] | None = None
        self._came_before = False
        self.workers = 1
        """That live and share the account."""
        self.patience = 150.0
        """Seconds for which the server may be away until who waits for it gives up."""
        self.young = False
        """The server began lately: it may have forgotten what others know."""
        self.on_times: Callable[[str, list[float]], None] = lambda task_type, seconds: None
        """Told, with a task type, the seconds that its recent solves took."""
        self.on_breaker: Callable[[dict[str, Any], float], None] = lambda what, seconds: None
        """Told what another worker's breaker did, and for how many seconds it holds."""
        self.on_orphan: Callable[[Left], None] = lambda left: None
        """Told a task of a dead worker: somebody has to see what becomes of it."""
        self.on_forgotten: Callable[[], None] = lambda: None
        """Told when the server does not know of this worker any more: it has lost what it had."""
        self.on_wait: Callable[[], None] = lambda: None
        """Told when a solve has to wait for the server."""
        self.on_size: Callable[[int], None] = lambda workers: None

    @property
    def run(self) -> str:
        return f"{self._scope.run}@{self._instance}"

    @property
    def is_away(self) -> bool:
        """It was there, or should have been; not before the first answer."""
        return self._link.is_away

    async def back(self) -> None:
        """Wait until the server is there. Raises :class:`~scrapy_capsolver.CaptchaStoreError` where that takes too long."""
        if self._link.is_away:
            self.on_wait()
        try:
            await self._link.up().addTimeout(self.patience, cast("Any", _reactor()))
        except DeferredTimeoutError:
            raise store_away(self.patience) from None

    # Being one of them

    def open(self) -> None:
        self._beating = asyncio.get_running_loop().create_task(self._beat_())

    async def _beat_(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            if self._link.is_up:
                self._link.call("beat", *self._beat_arguments(came=False)).addCallbacks(self._heard, lambda _: None)

    def _remind(self) -> Deferred[None]:
        """Tell the server of the limits what it has forgotten."""

        def reminded(generation: str) -> None:
            self._known.generation = generation

        return self._link.call("restore", *self._restore_arguments()).addCallback(reminded)

    def _beat_arguments(self, *, came: bool) -> tuple[str, ...]:
        scope = self._scope
        known = self._known
        return (
            scope.run,
            self._instance,
            scope.worker,
            scope.account,
            "1" if came else "",
            scope.window,
            known.key,
            known.generation,
        )

    async def came_(self) -> None:
        """The server is there: join the others, and remind it of what it may have forgotten."""
        self._heard(await self._link.ask("beat", *self._beat_arguments(came=True)))
        if self._known.key:
            self._known.generation = await self._link.ask("restore", *self._restore_arguments())
        self._came_before = True
        self.news()

    def _heard(self, text: str) -> None:
        heard = json.loads(text)
        if self._came_before and "new" in heard and heard["instance"] == self._instance:
            self._book_again()
            self.on_forgotten()
        if heard["instance"] != self._instance:
            # Of a run that others had begun, or have begun while this worker was not heard of.
            self._instance = heard["instance"]
            if self._came_before and self._scope.window == "run" and self._known.key:
                self._known = _Known(self._scope.key("limits", self.run), "moved", self._known.totals)
        if heard["workers"] != self.workers:
            self.workers = max(heard["workers"], 1)
            self.on_size(self.workers)
        if heard.get("lost") and self._link.is_up:
            self._remind().addErrback(lambda _: None)  # there will be another beat
        for task_type, seconds in heard.get("times", {}).items():
            self.on_times(task_type, [float(one) for one in reversed(seconds.split())])
        for one in heard.get("breaker", ()):
            state = json.loads(one)
            # What ended all solving for others ended it before this worker began: it looks at the account itself.
            if state["ends"] > heard["now"] and (self._came_before or state["what"]["kind"] != "stop"):
                self.on_breaker(state["what"], state["ends"] - heard["now"])
        for one in heard.get("orphans", ()):
            left = _left(one["id"], one["task"], one["age"])
            self._mine[left.id] = one["task"]
            self.on_orphan(left)

    def close(self) -> None:
        if self._beating is not None:
            self._beating.cancel()

    # Limits

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
                self.run,
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
                await self._remind()
            elif word == "hold":
                await sleep(_reactor(), float(detail) + 0.01)
            elif news == self._news:
                await self._some_news()

    def charge(self, wanted: Wanted, most: Most) -> None:
        """Count a task without asking, while the server is away."""
        self._mine[wanted.id] = task = {**self._describe(wanted, most), "worker": self._scope.worker}
        scope = self._scope
        self._journal.add("charge", id=wanted.id, task=task, this=self.run, run=scope.run, window=scope.window)

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

    def leave(self, reservation: str) -> None:
        """Whoever needs the same may go on with the task."""
        if self._mine.pop(reservation, None) is not None:
            self._journal.add("leave", id=reservation)

    def paid(self, reservation: str) -> None:
        """A dead worker's task has been solved."""
        if self._mine.pop(reservation, None) is not None:
            self._journal.add("paid", id=reservation)

    def spend(self, site: str, family: str, account: str, tasks: int, nano: int) -> None:
        row = self._row(site, family)
        self._note(row, account, tasks, nano)
        self._spend(row, account, tasks, nano)

    def _spend(self, row: str, account: str, tasks: int, nano: int) -> None:
        self._journal.add("spend", task={"row": row, "ledger": self._ledger}, account=account, tasks=tasks, nano=nano)

    def _note(self, row: str, account: str, tasks: int, nano: int) -> None:
        """What this worker booked, should the server forget it."""
        if (row, account) in self._booked or len(self._booked) < _MOST_BOOKED:
            self._booked[row, account][0] += tasks
            self._booked[row, account][1] += nano

    def _book_again(self) -> None:
        """Without what is still to be written."""
        pending: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
        for one in self._journal.entries():
            sums = pending[one["task"]["row"], one["account"]]
            sums[0] += one.get("tasks", 1)
            sums[1] += one["nano"] if one["op"] == "spend" else one["task"]["nano"] if one["charged"] else 0
        for (row, account), (tasks, nano) in self._booked.items():
            later = pending.get((row, account), [0, 0])
            if tasks > later[0]:
                self._spend(row, account, tasks - later[0], nano - later[1])

    def news(self) -> None:
        """Something may have become free."""
        self._news += 1
        wake(self._waiting)

    async def _some_news(self) -> None:
        some: Deferred[None] = Deferred()
        self._waiting.append(some)
        try:
            await some.addTimeout(_LOOK_SECONDS, cast("Any", _reactor()))
        except DeferredTimeoutError:
            pass
        finally:
            if some in self._waiting:
                self._waiting.remove(some)

    def _take(self, answer: list[str]) -> Left:
        _, reservation, text, age = answer
        self._mine[reservation] = json.loads(text)
        return _left(reservation, self._mine[reservation], float(age))

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

    def _restore_arguments(self) -> tuple[str | float, ...]:
        known = self._known
        mine = {id_: task for id_, task in self._mine.items() if task.get("limits") == known.key}
        return (
            self._scope.worker,
            known.key,
            f"{self._instance}-{self._scope.worker}-{time.time_ns()}",
            self.run,
            self._scope.run,
            self._scope.window,
            _GRACE_SECONDS,
            json.dumps(known.totals),
            json.dumps(mine),
        )

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
        return self._scope.key("ledger", self.run)

    def _row(self, site: str, family: str) -> str:
        return "".join(f"{quote(name, safe='')}/" for name in (self._scope.spider, site, family))

    # What one learns for all

    def took(self, task_type: str, seconds: float) -> None:
        """A solve took so long."""
        self._journal.add("time", type=task_type, seconds=f"{seconds:.3f}")

    def tell_breaker(self, name: str, what: dict[str, Any], seconds: float) -> None:
        self._journal.add("breaker", account=self._scope.account, name=name, what=what, seconds=seconds)

    def record(self, text: str) -> None:
        """What is to be in the report about this worker."""
        self._journal.add("record", run=self.run, text=text)


def _left(reservation: str, task: dict[str, Any], age: float) -> Left:
    return Left(
        reservation, task["task"], task["type"], task["site"], task["family"], int(task["nano"]), task["mark"], age
    )


def _reactor() -> Clock:
    from twisted.internet import reactor

    return cast("Clock", reactor)
