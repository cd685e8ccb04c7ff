"""One reader each for tokens, cookies and user agents in a solution: in every shape that a client of CapSolver's reads.

What they find is judged as strictly as ever: a token is text of a bounded size, a cookie's value can bring neither a second cookie nor
a second header. They never raise.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from email.utils import mktime_tz, parsedate_tz
from itertools import islice
from typing import TYPE_CHECKING, Any

from scrapy_capsolver._utils.numbers import finite
from scrapy_capsolver.families._page.text import plain
from scrapy_capsolver.families.cookies import cookie_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MAX_VALUE = 64 * 1024
"""Characters of a solution's value. Real tokens have 500 to 5,000."""

MAX_USER_AGENT = 512
_MAX_COOKIES = 16 * 1024  # characters; real ones have a few hundred
_MAX_ITEMS = 1000
_MAX_MEMBERS = 100
_MAX_AGE = 400 * 86400  # seconds for which browsers keep cookies at most: RFC 6265bis, section 5.5

# Names under which a token or an answer is known to come, the likelier first.
_TOKEN_NAMES = (
    "token",
    "gRecaptchaResponse",
    "cf-turnstile-response",
    "captchaToken",
    "text",
    "answer",
    "response",
    "value",
)
_COOKIE_NAMES = ("cookies", "cookie", "Set-Cookie", "token")
_BARE_NAMES = ("cookie", "cookies", "token")
_INNER_NAMES = ("value", "token", "text")
_PAIR = re.compile(r"[\w!#$%&'*+.^`|~-]+=[^=]", re.ASCII)


@dataclass(frozen=True, slots=True)
class SolvedCookie:
    """A cookie in a solution."""

    value: str = field(repr=False)
    expires: float | None = None
    """Unix seconds, if the solution says so."""


def member(solution: Mapping[str, Any], name: str) -> Any:
    """Return the solution's member of this name, else that of the same name in another spelling; None if there is none."""
    if name in solution:
        return solution[name]
    wanted = _plain(name)
    return next((solution[other] for other in islice(solution, _MAX_MEMBERS) if _plain(other) == wanted), None)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name[:64]).lower()


# Tokens and answers


def as_text(value: object) -> str | None:
    """Return a value of a solution as it goes into a request, without blanks around it.

    That is text, a number as in JSON, or a list of them joined by commas. None for what is neither, is blank, is broken text, or is longer than :data:`MAX_VALUE`.
    """
    if isinstance(value, list):
        items = [_scalar(item) for item in value[: _MAX_ITEMS + 1]]
        text = None if None in items or len(items) > _MAX_ITEMS else ",".join(item or "" for item in items)
    else:
        text = _scalar(value)
    text = "" if text is None else text.strip()
    return text if 0 < len(text) <= MAX_VALUE else None


def _scalar(value: object) -> str | None:
    if isinstance(value, bool):
        return None
    try:
        if isinstance(value, (int, float)):
            return json.dumps(value, allow_nan=False)
        if isinstance(value, str) and len(value) <= MAX_VALUE:
            value.encode()
            return value
    except ValueError:  # no number of JSON's, or half of a character
        return None
    return None


def read_token(solution: Mapping[str, Any], key: str, *, numbers: bool = False) -> str | None:
    """Return the token: what is in ``key``, or under a name that another type of task has for it, without blanks around it.

    ``numbers``: it may come as a number, as the answer to a picture of digits does.
    """
    for name in dict.fromkeys((key, *_TOKEN_NAMES)):
        value = member(solution, name)
        if isinstance(value, dict):
            value = next((value[inner] for inner in _INNER_NAMES if inner in value), None)
        if isinstance(value, str) or (numbers and isinstance(value, (int, float))):
            text = as_text(value)
            if text is not None:
                return text
    return None


def read_answer(solution: Mapping[str, Any], keys: Iterable[str]) -> str | None:
    """Return the first of these values that is text, a number, or a list of them; else what could be a token."""
    for key in keys:
        text = as_text(member(solution, key))
        if text is not None:
            return text
    return read_token(solution, "answer", numbers=True)


def _only(value: object) -> object:
    return value[0] if isinstance(value, list) and len(value) == 1 else value


# Cookies


