"""Keys that somebody else has written, or that have lost a part: each is reported once, in one line."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from scrapy_capsolver.stores.redis.address import Address

logger = logging.getLogger(__name__)

_MOST_KEYS = 1000  # that are reported
_MOST_FIELDS = 5  # in one line
_MOST_LETTERS = 120  # of a name


class Damage:
    """Damaged keys of one server. ``count`` is called for each key."""

    def __init__(self, address: Address, count: Callable[[], None]) -> None:
        self._address = address
        self._count = count
        self._known: set[str] = set()

    def found(self, parts: Sequence[str]) -> None:
        """Report what a script found: key, field and fault of each, one after the other."""
        faults: dict[str, list[str]] = {}
        for key, field, fault in zip(parts[::3], parts[1::3], parts[2::3], strict=False):
            faults.setdefault(key, []).append(f"{shown(field)} {fault}" if field else fault)
        for key, found in faults.items():
            self.report(key, found)

    def report(self, key: str, faults: Iterable[str]) -> None:
        """Log that the key is damaged, unless that was logged before."""
        if key in self._known or len(self._known) >= _MOST_KEYS:
            return
        self._known.add(key)
        self._count()
        found = list(dict.fromkeys(faults))
        more = f" and {len(found) - _MOST_FIELDS} more" if len(found) > _MOST_FIELDS else ""
        logger.error(
            "CAPSOLVER_STORE: %s: the key %s is damaged (%s%s). What cannot be read counts as forgotten",
            self._address,
            shown(key),
            ", ".join(found[:_MOST_FIELDS]),
            more,
        )


def shown(name: str) -> str:
    """Return a name in one line, and not too long."""
    text = name if name.isprintable() else ascii(name)[1:-1]
    return text if len(text) <= _MOST_LETTERS else f"{text[: _MOST_LETTERS - 3]}..."
