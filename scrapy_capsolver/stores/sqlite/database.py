"""An SQLite file that a thread of its own reads and writes, so that nothing waits for it on the reactor's thread.

Changes are collected while others are being written, and then written as one transaction. A file that cannot be written
(somebody holds a lock, the disk is full) is tried again, less and less often, and reported once; until then its changes
wait in memory, in their shortest form.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
import threading
import time
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.python.failure import Failure

from scrapy_capsolver.stores.sqlite.changes import Changes
from scrapy_capsolver.stores.sqlite.files import connect, is_lock, look_at
from scrapy_capsolver.stores.sqlite.writer import is_of_the_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    T = TypeVar("T")

logger = logging.getLogger(__name__)

_FIRST_BACK_OFF = 0.05  # seconds, doubled each time
_LAST_BACK_OFF = 5.0
_PATIENCE = 1.0  # seconds for which a lock is not reported: another crawl may be writing
_ENDING_PAUSE = 0.02  # seconds between the last attempts to write to a file that is locked


class Database:
    """``name`` is what the user knows the file by: the setting that leads to it."""

    def __init__(self, path: str, name: str) -> None:
        """Raise :class:`~scrapy_capsolver.stores.StoreError` if the file cannot be used."""
        look_at(path)
        self.path = path
        self.name = name
        self._connection: sqlite3.Connection | None = None
        self._place: tuple[int, int] | None = None  # device and inode
        self._refused: set[str] = set()  # kinds of which something was left out
        self._unreadable = False
        self._retry_at = 0.0
        self._back_off = 0.0
        # Both threads use what follows, each with this lock held.
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None
        self._changes = Changes()
        self._duties: deque[tuple[Callable[[sqlite3.Connection], Any], Deferred[Any]]] = deque()
        self._questions: deque[tuple[Callable[[sqlite3.Connection], Any], Deferred[Any]]] = deque()
        self._waiting: list[Deferred[None]] = []  # for what is in _changes to be written
        self._trying: list[Deferred[None]] = []  # for an attempt at that
        self._failing_since: float | None = None
        self._reported = False
        self._trouble = ""
        self._ends_at: float | None = None
        self._ended: Deferred[str] = Deferred()
        self._left = ""  # what could not be written until the end

    # On the reactor's thread

    @contextmanager
    def changes(self) -> Iterator[Changes]:
        """Make changes that are to be written soon, in one transaction."""
        with self._condition:
            yield self._changes
            self._wake()

    def ask(self, question: Callable[[sqlite3.Connection], T]) -> Deferred[T]:
        """Return the answer that ``question`` finds in the file, with sqlite3.Error or OSError if it cannot be read."""
        answer: Deferred[T] = Deferred()
        with self._condition:
            self._questions.append((question, answer))
            self._wake()
        return answer

    def insist(self, duty: Callable[[sqlite3.Connection], T]) -> Deferred[T]:
        """Have ``duty`` done in a transaction of its own before anything else is written, as soon as that is possible."""
        answer: Deferred[T] = Deferred()
        with self._condition:
            self._duties.append((duty, answer))
            self._wake()
        return answer

    def written(self) -> Deferred[None]:
        """Return what fires when all changes until now are on disk. It may be cancelled."""
        return self._join(self._waiting)

    def tried(self) -> Deferred[None]:
        """Return what fires when all changes until now are on disk, or are known to wait until the file is back."""
        return succeed(None) if self.is_away else self._join(self._trying)

    def _join(self, waiting: list[Deferred[None]]) -> Deferred[None]:
        one: Deferred[None] = Deferred()
        with self._condition:
            waiting.append(one)
            self._wake()
        return one

    @property
    def is_away(self) -> bool:
        """The file cannot be written: not only for a moment, in which another crawl writes."""
        return self._reported

    @property
    def away_seconds(self) -> float:
        """Seconds for which it could not be written; 0 if the last attempt succeeded."""
        since = self._failing_since
        return 0.0 if since is None else time.monotonic() - since

    @property
    def trouble(self) -> str:
        """Why the last attempt to write that failed did so."""
        return self._trouble

    def overlay(self, site: str, rows: dict[Any, Any]) -> None:
        """See :meth:`Changes.overlay`. For questions, in their thread."""
        with self._condition:
            self._changes.overlay(site, rows)

    def end(self, seconds: float) -> Deferred[str]:
        """Write what is left, for so long at most, and close the file. Return what could not be written, in words."""
        if not self._begin_to_end(seconds):
            return succeed(self._left)
        clock: Any = sys.modules["twisted.internet.reactor"]

        def give_up(failure: Failure) -> str:
            failure.trap(DeferredTimeoutError)
            return "the file system does not answer"

        # A little longer than the thread, which has an end of its own.
        return self._ended.addTimeout(seconds + 1.0, clock).addErrback(give_up)

    def close(self, seconds: float) -> str:
        """Do what :meth:`end` does, unless that was called, and wait for it: for where no reactor runs."""
        if self._ends_at is not None or not self._begin_to_end(seconds):
            return ""
        assert self._thread is not None
        self._thread.join(seconds + 1.0)
        return self._left

    def _begin_to_end(self, seconds: float) -> bool:
        """Return whether there is anything to be done for it."""
        with self._condition:
            if self._thread is None or not self._thread.is_alive():
                return False
            self._ends_at = time.monotonic() + seconds
            self._condition.notify_all()
            return True

    def _wake(self) -> None:
        if self._thread is None:
            # It must not keep a process that ends from ending.
            self._thread = threading.Thread(target=self._work, name=f"capsolver {self.name}", daemon=True)
            self._thread.start()
        self._condition.notify_all()

    # In the file's own thread

    def _work(self) -> None:
        while self._go_on():
            pass
        self._disconnect()
        with self._condition:
            self._left = self._changes.describe()
        _in_the_reactor(_fire, [self._ended], self._left)

    def _go_on(self) -> bool:
        """Do what there is to do. Return False at the end."""
        with self._condition:
            while not self._is_needed():
                self._condition.wait(self._seconds_to_wait())
            questions, self._questions = self._questions, deque()
            ending = self._ends_at is not None
            due = self._has_writes() and (ending or time.monotonic() >= self._retry_at)
        for question, answer in questions:
            self._answer(question, answer)
        error = self._write() if due else None
        if not ending:
            return True
        with self._condition:
            assert self._ends_at is not None
            again = self._has_writes() and (error is None or is_lock(error)) and time.monotonic() < self._ends_at
        if again and error is not None:
            time.sleep(_ENDING_PAUSE)
        return again

    def _has_writes(self) -> bool:
        return bool(self._duties or self._changes or self._waiting or self._trying)

    def _is_needed(self) -> bool:
        writes = self._has_writes() and time.monotonic() >= self._retry_at
        return bool(self._questions) or self._ends_at is not None or writes

    def _seconds_to_wait(self) -> float | None:
        return max(self._retry_at - time.monotonic(), 0.0) if self._has_writes() else None

    def _answer(self, question: Callable[[sqlite3.Connection], Any], answer: Deferred[Any]) -> None:
        try:
            found = question(self._connect())
        except Exception as error:  # noqa: BLE001 - it is for who asked
            if not self._unreadable and not self._reported:
                self._unreadable = True
                self._say(logging.WARNING, f"{self.path} cannot be read: {error}")
            _in_the_reactor(_fire, [answer], Failure(error))
        else:
            self._unreadable = False
            _in_the_reactor(_fire, [answer], found)

    def _write(self) -> Exception | None:
        """Try to write all that there is now. Return why it failed."""
        with self._condition:
            batch, self._changes = self._changes, Changes()
            waiting, trying = self._waiting.copy(), self._trying.copy()
            self._waiting.clear()
            self._trying.clear()
        try:
            self._do_duties()
            if batch:
                self._leave_out(self._transact(batch.apply))
                self._succeeded()
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing may get lost, and this thread must go on
            self._failed(error)
            with self._condition:
                batch.absorb(self._changes)
                self._changes = batch
                self._waiting[:0] = waiting
                if not self.is_away:
                    self._trying[:0] = trying
            if self.is_away:
                _in_the_reactor(_fire, trying, None)
            return error
        _in_the_reactor(_fire, [*waiting, *trying], None)
        return None

    def _do_duties(self) -> None:
        while self._duties:
            duty, answer = self._duties[0]
            outcome: Any
            try:
                outcome = self._transact(duty)
            except Exception as error:
                if is_of_the_file(error) or isinstance(error, OSError):
                    raise
                outcome = Failure(error)  # it would fail for ever
            else:
                self._succeeded()
            with self._condition:
                self._duties.popleft()
            _in_the_reactor(_fire, [answer], outcome)

    def _leave_out(self, refused: list[tuple[str, Exception]]) -> None:
        for kind, reason in refused:
            if kind not in self._refused:
                self._refused.add(kind)
                self._say(logging.ERROR, f"{kind} that {self.path} does not take is left out: {reason}")

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._connect()
        self._check_place()
        connection.execute("BEGIN IMMEDIATE")
        try:
            done = work(connection)
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
        return done

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            if self._place is not None:
                self._check_place()
            self._connection = connect(self.path)
            self._place = self._where()
        return self._connection

    def _check_place(self) -> None:
        """Raise OSError if the file is not there any more: what is written into one without a name is lost."""
        if self._where() != self._place:
            raise OSError("it was deleted or replaced while it was in use")

    def _where(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _failed(self, error: Exception) -> None:
        if not is_lock(error):
            self._disconnect()  # it may be another one next time, on a disk that is mounted again
        self._back_off = min(max(2 * self._back_off, _FIRST_BACK_OFF), _LAST_BACK_OFF)
        self._retry_at = time.monotonic() + self._back_off
        self._trouble = str(error)
        if self._failing_since is None:
            self._failing_since = time.monotonic()
        if not self._reported and not (is_lock(error) and self.away_seconds < _PATIENCE):
            self._reported = True
            text = f"{self.path} cannot be written, so what comes waits in memory until it can: {error}"
            self._say(logging.WARNING, text)

    def _succeeded(self) -> None:
        self._back_off = self._retry_at = 0.0
        self._failing_since = None
        if self._reported:
            self._reported = False
            self._say(logging.INFO, f"{self.path} can be written again: it has all that waited")

    def _say(self, level: int, text: str) -> None:
        # In the reactor's thread, which counts what is logged.
        _in_the_reactor(logger.log, level, "%s: %s", self.name, text)


def _fire(waiting: list[Deferred[Any]], outcome: Any) -> None:
    for one in waiting:
        if not one.called:
            one.callback(outcome)


def _in_the_reactor(call: Callable[..., Any], *arguments: Any) -> None:
    """Have it called there; at once if there is none: then nobody waits for anything, and none must be installed."""
    reactor: Any = sys.modules.get("twisted.internet.reactor")
    if reactor is None:
        call(*arguments)
    else:
        reactor.callFromThread(call, *arguments)
