"""Tells CapSolver whether the site took a solution (feedbackTask). Nothing waits for it, and its failure harms nothing.

Source: docs.capsolver.com/guide/api-feedback.html, which is no longer in the documentation's menu: the method may be gone one day.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred, DeferredList

from scrapy_capsolver.api.transport import TransportError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from scrapy_capsolver.api.client import CapSolverClient
    from scrapy_capsolver.solving.breaker import Breaker

logger = logging.getLogger(__name__)

IN_FLIGHT = 4  # calls at a time
KEPT = 1000  # verdicts that wait to be told; the oldest are dropped
FAILURES = 5  # in a row, after which nothing is told any more


class Feedback:
    """Not called while CapSolver wants no calls: what waits then is told afterwards."""

    def __init__(
        self, client: CapSolverClient, breaker: Breaker, count: Callable[[str, float], None], *, enabled: bool
    ) -> None:
        self._client = client
        self._breaker = breaker
        self._count = count
        self._enabled = enabled
        self._waiting: deque[tuple[str, bool]] = deque(maxlen=KEPT)
        self._calls: set[Deferred[None]] = set()
        self._failures = 0

    def tell(self, task_id: str, *, invalid: bool) -> None:
        if self._enabled and task_id:
            self._waiting.append((task_id, invalid))
            self._go_on()

    def _go_on(self) -> None:
        while self._enabled and self._waiting and len(self._calls) < IN_FLIGHT and self._breaker.is_clear:
            call = Deferred.fromCoroutine(self._tell(*self._waiting.popleft()))
            self._calls.add(call)
            call.addBoth(self._told, call)

    async def _tell(self, task_id: str, invalid: bool) -> None:  # noqa: FBT001 - CapSolver's field
        try:
            fault = await self._client.feedback_task(
                task_id, invalid=invalid, message="rejected by the site" if invalid else ""
            )
        except TransportError as error:
            self._failed(str(error))
        except CancelledError:
            pass
        else:
            if fault is None:
                self._failures = 0
                self._count("feedback/sent", 1)
            else:
                self._failed(str(fault))

    def _failed(self, why: str) -> None:
        self._count("feedback/failed", 1)
        self._failures += 1
        if self._enabled and self._failures >= FAILURES:
            self._enabled = False
            self._waiting.clear()
            logger.info("CapSolver is told no more about what became of its solutions: %s", why)

    def _told(self, result: Any, call: Deferred[None]) -> Any:
        self._calls.discard(call)
        self._go_on()
        return result

    def flush(self) -> Deferred[None]:
        """Fires when all that waits is told."""
        return Deferred.fromCoroutine(self._flush())

    async def _flush(self) -> None:
        self._go_on()
        while self._calls:
            await DeferredList(list(self._calls))

    def drop(self) -> None:
        """Tell nothing more."""
        self._enabled = False
        self._waiting.clear()
        for call in list(self._calls):
            call.cancel()
