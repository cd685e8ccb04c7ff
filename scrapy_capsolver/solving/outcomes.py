"""What became of solutions: the next response tells whether the site took one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scrapy_capsolver.solving.site_breaker import LOST, REJECTED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from scrapy_capsolver.solving.feedback import Feedback
    from scrapy_capsolver.solving.ledger import Ledger, Receipt
    from scrapy_capsolver.solving.site_breaker import SiteStops
    from scrapy_capsolver.solving.slow_start import SlowStart

KEPT = 10_000  # solutions whose requests have not come back


@dataclass(slots=True)
class _Pending:
    receipt: Receipt
    solution: Mapping[str, Any] | None
    kept: bool
    """Its request waits on disk, should the crawl stop now."""


class Outcomes:
    """Solutions by their tickets, each until the first that is heard of it."""

    def __init__(
        self,
        ledger: Ledger,
        stops: SiteStops,
        slow_start: SlowStart,
        feedback: Feedback,
        count: Callable[[str, float], None],
    ) -> None:
        self._ledger = ledger
        self._stops = stops
        self._slow_start = slow_start
        self._feedback = feedback
        self._count = count
        self._pending: dict[str, _Pending] = {}

    def expect(
        self, solution_id: str, receipt: Receipt, solution: Mapping[str, Any] | None = None, *, kept: bool = False
    ) -> None:
        """Something will be heard of this solution. ``kept``: if not in this run of the crawl, then in its next."""
        self._pending[solution_id] = _Pending(receipt, solution, kept)
        if len(self._pending) > KEPT:
            self.wasted(next(iter(self._pending)), "undelivered")

    def sent(self, solution_id: str) -> None:
        """Its request is on its way to the site."""
        if solution_id in self._pending:
            self._pending[solution_id].kept = False

    def handed_over(self, solution_id: str) -> Mapping[str, Any] | None:
        """The spider has it, and what becomes of it there is not told."""
        pending = self._pending.pop(solution_id, None)
        if pending is None:
            return None
        self._ledger.handed_over(pending.receipt)
        self._slow_start.accepted(pending.receipt)  # as far as will be known
        return pending.solution

    def accepted(self, solution_id: str) -> Mapping[str, Any] | None:
        """The site took it. Gives the solution, where it is of this run."""
        pending = self._pending.pop(solution_id, None)
        if pending is None:
            return None
        receipt = pending.receipt
        self._count(f"accepted/{receipt.family}", 1)
        self._ledger.accepted(receipt)
        self._stops.succeeded(receipt.task_scope, REJECTED)
        self._slow_start.accepted(receipt)
        self._feedback.tell(receipt.task, invalid=False)
        return pending.solution

    def rejected(self, solution_id: str) -> None:
        """The site shows its gate in spite of it."""
        receipt = self.wasted(solution_id, "rejected")
        if receipt is not None:
            self._count(f"rejected/{receipt.family}", 1)
            self._stops.failed(receipt.task_scope, REJECTED)
            self._slow_start.rejected(receipt)
            self._feedback.tell(receipt.task, invalid=True)

    def lost(self, solution_id: str, exception: str) -> None:
        """Its request ended by an exception of this name: no verdict will come, and it is not sent again."""
        receipt = self.wasted(solution_id, "lost")
        if receipt is not None:
            self._stops.failed(receipt.task_scope, REJECTED, f"{LOST} ({exception})")
            self._slow_start.rejected(receipt)

    def wasted(self, solution_id: str, reason: str) -> Receipt | None:
        """It was of no use."""
        pending = self._pending.pop(solution_id, None)
        if pending is None:
            return None
        self._ledger.wasted(pending.receipt, reason)
        self._slow_start.ended(pending.receipt)
        return pending.receipt

    def close(self, *, cut_off: bool = False) -> None:
        """Nothing more is heard in this run. ``cut_off``: nor in the next, since no queue was written."""
        for solution_id, pending in list(self._pending.items()):
            if cut_off or not pending.kept:
                self.wasted(solution_id, "undelivered")
        self._pending.clear()
