"""Runs the statements of one transaction."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Writer:
    """Leaves out, and notes, what the file will never take. Raises sqlite3.Error if the file cannot be written now."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.refused: list[tuple[str, Exception]] = []

    def each(self, kind: str, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        for row in rows:
            with self.tried(kind):
                self.connection.execute(statement, row)

    @contextmanager
    def tried(self, kind: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, ValueError, OverflowError) as error:
            if is_of_the_file(error):
                raise
            self.refused.append((kind, error))


def is_of_the_file(error: Exception) -> bool:
    """Return whether the file, and not what was to be written into it, is the cause: it may be over later.

    Python 3.10 has no error codes, so the texts of sqlite3ErrStr() decide.
    """
    if isinstance(error, sqlite3.OperationalError):
        return not str(error).startswith(("no such ", "table "))
    return type(error) is sqlite3.DatabaseError
