"""Which runs are alive, whatever became of the others: each holds a lock on a file, which the system releases when its process ends.

Process ids would not do: every container's crawl may have the number 1.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> bool:
        """Lock the file for this descriptor. Return False if another one has it."""
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _lock(file: int) -> bool:
        """Lock the file for this descriptor. Return False if another one has it. Raises OSError if that is not possible there."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)


class RunLock:
    """The lock of one run, beside the file that says so."""

    def __init__(self, path: str, run: str) -> None:
        self._path = path
        self._run = run
        self._file: int | None = None

    def take(self) -> None:
        """Show that this run is alive. Raises OSError."""
        if self._file is not None:
            return
        file = os.open(self._name(self._run), os.O_RDWR | os.O_CREAT | _NO_FOLLOW, 0o600)
        try:
            if not _lock(file):
                raise OSError(f"the run {self._run} is alive already")
        except BaseException:
            os.close(file)
            raise
        self._file = file

    def release(self) -> None:
        """Show that it is over."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                os.unlink(self._name(self._run))
            os.close(file)

    def is_alive(self, run: str) -> bool:
        """Return whether another run has taken its lock. Raises OSError if that cannot be told."""
        if run == self._run:
            return True
        try:
            file = os.open(self._name(run), os.O_RDWR | _NO_FOLLOW)
        except FileNotFoundError:
            return False
        try:
            return not _lock(file)
        finally:
            os.close(file)

    def clean_up(self) -> None:
        """Remove what runs that were killed have left."""
        path = Path(self._path)
        for left in path.parent.glob(f"{path.name}-run-*"):
            with suppress(OSError):
                if not self.is_alive(left.name.rpartition("-run-")[2]):
                    left.unlink()

    def _name(self, run: str) -> str:
        return f"{self._path}-run-{run}"