def read_cookie(solution: Mapping[str, Any], name: str, *, bare: bool = True) -> SolvedCookie | None:
    """Return the cookie of this name: from an object, a list, a text as in Set-Cookie, or (``bare``) a value without a name."""
    found = [cookie for place in _COOKIE_NAMES for cookie in _named(member(solution, place), name)]
    found += _inside(member(solution, name))
    if bare:
        found += _bare(solution, name)
    return next((cookie for cookie in found if cookie_value(cookie.value) is not None), None)


def _named(value: object, name: str, *, inner: bool = True) -> Iterator[SolvedCookie]:
    """Yield what has this name in the value of ``cookies`` or the like."""
    if isinstance(value, str):
        yield from _in_text(value, name)
    elif isinstance(value, dict):
        if value.get("name") == name:
            yield from _inside(value)
        if name in value:
            yield from _inside(value[name])
    elif isinstance(value, list) and inner:
        for one in value[:_MAX_ITEMS]:
            yield from _named(one, name, inner=False)


def _in_text(text: str, name: str) -> Iterator[SolvedCookie]:
    """Yield it from ``Set-Cookie: a=1; name=value; Path=/; Max-Age=60`` or a part of that."""
    start = text[:_MAX_COOKIES]
    pair = re.search(rf"(?<![^;,:\s]){re.escape(name)}\s{{0,8}}=([^;]*)", start)
    if pair is not None:
        yield SolvedCookie(pair[1].strip(), _expires(start[pair.end() :]))


def _inside(value: object) -> Iterator[SolvedCookie]:
    """Yield a cookie from its value, or from an object about it."""
    value = _only(value)
    if isinstance(value, str):
        yield SolvedCookie(value.strip())
    elif isinstance(value, dict) and isinstance(value.get("value"), str):
        ends = next((value[key] for key in ("expires", "expirationDate", "expiry") if key in value), None)
        age = next((value[key] for key in ("maxAge", "max-age", "Max-Age") if key in value), None)
        yield SolvedCookie(value["value"].strip(), _end(age, ends))


def _bare(solution: Mapping[str, Any], name: str) -> Iterator[SolvedCookie]:
    """Yield values without a name. An ``=`` may end one; in the middle it would say that it is another cookie's."""
    for place in _BARE_NAMES:
        value = _only(member(solution, place))
        if isinstance(value, str) and len(value) <= _MAX_COOKIES:
            start, _, attributes = value.partition(";")
            start = start.strip()
            if not _PAIR.match(start) and not start.startswith(f"{name}="):
                yield SolvedCookie(start, _expires(attributes))


def _expires(attributes: str) -> float | None:
    """Return when a cookie with these attributes ends. They end where the next cookie begins."""
    age = ends = None
    for attribute in attributes.split(";")[:20]:
        name, _, value = attribute.partition("=")
        name = name.strip().lower()
        if name == "max-age":
            age = value.strip()
        elif name == "expires":
            ends = value.strip()
        elif name not in {"", "path", "domain", "secure", "httponly", "samesite", "priority", "partitioned"}:
            break
    return _end(age, ends)


def _end(age: object, ends: object) -> float | None:
    """Return Unix seconds. What has ended already is taken for a mistake."""
    now = time.time()
    seconds = finite(age)
    if seconds is not None and seconds >= 0:
        return now + min(seconds, _MAX_AGE) if seconds else None
    at = finite(ends)
    if at is None and isinstance(ends, str) and ends.isascii():
        at = _time(ends)
    return min(at, now + _MAX_AGE) if at is not None and at > now else None


def _time(value: str) -> float | None:
    try:
        parsed = parsedate_tz(value[:64])
        return None if parsed is None else float(mktime_tz(parsed))
    except (ValueError, OverflowError, IndexError, TypeError):  # "1 Jan 99999", and what its parser stumbles over
        return None


# User agents


def read_agent(solution: Mapping[str, Any], task: Mapping[str, Any] | None = None) -> str | None:
    """Return the user agent that the solution names, in itself or in its headers; else that of the task."""
    headers = member(solution, "headers")
    found = (
        member(solution, "userAgent"),
        member(headers, "User-Agent") if isinstance(headers, dict) else None,
        task.get("userAgent") if task is not None else None,
    )
    return next((agent for value in found if (agent := (plain(value, MAX_USER_AGENT) or "").strip())), None)
