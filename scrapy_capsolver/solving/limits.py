"""The author's limits: how many solves, and for how much money.

A task takes its part before it is created and gives it back where it surely was not charged, so that tasks under way at
once never overshoot a limit together. Where only those that are under way stand against it, a task waits for their end.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NoReturn

from twisted.internet.defer import CancelledError

from scrapy_capsolver._utils.waiters import Waiters
from scrapy_capsolver.errors import CaptchaBudgetError, journal_away
from scrapy_capsolver.solving.counts import SOLVES, SPENT, Counts, site_name
from scrapy_capsolver.solving.ledger import NANO

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence

    from scrapy_capsolver.errors import CaptchaStoreError
    from scrapy_capsolver.solving.clock import Clock
    from scrapy_capsolver.solving.job import ResumeToken
    from scrapy_capsolver.solving.ledger import Receipt
    from scrapy_capsolver.stores.base import LimitJournal, Reserved

_PER_SITE = "MAX_SOLVES_PER_DOMAIN"


class Limits:
    """Those of one crawl; None where there is none. ``budget`` is in USD.

    ``exhausted`` is called with the name of a limit, each time that a task is refused for it. With a ``journal`` they hold over
    runs that are killed: no task is created before its part is written down there. While that is not possible nothing is
    created, and after ``patience`` seconds that is said at once.
    """

    is_shared = False

    def __init__(
        self,
        clock: Clock,
        *,
        max_solves: int | None,
        max_solves_per_domain: int | None,
        budget: float | None,
        exhausted: Callable[[str], None],
        journal: LimitJournal | None = None,
        patience: float = 0.0,
    ) -> None:
        self._clock = clock
        self._max_solves = max_solves
        self._max_per_site = max_solves_per_domain
        self._budget = None if budget is None else round(budget * NANO)
        self._exhausted = exhausted
        self._patience = patience
        self._counts = Counts(journal, by_site=max_solves_per_domain is not None)
        # Without a limit nothing waits for the journal.
        is_any = any(limit is not None for limit in (max_solves, max_solves_per_domain, budget))
        self._journal = journal if is_any else None
        self._loading: Waiters[None] = Waiters(clock)
        self._waiting: dict[tuple[str, int], Waiters[None]] = {}  # by what decides whether a task fits

    def open(self, lost: Callable[[Sequence[Reserved]], None]) -> None:
        """Go on from what earlier runs of the crawl have used. ``lost`` is called with the tasks that one of them was creating."""
        self._counts.load(lost, lambda: self._loading.release_all(None))

    @property
    def is_away(self) -> bool:
        """What is created now could not be written down."""
        return self._journal is not None and self._journal.is_away

    def away(self) -> CaptchaStoreError:
        """Return the error of a request that cannot wait any longer for that."""
        assert self._journal is not None
        return journal_away(self._journal.name, self._counts.failed or self._journal.trouble)

    def check(self, receipt: Receipt) -> None:
        """Raise :class:`CaptchaBudgetError` where a limit is used up already, whatever becomes of what is under way."""
        name = self._in_the_way(receipt, self._counts.settled)
        if name is not None:
            self._refuse(name, receipt)

    async def reserve(
        self, receipt: Receipt, mark: str = "", waits: Callable[[], None] = lambda: None
    ) -> ResumeToken | None:
        """Take the part of one task; raises :class:`CaptchaBudgetError` once there is surely none left for it.

        What may come in its place, a task that somebody left, is for who shares limits with others: ``mark`` tells it.
        ``waits`` is called where that has to wait for the end of other tasks, or for the journal. Raises
        :class:`CaptchaStoreError` if that cannot be written.
        """
        await self._written_down(waits)
        alike = receipt.site, receipt.nano or 0
        if alike in self._waiting or self._in_the_way(receipt, self._counts.taken) is not None:
            self.check(receipt)
            waits()
            await self._room(alike, receipt)
            self.check(receipt)
        written = self._counts.take(receipt)
        if written is not None and self._journal is not None:
            try:
                await written
            except CancelledError:
                self.settle(receipt, charged=False)
                raise
        return None

    async def _written_down(self, waits: Callable[[], None]) -> None:
        """Wait until it is known what earlier runs have used. Raise CaptchaStoreError if nothing can be added to that."""
        if self._journal is None:
            return
        if self._journal.is_away:
            waits()
        if not self._counts.is_loaded and not self._counts.failed:
            await self._loading.join()
        if self._counts.failed or self._journal.away_seconds > self._patience:
            raise self.away()

    async def _room(self, alike: tuple[str, int], receipt: Receipt) -> None:
        """Wait, behind those of the same site and price, until the task fits or surely never will."""
        line = self._waiting.get(alike)
        if line is None:
            line = self._waiting[alike] = Waiters(self._clock, partial(self._is_decided, receipt))
        try:
            await line.join()
        finally:
            if not line and self._waiting.get(alike) is line:
                del self._waiting[alike]

    def _is_decided(self, receipt: Receipt) -> bool:
        fits = self._in_the_way(receipt, self._counts.taken) is None
        return fits or self._in_the_way(receipt, self._counts.settled) is not None

    def opened(self, receipt: Receipt) -> None:
        """CapSolver has given the task an id."""
        self._counts.opened(receipt)

    def settle(self, receipt: Receipt, *, charged: bool) -> None:
        """The task has ended, and was charged or may have been; or was not, and its part is free again."""
        self._counts.settle(receipt, charged=charged)
        self._changed()

    def leave(self, receipt: Receipt) -> None:
        """The task is open, and this solve waits for it no more: it counts, and another, or the next run, may go on with it."""
        self._counts.leave(receipt)
        self._changed()

    def adopt(self, receipt: Receipt) -> None:
        """Count a task that an earlier run has left, once."""
        self._counts.adopt(receipt)
        self._changed()

    def resume(self, receipt: Receipt) -> None:
        """Go on with a task that was left: its end is to be settled."""
        self._counts.resume(receipt)

    def _changed(self) -> None:
        for line in self._waiting.values():
            line.look()

    def _in_the_way(self, receipt: Receipt, used: Counter[str]) -> str | None:
        """The name of the limit that leaves no room for this task."""
        if self._max_solves is not None and used[SOLVES] >= self._max_solves:
            return "MAX_SOLVES"
        if self._max_per_site is not None and used[site_name(receipt.site)] >= self._max_per_site:
            return _PER_SITE
        if self._budget is not None and (receipt.nano is None or used[SPENT] + receipt.nano > self._budget):
            return "BUDGET"
        return None

    def _refuse(self, name: str, receipt: Receipt) -> NoReturn:
        if name == "BUDGET" and receipt.nano is None:
            raise unknown_price(receipt)
        self._exhausted(name)
        taken = {"BUDGET": SPENT, "MAX_SOLVES": SOLVES, _PER_SITE: site_name(receipt.site)}[name]
        raise reached(name, self._counts.taken[taken], receipt)


def unknown_price(receipt: Receipt) -> CaptchaBudgetError:
    return CaptchaBudgetError(
        f"the price of {receipt.type} is not known, so CAPSOLVER_BUDGET could not be kept: name it in CAPSOLVER_PRICES"
    )


def reached(name: str, used: int, receipt: Receipt) -> CaptchaBudgetError:
    spent = {
        "BUDGET": f"{used / NANO:.4f} USD",
        "MAX_SOLVES": f"{used} solves",
        _PER_SITE: f"{used} solves for {receipt.site}",
    }[name]
    return CaptchaBudgetError(f"CAPSOLVER_{name} is reached ({spent}); nothing more is bought")
