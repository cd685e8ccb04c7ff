"""Who a request is to the site it goes to: what a clearance is bound to."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from scrapy_capsolver.errors import CaptchaProxyError
from scrapy_capsolver.proxies import proxy_of
from scrapy_capsolver.sites import site_of
from scrapy_capsolver.stores import Key

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler


def key_of(crawler: Crawler, request: Request, secret: str) -> Key:
    """The key of the request's clearances, without a family, for the whole of its site.

    ``secret`` keeps the proxy's digest from being guessed.
    """
    site = site_of(request.url)
    try:
        proxy = proxy_of(crawler, request)
        digest = "" if proxy is None else proxy.digest(secret)
    except CaptchaProxyError:  # it will fail, or is some other middleware's own; no clearance is bound to it
        digest = str(request.meta.get("proxy"))
    jar = request.meta.get("cookiejar")
    return Key(site, site, "", digest, user_agent_of(request), "" if jar is None else repr(jar))


def user_agent_of(request: Request) -> str:
    return (request.headers.get("User-Agent") or b"").decode("latin-1")


def host_of(url: str) -> str:
    return urlsplit(url).hostname or ""
