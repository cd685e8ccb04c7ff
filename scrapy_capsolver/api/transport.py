"""One POST of JSON over treq: own connection pools, one deadline for all of it, a bounded body, no redirect.

Twisted's names here are all documented. Its own way to a connection that is verified before a request is written would be
private, hence the endpoint here. treq's own ``timeout`` ends with the headers, and its body readers cannot be cancelled,
hence the body protocol.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from OpenSSL import SSL
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, TimeoutError  # noqa: A004 - Twisted's own name
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectingCancelledError, DNSLookupError
from twisted.internet.interfaces import IHandshakeListener, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.web.client import URI, Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer  # type: ignore[import-untyped,unused-ignore]

from scrapy_capsolver import __version__
from scrapy_capsolver.api.encodings import EncodingError, decoded
from scrapy_capsolver.api.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.failure import Failure

MAX_BODY = 1 << 20  # bytes; the largest solutions are a few kilobytes
MAX_CONNECTIONS = 64  # kept open; a fresh TLS connection costs five times the CPU of a reused one
IDLE_SECONDS = 20  # a connection is dropped before the server would close it under our hands
CONNECT_SECONDS = 10.0  # with the name looked up and the TLS handshake done
# Cloudflare stands before CapSolver, and may refuse or challenge callers without a User-Agent.
HEADERS = {"User-Agent": [f"scrapy-capsolver/{__version__}"], "Accept": ["application/json"]}


class TransportError(Exception):
    """No reply. The message says why in plain words and holds nothing of what was sent."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent
        """False: the server surely never saw the request."""


@implementer(IHandshakeListener)
class _Greeting(Protocol):
    """Stands between a TLS connection and Twisted's HTTP protocol until the handshake is done.

    Twisted's HTTP protocol would write its request before that, and what fails then looks as if it had been sent.
    """

    transport: Any

    def __init__(self, http: Any) -> None:
        self._http = http
        self.done: Deferred[Any] = Deferred(lambda _: self.transport.abortConnection())
        """Fires with the HTTP protocol when the server is known to be the right one, and has seen nothing yet."""

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        self._http.makeConnection(self.transport)

    def handshakeCompleted(self) -> None:  # noqa: N802 - Twisted's name
        if not self.done.called:
            self.done.callback(self._http)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        self._http.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802 - Twisted's name
        self._http.connectionLost(reason)
        if not self.done.called:
            self.done.errback(reason)


class _Greetings(Factory):
    noisy = False

    def __init__(self, http: Any) -> None:
        self._http = http

    def buildProtocol(self, addr: Any) -> _Greeting:  # noqa: N802 - Twisted's name
        return _Greeting(self._http.buildProtocol(addr))


@implementer(IStreamClientEndpoint)
class _Endpoint:
    """Connects to one server. What fails before the connection is ready for a request has ``sent`` False."""

    def __init__(self, reactor: Any, clock: Any, uri: URI) -> None:
        self._clock = clock
        self._is_tls = uri.scheme == b"https"
        endpoint: Any = HostnameEndpoint(reactor, uri.host.decode("ascii"), uri.port)
        if self._is_tls:
            policy: Any = BrowserLikePolicyForHTTPS()
            endpoint = wrapClientTLS(policy.creatorForNetloc(uri.host, uri.port), endpoint)
        self._endpoint = endpoint

    def connect(self, protocolFactory: Any) -> Any:  # noqa: N803 - Twisted's name
        protocolFactory.noisy = False  # or each connection writes two INFO lines
        if self._is_tls:
            connecting = self._endpoint.connect(_Greetings(protocolFactory))
            connecting.addCallback(lambda greeting: greeting.done)
        else:
            connecting = self._endpoint.connect(protocolFactory)
        connecting.addErrback(_as_cancelled)
        connecting.addTimeout(CONNECT_SECONDS, self._clock)
        connecting.addErrback(_explain_no_connection)
        return connecting


class _Body(Protocol):
    """Collects a body of at most ``MAX_BODY`` bytes; cancelling ``finished`` closes the connection."""

    def __init__(self, heard: Callable[[], None]) -> None:
        self._heard = heard
        self.finished: Deferred[bytes] = Deferred(lambda _: self._hang_up())
        self._chunks: list[bytes] = []
        self._size = 0

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        self._heard()
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
class _Endpoints:
    """One server's endpoint, made once: Twisted's own factory makes one for each request, even over a kept connection."""

    def __init__(self, reactor: Any, clock: Any) -> None:
        self._reactor = reactor
        self._clock = clock
        self._endpoint: _Endpoint | None = None

    def endpointForURI(self, uri: URI) -> _Endpoint:  # noqa: N802 - Twisted's name
        if self._endpoint is None:
            self._endpoint = _Endpoint(self._reactor, self._clock, uri)
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
        self._endpoints = _Endpoints(reactor, clock)
        self._pool: Any = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = MAX_CONNECTIONS
        self._pool.cachedConnectionTimeout = IDLE_SECONDS
        self._client = self._client_of(self._pool)
        self._fresh_client = self._client_of(HTTPConnectionPool(reactor, persistent=False))
        self._closed = False

    def _client_of(self, pool: Any) -> HTTPClient:
        agent: Any = Agent.usingEndpointFactory(self._reactor, self._endpoints, pool)
        return HTTPClient(agent)

    def post_json(
        self,
        path: str,
        payload: dict[str, Any],
        timeout: float,
        *,
        longest: float | None = None,
        fresh: bool = False,
    ) -> Deferred[tuple[int, bytes]]:
        """POST ``payload``; the result is the HTTP status and the body.

        They come within ``timeout`` seconds. With ``longest``, a reply whose body keeps coming may take that long.
        ``fresh``: over a connection of its own. Fails with :class:`TransportError` only.
        """
        patience = Patience(self._clock, timeout, timeout if longest is None else longest)
        client = self._fresh_client if fresh else self._client
        exchange = Deferred.fromCoroutine(self._exchange(client, path, payload, patience))
        patience.limit(exchange, TransportError(f"no reply within {timeout:g} s", sent=True))
        exchange.addErrback(_explain)
        return exchange

    async def _exchange(
        self, client: HTTPClient, path: str, payload: dict[str, Any], patience: Patience
    ) -> tuple[int, bytes]:
        try:
            response: Any = await client.request(
                "POST",
                self._base_url + path,
                headers=Headers(HEADERS),
                json=payload,
                allow_redirects=False,
                unbuffered=True,
                reactor=self._reactor,
            )
            patience.heard()
            body = _Body(patience.heard)
            response.deliverBody(body)
            encodings = ",".join(response.headers.getRawHeaders("Content-Encoding", [])).split(",")
            status: int = response.code
            return status, decoded(await body.finished, encodings, MAX_BODY)
        except EncodingError as error:
            raise TransportError(str(error), sent=True) from None
        finally:
            if self._closed:  # or this connection would be kept for a while yet
                self._pool.closeCachedConnections()

    def close(self) -> Deferred[None]:
        """Close the idle connections; those in use end with their requests."""
        self._closed = True
        closing: Deferred[None] = self._pool.closeCachedConnections()
        return closing


_NO_TLS = "no TLS connection, or one that could not be verified"


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
