"""Strings that come from a page, made fit for messages and for CapSolver's fields."""

from __future__ import annotations

from typing import Any


def clean(text: str, limit: int = 120) -> str:
    """``text`` on one line, without control characters and at most ``limit`` long: for reasons and messages."""
    # Cut before work is done on it: an attribute can be a megabyte.
    line = " ".join(text[: limit * 4].split())
    line = "".join(char if char.isprintable() else "?" for char in line)
    return line if len(line) <= limit and len(text) <= limit * 4 else line[: limit - 3] + "..."


def plain(value: Any, limit: int) -> str | None:
    """``value`` if it is text of 1 to ``limit`` printable ASCII characters, which is all these fields ever hold."""
    if isinstance(value, str) and 0 < len(value) <= limit and value.isascii() and value.isprintable():
        return value
    return None
