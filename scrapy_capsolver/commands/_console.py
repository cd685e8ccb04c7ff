"""What subcommands write: results to standard output, errors and progress to standard error.

Pages, and what CapSolver says, are untrusted: no control character of theirs reaches the terminal.
"""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from scrapy_capsolver.errors import CaptchaError

if TYPE_CHECKING:
    from collections.abc import Iterator

INTERRUPTED = 130  # as shells have it: 128 and SIGINT's number


@contextmanager
def plain_errors() -> Iterator[None]:
    """Text that the terminal's encoding lacks is written as escapes; and Ctrl-C is no traceback."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def printable(text: object, limit: int = 0) -> str:
    """On one line, without control characters, and at most ``limit`` long where that is given."""
    line = "".join(letter if letter.isprintable() else "?" for letter in str(text))
    return line if not limit or len(line) <= limit else line[: limit - 3] + "..."


def literal(value: Any) -> str:
    """``value`` as it may be pasted into Python code, in double quotes where that needs no escapes."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{literal(key)}: {literal(one)}' for key, one in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    quoted = isinstance(value, str) and value.isprintable() and not {'"', "\\"} & {*value}
    return f'"{value}"' if quoted else repr(value)


def say(line: object = "") -> None:
    _write(sys.stdout, f"{printable(line)}\n")


def complain(line: object) -> None:
    _write(sys.stderr, f"{printable(line)}\n")


def say_json(value: Any) -> None:
    """One JSON document, in ASCII alone."""
    _write(sys.stdout, json.dumps(value, indent=2) + "\n")


def fail(error: Exception, *, as_json: bool, **more: Any) -> int:
    """Tell what went wrong, and give the exit code. With ``--json`` programs find it on standard output as well."""
    typed = isinstance(error, CaptchaError)
    complain(f"{type(error).__name__}: {error}" if typed else error)
    if as_json:
        say_json({**more, "error": as_dict(error)})
    return 1


def as_dict(error: Exception) -> dict[str, Any]:
    told: dict[str, Any] = {"type": type(error).__name__, "message": str(error)}
    if isinstance(error, CaptchaError):
        told |= {"code": error.code, "attempts": error.attempts, "possibly_paid": error.possibly_paid}
    return told


def _write(stream: TextIO, text: str) -> None:
    stream.write(text)
    stream.flush()
