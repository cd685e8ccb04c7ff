"""One POST of JSON over treq: own connection pool, one deadline for all of it, a bounded body, no redirect.

treq's own ``timeout`` ends with the headers and its body readers cannot be cancelled, hence the body protocol here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from OpenSSL import SSL
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, DNSLookupError, TimeoutError  # noqa: A004 - Twisted's own name
from twisted.internet.protocol import Protocol, connectionDone
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone, _HTTP11ClientFactory
from twisted.web.http import PotentialDataLoss

if TYPE_CHECKING:
    from twisted.python.failure import Failure

MAX_BODY = 1 << 20  # bytes; the largest solutions are a few kilobytes
MAX_CONNECTIONS = 64  # kept open; a fresh TLS connection costs five times the CPU of a reused one
IDLE_SECONDS = 20  # a connection is dropped before the server would close it under our hands
CONNECT_SECONDS = 10.0


class TransportError(Exception):
    """No reply. The message says why in plain words and holds nothing of what was sent."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent
        """False: the server surely never saw the request."""


class _QuietFactory(_HTTP11ClientFactory):
    noisy = False  # or each connection writes two INFO lines


class _Pool(HTTPConnectionPool):
    _factory = _QuietFactory
    maxPersistentPerHost = MAX_CONNECTIONS  # noqa: N815 - Twisted's name
    cachedConnectionTimeout = IDLE_SECONDS  # noqa: N815 - Twisted's name


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


class Transport:
    """Posts JSON to one server. Its methods return Deferreds, so they run on any reactor."""

    def __init__(self, base_url: str, reactor: Any, clock: Any) -> None:
        self._base_url = base_url.rstrip("/")
        self._reactor = reactor
        self._clock = clock
        self._pool: Any = _Pool(reactor, persistent=True)  # type: ignore[no-untyped-call]
        agent: Any = Agent(reactor, connectTimeout=CONNECT_SECONDS, pool=self._pool)
        self._client = HTTPClient(agent)

    def post_json(self, path: str, payload: dict[str, Any], timeout: float) -> Deferred[tuple[int, bytes]]:
        """POST ``payload``; fires with the HTTP status and the body within ``timeout`` seconds.

        Fails with :class:`TransportError` alone.
        """
        exchange = Deferred.fromCoroutine(self._exchange(path, payload))
        exchange.addTimeout(timeout, self._clock, lambda _, seconds: _timed_out(seconds))
        exchange.addErrback(_explain)
        return exchange

    async def _exchange(self, path: str, payload: dict[str, Any]) -> tuple[int, bytes]:
        response: Any = await self._client.request(
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
        closing: Deferred[None] = self._pool.closeCachedConnections()
        return closing


def _timed_out(seconds: float) -> NoReturn:
    raise TransportError(f"no reply within {seconds:g} s", sent=True)


def _explain(failure: Failure) -> NoReturn:
    """Say in plain words what Twisted reports, and whether the request may have reached the server."""
    error: BaseException | None = failure.value
    while reasons := getattr(error, "reasons", None):  # ResponseNeverReceived, RequestTransmissionFailed
        error = reasons[0].value
    if isinstance(error, (TransportError, CancelledError)):
        raise error
    if isinstance(error, DNSLookupError):
        raise TransportError("the host name cannot be resolved", sent=False)
    if isinstance(error, TimeoutError):
        raise TransportError(f"no connection within {CONNECT_SECONDS:g} s", sent=False)
    if isinstance(error, ConnectError):
        raise TransportError(f"no connection ({type(error).__name__})", sent=False)
    if isinstance(error, SSL.Error) or type(error).__name__ == "VerificationError":
        raise TransportError("the TLS connection could not be verified or broke", sent=not _is_unverified(error))
    raise TransportError(f"the connection was lost ({type(error).__name__})", sent=True)


def _is_unverified(error: BaseException | None) -> bool:
    """The handshake failed, so that nothing was sent."""
    return "certificate verify failed" in str(error) or type(error).__name__ == "VerificationError"
