"""What solving needs of a reactor: the time, and calls later. Twisted's own interfaces say nothing to type checkers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.task import deferLater

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred


class Timer(Protocol):
    """A call that is to come."""

    def active(self) -> bool: ...

    def cancel(self) -> None: ...

    def getTime(self) -> float: ...  # noqa: N802 - Twisted's name


class Clock(Protocol):
    """A reactor, or what stands in for its time in tests."""

    def seconds(self) -> float: ...

    def callLater(self, delay: float, call: Callable[..., Any]) -> Timer: ...  # noqa: N802 - Twisted's name


def sleep(clock: Clock, seconds: float) -> Deferred[None]:
    """Fires after so many seconds of the clock; may be cancelled."""
    reactor: Any = clock
    return deferLater(reactor, seconds)
