"""Undocumented names, hidden one at a time from the plugin and from nobody else."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import scrapy

if TYPE_CHECKING:
    import pytest


@dataclass(frozen=True)
class Hidden:
    """``name`` of the class ``owner``, and the beginning of the line that says it is not there."""

    owner: str
    name: str
    since: tuple[int, int] = (2, 13)

    def __str__(self) -> str:
        return f"{self.owner.rpartition('.')[2]}.{self.name}"

    @property
    def exists(self) -> bool:
        return scrapy.version_info[:2] >= self.since

    @property
    def line(self) -> str:
        return f"{self.owner.rpartition('.')[2]} has no {self.name} in Scrapy {scrapy.__version__}: "

    def hide(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As if the Scrapy of another version had another name for it, and used that itself."""
        module, _, cls = self.owner.rpartition(".")
        owner = getattr(importlib.import_module(module), cls)
        get, put = owner.__getattribute__, owner.__setattr__

        def hiding_get(obj: Any, name: str) -> Any:
            if name == self.name and _is_plugin(sys._getframe(1)):
                raise AttributeError(f"{obj!r} has no {name}")
            return get(obj, name)

        def hiding_put(obj: Any, name: str, value: Any) -> None:
            if not (name == self.name and _is_plugin(sys._getframe(1))):
                put(obj, name, value)

        monkeypatch.setattr(owner, "__getattribute__", hiding_get)
        monkeypatch.setattr(owner, "__setattr__", hiding_put)


def _is_plugin(frame: Any) -> bool:
    return str(frame.f_globals["__name__"]).startswith("scrapy_capsolver.")


NAMES = [
    Hidden("scrapy.core.downloader.Downloader", "total_concurrency"),
    Hidden("scrapy.core.engine.ExecutionEngine", "_slot"),
    Hidden("scrapy.core.engine._Slot", "nextcall"),
    Hidden("scrapy.utils.reactor.CallLaterOnce", "schedule"),
    Hidden("scrapy.core.engine._Slot", "closing"),
    Hidden("scrapy.core.engine.ExecutionEngine", "close_spider_async", since=(2, 14)),
    Hidden("scrapy.core.downloader.Downloader", "slots"),
    Hidden("scrapy.core.downloader.Slot", "delay"),
    Hidden("scrapy.core.downloader.Slot", "queue"),
    Hidden("scrapy.downloadermiddlewares.cookies.CookiesMiddleware", "jars"),
    Hidden("scrapy.http.cookies.CookieJar", "set_cookie"),
    Hidden("scrapy.downloadermiddlewares.httpcache.HttpCacheMiddleware", "policy"),
    Hidden("scrapy.http.TextResponse", "_encoding"),
    Hidden("scrapy.core.scraper.Scraper", "enqueue_scrape"),
]
"""Of those that a crawl uses by itself. The ``needs_backout`` of two queues matter only without ``_Slot.closing``."""

LATER = [
    Hidden("scrapy.core.downloader.Downloader", "needs_backout"),
    Hidden("scrapy.core.scraper.Slot", "needs_backout"),
]
