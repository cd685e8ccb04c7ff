"""The queue of Scrapy's downloader, in which a solution must not age."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from scrapy import signals

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy import Request
    from scrapy.crawler import Crawler

_LONGEST_DELAY = 1.5  # times DOWNLOAD_DELAY: RANDOMIZE_DOWNLOAD_DELAY, and the default of DOWNLOAD_DELAY_JITTER


class DownloadQueue:
    """The queue in which a site's DOWNLOAD_DELAY keeps its requests: those with a solution, which ages, go first."""

    def __init__(self, crawler: Crawler, is_urgent: Callable[[Request], bool]) -> None:
        self._crawler = crawler
        self._is_urgent = is_urgent
        self._listening = False

    def wait(self, request: Request) -> float:
        """Seconds that an urgent request will wait there at most."""
        slot = self._slot(request)
        if slot is None or not slot.delay:
            return 0.0
        ahead = sum(self._is_urgent(queued) for queued, _ in slot.queue)
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
        place = next((number for number, (queued, _) in enumerate(slot.queue) if queued is request), None)
        if place is None:  # on its way already
            return
        entry = slot.queue[place]
        del slot.queue[place]
        first = next((number for number, (queued, _) in enumerate(slot.queue) if not self._is_urgent(queued)), place)
        slot.queue.insert(min(first, place), entry)

    def _slot(self, request: Request) -> Any:
        downloader: Any = getattr(self._crawler.engine, "downloader", None)
        if not hasattr(downloader, "slots") or not hasattr(downloader, "get_slot_key"):
            return None
        return downloader.slots.get(downloader.get_slot_key(request))
