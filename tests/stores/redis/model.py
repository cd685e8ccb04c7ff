"""Workers with one limit, and what a solver does with its reservations, for any series of faults."""

from __future__ import annotations

import asyncio
import random
import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from scrapy_capsolver.errors import CaptchaBudgetError
from scrapy_capsolver.stores import Scope, Spend, TaskRow
from scrapy_capsolver.stores.redis.store import RedisStore
from tests.stores.redis.stalls import StallingRoute
from tests.stores.redis.workers import TIMINGS, Place, begun, do, end_of, limits, receipt, written

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable

    from twisted.python.failure import Failure

    from tests.redis_server import RedisServer

MOST = 5  # solves
WORKERS = ("a", "b", "c")
_TIMINGS = replace(TIMINGS, answer=0.5, look=0.05, grace=0.05, retry=0.005)

_WEIGHTS = {
    "reserve": 30,
    "create": 25,
    "solved": 10,
    "cancel": 8,
    "beat": 6,
    "cut": 6,
    "deafen": 6,
    "kill": 4,
    "time_passes": 8,
    "stall": 6,
    "resume": 10,
}


def steps_of(seed: int) -> list[tuple[Any, ...]]:
    """Return a series of steps: names of methods of :class:`Cluster`, and their arguments."""
    dice = random.Random(seed)
    names = dice.choices(list(_WEIGHTS), list(_WEIGHTS.values()), k=dice.randrange(10, 50))
    arguments = {
        "reserve": lambda: (dice.randrange(10), dice.choice(["", "m1", "m1", "m2"])),
        "resume": lambda: (dice.randrange(10), dice.choice([4, 12, 40])),
        "stall": tuple,
        "time_passes": tuple,
    }
    return [(name, *arguments.get(name, lambda: (dice.randrange(10),))()) for name in names]


@dataclass
class Solve:
    """One reservation, from the moment at which it is asked for."""

    worker: Worker
    number: int
    asked: Deferred[Any] = field(default_factory=Deferred)
    reservation: str = ""
    """Once the worker may create a task, or has one of another worker."""
    task: str = ""
    over: bool = False


@dataclass
class Worker:
    name: str
    route: StallingRoute
    store: Any
    limits: Any
    is_dead: bool = False
    was_silent: bool = False
    """It lives, and could not be heard for so long that others took it for dead."""
    solves: list[Solve] = field(default_factory=list)


