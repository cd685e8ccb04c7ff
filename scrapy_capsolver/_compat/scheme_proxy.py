"""What Scrapy's HttpProxyMiddleware notes in the meta of a request that goes by a proxy of the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from scrapy import Request


def forget_scheme_proxy(request: Request, before: str) -> None:
    """Take the environment's proxy off ``request`` if that was for the scheme of ``before``, the address that it had.

    The environment names a proxy for each scheme (``http_proxy``, ``https_proxy``). Scrapy's redirects do the same.
    """
    if "_scheme_proxy" in request.meta and urlsplit(before).scheme != urlsplit(request.url).scheme:
        for key in ("_scheme_proxy", "proxy", "_auth_proxy"):
            request.meta.pop(key, None)
        request.headers.pop("Proxy-Authorization", None)
