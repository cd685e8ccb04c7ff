"""What is still to be written, in its shortest form: however long the file is locked, it grows with what there is and not with what happens."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from dataclasses import astuple, dataclass, field
from typing import TYPE_CHECKING, Any

from scrapy_capsolver.stores.sqlite.limit_changes import LimitChanges
from scrapy_capsolver.stores.sqlite.writer import Writer

if TYPE_CHECKING:
    import sqlite3

    from scrapy_capsolver.stores.base import Clearance, Key, Spend, TaskRow

_DELETE = """
DELETE FROM clearances
WHERE site = ? AND scope = ? AND family = ? AND proxy = ? AND user_agent = ? AND jar = ? AND id = ?
"""
_SAVE = """
INSERT INTO clearances VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET id = excluded.id, host = excluded.host, cookies = excluded.cookies, agent = excluded.agent,
    solved_at = excluded.solved_at, expires = excluded.expires, secure = excluded.secure
WHERE excluded.solved_at >= solved_at
"""
_OPEN_TASK = "INSERT OR IGNORE INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?)"
_CLOSE_TASK = "DELETE FROM tasks WHERE id = ?"
_SPEND = """
INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET tasks = tasks + excluded.tasks, nano_usd = nano_usd + excluded.nano_usd
"""


@dataclass(slots=True)
class Changes:
    """Each kind by what it is about. Kinds do not depend on each other, so each is written as a whole."""

    deleted: defaultdict[Key, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Ids of clearances that are not to be used any more."""
    saved: dict[Key, Clearance] = field(default_factory=dict)
    """Written after ``deleted``."""
    opened: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    """Rows of tasks by id."""
    closed: dict[str, Spend] = field(default_factory=dict)
    """What tasks of the file cost, by id: booked if the task is still open there."""
    spent: dict[tuple[str, str, str, str], tuple[int, int]] = field(default_factory=dict)
    """Tasks and nano-dollars by (spider, site, family, account)."""
    limits: LimitChanges = field(default_factory=LimitChanges)

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__dataclass_fields__)

    def save(self, key: Key, clearance: Clearance) -> None:
        held = self.saved.get(key)
        if held is None or clearance.solved_at >= held.solved_at:
            self.saved[key] = clearance

    def delete(self, key: Key, clearance_id: str) -> None:
        if key in self.saved and self.saved[key].id == clearance_id:
            del self.saved[key]
        self.deleted[key].add(clearance_id)

    def open_task(self, task: TaskRow) -> None:
        self.opened[task.id] = (*astuple(task)[:-1], time.time())  # its reservation is of a store with others

    def close_task(self, task_id: str, entry: Spend) -> None:
        if task_id in self.opened:
            del self.opened[task_id]
            self.spend(entry)
        else:
            self.closed[task_id] = entry

    def spend(self, entry: Spend) -> None:
        row = (entry.spider, entry.site, entry.family, entry.account)
        tasks, nano = self.spent.get(row, (0, 0))
        self.spent[row] = (tasks + entry.tasks, nano + entry.nano_usd)

    def absorb(self, later: Changes) -> None:
        """Add what was changed after this."""
        for key, ids in later.deleted.items():
            for one in ids:
                self.delete(key, one)
        for key, clearance in later.saved.items():
            self.save(key, clearance)
        for task_id, entry in later.closed.items():
            self.close_task(task_id, entry)
        self.opened.update(later.opened)
        for row, (tasks, nano) in later.spent.items():
            before = self.spent.get(row, (0, 0))
            self.spent[row] = (before[0] + tasks, before[1] + nano)
        self.limits.absorb(later.limits)

    def overlay(self, site: str, rows: dict[Key, Clearance]) -> None:
        """Change ``rows``, a site's clearances as they are in the file, into what they will be."""
        for key, ids in self.deleted.items():
            if key in rows and rows[key].id in ids:
                del rows[key]
        for key, clearance in self.saved.items():
            if key.site == site and (key not in rows or rows[key].solved_at <= clearance.solved_at):
                rows[key] = clearance

    def describe(self) -> str:
        """Return what is in here, for somebody who is about to lose it."""
        tasks = sum(number for number, _ in self.spent.values()) + sum(entry.tasks for entry in self.closed.values())
        nano = sum(nano for _, nano in self.spent.values()) + sum(entry.nano_usd for entry in self.closed.values())
        parts = {
            f"{tasks} entries of the ledger ({nano / 1e9:.4f} USD)": tasks,
            f"{len(self.opened)} open tasks": len(self.opened),
            f"{len(self.saved)} clearances": len(self.saved),
            f"{len(self.deleted)} clearances that are refused": len(self.deleted),
            "what limits count": bool(self.limits) and not self.limits.ended,  # then it counts for no one
        }
        return ", ".join(text for text, number in parts.items() if number)

    def apply(self, connection: sqlite3.Connection) -> list[tuple[str, Exception]]:
        """Write all of it, within the transaction of the caller. Return what the file will never take, and why.

        Raises sqlite3.Error if the file cannot be written now.
        """
        write = Writer(connection)
        self.limits.apply(write)
        write.each("a clearance", _DELETE, ((*astuple(key), one) for key, ids in self.deleted.items() for one in ids))
        write.each("a clearance", _SAVE, (_row(key, one) for key, one in self.saved.items()))
        write.each("a task", _OPEN_TASK, self.opened.values())
        for task_id, entry in self.closed.items():
            with write.tried("an entry of the ledger"):
                # One that another run has entered already is not open any more.
                if connection.execute(_CLOSE_TASK, (task_id,)).rowcount:
                    connection.execute(_SPEND, astuple(entry))
        write.each("an entry of the ledger", _SPEND, ((*row, *sums) for row, sums in self.spent.items()))
        return write.refused


def _row(key: Key, clearance: Clearance) -> tuple[Any, ...]:
    return (
        *astuple(key),
        clearance.id,
        clearance.host,
        json.dumps(dict(clearance.cookies)),
        clearance.user_agent,
        clearance.solved_at,
        clearance.expires,
        clearance.secure,
    )
