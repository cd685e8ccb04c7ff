"""Keeps secrets out of the text of CapSolver's replies, which may quote what was sent.

A secret is found in any case, escaped in any way, with blanks or control characters in it, within base64, and in part, from six
characters on. So it does not matter where a text is cut.
"""

from __future__ import annotations

import binascii
import re
from collections import Counter, OrderedDict
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

from scrapy_capsolver.api.escapes import decoded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_TEXT = 2048
"""Characters of a text that are looked at. The rest is dropped."""

GRAM = 6
"""Bytes of a secret that are never shown in a row."""

_SHORTEST = 4  # bytes; a shorter secret would be found in any text
_CUT = 64  # characters before the end of a text that is dropped: they may be the first part of an escape
_KEPT_LOGINS = 1000  # of the latest tasks; a proxy service may have a login for each session
_KEPT_TOKENS = 1000
_HEAD = 16  # bytes by which an earlier token is found
_MAX_TOKEN = 8192
_MAX_TOKENS = 20  # texts of a solution
_MAX_ODD = 50  # names
_NAME = re.compile(r"[a-z]{1,12}(?:[A-Z_-][A-Za-z]{1,12}){0,3}")  # short words: no secret
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{8,}")
_SCHEMES = frozenset({"http", "https", "socks4", "socks5"})


class Secrets:
    """What is not shown: the API key, the proxy logins of the latest tasks, and the tokens of the latest solutions."""

    def __init__(self, api_key: str = "") -> None:
        self._key = _grams(api_key)
        self._proxies: Counter[bytes] = Counter()
        self._logins: OrderedDict[tuple[str, str], set[bytes]] = OrderedDict()
        self._tokens: OrderedDict[bytes, None] = OrderedDict()

    def __repr__(self) -> str:
        return "<Secrets>"

    def learn_task(self, task: Mapping[str, Any]) -> None:
        """Hide the login of the task's proxy from now on."""
        for login in _logins(task):
            if login in self._logins:
                self._logins.move_to_end(login)
                continue
            grams = set().union(*map(_grams, (*login, ":".join(login))))
            self._logins[login] = grams
            self._proxies.update(grams)
            if len(self._logins) > _KEPT_LOGINS:
                self._proxies -= Counter(self._logins.popitem(last=False)[1])

    def learn_solution(self, solution: Mapping[str, Any]) -> None:
        """Hide the solution's tokens in later replies."""
        for token in _texts(solution):
            if len(token) >= _HEAD and token.isascii():
                self._tokens[token[:_HEAD].lower().encode()] = None
        while len(self._tokens) > _KEPT_TOKENS:
            self._tokens.popitem(last=False)

    def hides(self, text: str) -> bool:
        """Return whether :meth:`scrub` would hide anything in ``text``."""
        return self.scrub(text) != text

    def fit(self, solution: dict[str, Any]) -> dict[str, Any]:
        """Return the solution without members whose names hold a secret: messages list the names."""
        odd = [name for name in solution if _NAME.fullmatch(name) is None]
        if not odd:
            return solution
        tokens = _token_grams(solution)
        dropped = {
            name
            for at, name in enumerate(odd)
            if at >= _MAX_ODD or len(name) > _HEAD * 4 or self._scrub(name, tokens) != name
        }
        return {name: value for name, value in solution.items() if name not in dropped}

    def scrub(self, text: str, solution: object = None) -> str:
        """Return the start of ``text`` without secrets, those of the ``solution`` in the same reply included."""
        return self._scrub(text, _token_grams(solution))

    def _scrub(self, text: str, tokens: set[bytes]) -> str:
        start = text[:MAX_TEXT]
        data, places = decoded(start)
        labels = [""] * len(start)
        for first, last, label in (*self._found(data.lower(), tokens), *self._found_in_base64(data, tokens)):
            begin, end = places[first][0], places[last - 1][1]
            labels[begin:end] = [label] * (end - begin)
        lowered = data.lower()
        heads = [at for head in self._tokens if (at := lowered.find(head)) >= 0]
        if heads:  # only its head is known: nothing that follows is shown
            begin = places[min(heads)][0]
            labels[begin:] = ["token"] * (len(start) - begin)
        shown = len(start) if len(text) <= MAX_TEXT else MAX_TEXT - _CUT
        pieces = groupby(islice(zip(start, labels, strict=True), shown), key=lambda pair: pair[1])
        return "".join(f"[{label}]" if label else "".join(letter for letter, _ in pairs) for label, pairs in pieces)

    def _found(self, data: bytes, tokens: set[bytes]) -> Iterator[tuple[int, int, str]]:
        """Yield the first byte, the end and the kind of each part of a secret in ``data``."""
        for length in range(_SHORTEST, GRAM + 1):
            grams = {data[first : first + length] for first in range(len(data) - length + 1)}
            for kind, secrets in (("token", tokens), ("proxy login", self._proxies.keys()), ("key", self._key)):
                if not grams.isdisjoint(secrets):
                    for first in range(len(data) - length + 1):
                        if data[first : first + length] in secrets:
                            yield first, first + length, kind

    def _found_in_base64(self, data: bytes, tokens: set[bytes]) -> Iterator[tuple[int, int, str]]:
        for run in _BASE64.finditer(data):
            for shift in range(4):  # it may begin anywhere in the run
                piece = run[0][shift:].replace(b"-", b"+").replace(b"_", b"/")
                piece = piece[:-1] if len(piece) % 4 == 1 else piece
                plain = binascii.a2b_base64(piece + b"=" * (-len(piece) % 4))
                for first, last, label in self._found(plain.lower(), tokens):
                    begin = run.start() + shift
                    yield begin + first * 4 // 3, min(begin + (last * 4 + 2) // 3, run.end()), label


