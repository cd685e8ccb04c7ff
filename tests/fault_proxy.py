"""Stands between the plugin and the simulator's API, in this process, and does to an exchange what networks do.

An exchange is a request and its response; a connection may carry several. What goes wrong is chosen for each when the
request's head has come, for only then is it known which call it is.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from scrapy.utils.defer import maybe_deferred_to_future
from twisted.internet.defer import CancelledError, Deferred, gatherResults, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.task import deferLater

from tests.wires import sizes, wires

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.failure import Failure

    from tests.wires import Wire

UNRESOLVABLE = "https://capsolver.invalid"  # by RFC 2606 there is no such host

# How far an exchange gets. With one of the first, the API does not see the whole request.
UNPASSED = (
    "request start",  # the head has come, nothing of it is passed on
    "request head",  # half of the head is passed on
    "request body",  # the head and half of the body are passed on
    "request read",  # all of the request has come, nothing of it is passed on
)
PLACES = (
    *UNPASSED,
    "request passed",  # the API has answered, no byte of that is passed on
    "status line",  # half of the status line is passed on
    "response head",  # the status line and half of the other lines are
    "response body",  # the head and half of the body are
    "response end",  # all of it is
)


@dataclass(frozen=True)
class Fault:
    """What goes wrong and where.

    ``reset`` (RST) and ``close`` (FIN) end the connection; ``silence`` leaves it open. ``drip`` sends the response byte
    by byte. ``stale`` is the last reply about another task, ``repeat`` the one before about the same task: they strike
    getTaskResult alone, where there has been such a reply. ``garbage`` is no HTTP, in place of the response or after
    it. ``content type`` and ``truncated`` change the response; ``status`` is another one, as ``what`` says.
    """

    kind: str
    at: str = "request passed"
    what: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.kind, self.what, "at", self.at)))

    @property
    def passed(self) -> bool:
        """Whether the API sees the whole request, so that a task is created there."""
        return self.at not in UNPASSED


FAULTS = (
    *(Fault(kind, at) for kind in ("reset", "close") for at in PLACES),
    Fault("silence", "request read"),
    *(Fault(kind) for kind in ("silence", "drip", "stale", "repeat", "garbage", "content type", "truncated")),
    Fault("garbage", "response end"),
    Fault("status", "request start", "503 html"),  # the answer comes before the request's body
    *(
        Fault("status", at, f"{status} {body}")
        for at in ("request read", "request passed")
        for status in (429, 500, 502, 503)
        for body in ("json", "html", "empty")
    ),
)

_GARBAGE = b"\x00\xff not HTTP\r\n\r\n"
_BODIES = {
    "json": ("application/json", b'{"message": "upstream"}'),
    "html": ("text/html", b"<html><body><h1>Bad gateway</h1></body></html>"),
    "empty": ("text/plain", b""),
}


class FaultProxy:
    """``choose(method, n)`` says what goes wrong with the n-th call of a method, counted from 1.

    Listens at ``url`` within ``async with``, which raises what ``choose`` raised.
    """

    def __init__(
        self, upstream_url: str, choose: Callable[[str, int], Fault | None], *, drip_seconds: float = 0.002
    ) -> None:
        from twisted.internet import reactor

        self._reactor: Any = reactor
        upstream = urlsplit(upstream_url)
        self._upstream = TCP4ClientEndpoint(reactor, upstream.hostname or "", upstream.port or 80)
        self._choose = choose
        self._drip_seconds = drip_seconds
        self._number = 0
        self._clients: set[Wire] = set()
        self._servers: set[Wire] = set()
        self._replies: list[tuple[str, bytes]] = []  # task, response
        self._failures: list[Failure] = []
        self.calls: Counter[str] = Counter()  # by method
        self.hits: Counter[str] = Counter()  # by str(fault): how often it did strike
        self.connections = 0  # that were accepted

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._number}"

    @property
    def tls_url(self) -> str:
        """The same, for a client that takes it for a TLS server."""
        return f"https://127.0.0.1:{self._number}"

    @property
    def open(self) -> int:
        """How many connections are open."""
        return len(self._clients)

    async def __aenter__(self) -> FaultProxy:  # noqa: PYI034 - Self is not in Python 3.10
        self.listen()
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        await self.refuse()
        if error is None and self._failures:
            self._failures[0].raiseException()

    def listen(self) -> None:
        self._port = self._reactor.listenTCP(self._number, wires(self._clients, self._made), interface="127.0.0.1")
        self._number = self._port.getHost().port

    async def refuse(self) -> None:
        """Reset the connections there are, and have further ones refused until ``listen`` is called."""
        await maybe_deferred_to_future(maybeDeferred(self._port.stopListening))  # None where it has stopped
        while left := [*self._clients, *self._servers]:
            for wire in left:
                wire.drop("reset")
            await maybe_deferred_to_future(gatherResults([wire.gone for wire in left]))

    def _made(self, client: Wire) -> None:
        self.connections += 1
        serving = Deferred.fromCoroutine(self._serve(client))
        client.gone.addCallback(lambda _: serving.cancel())
        serving.addErrback(self._failed, client)

    def _failed(self, failure: Failure, client: Wire) -> None:
        if not failure.check(CancelledError, ConnectingCancelledError):
            self._failures.append(failure)
            client.drop("reset")

    async def _serve(self, client: Wire) -> None:
        servers: list[Wire] = []  # one at most, kept as long as the client's connection
        try:
            while await client.has(lambda data: data[:1] == b"\x16" or sizes(data)[0] > 0):
                if client.data[:1] == b"\x16":  # a TLS handshake
                    client.send(_answer("400 html"))
                    client.drop("close")
                elif await self._exchange(client, servers):
                    continue
                await client.has(lambda _: False)  # until it is gone
                break
        finally:
            for server in servers:
                server.drop("close")

    async def _exchange(self, client: Wire, servers: list[Wire]) -> bool:
        """Whether there may be another one on this connection."""
        head, size = sizes(client.data)
        method = client.data.split(b" ", 2)[1].decode("latin-1").removeprefix("/")
        self.calls[method] += 1
        fault = self._choose(method, self.calls[method]) or Fault("")
        half = head + (size - head) // 2
        cuts = {"request start": (head, 0), "request head": (head, head // 2), "request body": (half, half)}
        awaited, passed = cuts.get(fault.at, (size, size if fault.passed else 0))
        if not await client.has(lambda data: len(data) >= awaited):
            return False
        response = b""
        if passed:
            if not self._servers.intersection(servers):
                servers[:] = [await self._upstream.connect(wires(self._servers))]
            server = servers[0]
            server.data = b""
            server.send(client.data[:passed])
            if fault.passed:
                await server.has(lambda data: len(data) >= sizes(data)[1] > 0)
                response = server.data
            else:
                server.drop(fault.kind)
        task = str(json.loads(client.data[head:size])["taskId"]) if method == "getTaskResult" and response else ""
        sent = self._sent(fault, task, response)
        if task:
            self._replies.append((task, response))
        if fault.kind and sent is not None:
            self.hits[str(fault)] += 1
        if fault.kind == "silence":
            return False
        if fault.kind == "drip":
            for n in range(len(response)):
                client.send(response[n : n + 1])
                await deferLater(self._reactor, self._drip_seconds)
        else:
            client.send(response if sent is None else sent)
        if fault.kind in {"reset", "close"} or (passed and server not in self._servers):
            client.drop(fault.kind)
            return False
        await client.has(lambda data: len(data) >= size)
        client.data = client.data[size:]
        return True

    def _sent(self, fault: Fault, task: str, response: bytes) -> bytes | None:
        """What the client gets in place of this response. None: there is nothing yet that could be sent."""
        line, head = response.find(b"\r\n") + 2, sizes(response)[0]
        half = (head + len(response)) // 2
        if fault.kind in {"reset", "close"}:
            cuts = {"status line": line // 2, "response head": (line + head) // 2, "response body": half}
            return response[: cuts.get(fault.at, len(response) if fault.at == "response end" else 0)]
        if fault.kind in {"stale", "repeat"}:
            other = fault.kind == "stale"
            return next((reply for of, reply in reversed(self._replies) if task and (of != task) is other), None)
        if fault.kind == "garbage":
            return (response if fault.at == "response end" else b"") + _GARBAGE
        if fault.kind == "status":
            return _answer(fault.what)
        if fault.kind == "content type":
            return re.sub(rb"(?i)(\r\ncontent-type:)[^\r]*", rb"\1 text/html", response, count=1)
        if fault.kind == "truncated":
            return re.sub(rb"(?i)(\r\ncontent-length:)[^\r]*", rb"\1 %d" % (half - head), response[:half], count=1)
        return response


def _answer(what: str) -> bytes:
    status, kind = what.split()
    content_type, body = _BODIES[kind]
    lines = f"HTTP/1.1 {status} {HTTPStatus(int(status)).phrase}", f"Content-Type: {content_type}"
    return "\r\n".join((*lines, f"Content-Length: {len(body)}", "", "")).encode() + body
