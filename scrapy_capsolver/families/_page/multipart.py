"""multipart/form-data (RFC 7578), as far as a form with a captcha needs it."""

from __future__ import annotations

import re
from email.message import Message
from hashlib import sha256
from typing import TYPE_CHECKING

from scrapy_capsolver.errors import UnsupportedCaptchaError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_DISPOSITION = re.compile(rb"^content-disposition\s*:\s*form-data\b([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
# As browsers write it: a quote in the name is "%22", a backslash stands for itself.
_NAME = re.compile(rb';[ \t]*name[ \t]*=[ \t]*(?:"([^"]*)"|([^\s;"]+))', re.IGNORECASE)


def boundary_of(content_type: str) -> bytes:
    """The boundary that a Content-Type names, or ``b""``."""
    message = Message()
    message["Content-Type"] = content_type.replace("\r", " ").replace("\n", " ")
    boundary = message.get_param("boundary")
    return boundary.encode("latin-1", "ignore") if isinstance(boundary, str) and len(boundary) <= 200 else b""


def encode(pairs: Sequence[tuple[str, str]], files: Collection[str] = (), encoding: str = "utf-8") -> tuple[str, bytes]:
    """A form's fields as (Content-Type, body). Fields named in ``files`` are file inputs in which nothing was chosen."""
    parts = []
    for name, value in pairs:
        escaped = _escape(name, encoding)
        if name in files and not value:
            head = b'name="' + escaped + b'"; filename=""\r\nContent-Type: application/octet-stream'
        else:
            head = b'name="' + escaped + b'"'
        # A browser sends line breaks in values as CR LF.
        content = re.sub(r"\r\n|\r|\n", "\r\n", value).encode(encoding, "xmlcharrefreplace")
        parts.append(b"Content-Disposition: form-data; " + head + b"\r\n\r\n" + content)
    boundary = _fresh_boundary(parts)
    body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + boundary + b"--\r\n"
    return f"multipart/form-data; boundary={boundary.decode()}", body


def set_part(body: bytes, boundary: bytes, name: str, value: str) -> bytes:
    """``body`` with a field set: in the place of the first of that name, else at the end.

    Raises :class:`UnsupportedCaptchaError` for a body that is not what its Content-Type says.
    """
    delimiter = b"\r\n--" + boundary
    content = value.encode()
    if boundary in content:
        raise UnsupportedCaptchaError("The solution contains the boundary of the request's multipart body")
    part = b'\r\nContent-Disposition: form-data; name="' + _escape(name) + b'"\r\n\r\n' + content
    if not body:
        return delimiter[2:] + part + delimiter + b"--\r\n"
    preamble, *parts = (b"\r\n" + body).split(delimiter)
    if not parts or not parts[-1].startswith(b"--"):
        raise UnsupportedCaptchaError(
            "The request's multipart body does not end with its boundary: nothing can be added"
        )
    *parts, epilogue = parts
    kept: list[bytes] = []
    placed = False
    for old in parts:
        if _part_name(old) != _escape(name):
            kept.append(old)
        elif not placed:
            kept.append(part)
            placed = True
    if not placed:
        kept.append(part)
    return delimiter.join([preamble, *kept, epilogue])[2:]


def _part_name(part: bytes) -> bytes | None:
    head = part.partition(b"\r\n\r\n")[0]
    disposition = _DISPOSITION.search(head)
    found = _NAME.search(disposition[1]) if disposition else None
    return (found[1] if found[1] is not None else found[2]) if found else None


def _escape(name: str, encoding: str = "utf-8") -> bytes:
    """As the HTML standard, section "Multipart form data", has it."""
    escaped = name.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
    return escaped.encode(encoding, "xmlcharrefreplace")


def _fresh_boundary(parts: Sequence[bytes]) -> bytes:
    """A boundary that occurs in no part: the same for the same form, so that requests compare."""
    joined = b"\r\n".join(parts)
    boundary = b"----FormBoundary" + sha256(joined).hexdigest()[:24].encode()
    while boundary in joined:  # pragma: no cover - would take a hash that contains itself
        boundary = b"----FormBoundary" + sha256(boundary).hexdigest()[:24].encode()
    return boundary
