"""The cookies of the visit in which a page was shown.

Forms and image captchas are often bound to a session. Where several requests of a crawl meet a gate at once, each may be
given a session of its own, and the last one wins in their common cookie jar. So the request that carries a solution takes
along the cookies of the page that posed the challenge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from scrapy_capsolver._compat.cookie_jars import jar_of, keeps_cookies
from scrapy_capsolver._utils.set_cookie import accepted_from
from scrapy_capsolver.families.cookies import own_cookies

if TYPE_CHECKING:
    from collections.abc import Iterable
    from http.cookiejar import Cookie

    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response


def session_of(crawler: Crawler, request: Request, response: Response) -> list[dict[str, Any]]:
    """The cookies that were sent with ``request``, as changed by ``response``, in the form of ``Request.cookies``.

    Empty where Scrapy's cookie jar is not in use for the request.
    """
    if not keeps_cookies(crawler, request):
        return []
    issued = accepted_from(response, request)
    values = _sent(request) | {cookie.name: cookie.value or "" for cookie in issued}
    jar = jar_of(crawler, request)
    if jar is None:
        known = {cookie.name: cookie for cookie in issued}
        return [
            _as_dict(known[name], value) if name in known else {"name": name, "value": value, "path": "/"}
            for name, value in values.items()
        ]
    host = urlsplit(request.url).hostname or ""
    session = {}
    # Their domain and path are known to the jar alone; one that is no longer in it was deleted by the site.
    for cookie in jar:
        domain = cookie.domain.lstrip(".").removesuffix(".local")
        if cookie.name in values and (host == domain or host.endswith(f".{domain}")):
            session[cookie.name, cookie.domain, cookie.path] = _as_dict(cookie, values[cookie.name])
    return list(session.values())


def _as_dict(cookie: Cookie, value: str) -> dict[str, Any]:
    return {
        "name": cookie.name,
        "value": value,
        "path": cookie.path,
        **({"domain": cookie.domain} if cookie.domain_specified else {}),
        **({"secure": True} if cookie.secure else {}),
    }


def with_cookies(request: Request, cookies: Iterable[dict[str, Any]]) -> Request:
    """``request`` with these cookies after its own, which they overrule."""
    added = list(cookies)
    if not added:
        return request
    return request.replace(cookies=[*own_cookies(request), *added])


def _sent(request: Request) -> dict[str, str]:
    """Names and values of the ``Cookie`` header, as far as they can be read."""
    values = {}
    for header in request.headers.getlist("Cookie"):
        for pair in header.decode("latin-1").split(";"):
            name, separator, value = pair.strip().partition("=")
            if separator and name:
                values[name] = value
    return values
