"""What is still to be written of limits, in its shortest form."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scrapy_capsolver.stores.base import Reserved
    from scrapy_capsolver.stores.sqlite.writer import Writer

_RESERVE = "INSERT OR REPLACE INTO reservations VALUES (?, ?, ?, ?, ?, ?, ?)"
_NAME = "UPDATE reservations SET task = ? WHERE id = ?"
_RELEASE = "DELETE FROM reservations WHERE id = ?"
USE = """
INSERT INTO limits VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET solves = solves + excluded.solves, nano_usd = nano_usd + excluded.nano_usd
"""
_END = (
    "DELETE FROM reservations WHERE run = ?",
    "DELETE FROM limits WHERE run = ?",
    "DELETE FROM runs WHERE id = ?",
)
_WHAT = "what a limit counts"


@dataclass(slots=True)
class LimitChanges:
    """Each kind by what it is about, as in :class:`~.changes.Changes`."""

    reserved: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    """Rows by id."""
    again: set[str] = field(default_factory=set)
    """Which of them may be in the file already."""
    named: dict[str, str] = field(default_factory=dict)
    """Tasks of reservations that are in the file."""
    released: set[str] = field(default_factory=set)
    """Those that are in the file, perhaps."""
    used: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    """Solves and nano-dollars by (run, site)."""
    ended: set[str] = field(default_factory=set)
    """Runs of which nothing counts any more."""

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__dataclass_fields__)

    def reserve(self, run: str, one: Reserved, *, again: bool) -> None:
        self.released.discard(one.id)
        self.named.pop(one.id, None)
        self.reserved[one.id] = (one.id, run, one.task, one.site, one.family, one.nano_usd, time.time())
        if again:
            self.again.add(one.id)

    def name(self, reservation: str, task: str) -> None:
        row = self.reserved.get(reservation)
        if row is None:
            self.named[reservation] = task
        else:
            self.reserved[reservation] = (*row[:2], task, *row[3:])

    def release(self, reservation: str) -> None:
        self.named.pop(reservation, None)
        if self.reserved.pop(reservation, None) is None or reservation in self.again:
            self.released.add(reservation)

    def use(self, run: str, site: str, solves: int, nano: int) -> None:
        before = self.used.get((run, site), (0, 0))
        self.used[run, site] = (before[0] + solves, before[1] + nano)

    def absorb(self, later: LimitChanges) -> None:
        """Add what was changed after this."""
        for one in later.released:
            self.release(one)
            self.released.add(one)
        self.again |= later.again
        for one, row in later.reserved.items():
            self.released.discard(one)
            self.named.pop(one, None)
            self.reserved[one] = row
        for one, task in later.named.items():
            self.name(one, task)
        for (run, site), (solves, nano) in later.used.items():
            self.use(run, site, solves, nano)
        self.ended |= later.ended

    def apply(self, write: Writer) -> None:
        """Write all of it, within the transaction of the caller. Raises sqlite3.Error."""
        write.each(_WHAT, _RELEASE, ((one,) for one in self.released))
        write.each(_WHAT, _RESERVE, self.reserved.values())
        write.each(_WHAT, _NAME, ((task, one) for one, task in self.named.items()))
        write.each(_WHAT, USE, ((*key, *sums) for key, sums in self.used.items()))
        for statement in _END:
            write.each(_WHAT, statement, ((run,) for run in self.ended))
