"""Is there anything to solve with? Asked when the crawl starts, before its first task."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred

from scrapy_capsolver._utils.waiters import Waiters
from scrapy_capsolver.api.codes import Action
from scrapy_capsolver.api.replies import Fault
from scrapy_capsolver.api.transport import TransportError
from scrapy_capsolver.errors import CapSolverAccountError

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy_capsolver.api.client import CapSolverClient
    from scrapy_capsolver.solving.breaker import Breaker
    from scrapy_capsolver.solving.clock import Clock

logger = logging.getLogger(__name__)


class Account:
    """What getBalance says of the key; where it says that nothing can be solved, the breaker opens for all."""

    def __init__(
        self, client: CapSolverClient, clock: Clock, breaker: Breaker, count: Callable[[str, float], None]
    ) -> None:
        self._client = client
        self._breaker = breaker
        self._count = count
        self._asking: Deferred[None] | None = None
        self._waiting: Waiters[None] = Waiters(clock)

    def ask(self) -> None:
        """Begin to ask; :meth:`known` tells when the answer is there."""
        self._asking = Deferred.fromCoroutine(self._ask())
        self._asking.addBoth(self._told)

    async def known(self) -> None:
        """Wait for the answer, or for there being none."""
        if self._asking is not None:
            await self._waiting.join()

    def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()

    def _told(self, _: object) -> None:
        self._asking = None
        self._waiting.release_all(None)

    async def _ask(self) -> None:
        try:
            balance = await self._client.get_balance()
        except CancelledError:
            return
        except TransportError as error:
            logger.info("The balance is not known (%s); solving goes on without", error)
            return
        if isinstance(balance, Fault):
            self._follow(balance)
            return
        self._count("balance_usd", balance.usd)
        packages = [one for one in balance.packages if not one.expires or one.expires > time.time()]
        self._count("packages", len(packages))
        if balance.usd <= 0 and not packages:
            self._breaker.open(CapSolverAccountError("the account's balance is used up, and it has no package"), None)
        else:
            logger.info("CapSolver account: %.4f USD, %d packages", balance.usd, len(packages))

    def _follow(self, fault: Fault) -> None:
        """A wrong key is wrong for all; what does not come from CapSolver itself may be of this method alone."""
        self._breaker.answered(fault)
        if fault.rule.action is Action.CRAWL and fault.in_envelope:
            self._breaker.open(fault.rule.error(str(fault), code=fault.code or None), None)
        else:
            logger.info("The balance is not known (%s); solving goes on without", fault)
