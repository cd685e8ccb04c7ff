"""What solving needs of a reactor: the time, and calls later. Twisted's own interfaces say nothing to type checkers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


T = TypeVar("T")


class Timer(Protocol):
    """A call that is to come."""

    def active(self) -> bool: ...

    def cancel(self) -> None: ...

    def getTime(self) -> float: ...  # noqa: N802 - Twisted's name


class Clock(Protocol):
    """A reactor, or what stands in for its time in tests."""

    def seconds(self) -> float: ...

    def callLater(self, delay: float, call: Callable[..., Any], *args: Any) -> Timer: ...  # noqa: N802 - Twisted's name


def sleep(clock: Clock, seconds: float) -> Deferred[None]:
    """Fires after so many seconds of the clock; may be cancelled."""
    reactor: Any = clock
    return deferLater(reactor, seconds)


class Lasting(Generic[T]):
    """A call that goes on when whoever waits for it is cancelled."""

    def __init__(self, call: Coroutine[Deferred[Any], Any, T]) -> None:
        self._waiting: Deferred[T] | None = None
        self._outcome: list[Any] = []
        self._call = Deferred.fromCoroutine(call)
        self._call.addBoth(self._done)
        self.cancel = self._call.cancel

    def _done(self, outcome: Any) -> None:
        self._outcome = [outcome]
        if self._waiting is not None and not self._waiting.called:
            self._waiting.callback(outcome)

    def wait(self) -> Deferred[T]:
        """Fires with the outcome; one may wait at a time."""
        self._waiting = Deferred()
        if self._outcome:
            self._waiting.callback(self._outcome[0])
        return self._waiting
