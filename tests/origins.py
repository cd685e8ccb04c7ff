"""Several origins on this machine: names, ports and schemes, with what each of them was asked, and how."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import trustme
from scrapy.utils.defer import maybe_deferred_to_future
from twisted.internet.address import IPv4Address
from twisted.internet.defer import DeferredList
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.protocol import Factory
from twisted.internet.ssl import DefaultOpenSSLContextFactory
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface import implementer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

Answer = tuple[int, dict[str, str | list[str]], str]
"""Status, headers and body."""

WWW, SIBLING, PARENT, OTHER = "www.shop-one.com", "img.shop-one.com", "shop-one.com", "www.shop-two.com"
NAMES = (WWW, SIBLING, PARENT, OTHER)


@dataclass
class Asked:
    """A request as a server got it."""

    origin: str
    method: str
    path: str
    query: str
    headers: dict[str, list[str]]
    body: str

    @property
    def text(self) -> str:
        """All of it."""
        return f"{self.method} {self.path}?{self.query} {self.headers} {self.body}"

    def header(self, name: str) -> str | None:
        """The value of a header that is there once."""
        values = self.headers.get(name.lower())
        if values is None:
            return None
        (value,) = values
        return value


@dataclass
class World:
    """``answer`` is what all servers say. Plain http is on two ports, https on one."""

    answer: Callable[[Asked], Answer]
    port: int = 0
    other_port: int = 0
    tls_port: int = 0
    asked: list[Asked] = field(default_factory=list)

    def url(self, path: str = "/", host: str = WWW, *, port: int | None = None, scheme: str = "http") -> str:
        """Return the address of ``path`` on ``host``, on the first port for plain http if none is given."""
        usual = self.tls_port if scheme == "https" else self.port
        return f"{scheme}://{host}:{usual if port is None else port}{path}"

    def at(self, origin: str) -> list[Asked]:
        """Return what the origin of this address was asked."""
        parts = urlsplit(origin)
        return [one for one in self.asked if one.origin == f"{parts.scheme}://{parts.netloc}"]


class _Server(Resource):
    isLeaf = True  # noqa: N815

    def __init__(self, world: World) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._world = world

    def render(self, request: Any) -> bytes:
        headers: dict[str, list[str]] = {
            name.decode("latin-1").lower(): [value.decode("latin-1") for value in values]
            for name, values in request.requestHeaders.getAllRawHeaders()
        }
        asked = Asked(
            origin=f"{'https' if request.isSecure() else 'http'}://{headers['host'][0]}",
            method=request.method.decode(),
            path=request.path.decode("latin-1"),
            query=request.uri.decode("latin-1").partition("?")[2],
            headers=headers,
            body=request.content.read().decode("latin-1"),
        )
        self._world.asked.append(asked)
        status, fields, body = self._world.answer(asked)
        request.setResponseCode(status)
        request.setHeader("Content-Type", "text/html; charset=utf-8")
        for name, values in fields.items():
            for value in [values] if isinstance(values, str) else values:
                request.responseHeaders.addRawHeader(name, value)
        return body.encode()


@implementer(IHostnameResolver)
class _Names:
    """Knows the names of this module, which all lead here, and leaves the rest to the one before it."""

    def __init__(self, before: Any) -> None:
        self._before = before

    def resolveHostName(self, receiver: Any, hostName: str, portNumber: int = 0, *more: Any, **rest: Any) -> Any:  # noqa: N803
        if hostName not in NAMES:
            return self._before.resolveHostName(receiver, hostName, portNumber, *more, **rest)
        receiver.resolutionBegan(self)
        receiver.addressResolved(IPv4Address("TCP", "127.0.0.1", portNumber))
        receiver.resolutionComplete()
        return self


class _WithoutNegotiation(Factory):
    """Hides that a Site can do HTTP/2: with a newer pyOpenSSL, Twisted 25.5 cannot negotiate it."""

    def __init__(self, site: Any) -> None:
        self._site = site

    def buildProtocol(self, addr: Any) -> Any:
        return self._site.buildProtocol(addr)


@asynccontextmanager
async def world(answer: Callable[[Asked], Answer]) -> AsyncIterator[World]:
    """Serve all origins of ``NAMES`` and of 127.0.0.0/8."""
    from twisted.internet import reactor

    clock: Any = reactor
    result = World(answer)
    site: Any = Site(_Server(result))
    site.timeOut = None  # or each connection leaves a timer behind
    with trustme.CA().issue_cert(*NAMES).private_key_and_cert_chain_pem.tempfile() as pem:
        tls: Any = DefaultOpenSSLContextFactory(pem, pem)  # type: ignore[no-untyped-call]
        ports = [
            clock.listenTCP(0, site, interface="0.0.0.0"),
            clock.listenTCP(0, site, interface="0.0.0.0"),
            clock.listenSSL(0, _WithoutNegotiation(site), tls, interface="0.0.0.0"),
        ]
        result.port, result.other_port, result.tls_port = (port.getHost().port for port in ports)
        before = clock.installNameResolver(_Names(clock.nameResolver))
        try:
            yield result
        finally:
            clock.installNameResolver(before)
            await maybe_deferred_to_future(DeferredList([port.stopListening() for port in ports]))
