"""Text without what escapes it, each character with its place: percent-encoding, JSON's and HTML's escapes, in any order."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

_PASSES = 4  # an escape may be escaped again
_ESCAPE = re.compile(
    r"(?P<percent>(?:%[0-9a-fA-F]{2})+)"
    r"|\\u(?P<json>[0-9a-fA-F]{4})"
    r"|\\x(?P<hex>[0-9a-fA-F]{2})"
    r"|&\#(?P<decimal>[0-9]{1,7});"
    r"|&\#[xX](?P<html>[0-9a-fA-F]{1,6});"
    r"|&(?P<entity>amp|lt|gt|quot|apos);"
    r"|\\(?P<char>.)",
    re.DOTALL,
)
_ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}

Letters = list[tuple[str, int, int]]
"""Characters, each with the start and the end of what stands for it in the text."""


def decoded(text: str) -> tuple[bytes, list[tuple[int, int]]]:
    """Return the visible characters of ``text`` in UTF-8, and for each byte its start and end in the text.

    Blanks and control characters are left out, as are escapes of them.
    """
    letters: Letters = [(letter, at, at + 1) for at, letter in enumerate(text)]
    for _ in range(_PASSES):
        joined = "".join(letter for letter, _, _ in letters)
        if _ESCAPE.search(joined) is None:
            break
        letters = list(_unescaped(joined, letters))
    pieces = [
        (letter.encode("utf-8", "replace"), (start, end))
        for letter, start, end in letters
        if letter.isprintable() and not letter.isspace()
    ]
    return b"".join(piece for piece, _ in pieces), [place for piece, place in pieces for _ in piece]


def _unescaped(joined: str, letters: Letters) -> Iterator[tuple[str, int, int]]:
    at = 0
    for escape in _ESCAPE.finditer(joined):
        yield from letters[at : escape.start()]
        start, end = letters[escape.start()][1], letters[escape.end() - 1][2]
        yield from ((letter, start, end) for letter in _meant(escape))
        at = escape.end()
    yield from letters[at:]


def _meant(escape: re.Match[str]) -> str:
    kind = escape.lastgroup or ""
    text = escape[kind]
    if kind == "percent":
        return unquote_to_bytes(text).decode("utf-8", "replace")
    if kind == "entity":
        return _ENTITIES[text]
    if kind == "char":
        return text
    code = int(text, 10 if kind == "decimal" else 16)
    return chr(code) if code <= 0x10FFFF else ""
