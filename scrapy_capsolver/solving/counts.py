"""What a crawl has used of its limits, and what its tasks under way may use of them.

With a journal it is written down, so that it counts for the next run of the crawl although this one may be killed.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from scrapy_capsolver.solving.ledger import NANO
from scrapy_capsolver.stores.base import Reserved

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    from scrapy_capsolver.solving.ledger import Receipt
    from scrapy_capsolver.stores.base import LimitJournal, Used

logger = logging.getLogger(__name__)

SOLVES, SPENT = "solves", "nano"


def site_name(site: str) -> str:
    """Return the name under which a site's solves are counted."""
    return f"site {site}"


class Counts:
    """``by_site``: sites are counted too, of which a broad crawl has very many."""

    def __init__(self, journal: LimitJournal | None, *, by_site: bool) -> None:
        self._journal = journal
        self._by_site = by_site
        self.settled: Counter[str] = Counter()
        """Used for good."""
        self.taken: Counter[str] = Counter()
        """The same with what is under way."""
        self.is_loaded = journal is None
        """It is known what earlier runs have used."""
        self.failed = ""
        """Why it never will be."""
        self._left: set[str] = set()  # reservations that are settled, whose tasks this run may go on with
        self._early: set[str] = set()  # those that a request brought before this was loaded

    def load(self, lost: Callable[[Sequence[Reserved]], None], loaded: Callable[[], None]) -> None:
        """Begin to read what earlier runs have used. ``lost`` is called with the tasks that one of them was creating."""
        if self._journal is None:
            return

        def known(used: Used) -> None:
            self._add_earlier(used)
            lost(used.lost)

        def failed(failure: Failure) -> None:
            self.failed = str(failure.value)

        self._journal.load().addCallbacks(known, failed).addCallback(lambda _: loaded())

    def _add_earlier(self, used: Used) -> None:
        self.is_loaded = True
        earlier = Counter({SOLVES: used.solves, SPENT: used.nano_usd})
        if self._by_site:
            earlier.update({site_name(site): solves for site, solves in used.sites.items()})
        for one in used.left:
            if one.id in self._early:
                earlier.subtract(self._parts(one.site, one.nano_usd))
            else:
                self._left.add(one.id)
        self._early.clear()
        self.settled.update(earlier)
        self.taken.update(earlier)
        if used.solves:
            logger.info(
                "Limits: %d solves (%.4f USD) of earlier runs of this crawl count",
                used.solves,
                used.nano_usd / NANO,
            )

    def take(self, receipt: Receipt) -> Deferred[None] | None:
        """Count a task that is to be created. Return what fires when that is written down; None if nothing is."""
        self.taken.update(self._parts_of(receipt))
        return None if self._journal is None else self._journal.reserve(_reserved(receipt))

    def opened(self, receipt: Receipt) -> None:
        """CapSolver has given the task an id."""
        if self._journal is not None:
            self._journal.opened(receipt.reservation, receipt.task)

    def settle(self, receipt: Receipt, *, charged: bool) -> None:
        """The task has ended, and was charged or may have been; or was not, and its part is free again."""
        if charged:
            self.settled.update(self._parts_of(receipt))
        else:
            self.taken.subtract(self._parts_of(receipt))
        if self._journal is not None:
            self._journal.settle(_reserved(receipt), charged=charged)

    def leave(self, receipt: Receipt) -> None:
        """The task is open, and this solve waits for it no more: it counts, and another may go on with it."""
        self.settled.update(self._parts_of(receipt))
        self._left.add(receipt.reservation)

    def adopt(self, receipt: Receipt) -> None:
        """Count a task that an earlier run has left, once."""
        if receipt.reservation in self._left:
            return
        self.settled.update(self._parts_of(receipt))
        self.taken.update(self._parts_of(receipt))
        self._left.add(receipt.reservation)
        if not self.is_loaded:
            self._early.add(receipt.reservation)
        if self._journal is not None:
            self._journal.reserve(_reserved(receipt), again=True)

    def resume(self, receipt: Receipt) -> None:
        """Go on with a task that was left: its end is to be settled."""
        self.adopt(receipt)
        self._left.discard(receipt.reservation)
        self.settled.subtract(self._parts_of(receipt))

    def _parts_of(self, receipt: Receipt) -> Mapping[str, int]:
        return self._parts(receipt.site, receipt.nano or 0)

    def _parts(self, site: str, nano: int) -> Mapping[str, int]:
        return {SOLVES: 1, SPENT: nano, **({site_name(site): 1} if self._by_site else {})}


def _reserved(receipt: Receipt) -> Reserved:
    return Reserved(receipt.reservation, receipt.site, receipt.family, receipt.nano or 0, receipt.task)
