"""The simulator's HTTP servers: they count their connections, and can close them all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.server import Site

if TYPE_CHECKING:
    from .twisted_types import Request, WebResource


class _QuietSite(Site):
    """An HTTP server without an access log."""

    noisy = False

    def log(self, request: object) -> None:
        pass


class _Connection(ProtocolWrapper):
    aside = False

    def connectionLost(self, reason: Any = connectionDone) -> None:  # noqa: N802 - Twisted's name
        super().connectionLost(reason)  # type: ignore[no-untyped-call,unused-ignore]
        # Only now has the HTTP server let go of its timer as well.
        factory: Any = self.factory
        factory.closed_one()


class HttpFactory(WrappingFactory):
    """Serves one resource. ``opened`` counts the connections but those that were set aside."""

    noisy = False
    protocol = _Connection

    def __init__(self, resource: WebResource) -> None:
        super().__init__(_QuietSite(resource))  # type: ignore[no-untyped-call,unused-ignore]
        self.opened = 0
        self._all_closed: Deferred[None] | None = None

    @property
    def open(self) -> int:
        return sum(not connection.aside for connection in self.protocols)

    def registerProtocol(self, p: Any) -> None:  # noqa: N802 - Twisted's name
        super().registerProtocol(p)  # type: ignore[no-untyped-call,unused-ignore]
        self.opened += 1

    def closed_one(self) -> None:
        if not self.protocols and self._all_closed is not None:
            waiting, self._all_closed = self._all_closed, None
            waiting.callback(None)

    def close_all(self) -> Deferred[None]:
        """Close all connections at once; the Deferred fires when they are closed."""
        waiting: Deferred[None] = Deferred()
        connections: list[Any] = list(self.protocols)
        if not connections:
            waiting.callback(None)
            return waiting
        self._all_closed = waiting
        for connection in connections:
            connection.transport.abortConnection()
        return waiting


def set_aside(request: Request) -> None:
    """Leave the connection of this request out of the counts, for it serves the simulator's control."""
    connection = request.channel.transport
    if isinstance(connection, _Connection) and not connection.aside:
        connection.aside = True
        factory: Any = connection.factory
        factory.opened -= 1
