"""Where a solution goes in a request, when its family's own place does not fit: the flag's ``inject``.

A place is a name, which takes the solution's main value, or an object that says which value of the solution goes under
which name: ``{"form": {"geetest_validate": "validate", "geetest_challenge": "challenge"}}``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus, unquote_to_bytes, urlsplit

from scrapy_capsolver.errors import CaptchaConfigurationError, UnsolvableCaptchaError, UnsupportedCaptchaError
from scrapy_capsolver.families._page.multipart import boundary_of, set_part
from scrapy_capsolver.families._page.text import clean
from scrapy_capsolver.families.cookies import cookie_value, with_cookies

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scrapy import Request
    from scrapy.http.headers import Headers

URLENCODED = "application/x-www-form-urlencoded"
MAIN = ""
"""Stands for the key of the value that a place takes which is just a name."""

_MAX_NAME = 256
_MAX_NAMES = 32
_MAX_PATH = 32
# RFC 9110, section 5.6.2; RFC 6265, section 4.1.1, says the same of a cookie's name.
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# RFC 9110, section 5.5, without the obsolete bytes above 0x7F; no space at either end.
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
# Those that frame the message or steer the connection, and the one that Scrapy's cookie middleware throws away.
_RESERVED_HEADERS = frozenset(
    {
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


@dataclass(frozen=True, slots=True)
class Inject:
    """The places of a solution, one or several. Each is a name, or ``{name: key of the solution}``.

    ``form``: a form field (of a GET request: in the query string, as a browser sends such a form). ``json``: a path
    into a JSON body, ``"captcha.tokens.0"``. ``header``: a header. ``query``: a query parameter. ``cookie``: a cookie.
    """

    form: str | Mapping[str, str] | None = None
    json: str | Mapping[str, str] | None = None
    header: str | Mapping[str, str] | None = None
    query: str | Mapping[str, str] | None = None
    cookie: str | Mapping[str, str] | None = None

    def names(self, kind: str) -> Mapping[str, str]:
        """The names of one kind of place, each with the key of the value that goes there (:data:`MAIN` or another)."""
        place: str | Mapping[str, str] | None = getattr(self, kind)
        if place is None:
            return {}
        return {place: MAIN} if isinstance(place, str) else place

    @property
    def keys(self) -> tuple[str, ...]:
        """Which values of the solution are wanted."""
        return tuple(dict.fromkeys(key for kind in _KINDS for key in self.names(kind).values()))


_KINDS = tuple(field.name for field in fields(Inject))
_ALLOWED = "allowed is an object with one or more of " + ", ".join(f'"{kind}"' for kind in _KINDS)


def parse_inject(value: object) -> Inject:
    """The flag's ``inject``, as read from Python or JSON: ``{"form": "answer"}``.

    Raises :class:`CaptchaConfigurationError` that says what was given and what is allowed.
    """
    if not isinstance(value, dict):
        raise CaptchaConfigurationError(f"inject: {_shown(value)} was given; {_ALLOWED}")
    if not value:
        raise CaptchaConfigurationError(f"inject: an empty object was given; {_ALLOWED}")
    places: dict[str, str | dict[str, str]] = {}
    for kind, place in value.items():
        if kind not in _KINDS:
            near = get_close_matches(str(kind).lower(), _KINDS, n=1)
            hint = f' (did you mean "{near[0]}"?)' if near else ""
            raise CaptchaConfigurationError(f"inject: {_shown(kind)} is no place{hint}; {_ALLOWED}")
        places[kind] = _read_place(kind, place)
    return Inject(**places)


def place(request: Request, inject: Inject, values: Mapping[str, str]) -> Request:
    """A copy of ``request`` with ``values`` in it. Everything that was there stays, but for what has those names.

    ``values`` are the solution's by their keys, the main one under :data:`MAIN`. Raises
    :class:`UnsupportedCaptchaError` where the request has no such place, and :class:`UnsolvableCaptchaError` where the
    solution lacks a value, or has one that cannot travel there.
    """
    url, headers, body = request.url, request.headers.copy(), request.body
    for path, key in inject.names("json").items():
        body = _set_json(body, path, _value(values, key))
        headers.setdefault(b"Content-Type", b"application/json")
    for name, key in inject.names("form").items():
        if request.method in {"GET", "HEAD"}:
            url = _set_query(url, name, _value(values, key))
        else:
            body = _set_form(headers, body, name, _value(values, key))
    for name, key in inject.names("query").items():
        url = _set_query(url, name, _value(values, key))
    for name, key in inject.names("header").items():
        value = _value(values, key)
        if not _HEADER_VALUE.fullmatch(value):
            raise UnsolvableCaptchaError(f"The solution cannot travel in the header {name}")
        headers[name] = value
    cookies = {name: _value(values, key) for name, key in inject.names("cookie").items()}
    for name, value in cookies.items():
        if cookie_value(value) is None:
            raise UnsolvableCaptchaError(f"The solution cannot travel in the cookie {name}")
    if body != request.body:
        headers.pop(b"Content-Length", None)  # of the old body
    placed = request.replace(url=url, headers=headers, body=body)
    return with_cookies(placed, cookies) if cookies else placed


def _value(values: Mapping[str, str], key: str) -> str:
    try:
        return values[key]
    except KeyError:
        what = f'"{clean(key, 60)}"' if key else "main value"
        raise UnsolvableCaptchaError(f"CapSolver's solution has no {what}; {named(values)}") from None


def named(keys: Mapping[str, object]) -> str:
    """The keys of a solution for a message: never its values."""
    listed = ", ".join(f'"{clean(key, 40)}"' for key in list(keys)[:20] if key)
    return f"it has {listed}" if listed else "it is empty"


def _read_place(kind: str, place: object) -> str | dict[str, str]:
    if not isinstance(place, dict):
        return _check_name(kind, place)
    given = f'inject: "{kind}" is an object'
    if not 0 < len(place) <= _MAX_NAMES:
        raise CaptchaConfigurationError(f"{given} of {len(place)}; allowed is one of 1 to {_MAX_NAMES} names")
    read = {}
    for name, key in place.items():
        if not isinstance(key, str) or not key or len(key) > _MAX_NAME or not key.isprintable():
            raise CaptchaConfigurationError(
                f"{given} with {_shown(key)} for {_shown(name)}; allowed is the key of a value in CapSolver's solution: "
                f'{{"{kind}": {{"name in the request": "key"}}}}'
            )
        read[_check_name(kind, name)] = key
    return read


def _check_name(kind: str, name: object) -> str:
    given = f'inject: "{kind}" is {_shown(name)}; allowed is'
    if not isinstance(name, str) or not name or len(name) > _MAX_NAME or not name.isprintable():
        raise CaptchaConfigurationError(
            f"{given} a printable name of 1 to {_MAX_NAME} characters, or an object of such names, each with the key of "
            "a value in CapSolver's solution"
        )
    if kind in {"header", "cookie"} and not _HEADER_NAME.fullmatch(name):
        raise CaptchaConfigurationError(f"{given} the name of a {kind}: letters, digits and hyphens")
    if kind == "header" and name.lower() in _RESERVED_HEADERS:
        other = '; for a cookie there is "cookie"' if name.lower() == "cookie" else ""
        raise CaptchaConfigurationError(f"{given} a header that is not set by Scrapy itself{other}")
    if kind == "json":
        steps = name.split(".")
        if not all(steps) or len(steps) > _MAX_PATH:
            raise CaptchaConfigurationError(
                f'{given} a path of 1 to {_MAX_PATH} names or list indexes joined by dots: "data.captcha.0"'
            )
    return name


def _shown(value: object) -> str:
    """``value`` as it goes into a message: short, on one line."""
    text = ascii(value) if isinstance(value, (str, int, float, bool, type(None))) else f"{type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."


def _set_pair(encoded: bytes, name: str, value: str) -> bytes:
    """``a=1&b=2`` with ``name`` set: in the place of the first of that name, else at the end.

    Works on the encoded text, so that the other pairs keep every byte: order, repetition, blanks and encoding.
    """
    wanted = name.encode()
    pair = f"{quote_plus(name)}={quote_plus(value)}".encode()
    kept: list[bytes] = []
    placed = False
    for old in encoded.split(b"&") if encoded else []:
        if unquote_to_bytes(old.partition(b"=")[0].replace(b"+", b" ")) != wanted:
            kept.append(old)
        elif not placed:
            kept.append(pair)
            placed = True
    return b"&".join(kept if placed else [*kept, pair])


def _set_query(url: str, name: str, value: str) -> str:
    parts = urlsplit(url)
    return parts._replace(query=_set_pair(parts.query.encode(), name, value).decode()).geturl()


def _set_form(headers: Headers, body: bytes, name: str, value: str) -> bytes:
    """``body`` with the field in it. Gives ``headers`` a Content-Type where there was no body."""
    declared = (headers.get(b"Content-Type") or b"").decode("latin-1")
    media_type = declared.partition(";")[0].strip().lower()
    if media_type == "multipart/form-data" and (boundary := boundary_of(declared)):
        return set_part(body, boundary, name, value)
    if not media_type and not body:
        headers[b"Content-Type"] = URLENCODED
    elif media_type != URLENCODED and (media_type or body.lstrip()[:1] in {b"{", b"[", b"<", b'"'}):
        raise UnsupportedCaptchaError(
            f"The request's body is no form ({_shown(media_type or 'no Content-Type')}), so the solution cannot go into "
            f'its field "{name}". Say where it goes: inject {{"json": "path.to.field"}}, or "header", or "query".'
        )
    return _set_pair(body, name, value)


def _set_json(body: bytes, path: str, value: str) -> bytes:
    steps = path.split(".")
    try:
        document: Any = json.loads(body) if body.strip() else {}
        _descend(document, steps, value)
        return json.dumps(document).encode()
    except (ValueError, RecursionError) as error:
        raise UnsupportedCaptchaError(f'The solution cannot go to "{path}": the request\'s body is no JSON') from error


def _descend(document: Any, steps: list[str], value: str) -> None:
    """Set ``value`` at ``steps``, making the objects that lack on the way."""
    node = document
    for depth, step in enumerate(steps):
        last = depth == len(steps) - 1
        key: Any = step
        if isinstance(node, list):
            if not (step.isascii() and step.isdigit() and len(step) < 8 and int(step) <= len(node)):
                raise _no_way(steps, depth, f"is a list of {len(node)}, which has no place {_shown(step)}")
            key = int(step)
            if key == len(node):
                node.append(None)
        elif not isinstance(node, dict):
            raise _no_way(steps, depth, "is neither an object nor a list")
        if last:
            node[key] = value
        else:
            if (node.get(key) if isinstance(node, dict) else node[key]) is None:
                node[key] = {}
            node = node[key]


def _no_way(steps: list[str], depth: int, what: str) -> UnsupportedCaptchaError:
    where = '"' + ".".join(steps[:depth]) + '"' if depth else "the whole"
    return UnsupportedCaptchaError(
        f'The solution cannot go to "{".".join(steps)}" in the request\'s JSON body: {where} {what}'
    )
