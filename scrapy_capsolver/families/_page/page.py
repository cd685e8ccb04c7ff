"""A response as the families read it: untrusted, parsed once for all of them, and only if it is worth it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qs, urljoin, urlsplit

from lxml.etree import XPath
from parsel import Selector
from scrapy.http import HtmlResponse, JsonResponse, TextResponse, XmlResponse
from w3lib.encoding import html_body_declared_encoding, http_content_type_encoding, read_bom, resolve_encoding
from w3lib.html import get_base_url, strip_html5_whitespace

from scrapy_capsolver._compat.response_encoding import given_encoding
from scrapy_capsolver.errors import CaptchaConfigurationError
from scrapy_capsolver.families._page.javascript import Allowance, Script, segments
from scrapy_capsolver.families._page.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from lxml.html import HtmlElement
    from parsel import SelectorList
    from scrapy.http import Response

    from scrapy_capsolver.families._page.javascript import Call

    T = TypeVar("T")

MAX_BYTES = 2 * 1024 * 1024
"""Of larger pages only the start is looked at: no captcha page comes near it."""

BLOCKING_STATUSES = frozenset({403, 405, 406, 418, 429, 503})
"""Answers by which gates refuse: forbidden (the usual one), "not allowed" (AWS WAF's captcha action), "not acceptable"
and "teapot" (rule-based filters), too many requests, and unavailable. Not 401, which asks for a login; nor 404, 500
and the like, behind which there is no page to win."""

# Characters of one inline script, and of all. Longer ones are a site's whole program or its data.
_MAX_SCRIPT = 256 * 1024
_MAX_ALL_SCRIPTS = 1024 * 1024
# A page that is built around a captcha has a handful of each of these; detection reads no more than so many, so that
# a page that is made to be slow is not.
_MAX_SCRIPTS = 200
_MAX_RESOURCES = 200
_MAX_ATTRIBUTES = 100
_MAX_CALLS = 20
_MAX_ARGUMENTS = 16 * 1024
_MAX_NAMES = 8
_MAX_QUERY = 8192
_MAX_JSON = 16 * 1024
_MAX_COOKIES = 50
# Characters for each tag, on average. Pages have 15 to 100; what has less is made of little but tags, and of that the
# start is read. Small pages are read whole.
_MIN_PER_TAG = 12
_MIN_TAGS = 5000
# Characters for each attribute with "key" in its name, likewise: of a page that has more of them, none is read.
_MIN_PER_KEY = 40
_MIN_KEYS = 1000
_MIN_KEY = 12
# Codecs that no browser knows, and that take quadratic time, warn, or make strings that cannot be encoded again.
_NO_CHARSETS = frozenset({"idna", "punycode", "raw-unicode-escape", "unicode-escape", "utf-7"})
_SCRIPT_TYPES = frozenset({"", "module", "text/javascript", "application/javascript", "application/x-javascript"})
# Types under which optimisers and consent managers hold a script back, to run it later: WP Rocket's "rocketlazyloadscript",
# LiteSpeed's "litespeed/javascript", "<hex>-text/javascript" of Cloudflare's Rocket Loader, Finsweet's "fs-consent".
_HELD_BACK = re.compile(r".{0,60}(?:javascript|ecmascript)|.{0,60}(?:lazy|rocket|litespeed|consent|delay|defer).{0,60}")
# Cookiebot, Borlabs, Complianz, Usercentrics, CookieYes and others use text/plain with an attribute that names the purpose.
_CONSENT = re.compile(
    r"data-(?:.*(?:consent|cookie|category|categories|service|usercentrics|borlabs|gdpr|cmp|vendor|purpose|lazy|src|type).*)|fs-(?:cc|consent)"
)
# Elements whose content is text or a spare part, not page; the parser makes elements of it all the same.
_INERT = frozenset({"template", "textarea", "title", "xmp", "noembed", "noframes", "plaintext", "listing", "option"})
# The limits stand in the paths: each element that comes out of one costs more than the search for it.
_KEY_ATTRIBUTE = re.compile(rb"key[\w:.-]{0,40}\s{0,8}=")
# Site keys have 18 characters and more; the keys of a table's rows, of which there may be thousands, have less.
_WITH_KEYS = XPath(
    f'(//*[@*[contains(name(), "key") and string-length() >= {_MIN_KEY}]])[position() <= {_MAX_ATTRIBUTES}]'
)
# The first asks the parser's own table, which is quick; but it holds the names of anchors as well, and no blanks.
_BY_TABLE = XPath("id($name)")
_BY_ID = XPath("(//*[@id = $name])[1]")
_INJECTED = re.compile(
    r"""["'`]((?:https?:)?(?:\\?/){2}[^\s"'`<>$\\]{1,100}(?:\\?/[^\s"'`<>$\\]{0,200}){0,8}?\.js(?:\?[^\s"'`<>]{0,500})?)"""
)


@dataclass(frozen=True, slots=True)
class Resource:
    """A script or frame that the page loads. ``url`` is absolute."""

    tag: str
    url: str
    host: str
    path: str
    query: str
    element: HtmlElement

    def parameters(self) -> dict[str, str]:
        """The query's, the first of each name; none where there are more than anybody sends."""
        try:
            return {name: values[0] for name, values in parse_qs(self.query[:_MAX_QUERY], max_num_fields=64).items()}
        except ValueError:
            return {}


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
        self._given_encoding = given_encoding(response)
        self._is_json = isinstance(response, JsonResponse)
        self._json_body: bytes = response.body[:_MAX_JSON] if self._is_json else b""
        self.wanted_family = ""
        """Name of the family that the flag's type belongs to; empty if the flag names no type."""
        self._readings: dict[Any, Any] = {}
        self._inert: dict[HtmlElement, bool] = {}
        self._ids: dict[str, HtmlElement | None] = {}
        self._constants: dict[str, str | None] = {}
        self._calls: dict[tuple[str, ...], tuple[Call, ...]] = {}

    def once(self, reader: Callable[[Page], T]) -> T:
        """``reader(page)``, read once: for what several families want to know."""
        return self.kept(reader, lambda: reader(self))

    def kept(self, key: object, reader: Callable[[], T]) -> T:
        """``reader()``, read once for each ``key``."""
        if key not in self._readings:
            self._readings[key] = reader()
        found: T = self._readings[key]
        return found

    def header(self, name: str) -> str:
        """A header of the response, in lower case and bounded; ``""`` where it is not there."""
        value: bytes = self.headers.get(name) or b""
        return value[:1024].decode("latin-1").strip().lower()

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

    def cookie(self, name: str) -> str:
        """A cookie that the response sets; ``""`` where it does not."""
        for header in self.headers.getlist("Set-Cookie")[:_MAX_COOKIES]:
            found, _, value = header[:_MAX_QUERY].decode("latin-1").partition(";")[0].partition("=")
            if found.strip() == name:
                return value.strip()
        return ""

    @cached_property
    def json(self) -> dict[str, Any]:
        """The object that a small JSON response holds; empty for any other response."""
        if not self._is_json or len(self._json_body) == _MAX_JSON:
            return {}
        try:
            found = json.loads(self._json_body)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

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
        text = self.text
        most = max(_MIN_TAGS, len(text) // _MIN_PER_TAG)
        if text.count("<") > most:
            text = "<".join(text.split("<", most)[:most])
        return Selector(text=text, type="html", base_url=self.base_url)

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
        """The inline scripts, those that an optimiser or a consent manager holds back included; no huge ones, no data blocks."""
        scripts: list[Script] = []
        allowance = Allowance()
        left = _MAX_ALL_SCRIPTS
        for element in self.root.iter("script"):
            source = element.text
            if not source or len(source) > min(_MAX_SCRIPT, left):
                continue
            if _is_code(element) and self.is_live(element):
                scripts.append(Script(source, allowance))
                left -= len(source)
                if len(scripts) == _MAX_SCRIPTS:
                    break
        return tuple(scripts)

    @cached_property
    def resources(self) -> tuple[Resource, ...]:
        """Scripts and frames by their address, in the order of the page."""
        return tuple(self._read_resources())

    def _read_resources(self) -> Iterator[Resource]:
        for element in islice(self.root.iter("script", "iframe"), _MAX_RESOURCES):
            source = element.get("src") or _delayed_source(element)
            if not source or len(source) > _MAX_QUERY:
                continue
            url = self.absolute(source)
            try:
                parts = urlsplit(url)
                host = parts.hostname or ""
            except ValueError:
                continue
            if parts.scheme in {"http", "https"} and self.is_live(element):
                yield Resource(str(element.tag), url, host, parts.path, parts.query, element)

    @cached_property
    def key_attributes(self) -> tuple[tuple[HtmlElement, str, str], ...]:
        """(element, attribute, value) of every attribute that may hold a site key: "key" is in its name, whatever the element."""
        most = max(_MIN_KEYS, len(self._lowered) // _MIN_PER_KEY)
        count = sum(1 for _ in islice(_KEY_ATTRIBUTE.finditer(self._lowered), most))
        if count in {0, most}:
            return ()
        found = (
            (element, str(name), str(value).strip())
            for element in elements(_WITH_KEYS, self.root)
            for name, value in islice(element.attrib.items(), _MAX_ATTRIBUTES)
            if "key" in name and _MIN_KEY <= len(value) <= 512 and self.is_live(element)
        )
        return tuple(islice(found, _MAX_ATTRIBUTES))

    def is_live(self, element: HtmlElement) -> bool:
        """Is it part of what a browser shows and runs, not the content of a template or a text field?"""
        return not is_inside(element, _is_inert, self._inert)

    def by_id(self, name: str) -> HtmlElement | None:
        """The element with this id, which may be written as the CSS selector ``#name``."""
        name = name.removeprefix("#")
        if name not in self._ids:
            if len(self._ids) == _MAX_NAMES or len(name) > 256 or not name.isprintable():
                return None
            found = elements(_BY_TABLE, self.root, name=name)
            if name.split() != [name] or (found and found[0].get("id") != name):
                found = elements(_BY_ID, self.root, name=name)
            self._ids[name] = next(iter(found), None)
        return self._ids[name]

    def calls(self, *names: str) -> tuple[Call, ...]:
        """Calls of these functions ("grecaptcha.render") in the page's own scripts."""
        if names not in self._calls:
            self._calls[names] = tuple(self._read_calls(names))
        return self._calls[names]

    def _read_calls(self, names: tuple[str, ...]) -> Iterator[Call]:
        left = _MAX_ARGUMENTS
        calls = (call for script in self.scripts for call in script.calls(*names))
        for call in islice(calls, _MAX_CALLS):
            yield call
            left -= sum(map(len, call.arguments))
            if left <= 0:
                return

    def objects(self, name: str) -> Iterator[dict[str, Any]]:
        """The objects that the page's scripts give to the variable or property ``name``."""
        return islice((found for script in self.scripts for found in script.objects(name)), _MAX_CALLS)

    def resolve(self, reference: str) -> str | None:
        """Return the text that the page's scripts give to a variable or property, ``key`` or ``conf.key``; None if none does."""
        names = segments(reference)
        if not names:
            return None
        if len(names) > 1:
            for found in self.objects(names[-2]):
                if isinstance(value := found.get(names[-1]), str):
                    return value
        return self._constant(names[-1])

    def _constant(self, name: str) -> str | None:
        if name not in self._constants:
            if len(self._constants) == _MAX_NAMES:
                return None
            values = (script.constant(name) for script in self.scripts)
            self._constants[name] = next((value for value in values if value is not None), None)
        return self._constants[name]

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
        found: dict[str, Resource] = {}
        for script in self.scripts:
            if ".js" not in script.source:
                continue
            for match in islice(_INJECTED.finditer(script.code), _MAX_CALLS):
                url = self.absolute(match[1].replace("\\/", "/").replace("&amp;", "&"))
                try:
                    parts = urlsplit(url)
                    host = parts.hostname or ""
                except ValueError:
                    continue
                if parts.scheme in {"http", "https"} and url not in found:
                    found[url] = Resource("script", url, host, parts.path, parts.query, self.root)
        return tuple(found.values())


def elements(path: XPath, root: HtmlElement, **variables: str) -> list[HtmlElement]:
    """The elements that ``path`` selects."""
    found: Any = path(root, **variables)
    return list(found)


def _is_code(element: HtmlElement) -> bool:
    """Return whether a script element holds code that runs, now or once an optimiser or a consent manager lets it."""
    kind = (element.get("type") or "").strip().lower()[:120]
    if kind in _SCRIPT_TYPES or _HELD_BACK.fullmatch(kind):
        return True
    return kind == "text/plain" and any(
        _CONSENT.fullmatch(str(name)) for name in list(element.attrib)[:_MAX_ATTRIBUTES]
    )


def _delayed_source(element: HtmlElement) -> str | None:
    """Return the address that an optimiser or a consent manager keeps in another attribute than ``src``."""
    named = (str(name) for name in list(element.attrib)[:_MAX_ATTRIBUTES])
    return next((element.get(name) for name in named if name.startswith("data-") and name.endswith("src")), None)


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
    """As :meth:`Page.is_live`, of one element."""
    return not is_inside(element, _is_inert, {})


def _is_inert(element: HtmlElement) -> bool:
    return element.tag in _INERT


def is_inside(element: HtmlElement, which: Callable[[HtmlElement], bool], known: dict[HtmlElement, bool]) -> bool:
    """Is the element in one of ``which`` this is true? ``known`` keeps the answers, so that no way is gone twice."""
    way: list[HtmlElement] = []
    answer = False
    parent = element.getparent()
    while parent is not None:
        if parent in known:
            answer = known[parent]
            break
        way.append(parent)
        if which(parent):
            answer = True
            break
        parent = parent.getparent()
    known.update(dict.fromkeys(way, answer))
    return answer


def describe(element: HtmlElement) -> str:
    """The element as a reason names it: ``<div class="g-recaptcha">``."""
    label = next((f' {name}="{element.get(name)}"' for name in ("class", "id", "name") if element.get(name)), "")
    return f"<{element.tag}{label}>"


def _is_markup(response: Response) -> bool:
    """HTML, or text of which nothing says what it is (Scrapy takes unmarked fragments for plain text)."""
    if isinstance(response, HtmlResponse):
        return True
    return (
        isinstance(response, TextResponse)
        and not isinstance(response, (JsonResponse, XmlResponse))
        and not response.headers.get("Content-Type")
    )
