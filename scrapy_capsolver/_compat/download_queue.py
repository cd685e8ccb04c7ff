"""The queue of Scrapy's downloader, in which a solution must not age."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from scrapy import Request, signals

from scrapy_capsolver._compat.names import Name

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy.crawler import Crawler

_LONGEST_DELAY = 1.5  # times DOWNLOAD_DELAY: RANDOMIZE_DOWNLOAD_DELAY, and the default of DOWNLOAD_DELAY_JITTER
_WITHOUT = "with a DOWNLOAD_DELAY, a request with a token waits its turn, and may be sent when the token is too old"


def _new_slot(_: Crawler) -> object:
    """Return a site's slot, as the downloader makes it for the first request."""
    try:
        from scrapy.core.downloader import Slot  # noqa: PLC0415 - it may have moved

        return Slot(1, 0.0, 0.0)  # type: ignore[arg-type,unused-ignore]  # the last one is a bool before Scrapy 2.19
    except (ImportError, TypeError):
        return object()


NAMES = (
    Name(
        "engine.downloader.slots",
        used_for="finds the queue in which DOWNLOAD_DELAY keeps the requests of a site",
        without=_WITHOUT,
        root=lambda crawler: crawler.engine,
        kind=dict,
    ),
    Name(
        "Slot.delay", used_for="says how long a request with a token may wait there", without=_WITHOUT, root=_new_slot
    ),
    Name("Slot.queue", used_for="puts requests with a token ahead of the others", without=_WITHOUT, root=_new_slot),
)


class DownloadQueue:
    """The queue in which a site's DOWNLOAD_DELAY keeps its requests: those with a solution, which ages, go first."""

    def __init__(self, crawler: Crawler, is_urgent: Callable[[Request], bool]) -> None:
        self._crawler = crawler
        self._is_urgent = is_urgent
        self._listening = False

    def wait(self, request: Request) -> float:
        """Return the seconds that an urgent request will wait there at most."""
        slot = self._slot(request)
        if slot is None or not slot.delay:
            return 0.0
        ahead = sum(self._is_urgent_entry(entry) for entry in slot.queue)
        return float((ahead + 1) * slot.delay * _LONGEST_DELAY)

    def hurry(self) -> None:
        """Put urgent requests before those that can wait, from the next that reaches the downloader."""
        if not self._listening:
            self._listening = True
            self._crawler.signals.connect(self._reached, signal=signals.request_reached_downloader)

    def _reached(self, request: Request) -> None:
        slot = self._slot(request)
        if slot is not None and slot.queue and self._is_urgent(request):
            from twisted.internet import reactor

            cast("Any", reactor).callLater(0, self._move, request, slot)  # it is not in the queue yet

    def _move(self, request: Request, slot: Any) -> None:
        place = next((number for number, entry in enumerate(slot.queue) if _request_of(entry) is request), None)
        if place is None:  # on its way already
            return
        entry = slot.queue[place]
        del slot.queue[place]
        first = next((number for number, other in enumerate(slot.queue) if not self._is_urgent_entry(other)), place)
        slot.queue.insert(min(first, place), entry)

    def _is_urgent_entry(self, entry: object) -> bool:
        request = _request_of(entry)
        return request is not None and self._is_urgent(request)

    def _slot(self, request: Request) -> Any:
        slots = getattr(getattr(self._crawler.engine, "downloader", None), "slots", None)
        if not isinstance(slots, dict):
            return None
        slot = slots.get(request.meta.get("download_slot") or urlsplit(request.url).hostname or "")
        return slot if hasattr(slot, "delay") and hasattr(slot, "queue") else None


def _request_of(entry: object) -> Request | None:
    """Return the request of an entry of the queue, which is a pair of it and what waits for it."""
    request = entry[0] if isinstance(entry, tuple) and entry else entry
    return request if isinstance(request, Request) else None
