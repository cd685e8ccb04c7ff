"""The author's limits: how many solves, and for how much money.

A task takes its part before it is created and gives it back where it surely was not charged, so that tasks under way at
once never overshoot a limit together. Where only those that are under way stand against it, a task waits for their end.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from scrapy_capsolver._utils.waiters import Waiters
from scrapy_capsolver.errors import CaptchaBudgetError
from scrapy_capsolver.solving.ledger import NANO

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy_capsolver.solving.clock import Clock
    from scrapy_capsolver.solving.job import ResumeToken
    from scrapy_capsolver.solving.ledger import Receipt

_PER_SITE = "MAX_SOLVES_PER_DOMAIN"


class Limits:
    """Those of one crawl; None where there is none. ``budget`` is in USD.

    ``exhausted`` is called with the name of a limit, each time that a task is refused for it.
    """

    is_shared = False
    is_away = False

    def __init__(
        self,
        clock: Clock,
        *,
        max_solves: int | None,
        max_solves_per_domain: int | None,
        budget: float | None,
        exhausted: Callable[[str], None],
    ) -> None:
        self._clock = clock
        self._max_solves = max_solves
        self._max_per_site = max_solves_per_domain
        self._budget = None if budget is None else round(budget * NANO)
        self._exhausted = exhausted
        # By what _parts names:
        self._settled: Counter[str] = Counter()
        self._taken: Counter[str] = Counter()  # with what is under way
        self._waiting: dict[tuple[str, int], Waiters[None]] = {}  # by what decides whether a task fits

    def keep_in(self, state: dict[str, Any], key: str) -> None:
        """Keep what is used up in ``state[key]``, and go on from what an earlier run of the crawl kept there."""
        earlier = state.get(key)
        if isinstance(earlier, Counter):
            self._settled.update(earlier)
            self._taken.update(earlier)
        state[key] = self._settled

    def check(self, receipt: Receipt) -> None:
        """Raise :class:`CaptchaBudgetError` where a limit is used up already, whatever becomes of what is under way."""
        name = self._in_the_way(receipt, self._settled)
        if name is not None:
            self._refuse(name, receipt)

    async def reserve(
        self, receipt: Receipt, mark: str = "", waits: Callable[[], None] = lambda: None
    ) -> ResumeToken | None:
        """Take the part of one task; raises :class:`CaptchaBudgetError` once there is surely none left for it.

        What may come in its place, a task that somebody left, is for who shares limits with others: ``mark`` tells it.
        ``waits`` is called where that has to wait for the end of other tasks.
        """
        alike = _site(receipt), receipt.nano or 0
        if alike in self._waiting or self._in_the_way(receipt, self._taken) is not None:
            self.check(receipt)
            waits()
            await self._room(alike, receipt)
            self.check(receipt)
        self.take(receipt)
        return None

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
        fits = self._in_the_way(receipt, self._taken) is None
        return fits or self._in_the_way(receipt, self._settled) is not None

    def take(self, receipt: Receipt) -> None:
        """Count a task that is under way."""
        self._taken.update(self._parts(receipt))

    def charge(self, receipt: Receipt) -> None:
        """Count a task that is paid for."""
        self._settled.update(self._parts(receipt))
        self._taken.update(self._parts(receipt))
        self._changed()

    def give_back(self, receipt: Receipt) -> None:
        """Undo :meth:`charge`."""
        self._settled.subtract(self._parts(receipt))
        self._taken.subtract(self._parts(receipt))
        self._changed()

    def settle(self, receipt: Receipt, *, charged: bool) -> None:
        """The task has ended, and was charged or may have been; or was not, and its part is free again."""
        if charged:
            self._settled.update(self._parts(receipt))
        else:
            self._taken.subtract(self._parts(receipt))
        self._changed()

    def _changed(self) -> None:
        for line in self._waiting.values():
            line.look()

    def _in_the_way(self, receipt: Receipt, used: Counter[str]) -> str | None:
        """The name of the limit that leaves no room for this task."""
        if self._max_solves is not None and used["solves"] >= self._max_solves:
            return "MAX_SOLVES"
        if self._max_per_site is not None and used[_site(receipt)] >= self._max_per_site:
            return _PER_SITE
        if self._budget is not None and (receipt.nano is None or used["nano"] + receipt.nano > self._budget):
            return "BUDGET"
        return None

    def _refuse(self, name: str, receipt: Receipt) -> NoReturn:
        if name == "BUDGET" and receipt.nano is None:
            raise unknown_price(receipt)
        self._exhausted(name)
        taken = {"BUDGET": "nano", "MAX_SOLVES": "solves", _PER_SITE: _site(receipt)}[name]
        raise reached(name, self._taken[taken], receipt)

    def _parts(self, receipt: Receipt) -> dict[str, int]:
        of_site = {} if self._max_per_site is None else {_site(receipt): 1}  # a broad crawl has very many sites
        return {"solves": 1, "nano": receipt.nano or 0, **of_site}


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


def _site(receipt: Receipt) -> str:
    return f"site {receipt.site}"
