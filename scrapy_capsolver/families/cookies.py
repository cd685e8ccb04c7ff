"""Cookies that come with a solution, into the request."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scrapy import Request
    from scrapy.http.headers import Headers

# RFC 6265, section 4.1.1: what can stand in a cookie without quotes or escapes.
_VALUE = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]{1,4096}")


def cookie_value(value: object) -> str | None:
    """``value`` if it can be that of a cookie, so that it can bring neither a second cookie nor a second header."""
    return value if isinstance(value, str) and _VALUE.fullmatch(value) else None


def own_cookies(request: Request) -> list[Any]:
    """``request.cookies`` in the longer of its two forms, a dict for each cookie."""
    if isinstance(request.cookies, dict):
        return [{"name": name, "value": value} for name, value in request.cookies.items()]
    return list(request.cookies)


def with_cookies(request: Request, cookies: Mapping[str, str]) -> Request:
    """Return a copy of ``request`` with these cookies of a solution in its ``cookies``; the others there stay.

    The middleware takes them from there: they go out with this request only, and enter no cookie jar.
    """
    others = [cookie for cookie in own_cookies(request) if cookie.get("name") not in cookies]
    return request.replace(cookies=[*others, *({"name": name, "value": value} for name, value in cookies.items())])


def cookies_of(request: Request) -> dict[str, str]:
    """Return the names and values of ``request.cookies``."""
    return {str(cookie["name"]): str(cookie["value"]) for cookie in own_cookies(request)}


def set_cookies(headers: Headers, cookies: Mapping[str, str]) -> None:
    """Put these cookies into the ``Cookie`` header in place of those of their names."""
    kept = []
    for pair in re.split(r";\s*", (headers.get("Cookie") or b"").decode("latin-1")):
        name = pair.partition("=")[0]
        if pair and name.strip() not in cookies:
            kept.append(pair)
    headers["Cookie"] = "; ".join([*kept, *(f"{name}={value}" for name, value in cookies.items())])
