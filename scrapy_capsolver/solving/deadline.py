"""The time that a solve may take: from its turn, without the pauses that CapSolver asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy_capsolver.solving.breaker import Breaker
    from scrapy_capsolver.solving.clock import Clock, Timer


class Deadline:
    """Calls ``strike`` once ``seconds`` of a solve's own time have passed, unless it is over before."""

    def __init__(self, clock: Clock, breaker: Breaker, seconds: float, strike: Callable[[], None]) -> None:
        self._clock = clock
        self._breaker = breaker
        self._seconds = seconds
        self._strike = strike
        self._began = clock.seconds() - breaker.asked_for()
        self._timer: Timer = clock.callLater(seconds, self._look)

    @property
    def spent(self) -> float:
        """Seconds of the solve's own time so far."""
        return self._clock.seconds() - self._breaker.asked_for() - self._began

    def _look(self) -> None:
        left = self._seconds - self.spent
        if left > 0.001:  # there were pauses
            self._timer = self._clock.callLater(left, self._look)
        else:
            self._strike()

    def over(self) -> None:
        if self._timer.active():
            self._timer.cancel()
