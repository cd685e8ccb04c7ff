"""A clock that is faster than real time, for a client beside a simulator of the same speed in another process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class FastClock:
    """The reactor's time, ``speed`` times as fast: for a client beside a simulator of the same speed."""

    def __init__(self, speed: float) -> None:
        from twisted.internet import reactor

        self._reactor: Any = reactor
        self._speed = speed

    def seconds(self) -> float:
        return self._reactor.seconds() * self._speed

    def callLater(self, delay: float, call: Callable[..., Any], *args: Any, **kwargs: Any) -> FastTimer:
        return FastTimer(self._reactor.callLater(delay / self._speed, call, *args, **kwargs), self._speed)


class FastTimer:
    def __init__(self, call: Any, speed: float) -> None:
        self._call = call
        self._speed = speed
        self.active, self.cancel = call.active, call.cancel

    def getTime(self) -> float:
        return self._call.getTime() * self._speed
