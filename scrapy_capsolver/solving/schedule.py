"""When to ask for a result, learned from how long solves of the same task type took.

CapSolver answers 120 queries a task, in its first 5 minutes, and documents 1 to 30 seconds for a solve
(docs.capsolver.com/guide/api-gettaskresult). A query that comes too early costs one of the 120; one that comes late
makes a finished solution wait. With a fixed number of queries spread over the times that solves of a type take, the
mean wait is smallest where queries are as dense as the square root of how many solves end there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from itertools import accumulate, pairwise

MAX_QUERIES = 120
MAX_AGE = 300.0  # seconds
QUERIES = 15  # within the times that solves of a type take
MIN_SPACING = 0.5  # seconds

# Before anything is learned: every second while young, slower with age.
FIRST_AGES: tuple[float, ...] = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 14, 18, 22, 26, 30)

_REMEMBERED = 128  # solves
_ENOUGH = 12  # solves before they are trusted
_RELEARN_EVERY = 8  # solves
_BINS = 8


class SolveTimes:
    """The recent solve times of one task type, in seconds."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=_REMEMBERED)
        self._sorted: list[float] = []
        self._ages: tuple[float, ...] = FIRST_AGES
        self._news = 0

    def add(self, not_ready_at: float, ready_at: float) -> None:
        """A solve ended between these ages, the last queries before and after it was ready."""
        self._times.append((not_ready_at + ready_at) / 2)
        self._news += 1
        if len(self._times) >= _ENOUGH and (self._news >= _RELEARN_EVERY or not self._sorted):
            self._news = 0
            self._sorted = sorted(self._times)
            self._ages = _spread(self._sorted)

    def next_age(self, age: float) -> float:
        """The age at which to ask next about a task of this ``age`` that is not ready."""
        i = bisect_right(self._ages, age)
        if i < len(self._ages):
            following = self._ages[i]
            # A late query must not be chased by the one that was planned right after it.
            if following - age >= MIN_SPACING / 2 or i + 1 == len(self._ages):
                return max(following, age + MIN_SPACING / 2)
            return self._ages[i + 1]
        last_spacing = self._ages[-1] - self._ages[-2]
        return age + min(max(age / 12, last_spacing), 5.0)

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
