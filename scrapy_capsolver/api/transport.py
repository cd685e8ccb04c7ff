"""One POST of JSON over treq: own connection pools, one deadline for all of it, a bounded body, no redirect.

treq's own ``timeout`` ends with the headers and its body readers cannot be cancelled, hence the body protocol here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from OpenSSL import SSL
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, TimeoutError  # noqa: A004 - Twisted's own name
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectingCancelledError, DNSLookupError
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Protocol, connectionDone
from twisted.web._newclient import HTTP11ClientProtocol
from twisted.web.client import (
    URI,
    Agent,
    BrowserLikePolicyForHTTPS,
    HTTPConnectionPool,
    ResponseDone,
    _HTTP11ClientFactory,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer  # type: ignore[import-untyped,unused-ignore]

if TYPE_CHECKING:
    from twisted.python.failure import Failure

MAX_BODY = 1 << 20  # bytes; the largest solutions are a few kilobytes
MAX_CONNECTIONS = 64  # kept open; a fresh TLS connection costs five times the CPU of a reused one
IDLE_SECONDS = 20  # a connection is dropped before the server would close it under our hands
CONNECT_SECONDS = 10.0  # with the name looked up and the TLS handshake done


class TransportError(Exception):
    """No reply. The message says why in plain words and holds nothing of what was sent."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent
        """False: the server surely never saw the request."""


