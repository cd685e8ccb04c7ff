"""What happened when, in so few steps that a crawl of weeks takes as much room as one of minutes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from scrapy_capsolver.report.reading import count_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

STEPS = 120
"""At most. Where more would be needed, each becomes twice as long."""
_END = 2**40
"""Unix seconds, or so long a step, that no report has."""
SERIES = ("solved", "wasted", "failed", "nano_usd")
"""Solutions, those that were of no use, requests that failed; and what the solutions cost."""


class Timeline:
    """Counts by step and series. A step begins at a multiple of its length in Unix seconds, so that timelines add up."""

    __slots__ = ("_steps", "seconds")

    def __init__(self) -> None:
        self.seconds = 1
        """The length of a step: a power of two."""
        self._steps: dict[int, Counter[str]] = {}

    def add(self, when: float, series: str, times: int = 1) -> None:
        index = int(when // self.seconds)
        step = self._steps.get(index)
        if step is None:
            step = self._steps[index] = Counter()
            self._fit()
            step = self._steps[int(when // self.seconds)]
        step[series] += times

    def merge(self, other: Timeline) -> None:
        while self.seconds < other.seconds:
            self._double()
        for start, counts in other.steps():
            for series, times in counts.items():
                self.add(start, series, times)

    def steps(self) -> Iterator[tuple[int, Counter[str]]]:
        """When each began in which something happened, in Unix seconds, and how often what did."""
        for index in sorted(self._steps):
            yield index * self.seconds, self._steps[index]

    def to_dict(self) -> dict[str, Any]:
        return {"step_seconds": self.seconds, "steps": [{"at": at, **counts} for at, counts in self.steps()]}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Timeline:
        """From :meth:`to_dict`. Raises ValueError."""
        found = cls()
        seconds = count_in(values, "step_seconds")
        if not seconds or seconds & (seconds - 1) or seconds > _END:
            raise ValueError(f"step_seconds is {seconds}, and no power of two")
        while found.seconds < seconds:
            found._double()
        for step in values["steps"]:
            at = count_in(step, "at")
            if at > _END:
                raise ValueError(f"a step is at {at}, and that is no time")
            for series in SERIES:
                if times := count_in({series: 0, **step}, series):
                    found.add(at, series, times)
        return found

    def _fit(self) -> None:
        while max(self._steps) - min(self._steps) >= STEPS:
            self._double()

    def _double(self) -> None:
        self.seconds *= 2
        before, self._steps = self._steps, {}
        for index, counts in before.items():
            self._steps.setdefault(index // 2, Counter()).update(counts)