class Cluster:
    """Three workers. ``total`` counts what came of all examples."""

    def __init__(self, server: RedisServer, total: Counter[str]) -> None:
        self.server = server
        self.total = total
        self.place = Place(server, f"model-{uuid.uuid4().hex[:8]}")
        self.workers: list[Worker] = []
        self.solves = 0
        self.created: set[str] = set()
        """Tasks at CapSolver."""
        self.users: dict[str, set[str]] = {}
        """The workers that wait for the solution of each."""
        self.in_doubt = 0
        """Reservations that dead workers had asked for, and had not got."""
        self.is_stalled = False

    async def run(self, steps: Iterable[tuple[Any, ...]]) -> None:
        try:
            for name in WORKERS:
                await self._join(name)
            first = self.workers[0]  # new limits are held for a moment
            await do(first.limits.reserve(receipt(0)))
            first.store.fleet.reservations.finish("r0", None, charged=False)
            await written(first.store)
            for name, *arguments in steps:
                await getattr(self, name)(*arguments)
                await self._turn()
            await self._check()
        finally:
            for worker in self.workers:
                if not worker.is_dead:
                    await worker.route.resume()
                    await do(worker.store.leave())
                await worker.route.close()

    async def _join(self, name: str) -> None:
        route = StallingRoute(self.server.port)
        await route.open()
        store: Any = RedisStore(route.url, Scope(prefix=self.place.prefix, worker=name, account="a"), _TIMINGS)
        worker = Worker(name, route, store, limits(store, max_solves=MOST))
        store.fleet.on_orphan = lambda left: self._settle_orphan(worker, left)
        store.open()
        await do(store.fleet.back())
        self.workers.append(worker)

    def _settle_orphan(self, worker: Worker, left: Any) -> None:
        """CapSolver says that it was solved."""
        self.total["orphans"] += 1
        worker.store.fleet.reservations.paid(left.id)

    async def _turn(self) -> None:
        await asyncio.sleep(0.003)

    def _living(self) -> list[Worker]:
        return [worker for worker in self.workers if not worker.is_dead]

    def _of(self, choice: int) -> Worker:
        living = self._living()
        return living[choice % len(living)]

    def _some(self, choice: int, *, reserved: bool, created: bool) -> Solve | None:
        found = [
            solve
            for worker in self._living()
            for solve in worker.solves
            if not solve.over and bool(solve.reservation) == reserved and bool(solve.task) == created
        ]
        return found[choice % len(found)] if found else None

    # What solvers do

    async def reserve(self, choice: int, mark: str) -> None:
        self.solves += 1
        solve = Solve(self._of(choice), self.solves)
        solve.worker.solves.append(solve)
        solve.asked = begun(solve.worker.limits.reserve(receipt(solve.number), mark))
        solve.asked.addCallbacks(self._reserved, self._refused, callbackArgs=(solve,), errbackArgs=(solve,))

    def _reserved(self, token: Any, solve: Solve) -> None:
        if token is None:
            solve.reservation = f"r{solve.number}"
        else:
            self.total["taken over"] += 1
            solve.reservation, solve.task = token.receipt.reservation, token.receipt.task
            self._use(solve)

    def _use(self, solve: Solve) -> None:
        users = self.users.setdefault(solve.task, set())
        users.add(solve.worker.name)
        heard = {worker.name for worker in self._living() if not worker.was_silent}
        assert len(users & heard) <= 1, f"{solve.task} was given to {users}"

    def _refused(self, failure: Failure, solve: Solve) -> None:
        solve.over = True
        self.total["refused" if failure.check(CaptchaBudgetError) else "cancelled"] += 1

    async def create(self, choice: int = 0) -> None:
        solve = self._some(choice, reserved=True, created=False)
        if solve is not None:
            solve.task = f"t{solve.number}"
            self.created.add(solve.task)
            self._use(solve)
            assert len(self.created) <= MOST, "more than the limit"
            row = TaskRow(solve.task, "s", "shop.example", "datadome", "T", 100, solve.reservation)
            await do(solve.worker.store.open_task(row))

    async def solved(self, choice: int) -> None:
        solve = self._some(choice, reserved=True, created=True)
        if solve is not None:
            await self._end(solve)

    async def _end(self, solve: Solve) -> None:
        solve.over = True
        entry = Spend("s", "shop.example", "datadome", "solved", 1, 100)
        await do(solve.worker.store.spend(entry, closes=solve.task, reservation=solve.reservation))

    async def cancel(self, choice: int) -> None:
        """Its time is over, or the crawl stops."""
        for reserved, created in ((False, False), (True, True), (True, False)):
            solve = self._some(choice, reserved=reserved, created=created)
            if solve is not None:
                self._cancel(solve)
                return

    def _cancel(self, solve: Solve) -> None:
        reservations = solve.worker.store.fleet.reservations
        if solve.task:
            solve.over = True
            self.users[solve.task].discard(solve.worker.name)
            reservations.leave(solve.reservation)
        elif solve.reservation:
            solve.over = True
            reservations.finish(solve.reservation, None, charged=False)
        else:
            solve.asked.cancel()

    # What happens to the server and to the workers

    async def beat(self, choice: int) -> None:
        self._beat(self._of(choice))

    @staticmethod
    def _beat(worker: Worker) -> None:
        if worker.store._link.is_up:
            worker.store.fleet.beat().addErrback(lambda _: None)

    async def stall(self) -> None:
        self.is_stalled = True
        for worker in self._living():
            worker.route.stall()

    async def resume(self, choice: int = 0, seconds: int = 12) -> None:
        """The server stood still for so long."""
        if self.is_stalled:
            self.total["stalls"] += 1
            self.is_stalled = False
            self.place.redis.zincrby(self.place.key("seen"), -seconds, "@now")
            living = self._living()
            first = choice % len(living)
            for worker in living[first:] + living[:first]:
                await worker.route.resume(lambda number: choice % number)

    async def cut(self, choice: int) -> None:
        self.total["cuts"] += 1
        self._of(choice).route.cut()

    async def deafen(self, choice: int) -> None:
        """The server does what it is asked for, and its answers get lost."""
        route = self._of(choice).route
        route.is_deaf = not route.is_deaf
        if not route.is_deaf:
            route.cut()

    async def kill(self, choice: int) -> None:
        if len(self._living()) < len(WORKERS):
            return
        worker = self._of(choice)
        worker.is_dead = True
        self.total["deaths"] += 1
        worker.route.cut()
        worker.store.fleet.close()
        for solve in worker.solves:
            if not solve.reservation:
                self.in_doubt += 1
        closing = (worker.store._link.close(), worker.store._news.close())
        await asyncio.gather(*closing, return_exceptions=True)
        for solve in worker.solves:
            solve.over = True
            solve.asked.cancel()
        if not self.is_stalled:
            await worker.route.resume()

    async def time_passes(self) -> None:
        """So much that the dead are dead."""
        if self.is_stalled:
            return
        client = self.place.redis
        for _ in range(5):
            client.zincrby(self.place.key("seen"), TIMINGS.alive / 4, "@listened")
            for key in self.place.keys("present:*"):
                for name in WORKERS:
                    if client.zscore(self.place.key(key), name) is not None:
                        client.zincrby(self.place.key(key), -TIMINGS.alive / 4, name)
            for worker in self._living():
                self._beat(worker)
            await self._turn()
        listened = client.zscore(self.place.key("seen"), "@listened")
        for worker in self._living():
            seen = client.zscore(self.place.key("seen"), worker.name)
            worker.was_silent = worker.was_silent or seen is None or listened - seen >= TIMINGS.alive

    # The end

    async def _check(self) -> None:
        await self.resume()
        for worker in self._living():
            if worker.route.is_deaf:
                worker.route.is_deaf = False
                worker.route.cut()
        for worker in self.workers:
            if worker.is_dead:
                await worker.route.resume()
        for worker in self._living():
            await do(worker.store.fleet.back())
        while not await self._drain():
            await self._turn()
        await self.time_passes()
        for _ in range(5):  # what the dead left, what comes of that, and what that frees
            await self._settle()
        booked, used = self.place.booked(), self.place.hash("limits", self.workers[0].store.fleet.run)
        charged = sum(booked.get(f"{name}/tasks", 0) for name in ("solved", "possibly_paid", "abandoned"))
        assert self.place.parts() == {}, "a part of the limits is nobody's"
        assert int(used["u:s"]) == charged <= MOST, (used, booked)
        assert len(self.created) <= charged <= len(self.created) + self._unheard(), (booked, self.created)
        self.total["created"] += len(self.created)

    async def _settle(self) -> None:
        """Have the workers see what became of what was left. They do that at once if somebody waits for the limit."""
        key = self.place.key("limits", self.workers[0].store.fleet.run)
        for worker in self._living():
            if self.place.redis.exists(key):
                self.place.redis.hset(key, "waiting", 1)
            await do(worker.store.fleet.back())
            await end_of(worker.store.fleet.beat().addErrback(lambda _: None))
            await written(worker.store)

    def _unheard(self) -> int:
        """Reservations of dead workers that may be booked as possibly paid, though no task has come of them."""
        dead = [solve for worker in self.workers if worker.is_dead for solve in worker.solves]
        return self.in_doubt + sum(bool(one.reservation) and f"t{one.number}" not in self.created for one in dead)

    async def _drain(self) -> bool:
        """Let all that is under way end. Those that wait for the limit have what becomes free, or are refused."""
        solves = [solve for worker in self._living() for solve in worker.solves if not solve.over]
        for solve in solves:
            if solve.task:
                await self._end(solve)
            elif solve.reservation:
                self._cancel(solve)
        for worker in self._living():
            self._beat(worker)
        return not solves
