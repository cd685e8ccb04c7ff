"""A response as the families read it: untrusted, parsed once for all of them, and only if it is worth it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urljoin, urlsplit

from parsel import Selector
from scrapy.http import HtmlResponse, JsonResponse, TextResponse, XmlResponse
from w3lib.encoding import html_body_declared_encoding, http_content_type_encoding, read_bom, resolve_encoding
from w3lib.html import get_base_url, strip_html5_whitespace

from scrapy_capsolver.errors import CaptchaConfigurationError
from scrapy_capsolver.families.script import Script
from scrapy_capsolver.families.text import clean

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterator
    from typing import Any

    from lxml.html import HtmlElement
    from parsel import SelectorList
    from scrapy.http import Response

    from scrapy_capsolver.families.script import Call

    T = TypeVar("T")

MAX_BYTES = 2 * 1024 * 1024
"""Of larger pages only the start is looked at: no captcha page comes near it."""

BLOCKING_STATUSES = frozenset({403, 405, 406, 418, 429, 503})
"""Answers by which gates refuse: forbidden (the usual one), "not allowed" (AWS WAF's captcha action), "not acceptable"
and "teapot" (rule-based filters), too many requests, and unavailable. Not 401, which asks for a login; nor 404, 500
and the like, behind which there is no page to win."""

# Characters of one inline script, and of all. Longer ones are a site's whole program or its data.
_MAX_SCRIPT = 256 * 1024
_MAX_SCRIPTS = 1024 * 1024
_MAX_RESOURCES = 500
_MAX_ATTRIBUTES = 200
# Codecs that no browser knows, and that take quadratic time, warn, or make strings that cannot be encoded again.
_NO_CHARSETS = frozenset({"idna", "punycode", "raw-unicode-escape", "unicode-escape", "utf-7"})
_SCRIPT_TYPES = frozenset({"", "module", "text/javascript", "application/javascript", "application/x-javascript"})
# Elements whose content is text or a spare part, not page; the parser makes elements of it all the same.
_INERT = frozenset({"template", "textarea", "title", "xmp", "noembed", "noframes", "plaintext", "listing", "option"})


@dataclass(frozen=True, slots=True)
class Resource:
    """A script or frame that the page loads. ``url`` is absolute."""

    tag: str
    url: str
    host: str
    path: str
    query: str
    element: HtmlElement


class Page:
    """What the families may know of a response.

    Leaves nothing on the response: whatever it decodes and parses goes when the page goes, while the response may
    wait with thousands of others. Nothing here raises about the page, whatever the bytes.
    """

    def __init__(self, response: Response) -> None:
        self.url: str = response.url
        self.status: int = response.status
        self.headers = response.headers
        self.is_markup = _is_markup(response)
        self._body: bytes = response.body[:MAX_BYTES] if self.is_markup else b""
        # The encoding a download handler or a test gave; the public property would decode and keep the whole body.
        self._given_encoding: str | None = getattr(response, "_encoding", None)
        self._readings: dict[Callable[[Page], Any], Any] = {}

    def once(self, reader: Callable[[Page], T]) -> T:
        """``reader(page)``, read once: for what several families want to know."""
        if reader not in self._readings:
            self._readings[reader] = reader(self)
        found: T = self._readings[reader]
        return found

    # Raw: cheap enough for every response

    @cached_property
    def body(self) -> bytes:
        """The page's bytes in an ASCII-compatible encoding; empty where the response is no markup."""
        return self.text.encode() if b"\0" in self._body[:64] else self._body  # UTF-16, UTF-32

    @cached_property
    def _lowered(self) -> bytes:
        return self.body.lower()

    def mentions(self, *needles: bytes) -> bool:
        """Does one of ``needles``, in lower case, occur in the page? In whatever case it stands there."""
        return any(needle in self._lowered for needle in needles)

    def matches(self, pattern: re.Pattern[bytes]) -> bool:
        """Does ``pattern`` occur in the page? It should begin with a literal: then the search is quick."""
        return pattern.search(self.body) is not None

    # Parsed

    @cached_property
    def encoding(self) -> str:
        """What the page is written in: as given, by its mark, its header, its ``meta``; else by what fits."""
        start = self._body[:4096]
        content_type = (self.headers.get("Content-Type") or b"").decode("latin-1")
        for name in (
            self._given_encoding,
            read_bom(start)[0],
            http_content_type_encoding(content_type),
            html_body_declared_encoding(start),
        ):
            if name and (encoding := known_encoding(name)):
                return encoding
        try:
            self._body.decode("utf-8")
        except UnicodeDecodeError:
            return "cp1252"
        return "utf-8"

    @cached_property
    def text(self) -> str:
        return self._body.decode(self.encoding, "replace").removeprefix("\ufeff")

    @cached_property
    def base_url(self) -> str:
        """What the page's addresses are relative to."""
        try:
            base: str = get_base_url(self.text[:4096], self.url)
        except ValueError:
            return self.url
        return base

    @cached_property
    def selector(self) -> Selector:
        return Selector(text=self.text, type="html", base_url=self.base_url)

    def select(self, css: str) -> SelectorList[Selector]:
        """What a selector of the flag's author selects. Raises :class:`CaptchaConfigurationError` if it is none."""
        try:
            return self.selector.css(css)
        except Exception as error:  # cssselect and lxml raise a dozen kinds of them
            raise CaptchaConfigurationError(f"selector: {clean(css)!r} is no CSS selector") from error

    def has(self, css: str) -> bool:
        """Is there anything on the page that ``css`` selects? Raises as :meth:`select` does."""
        return bool(self.select(css))

    @property
    def root(self) -> HtmlElement:
        root: HtmlElement = self.selector.root
        return root

    def absolute(self, url: str) -> str:
        """``url`` as the page means it; ``""`` where it cannot be read."""
        try:
            return urljoin(self.base_url, strip_html5_whitespace(url))
        except ValueError:
            return ""

    @cached_property
    def scripts(self) -> tuple[Script, ...]:
        """The inline scripts, but for huge ones. Data blocks (JSON, templates) are none."""
        scripts = []
        left = _MAX_SCRIPTS
        for element in self.root.iter("script"):
            source = element.text
            if not source or len(source) > min(_MAX_SCRIPT, left):
                continue
            if (element.get("type") or "").strip().lower() in _SCRIPT_TYPES and is_live(element):
                scripts.append(Script(source))
                left -= len(source)
        return tuple(scripts)

    @cached_property
    def resources(self) -> tuple[Resource, ...]:
        """Scripts and frames by their address, in the order of the page."""
        return tuple(self._read_resources())

    def _read_resources(self) -> Iterator[Resource]:
        for count, element in enumerate(self.root.iter("script", "iframe")):
            if count == _MAX_RESOURCES:
                return
            source = element.get("src")
            if not source or len(source) > 8192:
                continue
            url = self.absolute(source)
            try:
                parts = urlsplit(url)
                host = parts.hostname or ""
            except ValueError:
                continue
            if parts.scheme in {"http", "https"} and is_live(element):
                yield Resource(str(element.tag), url, host, parts.path, parts.query, element)

    @cached_property
    def key_attributes(self) -> tuple[tuple[HtmlElement, str, str], ...]:
        """(element, attribute, value) of every attribute whose name has "key" in it, whatever the element."""
        found = self.root.xpath('//@*[contains(name(), "key")]')[:_MAX_ATTRIBUTES]
        return tuple(
            (value.getparent(), str(value.attrname), str(value).strip())
            for value in found
            if value and len(value) <= 512 and is_live(value.getparent())
        )

    def by_id(self, name: str) -> HtmlElement | None:
        """The element with this id, which may be written as the CSS selector ``#name``."""
        found = self.root.xpath("//*[@id = $name]", name=name.removeprefix("#")) if _xml_safe(name) else []
        return found[0] if found else None

    def calls(self, *names: str) -> Iterator[Call]:
        """Calls of these functions ("grecaptcha.render") in the page's own scripts."""
        for script in self.scripts:
            yield from script.calls(*names)

    def constant(self, name: str) -> str | None:
        """The text that the page's scripts give to the variable ``name``."""
        for script in self.scripts:
            value = script.constant(name)
            if value is not None:
                return value
        return None


def known_encoding(name: str) -> str | None:
    """The codec for a charset's name, if it is one of text that browsers may have too."""
    encoding = resolve_encoding(name)
    if not encoding or encoding in _NO_CHARSETS:
        return None
    try:
        "".encode(encoding)
    except (LookupError, UnicodeError):  # "charset=base64" names a codec, but none of text
        return None
    return encoding


def is_live(element: HtmlElement) -> bool:
    """Is this element part of what a browser shows and runs, not the content of a template or a text field?"""
    return not any(ancestor.tag in _INERT for ancestor in element.iterancestors())


def describe(element: HtmlElement) -> str:
    """The element as a reason names it: ``<div class="g-recaptcha">``."""
    label = next((f' {name}="{element.get(name)}"' for name in ("class", "id", "name") if element.get(name)), "")
    return f"<{element.tag}{label}>"


def _xml_safe(text: str) -> bool:
    return len(text) <= 256 and text.isprintable()


def _is_markup(response: Response) -> bool:
    """HTML, or text of which nothing says what it is (Scrapy takes unmarked fragments for plain text)."""
    if isinstance(response, HtmlResponse):
        return True
    return (
        isinstance(response, TextResponse)
        and not isinstance(response, (JsonResponse, XmlResponse))
        and not response.headers.get("Content-Type")
    )
