"""When to ask for a result, learned from how long solves of the same task type took.

CapSolver answers 120 queries a task, in its first 5 minutes, and documents 1 to 30 seconds for a solve
(docs.capsolver.com/guide/api-gettaskresult). A query that comes too early costs one of the 120; one that comes late
makes a finished solution wait. With a fixed number of queries spread over the times that solves of a type take, the
mean wait is smallest where queries are as dense as the square root of how many solves end there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_QUERIES = 120
MAX_AGE = 300.0  # seconds
QUERIES = 15  # within the times that solves of a type take
MIN_SPACING = 0.5  # seconds

# Before anything is learned: every second while young, slower with age.
FIRST_AGES: tuple[float, ...] = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 18, 21, 24, 27, 30)

_REMEMBERED = 128  # solves
_ENOUGH = 12  # solves before they are trusted
_RELEARN_EVERY = 8  # solves
_BINS = 8


@dataclass(eq=False, slots=True)
class Solve:
    """One solve, running or ended, and the ages at which to ask about it: those that were best when it began."""

    ages: tuple[float, ...] = FIRST_AGES
    ended: bool = False
    seconds: float | None = None

    def next_age(self, age: float) -> float:
        """The age at which to ask next, where there is no result at this ``age``."""
        ages = self.ages
        i = bisect_right(ages, age)
        if i < len(ages):
            # A late query must not be chased by the one that was planned right after it.
            if ages[i] - age < MIN_SPACING / 2 and i + 1 < len(ages):
                return ages[i + 1]
            return max(ages[i], age + MIN_SPACING / 2)
        return age + min(max(age / 12, ages[-1] - ages[-2]), 5.0)


class SolveTimes:
    """The recent solve times of one task type, in seconds.

    They count in the order in which solves began: of many that began together the quick ones end first, and would make
    all solves look quick.
    """

    def __init__(self) -> None:
        self._running: deque[Solve] = deque()
        self._times: deque[float] = deque(maxlen=_REMEMBERED)
        self._sorted: list[float] = []
        self._ages: tuple[float, ...] = FIRST_AGES
        self._news = 0

    def begin(self) -> Solve:
        solve = Solve(self._ages)
        self._running.append(solve)
        return solve

    def end(self, solve: Solve, seconds: float | None) -> None:
        """``seconds`` is how long it took, None where it failed or was given up."""
        solve.ended, solve.seconds = True, seconds
        while self._running and self._running[0].ended:
            seconds = self._running.popleft().seconds
            if seconds is not None:
                self._add(seconds)

    def learn(self, seconds: Iterable[float]) -> None:
        """Of solves elsewhere, the oldest first."""
        for one in seconds:
            self._add(one)

    def _add(self, seconds: float) -> None:
        self._times.append(seconds)
        self._news += 1
        if len(self._times) >= _ENOUGH and (self._news >= _RELEARN_EVERY or not self._sorted):
            self._news = 0
            self._sorted = sorted(self._times)
            self._ages = _spread(self._sorted)

    def likelihood(self, since: float, age: float) -> float:
        """How likely a task that was not ready at age ``since`` is ready at ``age``: 0 to 1."""
        times = self._sorted or FIRST_AGES
        before, now = bisect_right(times, since), bisect_right(times, age)
        return (now - before + 0.1) / (len(times) - before + 1)


def _spread(times: list[float]) -> tuple[float, ...]:
    """Ages for ``QUERIES`` queries over these sorted times, the last one just past the longest."""
    last = len(times) - 1
    edges = [times[last * i // _BINS] for i in range(_BINS + 1)]
    # Each bin holds the same share of the solves, so the square root of its density goes with 1/sqrt(width), and the
    # queries it gets with sqrt(width).
    weights = [(high - low) ** 0.5 for low, high in pairwise(edges)]
    total = sum(weights)
    span = edges[-1] - edges[0]
    count = max(1, min(QUERIES - 1, int(span / MIN_SPACING)))
    if not total:
        return (edges[0] * 1.05 + 0.05, edges[0] * 1.05 + 0.05 + MIN_SPACING)
    reached = [0.0, *accumulate(weights)]
    ages = []
    for n in range(1, count + 1):
        share = total * n / count
        i = min(bisect_right(reached, share), len(weights)) - 1
        ages.append(
            edges[i] + (edges[i + 1] - edges[i]) * min((share - reached[i]) / weights[i], 1)
            if weights[i]
            else edges[i + 1]
        )
    return (*ages, ages[-1] + max(span / QUERIES, MIN_SPACING))
