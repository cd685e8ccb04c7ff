"""Waiting: for so long at the most, and for an answer that somebody must hear, also where nobody waits for it any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy_capsolver.solving.clock import Clock

T = TypeVar("T")


def reactor() -> Clock:
    """Not at module level: that would install Twisted's default reactor."""
    from twisted.internet import reactor as installed

    return cast("Clock", installed)


def within(seconds: float, waiting: Deferred[T]) -> Deferred[T]:
    """Fails with Twisted's TimeoutError where ``waiting`` has not fired by then."""
    return waiting.addTimeout(seconds, cast("Any", reactor()))


def kept(answer: Deferred[T], late: Callable[[T], None]) -> Deferred[T]:
    """Fires as ``answer`` does. It may be cancelled, and what comes then is given to ``late``."""
    waiting: Deferred[T] = Deferred()

    def heard(outcome: Any) -> None:
        if not waiting.called:
            waiting.callback(outcome)
        elif not isinstance(outcome, Failure):
            late(outcome)

    answer.addBoth(heard)
    return waiting
