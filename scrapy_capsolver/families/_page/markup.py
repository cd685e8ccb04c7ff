"""The tree of a page, or of as much of it as can be parsed in a bounded time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lxml.etree import fromstring
from lxml.html import HTMLParser

from scrapy_capsolver.families._page.excerpt import excerpt, middle
from scrapy_capsolver.families._page.tokens import MAX_OF_TAG, measure, measure_text, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lxml.html import HtmlElement

MAX_TAGS = 20_000
"""Start and end tags of a page that are parsed. Two attributes, and four entities, count as one."""

MAX_DEPTH = 256
"""Elements in one another, of a page with many tags. An end tag that has no start takes as long as its place is deep."""

_TIMES_WITH_TEXT = 4
"""What may look like tags, with that in scripts, as a multiple."""

_MAX_OF_DEEP = 2500
"""Tags of a page that is parsed down to the parser's own limit, 2048."""


def parse(parts: Sequence[bytes], skip: Callable[[str], None]) -> HtmlElement:
    """Return the root of ``parts``, which are in UTF-8 and have no NUL. ``skip`` is called with what was left out.

    If there is too much of them, their own parts are parsed. Each part is a document of its own, and all but the first
    stand at the end of the first one's root: no element reaches from one into the next.
    """
    size = sum(map(len, parts))
    pieces: list[bytes] = []
    for count, part in enumerate(parts):
        most = MAX_TAGS * len(part) // (size or 1)
        if count in {0, len(parts) - 1}:
            pieces += _readable(part, most, skip)
        else:
            piece = middle(part, most, measure)
            pieces.append(_until_odd(piece, measure(piece), most, skip)[0])
    first, *others = [_tree(piece, skip) for piece in pieces]
    for root in others:
        first.append(root)
    return first


def _readable(page: bytes, most: int, skip: Callable[[str], None]) -> list[bytes]:
    """Return ``page``, or what of it is parsed: no more than ``most`` tags."""
    size = measure(page)
    if size <= most or (size <= _TIMES_WITH_TEXT * most and size - measure_text(page) <= most):
        start, parsed = _until_odd(page, size, most, skip)
        if parsed <= most:
            return [start]
    pieces = excerpt(page, most, measure, size)
    skip(f"it has more than {most} tags: {sum(map(len, pieces))} of {len(page)} bytes are read")
    return [_until_odd(piece, measure(piece), most // len(pieces), skip)[0] for piece in pieces]


def _until_odd(piece: bytes, size: int, most: int, skip: Callable[[str], None]) -> tuple[bytes, int]:
    """Return ``piece`` up to the first tag that is too odd, and its measure."""
    end, size = walk(piece, size, most)
    if end < len(piece):
        skip(f"a tag has more than {MAX_OF_TAG} attributes, or too many tags are odd: what follows is not read")
    return piece[:end], size


def _tree(piece: bytes, skip: Callable[[str], None]) -> HtmlElement:
    parser = HTMLParser(encoding="utf-8", huge_tree=piece.count(b"<") <= _MAX_OF_DEEP, collect_ids=False)
    root: HtmlElement | None = fromstring(piece.strip() or b"<html/>", parser)
    if parser.error_log.last_error is not None and "depth" in parser.error_log.last_error.message:
        skip("elements that stand too deep in one another: what follows is not read")
    return fromstring(b"<html/>", parser) if root is None else root
