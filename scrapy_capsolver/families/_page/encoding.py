"""From bytes to text, in time that grows with their number only. Names of charsets and bytes are untrusted."""

from __future__ import annotations

from codecs import getincrementaldecoder, utf_8_decode
from functools import lru_cache

from w3lib.encoding import html_body_declared_encoding, http_content_type_encoding, read_bom, resolve_encoding

MAX_FAULTS = 1000
"""Faulty sequences of bytes that are replaced."""

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

_MAX_NAME = 40
_DECLARED_WITHIN = 4096  # bytes; browsers look at 1024
_BLOCK = 4096  # bytes
_WIDE = ("utf-16", "utf-32")
_MARKUP = "<a b='c' d=\"e\">&amp;</a>"
# Codecs that no browser knows, and that take quadratic time, warn, or make strings that cannot be encoded again.
_NO_CHARSETS = frozenset({"idna", "punycode", "raw-unicode-escape", "unicode-escape", "utf-7"})


@lru_cache(maxsize=128)
def known_encoding(name: str) -> str | None:
    """Return the codec for a charset's name if it is one of text in which markup is ASCII, UTF-16 or UTF-32."""
    encoding = resolve_encoding(name) if len(name) <= _MAX_NAME else None
    if not encoding or encoding in _NO_CHARSETS:
        return None
    if encoding.startswith(_WIDE):
        return encoding if encoding not in _WIDE else f"{encoding}-le"
    try:
        return encoding if _MARKUP.encode(encoding) == _MARKUP.encode() else None
    except (LookupError, UnicodeError):  # "charset=base64" names a codec, but none of text
        return None


def encoding_of(body: bytes, given: str | None, content_type: str) -> str:
    """Return what ``body`` is written in: as given, by its mark, its header, its ``meta``; else by what fits."""
    start = body[:_DECLARED_WITHIN]
    for name in (
        given,
        read_bom(start)[0],
        http_content_type_encoding(content_type),
        html_body_declared_encoding(start),
    ):
        if name and (encoding := known_encoding(name)):
            return encoding
    try:
        utf_8_decode(body, "strict", False)  # noqa: FBT003 - the last character may be cut
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def is_wide(encoding: str) -> bool:
    """Return whether markup is not ASCII in this encoding."""
    return encoding.startswith(_WIDE)


def decode(data: bytes, encoding: str) -> tuple[str, bool]:
    """Return ``data`` as text, with what ``encoding`` does not have replaced, and whether that is all of it.

    After :data:`MAX_FAULTS` of them the rest is read as Latin-1, in which all bytes mean something, and not at all if
    ``encoding`` is wide: a codec takes a microsecond for each fault, of which a page can have millions.
    """
    try:
        return data.decode(encoding), True
    except UnicodeDecodeError:
        pass
    decoder = getincrementaldecoder(encoding)("replace")
    parts: list[str] = []
    faults = 0
    for start in range(0, len(data), _BLOCK):
        end = start + _BLOCK
        parts.append(decoder.decode(data[start:end], end >= len(data)))
        faults += parts[-1].count(REPLACEMENT)
        if faults > MAX_FAULTS:
            if is_wide(encoding):
                return "".join(parts), end >= len(data)
            parts.append(data[end:].decode("latin-1"))
            break
    return "".join(parts), True
