"""The cookies that a response sets, read by Python's own cookie jar: Scrapy does not document the one that it has."""

from __future__ import annotations

from email.message import Message
from http.cookiejar import CookieJar
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.request import Request as UrllibRequest

if TYPE_CHECKING:
    from http.cookiejar import Cookie

    from scrapy import Request
    from scrapy.http import Response


def made_by(response: Response, request: Request) -> list[Cookie]:
    """Return the cookies of the ``Set-Cookie`` headers that can be read and have not expired."""
    return list(CookieJar().make_cookies(_answer(response), _asked(request)))


def accepted_from(response: Response, request: Request) -> list[Cookie]:
    """Return those that a cookie jar would keep: they are for a domain of the request's."""
    jar = CookieJar()
    jar.extract_cookies(_answer(response), _asked(request))
    return list(jar)


def goes_to(cookie: Cookie, url: str) -> bool:
    """Return whether a cookie jar would send ``cookie`` to ``url``."""
    jar, asked = CookieJar(), UrllibRequest(url)  # noqa: S310 - nothing is opened
    jar.set_cookie_if_ok(cookie, asked)
    jar.add_cookie_header(asked)
    return asked.has_header("Cookie")


def _answer(response: Response) -> Any:
    message = Message()
    for value in response.headers.getlist("Set-Cookie"):
        message["Set-Cookie"] = value.decode("utf-8", "replace")
    return SimpleNamespace(info=lambda: message)


def _asked(request: Request) -> UrllibRequest:
    return UrllibRequest(request.url)  # noqa: S310 - nothing is opened
