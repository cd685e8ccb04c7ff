"""Waiting for an answer that somebody must hear, also where nobody waits for it any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


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
