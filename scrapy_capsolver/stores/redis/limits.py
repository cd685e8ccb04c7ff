"""The author's limits over all workers that share a store: what :class:`~.limits.Limits` does, with the others' part in it."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from scrapy_capsolver.errors import store_away, store_fails
from scrapy_capsolver.solving.job import ResumeToken
from scrapy_capsolver.solving.ledger import NANO, Receipt
from scrapy_capsolver.solving.limits import reached, unknown_price
from scrapy_capsolver.stores.redis.connection import ScriptError, StoreAwayError
from scrapy_capsolver.stores.redis.reservations import LimitReachedError, Most, Wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scrapy_capsolver.errors import CaptchaStoreError
    from scrapy_capsolver.stores.base import Reserved
    from scrapy_capsolver.stores.redis.cluster import Fleet
    from scrapy_capsolver.stores.redis.reservations import Left


class SharedLimits:
    """``allowance`` is how many tasks this worker may create while the store is away.

    What is under way is kept in the store with its tasks, so that between two runs there is nothing to take along.
    """

    is_shared = True

    def __init__(
        self,
        fleet: Fleet,
        *,
        max_solves: int | None,
        max_solves_per_domain: int | None,
        budget: float | None,
        allowance: int,
        exhausted: Callable[[str], None],
        count: Callable[[str, float], None],
    ) -> None:
        self._fleet = fleet
        self._most = Most(max_solves, max_solves_per_domain, None if budget is None else round(budget * NANO))
        self._allowance = allowance
        self._exhausted = exhausted
        self._count = count

    @property
    def is_away(self) -> bool:
        """Nobody knows what is left of them."""
        return self._fleet.is_away

    def away(self) -> CaptchaStoreError:
        """Return the error of a request that cannot wait any longer for the store."""
        return store_away(self._fleet.patience)

    def open(self, lost: Callable[[Sequence[Reserved]], None]) -> None:
        """Nothing is read: the store outlives a run."""

    async def reserve(
        self, receipt: Receipt, mark: str = "", waits: Callable[[], None] = lambda: None
    ) -> ResumeToken | None:
        """See :meth:`Limits.reserve <.limits.Limits.reserve>`; here, another worker's task may come in place of a new one.

        Raises :class:`CaptchaStoreError` too.
        """
        if self._most.nano is not None and receipt.nano is None:
            raise unknown_price(receipt)
        wanted = Wanted(receipt.reservation, receipt.site, receipt.family, receipt.type, receipt.nano or 0, mark)
        while True:
            with suppress(StoreAwayError):
                left = await self._ask(wanted, receipt, waits)
                return None if left is None else note_of(left)
            if self._allowance > 0:
                self._allowance -= 1
                self._count("store/offline_solves", 1)
                self._fleet.reservations.charge(wanted, self._most)
                return None
            waits()
            await self._fleet.back()

    async def _ask(self, wanted: Wanted, receipt: Receipt, waits: Callable[[], None]) -> Left | None:
        try:
            return await self._fleet.reservations.reserve(wanted, self._most, waits)
        except LimitReachedError as limit:
            self._exhausted(limit.name)
            raise reached(limit.name, limit.used, receipt) from None
        except ScriptError as error:
            raise store_fails(str(error)) from None

    def opened(self, receipt: Receipt) -> None:
        """It is written down with its entry in the ledger."""

    def leave(self, receipt: Receipt) -> None:
        """The store knows of all open tasks."""

    def adopt(self, receipt: Receipt) -> None:
        """See :meth:`leave`."""

    def resume(self, receipt: Receipt) -> None:
        """See :meth:`leave`."""

    def settle(self, receipt: Receipt, *, charged: bool) -> None:
        """What is charged is settled with its entry in the ledger."""
        if not charged:
            self._fleet.reservations.finish(receipt.reservation, None, charged=False)


def note_of(left: Left) -> ResumeToken:
    """What a worker left, as if an earlier run of this one had."""
    receipt = Receipt(left.task, left.type, left.site, left.family, left.nano or None, left.id)
    return ResumeToken(receipt, left.mark, time.time() - left.age, 0)
