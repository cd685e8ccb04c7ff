"""What a worker has entered into the ledger of its run, for a server that forgets it."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger(__name__)

_MOST_ROWS = 20_000  # of the ledger that are remembered
_MOST_BATCHES = 200  # that are remembered one by one


class Bookings:
    """The entries of one worker, batch by batch.

    The ledger has a count of the worker's entries. If that is lower than it was after a batch, that batch is lost.
    """

    def __init__(self, ledger: str) -> None:
        self.ledger = ledger
        """Its key."""
        self.count = 0
        """Entries that the ledger should have of this worker."""
        self._batches: list[
            tuple[int, Counter[str], Counter[str]]
        ] = []  # count after it, tasks and nano-dollars by row
        self._rows: set[str] = set()

    def move(self, ledger: str, *, remember: bool) -> None:
        """Go on with another ledger. ``remember``: it is the same run, which the server has forgotten."""
        self.ledger = ledger
        if not remember:
            self.count, self._batches, self._rows = 0, [], set()

    def note(self, count: int, booked: Sequence[Any]) -> None:
        """Note what a batch has entered: row, tasks and nano-dollars of each entry. ``count`` is what the ledger has after it."""
        self.count = count
        tasks, nano = Counter[str](), Counter[str]()
        for row, number, price in zip(booked[::3], booked[1::3], booked[2::3], strict=True):
            if row in self._rows or len(self._rows) < _MOST_ROWS:
                self._rows.add(row)
                tasks[row] += int(number)
                nano[row] += int(price)
        if tasks:
            self._batches.append((count, tasks, nano))
        if len(self._batches) > _MOST_BATCHES:  # the oldest are lost together, if they are
            (_, *first), (after, *second) = self._batches[:2]
            for one, other in zip(first, second, strict=True):
                other.update(one)
            self._batches[:2] = [(after, second[0], second[1])]

    def again(self, count: int) -> list[dict[str, Any]]:
        """Return the writes that enter again what the ledger has lost, if it has ``count`` entries of this worker."""
        lost = [batch for batch in self._batches if batch[0] > count]
        self._batches = [batch for batch in self._batches if batch[0] <= count]
        self.count = count
        tasks, nano = Counter[str](), Counter[str]()
        for _, some_tasks, some_nano in lost:
            tasks.update(some_tasks)
            nano.update(some_nano)
        logger.warning("CAPSOLVER_STORE: Redis has lost entries of the ledger: %d rows are entered again", len(tasks))
        return [
            {"op": "rebook", "ledger": self.ledger, "row": row, "tasks": number, "nano": nano[row]}
            for row, number in tasks.items()
        ]
