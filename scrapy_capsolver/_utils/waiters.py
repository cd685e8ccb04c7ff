"""Waiting in line: the one way in which a turn, a limit, a pause, a lease or a flight that is freed lets the next go on.

Nobody is let go inside the stack of the caller that made room. The reactor's next turn does it, in a loop, so that ten
thousand that wait are let go at the same stack depth as ten, and the caller has finished before the next one begins.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from twisted.internet.defer import Deferred, succeed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.python.failure import Failure

    from scrapy_capsolver.solving.clock import Clock

T = TypeVar("T")

AT_ONCE = 50  # let go in one turn of the reactor, so that thousands do not keep it from everything else


class Waiters(Generic[T]):
    """Deferreds that wait in the order of joining.

    They are let go in two ways, both from the reactor's next turn: :meth:`release` gives each one an outcome, and after
    :meth:`look` the first goes on with None as long as ``may_go`` returns True. ``may_go`` is called right before, so it
    may take what the waiter is let go with.
    """

    def __init__(self, clock: Clock, may_go: Callable[[], bool] = lambda: False) -> None:
        self._clock = clock
        self._may_go = may_go
        # A dict, since it keeps the order and forgets any of thousands at once.
        self._waiting: dict[Deferred[T], Callable[[Deferred[T]], None] | None] = {}
        self._released: deque[tuple[Deferred[T], T | Failure]] = deque()
        self._is_due = False

    def __len__(self) -> int:
        """Return how many wait, without those that have been released."""
        return len(self._waiting)

    def join(self, cancelled: Callable[[Deferred[T]], None] | None = None) -> Deferred[T]:
        """Return a Deferred that waits behind the others.

        It may be cancelled at any time. ``cancelled`` is then called with it, unless it has been released already, and
        may fire it with an error of its own.
        """
        waiting: Deferred[T] = Deferred(self._leave)
        self._waiting[waiting] = cancelled
        return waiting

    def _leave(self, waiting: Deferred[T]) -> None:
        if waiting in self._waiting:
            cancelled = self._waiting.pop(waiting)
            if cancelled is not None:
                cancelled(waiting)

    def look(self) -> None:
        """Ask ``may_go`` from the reactor's next turn on.

        To be called whenever its answer may have become True while somebody waits.
        """
        if self._waiting:
            self._soon()

    def release(self, outcomes: Sequence[T | Failure]) -> None:
        """Give all that wait now their outcomes, in their order."""
        self._released.extend(zip(self._waiting, outcomes, strict=True))
        self._waiting.clear()
        if self._released:
            self._soon()

    def release_all(self, outcome: T) -> None:
        """Give all that wait now the same outcome."""
        self.release([outcome] * len(self._waiting))

    def _soon(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._clock.callLater(0, self._let_go)

    def _let_go(self) -> None:
        self._is_due = False
        for _ in range(AT_ONCE):
            if self._released:
                waiting, outcome = self._released.popleft()
                if not waiting.called:  # else it was cancelled meanwhile
                    waiting.callback(outcome)
            elif self._waiting and self._may_go():
                first: Deferred[Any] = next(iter(self._waiting))
                del self._waiting[first]
                first.callback(None)
            else:
                return
        self._soon()


class Turns:
    """A number of turns, each taken by one at a time; the others wait in line."""

    def __init__(self, clock: Clock, number: int) -> None:
        self._number = number
        self._free = number
        self._waiting: Waiters[None] = Waiters(clock, self._take)

    @property
    def free(self) -> int:
        return self._free

    @property
    def taken(self) -> int:
        return self._number - self._free

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def acquire(self) -> Deferred[None]:
        """Return a Deferred that fires with a turn; may be cancelled until then."""
        if not self._waiting and self._take():
            return succeed(None)
        return self._waiting.join()

    def _take(self) -> bool:
        if not self._free:
            return False
        self._free -= 1
        return True

    def release(self) -> None:
        """Give a turn back."""
        assert self._free < self._number, "more turns were given back than taken"
        self._free += 1
        self._waiting.look()