def _grams(secret: str) -> set[bytes]:
    """Return the parts of a secret as they are in a text that is decoded, or in base64; all of it if it is short."""
    forms = (decoded(secret)[0], decoded(secret.replace(" ", "+"))[0], secret.encode("utf-8", "replace"))
    return {
        data[at : at + GRAM].lower()
        for data in forms
        if len(data) >= _SHORTEST
        for at in range(max(len(data) - GRAM, 0) + 1)
    }


def _token_grams(solution: object) -> set[bytes]:
    return {gram for token in _texts(solution) for gram in _grams(token[:_MAX_TOKEN])}


def _texts(solution: object) -> list[str]:
    """Return the texts of a solution that may be worth something."""
    named = solution if isinstance(solution, dict) else {"": solution}
    texts: list[str] = []
    for name, value in islice(named.items(), 4 * _MAX_TOKENS):
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else (value,)
        texts += [one for one in islice(inner, _MAX_TOKENS) if isinstance(one, str) and name != "userAgent"]
    return [text for text in texts if len(text) >= GRAM][:_MAX_TOKENS]


def _logins(task: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the user and the password of the task's proxy, in whichever way it is written."""
    user, password = task.get("proxyLogin"), task.get("proxyPassword")
    if isinstance(user, str) or isinstance(password, str):
        yield str(user or ""), str(password or "")
    proxy = task.get("proxy")
    if isinstance(proxy, str) and (login := _login_in(proxy)):
        user, _, password = login.partition(":")
        yield user, password


def _login_in(proxy: str) -> str:
    """Return ``user:password`` of ``http://user:password@host:1``, ``http:host:1:user:password`` and the like."""
    rest = proxy.partition("://")[2] or proxy
    if "@" in rest:
        return rest.rpartition("@")[0]
    parts = rest.split(":")
    if parts[0].lower() in _SCHEMES:
        parts = parts[1:]
    port = next((place for place, part in enumerate(parts) if place and part.isdecimal()), len(parts))
    return ":".join(parts[port + 1 :])
