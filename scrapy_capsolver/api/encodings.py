"""Bodies that come compressed though nobody asked for it. treq asks for gzip, and has undone that before."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class EncodingError(Exception):
    """The body is encoded in a way that cannot be undone here."""


def decoded(body: bytes, encodings: Iterable[str], most: int) -> bytes:
    """Return the body without its encodings, which are in the order of ``Content-Encoding``.

    Raises :class:`EncodingError`, also for a body of more than ``most`` bytes.
    """
    for encoding in reversed([one.strip().lower() for one in encodings]):
        if encoding in {"", "identity"}:
            continue
        name = encoding if encoding.isascii() and encoding.isalnum() else "?"
        try:
            body = _without(encoding, body, most)
        except (zlib.error, EncodingError):
            raise EncodingError(f"the reply's encoding ({name[:20]}) cannot be undone") from None
    return body


def _without(encoding: str, body: bytes, most: int) -> bytes:
    if encoding in {"gzip", "x-gzip"}:
        return _inflated(body, most, 16 + zlib.MAX_WBITS)
    if encoding == "deflate":
        try:
            return _inflated(body, most, zlib.MAX_WBITS)
        except zlib.error:  # without zlib's header, as many servers send it
            return _inflated(body, most, -zlib.MAX_WBITS)
    if encoding == "br":
        return _from_brotli(body, most)
    raise EncodingError


def _inflated(body: bytes, most: int, window: int) -> bytes:
    inflater = zlib.decompressobj(window)
    plain = inflater.decompress(body, most)
    if not inflater.eof:
        raise EncodingError
    return plain


def _from_brotli(body: bytes, most: int) -> bytes:
    """With the library that newer versions of Scrapy bring along."""
    try:
        from brotli import Decompressor, error  # noqa: PLC0415 - it may be missing
    except ImportError:
        raise EncodingError from None
    try:
        decompressor = Decompressor()
        plain: bytes = decompressor.process(body, output_buffer_limit=most)
        complete = decompressor.is_finished()
    except (error, TypeError):  # older versions know no limit
        raise EncodingError from None
    if not complete:
        raise EncodingError
    return plain