@implementer(IHandshakeListener)
class _Connection(HTTP11ClientProtocol):
    """Twisted writes the request before the TLS handshake, and what fails then looks as if it had been sent."""

    transport: Any
    _greeting: Deferred[HTTP11ClientProtocol] | None = None

    def greeted(self) -> Deferred[HTTP11ClientProtocol]:
        """Fires when the TLS handshake is done: the server is the right one, and has seen nothing yet."""
        self._greeting = Deferred(lambda _: self.transport.abortConnection())
        return self._greeting

    def handshakeCompleted(self) -> None:  # noqa: N802 - Twisted's name
        if self._greeting is not None and not self._greeting.called:
            self._greeting.callback(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802 - Twisted's name
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        if self._greeting is not None and not self._greeting.called:
            self._greeting.errback(reason)


class _Factory(_HTTP11ClientFactory):
    noisy = False  # or each connection writes two INFO lines

    def buildProtocol(self, addr: object) -> _Connection:  # noqa: N802 - Twisted's name
        return _Connection(self._quiescentCallback)  # type: ignore[no-untyped-call]


class _Pool(HTTPConnectionPool):
    """Hands out connections that are ready for a request. What fails before is an error with ``sent`` False."""

    _factory = _Factory
    maxPersistentPerHost = MAX_CONNECTIONS  # noqa: N815 - Twisted's name
    cachedConnectionTimeout = IDLE_SECONDS  # noqa: N815 - Twisted's name

    def __init__(self, reactor: Any, clock: Any, *, persistent: bool) -> None:
        super().__init__(reactor, persistent)  # type: ignore[no-untyped-call]
        self._clock = clock
        self._closed = False

    def close(self) -> Deferred[None]:
        self._closed = True
        closing: Deferred[None] = self.closeCachedConnections()  # type: ignore[no-untyped-call]
        return closing

    def _putConnection(self, key: Any, connection: Any) -> None:  # noqa: N802 - Twisted's name
        if self._closed:  # or it would be kept for a while yet
            connection.transport.loseConnection()
        else:
            super()._putConnection(key, connection)  # type: ignore[no-untyped-call]

    def _newConnection(self, key: Any, endpoint: Any) -> Deferred[HTTP11ClientProtocol]:  # noqa: N802 - Twisted's name
        connecting: Any = super()._newConnection(key, endpoint)
        if key[0] == b"https":
            connecting.addCallback(_Connection.greeted)
        connecting.addErrback(_as_cancelled)
        connecting.addTimeout(CONNECT_SECONDS, self._clock)
        connecting.addErrback(_explain_no_connection)
        connection: Deferred[HTTP11ClientProtocol] = connecting
        return connection


class _Body(Protocol):
    """Collects a body of at most ``MAX_BODY`` bytes; cancelling ``finished`` closes the connection."""

    def __init__(self) -> None:
        self.finished: Deferred[bytes] = Deferred(lambda _: self._hang_up())
        self._chunks: list[bytes] = []
        self._size = 0

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        self._size += len(data)
        if self._size <= MAX_BODY:
            self._chunks.append(data)
        elif not self.finished.called:
            self._chunks.clear()
            self.finished.errback(TransportError(f"the reply is longer than {MAX_BODY} bytes", sent=True))
            self._hang_up()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802 - Twisted's name
        if self.finished.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.finished.callback(b"".join(self._chunks))
        else:
            self.finished.errback(reason)

    def _hang_up(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            transport.loseConnection()


@implementer(IAgentEndpointFactory)
class _Endpoint:
    """One server's endpoint, made once: Twisted's own factory makes one for each request, even over a kept connection."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._endpoint: Any = None

    def endpointForURI(self, uri: URI) -> Any:  # noqa: N802 - Twisted's name
        if self._endpoint is None:
            endpoint: Any = HostnameEndpoint(self._reactor, uri.host.decode("ascii"), uri.port)
            if uri.scheme == b"https":
                tls: Any = BrowserLikePolicyForHTTPS()
                endpoint = wrapClientTLS(tls.creatorForNetloc(uri.host, uri.port), endpoint)
            self._endpoint = endpoint
        return self._endpoint


class Transport:
    """Posts JSON to one server. Its methods return Deferreds, so they run on any reactor.

    A connection that was kept may be closed by the server just when the next request goes out, and nobody can tell then
    whether that was read. What must not be lost like this takes a fresh one, which costs more CPU under TLS.
    """

    def __init__(self, base_url: str, reactor: Any, clock: Any) -> None:
        self._base_url = base_url.rstrip("/")
        self._reactor = reactor
        self._clock = clock
        self._endpoint = _Endpoint(reactor)
        self._pool: Any = _Pool(reactor, clock, persistent=True)
        self._client = self._client_of(self._pool)
        self._fresh_client = self._client_of(_Pool(reactor, clock, persistent=False))

    def _client_of(self, pool: Any) -> HTTPClient:
        agent: Any = Agent.usingEndpointFactory(self._reactor, self._endpoint, pool)
        return HTTPClient(agent)

    def post_json(
        self, path: str, payload: dict[str, Any], timeout: float, *, fresh: bool = False
    ) -> Deferred[tuple[int, bytes]]:
        """POST ``payload``; fires with the HTTP status and the body within ``timeout`` seconds.

        ``fresh``: over a connection of its own. Fails with :class:`TransportError` alone.
        """
        exchange = Deferred.fromCoroutine(self._exchange(self._fresh_client if fresh else self._client, path, payload))
        exchange.addTimeout(timeout, self._clock, lambda _, seconds: _timed_out(seconds))
        exchange.addErrback(_explain)
        return exchange

    async def _exchange(self, client: HTTPClient, path: str, payload: dict[str, Any]) -> tuple[int, bytes]:
        response: Any = await client.request(
            "POST",
            self._base_url + path,
            json=payload,
            allow_redirects=False,
            unbuffered=True,
            reactor=self._reactor,
        )
        body = _Body()
        response.deliverBody(body)
        status: int = response.code
        return status, await body.finished

    def close(self) -> Deferred[None]:
        """Close the idle connections; those in use end with their requests."""
        closing: Deferred[None] = self._pool.close()
        return closing


_NO_TLS = "no TLS connection, or one that could not be verified"


def _timed_out(seconds: float) -> NoReturn:
    raise TransportError(f"no reply within {seconds:g} s", sent=True)


def _as_cancelled(failure: Failure) -> Failure:
    """A connection that is cancelled before it is there has an error of its own, which is no CancelledError."""
    if failure.check(ConnectingCancelledError):
        raise CancelledError from None
    return failure


def _explain_no_connection(failure: Failure) -> NoReturn:
    """Say in plain words why there is no connection."""
    error = failure.value
    if isinstance(error, CancelledError):
        raise error
    if isinstance(error, DNSLookupError):
        raise TransportError("the host name cannot be resolved", sent=False)
    if isinstance(error, TimeoutError):
        raise TransportError(f"no connection within {CONNECT_SECONDS:g} s", sent=False)
    if isinstance(error, SSL.Error) or type(error).__name__ == "VerificationError":
        raise TransportError(_NO_TLS, sent=False)
    raise TransportError(f"no connection ({type(error).__name__})", sent=False)


def _explain(failure: Failure) -> NoReturn:
    """Say in plain words what became of a request that the server may have got."""
    error: BaseException | None = failure.value
    while reasons := getattr(error, "reasons", None):  # ResponseNeverReceived, RequestTransmissionFailed
        error = reasons[0].value
    if isinstance(error, (TransportError, CancelledError)):
        raise error
    if type(error).__name__ == "VerificationError":  # Twisted 25 finds it as the handshake ends, and sends nothing
        raise TransportError(_NO_TLS, sent=False)
    raise TransportError(f"the connection was lost ({type(error).__name__})", sent=True)
