"""Connections whose bytes can be awaited and that can be ended as they end in networks, and one that never comes about."""

from __future__ import annotations

import re
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from twisted.python.failure import Failure


class Wire(Protocol):
    """One end of a connection, with what has come and was not taken yet; in ``wires`` as long as it is open."""

    transport: Any

    def __init__(self, wires: set[Wire], then: Callable[[Wire], None]) -> None:
        self._wires, self._then = wires, then
        self._news: Deferred[None] = Deferred()
        self.data = b""
        self.gone: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self._wires.add(self)
        self._then(self)

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        news, self._news = self._news, Deferred()
        news.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._wires.discard(self)
        self._news.callback(None)
        self.gone.callback(None)

    async def has(self, enough: Callable[[bytes], bool]) -> bool:
        """Wait until enough has come. False: the connection ended before."""
        while not enough(self.data) and self in self._wires:
            await self._news
        return enough(self.data)

    def send(self, data: bytes) -> None:
        if data and self in self._wires:
            self.transport.write(data)
            self.transport.doWrite()  # at once, for a reset would discard it

    def drop(self, kind: str) -> None:
        if self not in self._wires:
            return
        if kind == "reset":
            self.transport.abortConnection()
        else:
            self.transport.loseWriteConnection()  # a socket that is closed with bytes unread sends RST


def wires(open_: set[Wire], then: Callable[[Wire], None] = lambda wire: None) -> Any:
    """A factory of wires, which are in ``open_`` as long as they are open."""
    factory: Any = Factory.forProtocol(lambda: Wire(open_, then))  # type: ignore[arg-type,unused-ignore]
    factory.noisy = False
    return factory


def sizes(message: bytes) -> tuple[int, int]:
    """Of the head of an HTTP message, and of all of it; zeros as long as the head is not there."""
    head = message.find(b"\r\n\r\n") + 4
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", message[:head])
    return (head, head + (int(length[1]) if length else 0)) if head >= 4 else (0, 0)


@contextmanager
def refused_url() -> Iterator[str]:
    """Where nobody listens, nor will, since the port is taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
