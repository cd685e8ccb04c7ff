"""Who a request is to the site it goes to: what a clearance is bound to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy_capsolver._request.proxy import digest_of, proxy_of
from scrapy_capsolver._request.source_address import bind_address, machine
from scrapy_capsolver._utils.urls import host_of, registrable_domain, with_port
from scrapy_capsolver.errors import CaptchaProxyError
from scrapy_capsolver.stores import Key

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler


class ClientIdentity:
    """``secret`` keeps digests from being guessed; ``egress`` names the address that requests without a proxy leave from."""

    def __init__(self, crawler: Crawler, secret: str, egress: str) -> None:
        self._crawler = crawler
        self._secret = secret
        self._egress = egress or machine()
        self._bound: dict[str, str] = {}

    def key_of(self, request: Request) -> Key:
        """The key of the request's clearances, without a family, for the whole of its site."""
        site, jar = with_port(registrable_domain(request.url), request.url), request.meta.get("cookiejar")
        address = self.address_of(request)
        return Key(site, site, "", address, user_agent_of(request), "" if jar is None else repr(jar))

    def address_of(self, request: Request) -> str:
        """A digest of the address that the site sees: its proxy's, else that of this machine or network."""
        try:
            proxy = proxy_of(self._crawler, request)
        except CaptchaProxyError:  # it will fail, or is some other middleware's own; no clearance is bound to it
            return digest_of(str(request.meta.get("proxy")), self._secret)
        if proxy is not None:
            return proxy.digest(self._secret)
        bound = bind_address(self._crawler.settings, request)
        if bound not in self._bound:
            self._bound[bound] = digest_of(f"{self._egress} {bound}", self._secret)
        return self._bound[bound]


def user_agent_of(request: Request) -> str:
    return (request.headers.get("User-Agent") or b"").decode("latin-1")


def visited_host(request: Request) -> str:
    """Return the host that ``request`` goes to, with its port if that is an unusual one: the scope of a clearance.

    Stricter than a cookie, which goes to all ports of a host.
    """
    return with_port(host_of(request.url), request.url)
