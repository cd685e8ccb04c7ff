"""Goes through a task's proxy as the real service would, to learn the address that the site sees of it.

Sources: docs.capsolver.com/guide/api-how-to-use-proxy for the forms, RFC 7617 for the credentials.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Protocol
from twisted.web.client import ProxyAgent
from twisted.web.http_headers import Headers

if TYPE_CHECKING:
    from .task_types import Fields

# In real seconds: how long a proxy may take.
_PATIENCE_SECONDS = 10.0

# The path of the site that tells a visitor his address.
WHO_AM_I = "/_whoami"

_COLONS = re.compile(r"(?:(?P<scheme>http|https|socks4|socks5):)?(?P<rest>[^/]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Proxy:
    scheme: str
    host: str
    port: int
    user: str | None = None
    password: str = ""


def read_proxy(fields: Fields) -> Proxy:
    """Return the proxy of a task, whose fields are known to be right."""
    whole = fields.get("proxy")
    if not whole:
        login = fields.get("proxyLogin")
        user, password = (str(login), str(fields.get("proxyPassword") or "")) if login else (None, "")
        return Proxy(fields["proxyType"], fields["proxyAddress"], fields["proxyPort"], user, password)
    if "://" in whole:
        parts = urlsplit(whole)
        user = None if parts.username is None else unquote(parts.username)
        return Proxy(parts.scheme, parts.hostname or "", parts.port or 0, user, unquote(parts.password or ""))
    match = _COLONS.fullmatch(whole)
    assert match is not None
    host, port, *credentials = match["rest"].split(":")
    return Proxy((match["scheme"] or "http").lower(), host, int(port), *credentials)


def find_address(proxy: Proxy, site_url: str, reactor: Any) -> Deferred[str | None]:
    """Ask the site through the proxy; the Deferred fires with the address, or nothing if the proxy is of no use.

    Only HTTP proxies are tried: any other is of no use.
    """
    if proxy.scheme != "http":
        return succeed(None)
    headers = Headers({"Connection": ["close"]})
    if proxy.user is not None:
        credentials = b64encode(f"{proxy.user}:{proxy.password}".encode("utf-8", "replace")).decode("ascii")
        headers.addRawHeader("Proxy-Authorization", f"Basic {credentials}")
    agent = ProxyAgent(HostnameEndpoint(reactor, proxy.host, proxy.port, _PATIENCE_SECONDS), reactor)
    asking: Deferred[Any] = maybeDeferred(agent.request, b"GET", f"{site_url}{WHO_AM_I}".encode(), headers)
    asking.addCallback(_read)
    asking.addTimeout(_PATIENCE_SECONDS, reactor)
    return asking.addCallbacks(_address, lambda _: None)


def _read(response: Any) -> Deferred[bytes]:
    body = _Body()
    response.deliverBody(body)
    return body.received


class _Body(Protocol):
    """Collects a body; Twisted's own readBody warns where the whole of it is there already."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self.received: Deferred[bytes] = Deferred(lambda _: self._give_up())

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        self._chunks.append(data)

    def connectionLost(self, reason: object = None) -> None:  # noqa: N802 - Twisted's name
        if not self.received.called:
            self.received.callback(b"".join(self._chunks))

    def _give_up(self) -> None:
        transport: Any = self.transport
        transport.stopProducing()


def _address(body: bytes) -> str | None:
    """Return what the site answered. A proxy's own refusal is no such answer, whatever its status."""
    try:
        value = json.loads(body)
    except ValueError:
        return None
    address = value.get("address") if isinstance(value, dict) else None
    return address if isinstance(address, str) else None
