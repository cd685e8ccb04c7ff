"""Simulated time: real time times a speed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .twisted_types import DelayedCall, Timer


class SimulatedClock:
    """Seconds of the simulated world, which begins at 0 and may change its pace at any moment.

    ``speed`` is how many simulated seconds pass in a real one. Every duration that CapSolver or a captcha vendor
    documents (solve times, lifetimes, limits) is counted in simulated seconds.
    """

    def __init__(self, timer: Timer, speed: float = 1.0) -> None:
        self._timer = timer
        self._real_start = timer.seconds()
        self._epoch_start = time.time()
        # Stretches of constant speed: (simulated start, real start, speed). Never empty.
        self._stretches: list[tuple[float, float, float]] = [(0.0, self._real_start, speed)]

    @property
    def speed(self) -> float:
        return self._stretches[-1][2]

    @speed.setter
    def speed(self, speed: float) -> None:
        if speed != self.speed:
            self._stretches.append((self.now(), self._timer.seconds(), speed))

    def now(self) -> float:
        """Return the simulated seconds since the simulator began."""
        simulated, real, speed = self._stretches[-1]
        return simulated + (self._timer.seconds() - real) * speed

    def epoch(self, moment: float) -> float:
        """Return the real Unix time, in seconds, of a simulated moment."""
        # A moment before the beginning belongs to the first stretch.
        stretches = reversed(self._stretches)
        simulated, real, speed = next((each for each in stretches if each[0] <= moment), self._stretches[0])
        return self._epoch_start + (real - self._real_start) + (moment - simulated) / speed

    def call_at(self, moment: float, call: Callable[[], object]) -> DelayedCall:
        """Call back at a simulated moment, as seen from the speed of now."""
        return self._timer.callLater(max(0.0, moment - self.now()) / self.speed, call)

    def call_later_real(self, seconds: float, call: Callable[[], object]) -> DelayedCall:
        """Call back after *real* seconds, for what the speed must not compress."""
        return self._timer.callLater(seconds, call)
