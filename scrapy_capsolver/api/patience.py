"""How long a call may take: it ends when nothing comes for a while, and some time later in any case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    T = TypeVar("T")


class Patience:
    """Ends a call after ``silence`` seconds in which nothing came, and after ``longest`` seconds in all."""

    def __init__(self, clock: Any, silence: float, longest: float) -> None:
        self._clock = clock
        self._silence = silence
        self._end = clock.seconds() + longest
        self._due = min(clock.seconds() + silence, self._end)
        self._ended = False
        self._timer: Any = None

    def heard(self) -> None:
        """A part of the reply has come."""
        self._due = min(self._clock.seconds() + self._silence, self._end)

    def limit(self, call: Deferred[T], error: Exception) -> None:
        """Cancel the call when its time is over; it fails with ``error`` then."""

        def look() -> None:
            left = self._due - self._clock.seconds()
            if left > 0:
                self._timer = self._clock.callLater(left, look)
            else:
                self._ended = True
                call.cancel()

        def over(result: T | Failure) -> T | Failure:
            if self._timer.active():
                self._timer.cancel()
            return result

        def explain(failure: Failure) -> Failure:
            if self._ended:  # whatever the cancelled call makes of it
                raise error from None
            return failure

        self._timer = self._clock.callLater(max(self._due - self._clock.seconds(), 0), look)
        call.addBoth(over)
        call.addErrback(explain)
