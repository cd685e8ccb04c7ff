"""Attributes by a word in their names, on whatever element: captchas are set up by some that no standard knows."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from lxml.etree import XPath

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lxml.html import HtmlElement

    from scrapy_capsolver.families._page.page import Page

MAX_ATTRIBUTES = 100
"""Attributes that are read."""

_MAX_WORDS = 20_000
_MAX_FOUND = 1000
_MAX_NAMES = 10
_MAX_BEFORE = 40
_NEAR = 20
_ENDS_OF_VALUES = bytes.maketrans(b"\"'/>", b"    ")
_NAME = re.compile(r"[\w:.@-]+", re.ASCII)
_XML_NAME = re.compile(r"[a-z_][\w.-]*", re.ASCII)
# Names that are looked for first, if there are many.
_TELLING = ("site", "captcha", "turnstile")


def read_attributes(page: Page, word: bytes, least: int, most: int) -> Iterator[tuple[HtmlElement, str, str]]:
    """Yield (element, name, value) of attributes with ``word`` in their names and ``least`` to ``most`` characters."""
    names = _names(page, word)
    if not names:
        return
    found: Any = having(names, least)(page.root)
    if len(found) == MAX_ATTRIBUTES:
        page.skip(f"{MAX_ATTRIBUTES} or more attributes have {word.decode()!r} in their names")
    for value in found:
        if len(value) <= most and page.is_live(value.getparent()):
            yield value.getparent(), value.attrname, str(value).strip()


def _names(page: Page, word: bytes) -> tuple[str, ...]:
    """Return the names that stand in the page's bytes: to look at each attribute of its tree takes ten times as long."""
    lowered = page.lowered
    if lowered.count(word) > _MAX_WORDS:
        page.skip(f"it says {word.decode()!r} more than {_MAX_WORDS} times")
        return ()
    names: dict[str, None] = {}
    seen: set[bytes] = set()
    for found in _name_from(word).finditer(lowered):
        if len(seen) == _MAX_FOUND:
            break
        if (near := lowered[max(0, found.start() - _NEAR) : found.end()]) in seen:
            continue
        seen.add(near)
        before = lowered[max(0, found.start() - _MAX_BEFORE) : found.start()].translate(_ENDS_OF_VALUES)
        begin = before.split()[-1] if before and not before[-1:].isspace() else b""
        name = (begin + word + found[1]).decode("latin-1")
        if _NAME.fullmatch(name):
            names[name] = None
    ranked = sorted(names, key=lambda name: not any(telling in name for telling in _TELLING))
    if len(ranked) > _MAX_NAMES:
        page.skip(f"more than {_MAX_NAMES} names of attributes have {word.decode()!r} in them")
    return tuple(ranked[:_MAX_NAMES])


@cache
def _name_from(word: bytes) -> re.Pattern[bytes]:
    """Return a pattern for the rest of a name. A lookahead does not give back what it has found: one look is enough."""
    return re.compile(word + rb"(?=([\w:.-]{0,40}))\1[\t\n\f\r ]{0,8}=")


@lru_cache(maxsize=32)
def having(names: tuple[str, ...], least: int) -> XPath:
    """Return the path of the first attributes with these names that are long enough."""
    tests = [f"@{name}" if _XML_NAME.fullmatch(name) else f"@*[name() = '{name}']" for name in names]
    paths = " | ".join(f"//{test}[string-length() >= {least}]" for test in tests)
    return XPath(f"({paths})[position() <= {MAX_ATTRIBUTES}]")
