"""What each task cost, for which site and family, and what came of it.

Money is in whole nano-dollars, so that sums are exact: a solve costs some hundred thousand of them.
"""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from scrapy_capsolver.solving.observer import NullObserver
from scrapy_capsolver.stores.base import Spend, TaskRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from scrapy_capsolver.solving.observer import Observer
    from scrapy_capsolver.stores import Store
    from scrapy_capsolver.stores.base import Reserved

logger = logging.getLogger(__name__)

NANO = 1_000_000_000
SOLVED = "solved"
_SITES_TOLD = 20  # in the stats; a broad crawl has thousands


@dataclass(frozen=True, slots=True)
class TaskScope:
    """What a task is for."""

    site: str
    """Registrable domain of the page that the author's request asked for: no page can choose it."""
    family: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """A task that CapSolver took: plain data, no secret."""

    task: str
    """Its id; empty where CapSolver gave none."""
    type: str
    site: str
    family: str
    nano: int | None
    """Its price, where it is known."""
    reservation: str = ""
    """Under which the limits count it, from before it is created."""

    @property
    def task_scope(self) -> TaskScope:
        return TaskScope(self.site, self.family)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Ledger:
    """The account of one crawl: in its stats, and in the store where that outlives it.

    ``prices`` are USD per 1000 solves by task type.
    """

    def __init__(
        self,
        spider: str,
        prices: Mapping[str, float],
        store: Store,
        count: Callable[[str, float], None],
        observer: Observer | None = None,
    ) -> None:
        self._spider = spider
        self._prices = {task_type: round(price * NANO / 1000) for task_type, price in prices.items()}
        self._store = store
        self._count = count
        self._observer: Observer = observer or NullObserver()
        self._unpriced: set[str] = set()
        self._open: dict[str, Receipt] = {}  # by the task's id
        self._carried: dict[str, Receipt] = {}  # likewise
        self._sites: Counter[str] = Counter()  # nano-dollars
        self._rejections: Counter[str] = Counter()

    @property
    def open_tasks(self) -> int:
        return len(self._open)

    @property
    def nano_spent(self) -> int:
        """On solutions."""
        return self._sites.total()

    def receipt(self, task_scope: TaskScope, task_type: str, task_id: str = "") -> Receipt:
        nano = self._prices.get(task_type)
        if nano is None and task_type not in self._unpriced:
            self._unpriced.add(task_type)
            logger.warning(
                "The price of %s is not known, so it is not in the estimated cost: CAPSOLVER_PRICES can name it",
                task_type,
            )
        return Receipt(task_id, task_type, task_scope.site, task_scope.family, nano, uuid.uuid4().hex[:16])

    def opened(self, receipt: Receipt) -> None:
        """CapSolver has begun the task."""
        self._open[receipt.task] = receipt
        row = TaskRow(
            receipt.task,
            self._spider,
            receipt.site,
            receipt.family,
            receipt.type,
            nano_usd=receipt.nano or 0,
            reservation=receipt.reservation,
        )
        self._keep(self._store.open_task(row))

    def adopted(self, receipt: Receipt) -> None:
        """An earlier run of the crawl had begun the task."""
        self._open[receipt.task] = receipt

    def failed(self, receipt: Receipt) -> None:
        """It ended without a solution, and is not charged."""
        self._book(receipt, "failed", charged=False)

    def paid(self, receipt: Receipt) -> None:
        """It ended with a solution."""
        self._book(receipt, SOLVED, charged=True)
        if receipt.nano is None:
            self._count("unpriced", 1)
            return
        self._count("estimated_cost_usd", receipt.nano / NANO)
        self._count(f"cost_usd/family/{receipt.family}", receipt.nano / NANO)
        self._sites[receipt.site] += receipt.nano

    def unknown(self, receipt: Receipt, reason: str) -> None:
        """Nobody will know whether it was charged. It is counted as if it were, apart from what surely is.

        ``possibly_paid``: perhaps there is not even a task; ``abandoned``: there is, and it was given up.
        """
        self._book(receipt, reason, charged=True)
        self._waste(receipt, reason)
        if receipt.nano is not None:
            self._count("possible_cost_usd", receipt.nano / NANO)

    def lost(self, tasks: Iterable[Reserved]) -> None:
        """Book what an earlier run of the crawl was creating when it was killed. It is no part of this one's stats."""
        for one in tasks:
            entry = Spend(self._spider, one.site, one.family, "possibly_paid", 1, one.nano_usd)
            self._keep(self._store.spend(entry, closes=""))

    def wasted(self, receipt: Receipt, reason: str) -> None:
        """It was paid, and its solution was of no use."""
        self._waste(receipt, reason)
        if reason == "rejected":
            self._rejections[receipt.site] += 1
        self._observer.booked(receipt, reason)
        row = self._row(receipt, reason)
        self._keep(self._store.spend(row, closes="", reservation=receipt.reservation, wasted=True))

    def accepted(self, receipt: Receipt) -> None:
        """The site took its solution."""
        self._observer.accepted(receipt)

    def handed_over(self, receipt: Receipt) -> None:
        """The spider has its solution."""
        self._observer.handed_over(receipt)

    def carried(self, task_id: str) -> Receipt | None:
        """The task's result will be asked for in the crawl's next run, or by another worker."""
        receipt = self._open.pop(task_id, None)
        if receipt is not None:
            self._carried[task_id] = receipt
            if self._store.fleet is not None:
                self._store.fleet.reservations.leave(receipt.reservation)
        return receipt

    def close(self, *, cut_off: bool = False) -> None:
        """Leave what is still open to the other workers, or else give it up.

        ``cut_off``: the process ends before the scheduler has written its queue, so that no next run gets what was
        carried over.
        """
        if cut_off and self._store.fleet is None:
            self._open.update(self._carried)
            self._carried.clear()
        for receipt in list(self._open.values()):
            if self._store.fleet is not None:
                self.carried(receipt.task)
            else:
                self.unknown(receipt, "abandoned")
        if self._carried:
            self._count("tasks/carried_over", len(self._carried))
        told = self._sites.most_common(_SITES_TOLD)
        for site, nano in told:
            self._count(f"cost_usd/site/{site}", nano / NANO)
        if rest := self._sites.total() - sum(nano for _, nano in told):
            self._count("cost_usd/other_sites", rest / NANO)
        for site, times in self._rejections.most_common(_SITES_TOLD):
            self._count(f"rejected/site/{site}", times)

    def _waste(self, receipt: Receipt, reason: str) -> None:
        self._count(f"wasted/{reason}", 1)
        if receipt.nano is not None:
            self._count(f"wasted_usd/{reason}", receipt.nano / NANO)

    def _book(self, receipt: Receipt, account: str, *, charged: bool) -> None:
        closes = receipt.task if self._open.pop(receipt.task, None) is not None else ""
        self._observer.booked(receipt, account)
        row = self._row(receipt, account)
        row = row if charged else replace(row, nano_usd=0)
        self._keep(self._store.spend(row, closes=closes, reservation=receipt.reservation))

    def _row(self, receipt: Receipt, account: str) -> Spend:
        return Spend(self._spider, receipt.site, receipt.family, account, 1, receipt.nano or 0)

    @staticmethod
    def _keep(writing: Any) -> None:
        Deferred.fromCoroutine(writing)  # stores do not raise
