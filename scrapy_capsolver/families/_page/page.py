"""A response as the families read it: untrusted, parsed once for all of them, and only if it is worth it."""

from __future__ import annotations

import json
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urljoin

from lxml.etree import XPath
from scrapy.http import HtmlResponse, JsonResponse, TextResponse, XmlResponse
from w3lib.html import get_base_url, strip_html5_whitespace

from scrapy_capsolver._compat.response_encoding import given_encoding
from scrapy_capsolver.families._page.attributes import read_attributes
from scrapy_capsolver.families._page.elements import classes, is_inert, is_inside, owners
from scrapy_capsolver.families._page.encoding import decode, encoding_of
from scrapy_capsolver.families._page.excerpt import excerpt
from scrapy_capsolver.families._page.markup import parse
from scrapy_capsolver.families._page.resources import MAX_LOOKED_AT, Resource, is_code, read_injected, read_resources
from scrapy_capsolver.families._page.scripts import Scripts
from scrapy_capsolver.families._page.selectors import select

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterator
    from typing import Any

    from lxml.html import HtmlElement
    from scrapy.http import Response

    from scrapy_capsolver.families._page.javascript import Call

    T = TypeVar("T")

MAX_BYTES = 1024 * 1024
"""Of larger pages only parts are read."""

BLOCKING_STATUSES = frozenset({403, 405, 406, 418, 429, 503})
"""Answers by which gates refuse: forbidden (the usual one), "not allowed" (AWS WAF's captcha action), "not acceptable"
and "teapot" (rule-based filters), too many requests, and unavailable. Not 401, which asks for a login; nor 404, 500
and the like, behind which there is no page to win."""

_MAX_RECODED = 4 * MAX_BYTES
_MAX_JSON = 16 * 1024
_MAX_COOKIES = 50
_MAX_COOKIE = 8192
_MAX_HEADER = 1024
_MAX_BASE = 4096
_MAX_IDS = 8
# Site keys have 18 characters and more; the keys of a table's rows, of which there may be thousands, have less.
_MIN_KEY = 12
_MAX_KEY = 512
_MAX_ID = 256
_MAX_MATCHES = 2000
_MAX_TEXTS = 5
_IDS = XPath("(//@id[. = $name])[1]")
_CLASSES = XPath("(//@class[contains(., $name)])[position() <= 50]")


class Unread:
    """What is over a bound, and so is not read."""

    def __init__(self) -> None:
        self.notes: dict[str, None] = {}
        self.is_whole = True

    def skip(self, what: str) -> None:
        self.notes[what] = None

    def skip_part(self, what: str) -> None:
        """Note that something of the page's own markup is not read."""
        self.is_whole = False
        self.skip(what)


