"""Waiting for a bounded time, and for an answer that matters even if its caller has been cancelled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar, cast

from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.failure import Failure

    from scrapy_capsolver.solving.clock import Clock

T = TypeVar("T")


def reactor() -> Clock:
    """Not at module level: that would install Twisted's default reactor."""
    from twisted.internet import reactor as installed

    return cast("Clock", installed)


def within(seconds: float, waiting: Deferred[T]) -> Deferred[T]:
    """Fail with Twisted's TimeoutError if ``waiting`` has not fired by then."""
    return waiting.addTimeout(seconds, cast("Any", reactor()))


async def end_(task: asyncio.Task[Any]) -> None:
    """Cancel a task of asyncio, and wait for its end. One cancellation may get lost: Python's ``wait_for`` swallows it if what it waits for
    ends in the same moment, before 3.12.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.05)


def kept(answer: Deferred[T], late: Callable[[T | Failure], None]) -> Deferred[T]:
    """Fire as ``answer`` does. May be cancelled; ``late`` is then called with the answer, or the failure, when it comes."""
    waiting: Deferred[T] = Deferred()

    def heard(outcome: Any) -> None:
        if waiting.called:
            late(outcome)
        else:
            waiting.callback(outcome)

    answer.addBoth(heard)
    return waiting
