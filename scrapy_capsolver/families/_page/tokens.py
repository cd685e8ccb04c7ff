"""The tags of a page, as the HTML standard cuts them out of its bytes, so that what the parser gets can be bounded.

The parser's time grows with the square of the attributes of one tag, and what looks like a tag may be a part of a
script, a comment or a quoted value. Only a reading that agrees with the parser's can count them. Nothing in these patterns
that has begun can fail, but for a tag that is not written as usual, so nearly nothing is read twice.

Source: html.spec.whatwg.org/multipage/parsing.html#tokenization .
"""

from __future__ import annotations

import re
from functools import cache

from lxml.etree import HTMLParser, fromstring

MAX_OF_TAG = 256
"""Attributes of one tag. On real pages the largest have some 60."""

ODD = 10
"""What it takes to look at a tag that is not written as usual, or begins text, as :func:`measure` counts."""

_LONG = 200  # bytes
_MAX_TEXTS = 200
_BLANK = r"[\t\n\f\r ]"
_NAME_ENDS = r"(?=[\t\n\f\r />])"
# With values, and without: as nearly all are written, so that browsers agree about them.
_VALUED = rf"""[\t\n\f\r /]+ [^\t\n\f\r />="'<]+ {_BLANK}* = {_BLANK}* (?: "[^"]*" | '[^']*' | [^\t\n\f\r >"'=<`]+ )"""
_BARE = rf"""[\t\n\f\r /]+ [^\t\n\f\r />="'<]+ {_NAME_ENDS} (?! {_BLANK}* = )"""
# Anything that the standard makes an attribute of. An equals sign that begins one belongs to its name.
_ANY = rf"""
    [\t\n\f\r /]* [^\t\n\f\r />] [^\t\n\f\r />=]*
    (?: {_BLANK}* = {_BLANK}* (?: "[^"]*"? | '[^']*'? | [^\t\n\f\r >"'] [^\t\n\f\r >]* )? )?"""
# The first letters of elements that may hold text only; others begin like this too, which does no harm.
_TEXT_ONLY_BEGINS = r"[sS](?:[cC][rR]|[tT][yY]) | [tT](?:[eE][xX]|[iI][tT]) | [xX][mM] | [iI][fF] | [nN][oO][eEfF]"
_FIRST = rf"(?: [a-hj-mo-ru-wyzA-HJ-MO-RU-WYZ] | (?! {_TEXT_ONLY_BEGINS} ) [iInNsStTxX] )"

# Text with one token after it, many times: the way past all that is written as usual, the most usual first. The number of
# repetitions bounds the memory for going back.
_usual = re.compile(
    rf"""(?: [^<]* < (?:
        / [^>"'=<]* >
      | {_FIRST} [^\t\n\f\r />]* (?: > | (?: \  [a-zA-Z0-9_-]+ = "[^"]*" ){{0,32}}
            (?: > | (?: {_VALUED} ){{0,32}} (?: {_BARE} (?: {_VALUED} ){{0,32}} ){{0,3}} [\t\n\f\r /]* > ) )
      | !-- (?: -?> | (?: -?!> )? [^>]* (?: (?<!--)(?<!--!)> [^>]* )* >? )
      | (?! !-- ) (?: [!?] | /[^a-zA-Z>] ) [^>]* >?
      | (?! [a-zA-Z/!?] )
    ) ){{0,1000}} (?: [^<]* \Z )?""".encode(),
    re.VERBOSE,
)
_TAG = re.compile(
    rf"<(/?) ([a-zA-Z] [^\t\n\f\r />]*) ((?: {_ANY} ){{0,{MAX_OF_TAG + 1}}}) ([\t\n\f\r /]*) >?".encode(), re.VERBOSE
)
_ATTRIBUTE = re.compile(_ANY.encode(), re.VERBOSE)
# In a script, "<!--" and then "<script" hide the script's end, up to the next end of either.
_SCRIPT = re.compile(
    rf"""[^<]* (?: < (?! /script{_NAME_ENDS} ) (?: !-- (?! -?> ) [^<>]* (?: (?:
            < (?! /?script{_NAME_ENDS} )
          | (?<!--)>
          | <script{_NAME_ENDS} [^<>]* (?: (?: < (?! /script{_NAME_ENDS} ) | (?<!--)> ) [^<>]* )* (?: </script )?
        ) [^<>]* )* )? [^<]* )*""".encode(),
    re.VERBOSE | re.IGNORECASE,
)


def measure(html: bytes) -> int:
    """Return how much there is to parse at most, in tags: two attributes, and four entities, take as long as one."""
    return max(html.count(b"<"), html.count(b">")) + html.count(b"=") // 2 + html.count(b"&") // 4


def measure_text(html: bytes) -> int:
    """Return how much of :func:`measure` seems to be in scripts and styles, and so is not parsed."""
    size = 0
    for begin, end in ((b"<script", b"</script"), (b"<style", b"</style")):
        stop = 0
        for _ in range(_MAX_TEXTS):
            place = html.find(begin, stop)
            if place < 0:
                break
            stop = html.find(end, place)
            if stop < 0:
                stop = len(html)
            size += measure(html[place:stop])
    return size


def walk(html: bytes, size: int, most: int) -> tuple[int, int]:
    """Return how far ``html`` can be read, and how much there is to parse until there; ``size`` is its measure.

    It ends before a tag with more than :data:`MAX_OF_TAG` attributes, and where odd tags alone are more than ``most``.
    """
    odd = place = before = 0
    names = text_only()
    while odd <= most:
        usual = _usual.match(html, place)
        place = html.find(b"<", usual.end() if usual else place)
        tag = _TAG.match(html, place) if place >= 0 else None
        if tag is None:
            if place in {-1, before}:
                return len(html), size
            before = place
            continue
        attributes = len(_ATTRIBUTE.findall(tag[3]))
        if attributes > MAX_OF_TAG:
            break
        odd += ODD + attributes // 2
        size += attributes // 2
        place = tag.end()
        # The parser takes "<script/>" as XML does.
        if not tag[1] and tag[2].lower() in names and not tag[4].endswith(b"/"):
            end = _end_of_text(html, place, tag[2].lower())
            if end > place + _LONG:
                size -= measure(html[place:end])
            place = end
    return place, measure(html[:place])


def _end_of_text(html: bytes, place: int, name: bytes) -> int:
    found = _SCRIPT.match(html, place) if name == b"script" else _end_tag(name).search(html, place)
    if found is None:
        return len(html)
    return found.end() if name == b"script" else found.start()


@cache
def _end_tag(name: bytes) -> re.Pattern[bytes]:
    return re.compile(b"</" + name + _NAME_ENDS.encode(), re.IGNORECASE)


@cache
def text_only() -> frozenset[bytes]:
    """Return the elements in which the parser that is installed looks for no tags. Older ones know fewer."""
    names = ("script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes")
    page = "<body><{0}><b></b></{0}>".format
    return frozenset(name.encode() for name in names if not fromstring(page(name), HTMLParser()).xpath("//b"))
