"""How long things took: counts in fixed classes, so that any number of times takes little room, and histograms add up."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scrapy_capsolver.report.reading import count_in, number_in

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAST, MOST = 0.01, 3600.0
"""Seconds; what is beyond is counted in the first class and the last."""
RATIO = 1.05
"""Between the limits of a class: what is told of a time is at most 2.5 percent off."""
CLASSES = math.ceil(math.log(MOST / LEAST, RATIO))
_HALF = math.sqrt(RATIO)


@dataclass(slots=True)
class Histogram:
    """At most :data:`CLASSES` + 1 counts. Number, sum and extremes are exact."""

    counts: Counter[int] = field(default_factory=Counter)
    number: int = 0
    total: float = 0.0
    least: float = math.inf
    most: float = 0.0

    def add(self, seconds: float) -> None:
        seconds = max(seconds, 0.0)
        self.counts[_class_of(seconds)] += 1
        self.number += 1
        self.total += seconds
        self.least = min(self.least, seconds)
        self.most = max(self.most, seconds)

    def merge(self, other: Histogram) -> None:
        self.counts.update(other.counts)
        self.number += other.number
        self.total += other.total
        self.least = min(self.least, other.least)
        self.most = max(self.most, other.most)

    @property
    def mean(self) -> float:
        return self.total / self.number if self.number else 0.0

    def quantile(self, share: float) -> float:
        """The time within which this share of them took; 0 where there are none."""
        if not self.number:
            return 0.0
        wanted, seen = max(math.ceil(share * self.number), 1), 0
        for index in sorted(self.counts):
            seen += self.counts[index]
            if seen >= wanted:
                return min(max(LEAST * RATIO**index * _HALF, self.least), self.most)
        return self.most

    def spread(self, edges: tuple[float, ...]) -> list[int]:
        """How many took up to the first edge, from there to the second, ..., and longer than the last.

        A class that an edge cuts goes to where its middle lies.
        """
        found = [0] * (len(edges) + 1)
        for index, times in self.counts.items():
            middle = min(max(LEAST * RATIO**index * _HALF, self.least), self.most)
            found[sum(middle > edge for edge in edges)] += times
        return found

    def to_dict(self) -> dict[str, Any]:
        counts = {str(index): self.counts[index] for index in sorted(self.counts)}
        least = 0.0 if math.isinf(self.least) else self.least
        return {"counts": counts, "seconds": self.total, "least": least, "most": self.most}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Histogram:
        """From :meth:`to_dict`. Raises ValueError."""
        counts: Counter[int] = Counter()
        for key in values["counts"]:
            index = int(key)
            if not 0 <= index <= CLASSES:
                raise ValueError(f"there is no class {index}")
            counts[index] = count_in(values["counts"], key)
        number = counts.total()
        least = number_in(values, "least") if number else math.inf
        return cls(counts, number, number_in(values, "seconds"), least, number_in(values, "most"))


def _class_of(seconds: float) -> int:
    if seconds <= LEAST:
        return 0
    return min(int(math.log(seconds / LEAST, RATIO)), CLASSES)
