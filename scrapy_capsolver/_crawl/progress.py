"""One line in the log per LOGSTATS_INTERVAL while captchas are being solved, and none while there are none."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.task import LoopingCall

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy_capsolver.solving.clock import Clock

logger = logging.getLogger(__name__)


class Tally(NamedTuple):
    """How solving stands."""

    open: int
    """Tasks that are open at CapSolver."""
    waiting: int
    """Requests that wait for a solution: for one of these tasks, or for their turn."""
    solved: int
    failed: int
    """Requests that ended in an error."""
    usd: float


class Progress:
    """``look`` tells how things stand; ``seconds`` is the time between lines, 0 for none, as in Scrapy."""

    def __init__(self, clock: Clock, seconds: float, look: Callable[[], Tally]) -> None:
        self._seconds = seconds
        self._look = look
        self._last = Tally(0, 0, 0, 0, 0.0)
        self._timer = LoopingCall(self._tell)
        reactor: Any = clock
        self._timer.clock = reactor

    def begin(self) -> None:
        """Something is being solved. Cheap where that is known."""
        if self._seconds > 0 and not self._timer.running:
            self._timer.start(self._seconds, now=False)

    def close(self) -> None:
        if self._timer.running:
            self._timer.stop()

    def _tell(self) -> None:
        now, before = self._look(), self._last
        if now[2:] == before[2:] and not now.open and not now.waiting:
            self._timer.stop()
            return
        self._last = now
        logger.info(
            "Captchas: %d tasks open, %d requests waiting, %d solved (+%d), %d failed (+%d), %.4f USD spent",
            now.open,
            now.waiting,
            now.solved,
            now.solved - before.solved,
            now.failed,
            now.failed - before.failed,
            now.usd,
        )
