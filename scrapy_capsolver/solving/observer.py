"""Who wants to be told what becomes of each task and request: a report does, and mostly nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from scrapy_capsolver.errors import CaptchaError
    from scrapy_capsolver.solving.ledger import Receipt
    from scrapy_capsolver.solving.solver import Solved


class Observer(Protocol):
    """Its methods must not raise, and are called for flagged requests that met a captcha alone."""

    def booked(self, receipt: Receipt, account: str) -> None:
        """The task is entered on this account of the ledger; see :class:`~scrapy_capsolver.stores.Spend` for what they mean."""

    def accepted(self, receipt: Receipt) -> None:
        """The site took its solution."""

    def handed_over(self, receipt: Receipt) -> None:
        """The spider has its solution, and what becomes of it there is not told."""

    def solved(self, solved: Solved) -> None:
        """A request, or those that share a clearance, got a solution."""

    def failed(self, error: CaptchaError, family: str) -> None:
        """A request ended in this error; ``family`` is empty where no captcha was met."""


class NullObserver:
    """A :class:`Observer` that wants to know nothing."""

    def booked(self, receipt: Receipt, account: str) -> None: ...

    def accepted(self, receipt: Receipt) -> None: ...

    def handed_over(self, receipt: Receipt) -> None: ...

    def solved(self, solved: Solved) -> None: ...

    def failed(self, error: CaptchaError, family: str) -> None: ...
