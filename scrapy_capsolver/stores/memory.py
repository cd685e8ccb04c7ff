"""The store of one crawl, which ends with it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from scrapy_capsolver.stores.base import Alone

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scrapy_capsolver.stores.base import Clearance, Key, Spend, TaskRow


MOST = 10_000
"""Clearances of one site. Each identity has its own, and a crawl may give each request another proxy and cookie jar."""


class MemoryStore(Alone):
    """Implements :class:`~scrapy_capsolver.stores.base.Store`."""

    def __init__(self) -> None:
        self._sites: defaultdict[str, dict[Key, Clearance]] = defaultdict(dict)

    @property
    def is_empty(self) -> bool:
        return not self._sites

    async def load(self, site: str) -> Mapping[Key, Clearance]:
        return self.known(site)

    def known(self, site: str) -> Mapping[Key, Clearance]:
        return self._sites.get(site, {})

    async def save(self, key: Key, clearance: Clearance) -> None:
        held = self._sites[key.site].get(key)
        if held is None or (clearance.fence, clearance.solved_at) >= (held.fence, held.solved_at):
            kept = self._sites[key.site]
            kept[key] = clearance
            if len(kept) > MOST:
                del kept[next(iter(kept))]

    async def delete(self, key: Key, clearance_id: str) -> None:
        held = self._sites[key.site].get(key)
        if held is not None and held.id == clearance_id:
            del self._sites[key.site][key]

    async def open_task(self, task: TaskRow) -> None:
        """The stats of the crawl tell all that this store could."""

    async def spend(self, entry: Spend, *, closes: str, reservation: str = "", wasted: bool = False) -> None:
        """See :meth:`open_task`."""

    def close(self) -> None:
        self._sites.clear()
