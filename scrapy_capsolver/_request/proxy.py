"""The proxy of a request: as CapSolver wants to hear of it, and as an identity that gives nothing away.

Source: docs.capsolver.com/guide/api-how-to-use-proxy
"""

from __future__ import annotations

import binascii
import ipaddress
from base64 import b64decode
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass
from weakref import WeakKeyDictionary

from scrapy.downloadermiddlewares.httpproxy import HttpProxyMiddleware

from scrapy_capsolver.errors import CaptchaProxyError
from scrapy_capsolver.settings import is_loopback

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler

KINDS = ("http", "https", "socks5")
"""What CapSolver can speak to. It names socks4 in one place and not in another."""

_ENVIRONMENTS: WeakKeyDictionary[Crawler, dict[str, str]] = WeakKeyDictionary()
_DEFAULT_PORTS = {"http": 80, "https": 443, "socks5": 1080}


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where it is, and how to get in. Shows neither user nor password."""

    kind: str
    host: str
    port: int
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    def fields(self) -> dict[str, Any]:
        """The task's fields. The split ones: in one string, a ``:`` or ``@`` in a password could not be told apart."""
        fields: dict[str, Any] = {"proxyType": self.kind, "proxyAddress": self.host, "proxyPort": self.port}
        if self.user or self.password:
            fields |= {"proxyLogin": self.user, "proxyPassword": self.password}
        return fields

    def digest(self, secret: str) -> str:
        """Tells it from others. The user and password count: providers choose the exit by them."""
        return digest_of("\0".join((self.kind, self.host, str(self.port), self.user, self.password)), secret)

    def check(self, *, api_on_loopback: bool) -> None:
        """Raise :class:`CaptchaProxyError` where CapSolver has no way to it."""
        if self.kind not in KINDS:
            raise CaptchaProxyError(f"the proxy is one of {self.kind!r}: CapSolver takes {', '.join(KINDS)}")
        if not api_on_loopback and (what := _is_private(self.host)):
            raise CaptchaProxyError(
                f"the proxy {self.host} is {what}: CapSolver reaches a proxy from its own network, not from this one"
            )


def digest_of(text: str, secret: str) -> str:
    key = blake2b(secret.encode()).digest()
    return blake2b(text.encode("utf-8", "surrogatepass"), key=key, digest_size=16).hexdigest()


def proxy_of(crawler: Crawler, request: Request) -> Proxy | None:
    """The proxy by which ``request`` goes, or went.

    Before HttpProxyMiddleware its credentials are in ``meta["proxy"]``; afterwards in ``Proxy-Authorization`` (Basic,
    in HTTPPROXY_AUTH_ENCODING), since that middleware takes them out. It also has what the environment says.
    Raises :class:`CaptchaProxyError` for an address that cannot be read.
    """
    if "proxy" in request.meta:
        url = request.meta["proxy"]
        if not url:
            return None
        header = request.headers.get("Proxy-Authorization")
        return _read(str(url), None if header is None else header.partition(b" ")[2], _encoding(crawler))
    if crawler.get_downloader_middleware(HttpProxyMiddleware) is None:
        return None
    parts = urlsplit(request.url)
    url = _proxies_of_environment(crawler).get(parts.scheme)
    if not url or proxy_bypass(parts.hostname or ""):
        return None
    return _read(url if "://" in url else f"{parts.scheme}://{url}", None, _encoding(crawler))


def _proxies_of_environment(crawler: Crawler) -> dict[str, str]:
    """Return what HttpProxyMiddleware reads when the crawl begins."""
    if crawler not in _ENVIRONMENTS:
        _ENVIRONMENTS[crawler] = getproxies()
    return _ENVIRONMENTS[crawler]


def _encoding(crawler: Crawler) -> str:
    return crawler.settings.get("HTTPPROXY_AUTH_ENCODING") or "latin-1"


def _read(url: str, credentials: bytes | None, encoding: str) -> Proxy:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url.removeprefix('//')}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
        parts = urlsplit("http://")
    if not host:
        raise CaptchaProxyError("the request's proxy has no address that can be read")
    kind = "socks5" if parts.scheme == "socks5h" else parts.scheme
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if credentials and not user:
        try:
            decoded = b64decode(credentials, validate=True).decode(encoding)
        except (binascii.Error, UnicodeDecodeError):
            raise CaptchaProxyError("the request's Proxy-Authorization cannot be read: it is no Basic one") from None
        user, _, password = decoded.partition(":")
    return Proxy(kind, host, port or _DEFAULT_PORTS.get(kind, 80), user, password)


def _is_private(host: str) -> str:
    """What keeps ``host`` from being reached from elsewhere; nothing where it may be public."""
    if is_loopback(host) or host.endswith(".localhost"):
        return "this machine itself"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        private = "." not in host.rstrip(".") or host.rstrip(".").endswith(
            (".local", ".internal", ".lan", ".home.arpa")
        )
        return "a name of a private network" if private else ""
    return "" if address.is_global else "an address of a private network"
