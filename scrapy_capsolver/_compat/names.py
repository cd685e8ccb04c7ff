"""What each undocumented name is for, what happens without it, and whether it is there."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import scrapy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from scrapy.crawler import Crawler

logger = logging.getLogger(__name__)

_NOTHING = object()


@dataclass(frozen=True, slots=True)
class Name:
    path: str
    """The object that it starts from, and the attributes to go through: ``engine._slot.closing``."""
    used_for: str
    """As the documentation says it."""
    without: str
    """What happens without it, as the end of the line that the log gets."""
    root: Callable[[Crawler], object]
    """Returns that object, or None if the crawl has none and needs none."""
    kind: type = object
    """The type that its value must have."""

    def missing(self, crawler: Crawler) -> str:
        """Return the first part of the path that is not there, as ``Class has no name``, or an empty text."""
        found = self.root(crawler)
        if found is None:
            return ""
        names = self.path.split(".")[1:]
        for name in names:
            owner, found = found, getattr(found, name, _NOTHING)
            if found is _NOTHING or (name == names[-1] and not isinstance(found, self.kind)):
                return f"{type(owner).__name__} has no {name}"
        return ""


def report_missing(names: Iterable[Name], crawler: Crawler) -> None:
    """Log a line for each part that is missing, with all that goes on without it."""
    consequences: dict[str, list[str]] = {}
    for name in names:
        if missing := name.missing(crawler):
            consequences.setdefault(missing, []).append(name.without)
    for missing, without in consequences.items():
        logger.warning("%s in Scrapy %s: %s", missing, scrapy.__version__, "; ".join(without))