class Page:
    """What the families may know of a response.

    Leaves nothing on the response: whatever it decodes and parses goes when the page goes, while the response may
    wait with thousands of others. Nothing here raises about the page, whatever the bytes, and all of it together takes a
    bounded time. What is over a bound is not read, and stands in ``unread``.
    """

    def __init__(self, response: Response) -> None:
        self.url: str = response.url
        self.status: int = response.status
        self.headers = response.headers
        self.is_markup = _is_markup(response)
        self._bytes: bytes = response.body if self.is_markup else b""
        self._given_encoding = given_encoding(response)
        self._json: bytes | None = response.body if isinstance(response, JsonResponse) else None
        self.wanted_family = ""
        """Name of the family that the flag's type belongs to; empty if the flag names no type."""
        self._unread = Unread()
        self._readings: dict[Any, Any] = {}
        self._mentioned: dict[bytes, bool] = {}
        self._inert: dict[HtmlElement, bool] = {}
        self._ids: dict[str, HtmlElement | None] = {}

    def skip(self, what: str) -> None:
        """Note that this is over a bound."""
        self._unread.skip(what)

    @property
    def is_whole(self) -> bool:
        """Whether the tree holds all of the page."""
        return self.root is not None and self._unread.is_whole

    @property
    def unread(self) -> tuple[str, ...]:
        """What of the page was not read until now, and why, for people to read."""
        return tuple(self._unread.notes)

    def once(self, reader: Callable[[Page], T]) -> T:
        """Return ``reader(page)``, read once: for what several families want to know."""
        return self.kept(reader, lambda: reader(self))

    def kept(self, key: object, reader: Callable[[], T]) -> T:
        """Return ``reader()``, read once for each ``key``."""
        if key not in self._readings:
            self._readings[key] = reader()
        found: T = self._readings[key]
        return found

    def header(self, name: str) -> str:
        """Return a header of the response, in lower case and bounded; ``""`` if it is not there."""
        value: bytes = self.headers.get(name) or b""
        return value[:_MAX_HEADER].decode("latin-1").strip().lower()

    def cookie(self, name: str) -> str:
        """Return a cookie that the response sets; ``""`` if it does not."""
        headers = self.headers.getlist("Set-Cookie")
        if len(headers) > _MAX_COOKIES:
            self.skip(f"it sets more than {_MAX_COOKIES} cookies")
        for header in headers[:_MAX_COOKIES]:
            found, _, value = header[:_MAX_COOKIE].decode("latin-1").partition(";")[0].partition("=")
            if found.strip() == name:
                return value.strip()
        return ""

    @cached_property
    def json(self) -> dict[str, Any]:
        """The object that a small JSON response holds; empty for any other response."""
        if self._json is None:
            return {}
        if len(self._json) >= _MAX_JSON:
            self.skip(f"a JSON body of {len(self._json)} bytes")
            return {}
        try:
            found = json.loads(self._json)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    # Raw: cheap enough for every response

    @cached_property
    def _parts(self) -> tuple[bytes, ...]:
        """The page's bytes in an encoding in which markup is ASCII: all, or parts of them."""
        page = self._bytes
        if self._is_recoded:
            page = self._decoded(page[:_MAX_RECODED], self.encoding).encode("utf-8", "replace")
        parts = (page,) if len(page) <= MAX_BYTES else excerpt(page, MAX_BYTES, len, len(page))
        if len(parts) > 1 or len(self._bytes) > _MAX_RECODED >= len(page):
            self._unread.skip_part(f"it has {len(self._bytes)} bytes: {sum(map(len, parts))} are read")
        return parts

    @cached_property
    def _is_recoded(self) -> bool:
        return b"\0" in self._bytes[:64]  # UTF-16, UTF-32

    @cached_property
    def body(self) -> bytes:
        """The page's bytes, as far as they are read, in an encoding in which markup is ASCII; empty if it is no markup."""
        return b"\n".join(self._parts)

    @cached_property
    def lowered(self) -> bytes:
        """``body`` in lower case."""
        return self.body.lower()

    def mentions(self, *needles: bytes) -> bool:
        """Return whether one of ``needles``, in lower case, occurs in the page, in whatever case it stands there."""
        return any(self._mentions(needle) for needle in needles)

    def _mentions(self, needle: bytes) -> bool:
        if needle not in self._mentioned:
            # Python searches backwards more than twice as fast, and this is most of what a page without captchas costs.
            self._mentioned[needle] = self.lowered.rfind(needle) >= 0
        return self._mentioned[needle]

    def matches(self, word: bytes, pattern: re.Pattern[bytes]) -> bool:
        """Return whether ``pattern``, which begins with ``word``, occurs in the page."""
        return bool(self.texts(word, pattern))

    def texts(self, word: bytes, pattern: re.Pattern[bytes]) -> tuple[str, ...]:
        """Return the first distinct texts of the page that ``pattern`` matches, which begins with ``word``."""
        return self.kept((word, pattern), lambda: tuple(islice(self._texts(word, pattern), _MAX_TEXTS)))

    def _texts(self, word: bytes, pattern: re.Pattern[bytes]) -> Iterator[str]:
        if self.body.rfind(word) < 0:
            return
        seen = set()
        place = -1
        for _ in range(_MAX_MATCHES):
            place = self.body.find(word, place + 1)
            if place < 0:
                return
            found = pattern.match(self.body, place)
            if found and found[0] not in seen:
                seen.add(found[0])
                yield found[0].decode("latin-1")
        self.skip(f"it says {word.decode()!r} more than {_MAX_MATCHES} times")

    # Parsed

    @cached_property
    def encoding(self) -> str:
        """What the page is written in: as given, by its mark, its header, its ``meta``; else by what fits."""
        content_type = (self.headers.get("Content-Type") or b"")[:_MAX_HEADER].decode("latin-1")
        return encoding_of(self._bytes[:MAX_BYTES], self._given_encoding, content_type)

    def _decoded(self, data: bytes, encoding: str) -> str:
        text, whole = decode(data, encoding)
        if not whole:
            self._unread.skip_part(f"it is not written in {encoding}: the first {len(text)} characters are read")
        return text.removeprefix("\ufeff")

    @cached_property
    def text(self) -> str:
        """The page's text, as far as it is read."""
        return self._text_of(self.body)

    @cached_property
    def base_url(self) -> str:
        """What the page's addresses are relative to."""
        try:
            base: str = get_base_url(self._text_of(self.body[:_MAX_BASE]), self.url)
        except ValueError:
            return self.url
        return base

    def _text_of(self, part: bytes) -> str:
        return self._decoded(part, "utf-8" if self._is_recoded else self.encoding)

    @cached_property
    def root(self) -> HtmlElement:
        """The root of the page's tree, as far as it is parsed."""
        return parse([self._in_utf_8(part) for part in self._parts], self._unread.skip_part)

    def _in_utf_8(self, part: bytes) -> bytes:
        if not (part.isascii() and self.encoding == "utf-8"):
            part = self._text_of(part).encode("utf-8", "replace")
        return part.replace(b"\0", b"") if b"\0" in part else part

    def absolute(self, url: str) -> str:
        """Return ``url`` as the page means it; ``""`` if it cannot be read."""
        try:
            return urljoin(self.base_url, strip_html5_whitespace(url))
        except ValueError:
            return ""

    @cached_property
    def scripts(self) -> Scripts:
        """The inline scripts, those that an optimiser or a consent manager holds back included; data blocks are none."""
        return Scripts(
            (
                source
                for element in islice(self.root.iter("script"), MAX_LOOKED_AT)
                if (source := element.text) and is_code(element) and self.is_live(element)
            ),
            self._unread.skip,  # and not a method of the page: a page that refers to itself would stay for a while
        )

    def calls(self, *names: str) -> tuple[Call, ...]:
        """Return calls of these functions ("grecaptcha.render") in the page's own scripts."""
        return self.scripts.calls(*names)

    def objects(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield the objects that the page's scripts give to the variable or property ``name``."""
        return self.scripts.objects(name)

    def resolve(self, reference: str) -> str | None:
        """Return the text that the page's scripts give to a variable or property, ``key`` or ``conf.key``; None if none does."""
        return self.scripts.resolve(reference)

    def option(self, call: Call, name: str) -> str | None:
        """Return an option of a call: as it is written there, or the text that the variable named there holds."""
        value = call.options.get(name)
        if not isinstance(value, str) or call.is_written_out(name):
            return value if isinstance(value, str) else None
        return self.resolve(value) or value

    def argument(self, call: Call) -> str | None:
        """Return the first argument of a call: as it is written there, or the text that the variable named there holds."""
        return call.literal or (self.resolve(call.reference) if call.reference else None)

    @cached_property
    def injected(self) -> tuple[Resource, ...]:
        """Scripts that inline scripts load: addresses in their strings that end with ``.js``, with a query or without."""
        return tuple(read_injected(self))

    @cached_property
    def resources(self) -> tuple[Resource, ...]:
        """Scripts and frames by their address, in the order of the page."""
        return tuple(read_resources(self))

    @cached_property
    def key_attributes(self) -> tuple[tuple[HtmlElement, str, str], ...]:
        """(element, attribute, value) of every attribute that may hold a site key: "key" is in its name, whatever the element."""
        return tuple(read_attributes(self, b"key", _MIN_KEY, _MAX_KEY))

    def of_class(self, name: str) -> Iterator[HtmlElement]:
        """Yield the first elements of this class."""
        found = owners(_CLASSES, self.root, name=name)
        return (element for element in found if name in classes(element) and self.is_live(element))

    def is_live(self, element: HtmlElement) -> bool:
        """Return whether it is part of what a browser shows and runs, not the content of a template or a text field."""
        return not is_inside(element, is_inert, self._inert)

    def by_id(self, name: str) -> HtmlElement | None:
        """Return the element with this id, which may be written as the CSS selector ``#name``."""
        name = name.removeprefix("#")
        if name not in self._ids:
            if len(self._ids) == _MAX_IDS or len(name) > _MAX_ID or not name.isprintable():
                return None
            self._ids[name] = next(iter(owners(_IDS, self.root, name=name)), None)
        return self._ids[name]

    def select(self, css: str, most: int) -> list[HtmlElement | str]:
        """Return the first ``most`` that a selector of the flag's author selects. Raises as :func:`~.selectors.select` does."""
        return select(self.root, css, most)

    def has(self, css: str) -> bool:
        """Return whether there is anything on the page that ``css`` selects. Raises as :meth:`select` does."""
        return bool(self.select(css, 1))


def _is_markup(response: Response) -> bool:
    """Return whether it is HTML, or text of which nothing says what it is (Scrapy takes unmarked fragments for plain text)."""
    if isinstance(response, HtmlResponse):
        return True
    return (
        isinstance(response, TextResponse)
        and not isinstance(response, (JsonResponse, XmlResponse))
        and not response.headers.get("Content-Type")
    )
