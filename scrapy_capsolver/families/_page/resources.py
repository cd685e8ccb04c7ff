"""The scripts and frames that a page loads."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from w3lib.html import strip_html5_whitespace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lxml.html import HtmlElement

    from scrapy_capsolver.families._page.page import Page

MAX_LOOKED_AT = 1000
"""Elements among which scripts and frames are looked for."""

MAX_RESOURCES = 200
MAX_URL = 8192
_MAX_ALL_URLS = 256 * 1024
_MAX_PARAMETERS = 64
MAX_INJECTED = 2000
"""Characters of the address of a script in a script, up to ``.js``."""

_MAX_INJECTED_COUNT = 20
_MAX_KIND = 120
_MAX_ATTRIBUTES = 40
_INJECTED = re.compile(
    r"""(?:https?:)?(?:\\?/){2}[^\s"'`<>$\\]{1,100}(?:\\?/[^\s"'`<>$\\]{0,200}){0,8}?\.js(?:\?[^\s"'`<>]{0,500})?(?=["'`])"""
)
_SCRIPT_TYPES = frozenset({"", "module", "text/javascript", "application/javascript", "application/x-javascript"})
# Types under which optimisers and consent managers hold a script back, to run it later: WP Rocket's "rocketlazyloadscript",
# LiteSpeed's "litespeed/javascript", "<hex>-text/javascript" of Cloudflare's Rocket Loader, Finsweet's "fs-consent".
_HELD_BACK = re.compile(r".{0,60}(?:javascript|ecmascript)|.{0,60}(?:lazy|rocket|litespeed|consent|delay|defer).{0,60}")
# Cookiebot, Borlabs, Complianz, Usercentrics, CookieYes and others use text/plain with an attribute that names the purpose.
_CONSENT = re.compile(
    r"data-(?:.*(?:consent|cookie|category|categories|service|usercentrics|borlabs|gdpr|cmp|vendor|purpose|lazy|src|type).*)|fs-(?:cc|consent)"
)


@dataclass(frozen=True, slots=True)
class Resource:
    """A script or frame. ``url`` is absolute."""

    tag: str
    url: str
    host: str
    path: str
    query: str
    element: HtmlElement

    @property
    def file(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    def parameters(self) -> dict[str, str]:
        """Return the query's parameters, the first of each name; none if there are more than anybody sends."""
        try:
            found = parse_qs(self.query, max_num_fields=_MAX_PARAMETERS)
        except ValueError:
            return {}
        return {name: values[0] for name, values in found.items()}


def read_resources(page: Page) -> Iterator[Resource]:
    """Yield the resources over HTTP in the order of the page, as far as a browser loads them."""
    left = _MAX_ALL_URLS
    found = islice(page.root.iter("script", "iframe"), MAX_LOOKED_AT)
    sources = ((element, source) for element in found if (source := element.get("src") or _delayed_source(element)))
    for count, (element, source) in enumerate(sources):
        if count == MAX_RESOURCES or left <= 0:
            page.skip("it loads too many scripts and frames")
            return
        left -= len(source)
        if len(source) > MAX_URL:
            page.skip(f"the address of a script or frame has {len(source)} characters")
            continue
        if page.is_live(element) and (resource := _resource(page, source, element)):
            yield resource


def read_injected(page: Page) -> Iterator[Resource]:
    """Yield the scripts that inline scripts load, by their addresses there, which end with ``.js`` or have a query then."""
    seen = set()
    for script, place in page.scripts.places(".js"):
        start = max(script.source.rfind(quote, max(0, place - MAX_INJECTED), place) for quote in "\"'`")
        found = _INJECTED.match(script.source, start + 1) if start >= 0 else None
        if found is None or found[0] in seen or not script.code.startswith(found[0], start + 1):
            continue
        seen.add(found[0])
        if resource := _resource(page, found[0].replace("\\/", "/").replace("&amp;", "&"), page.root):
            yield replace(resource, tag="script")
        if len(seen) == _MAX_INJECTED_COUNT:
            return


def _resource(page: Page, address: str, element: HtmlElement) -> Resource | None:
    url = page.absolute(strip_html5_whitespace(address))
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"}:
        return None
    return Resource(str(element.tag), url, host, parts.path, parts.query, element)


def is_code(element: HtmlElement) -> bool:
    """Return whether a script element holds code that runs, now or once an optimiser or a consent manager lets it."""
    kind = (element.get("type") or "")[:_MAX_KIND].strip().lower()
    if kind in _SCRIPT_TYPES or _HELD_BACK.fullmatch(kind):
        return True
    return kind == "text/plain" and any(_CONSENT.fullmatch(name) for name in _names(element))


def _delayed_source(element: HtmlElement) -> str | None:
    """Return the address that an optimiser or a consent manager keeps in another attribute than ``src``."""
    names = (name for name in _names(element) if name.startswith("data-") and name.endswith("src"))
    return next((element.get(name) for name in names), None)


def _names(element: HtmlElement) -> list[str]:
    return [str(name)[:_MAX_KIND] for name in element.attrib][:_MAX_ATTRIBUTES]
