"""What a worker has to write. It is written in its order and once; while the server is away it waits."""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from itertools import count, islice
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import succeed

from scrapy_capsolver._utils.waiters import Waiters
from scrapy_capsolver.stores.redis.connection import ScriptError
from scrapy_capsolver.stores.redis.waiting import reactor

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    from scrapy_capsolver.stores.redis.connection import Link

logger = logging.getLogger(__name__)

_MOST_AT_ONCE = 100  # writes, so that a batch keeps the server busy for some milliseconds


class Journal:
    """``refused`` is called with site, field and text of clearances for which there are newer ones."""

    def __init__(self, link: Link, worker: str, refused: Callable[[str, str, str], None]) -> None:
        self._link = link
        self._worker = worker
        self._refused = refused
        self._writes: dict[Any, dict[str, Any]] = {}
        self._number = count()
        self._batch: tuple[str, list[dict[str, Any]]] | None = None
        self._under_way = self._soon = False
        self._waiting: Waiters[None] = Waiters(reactor())

    def add(self, op: str, **values: Any) -> None:
        """What is None is left out."""
        # Of a clearance that the site issues anew with each page, and of a record, the last is enough.
        last_only = {"save": ("site", "field"), "record": ("run",)}.get(op)
        key: Any = next(self._number) if last_only is None else (op, *(values[name] for name in last_only))
        self._writes.pop(key, None)
        self._writes[key] = {"op": op, **{name: value for name, value in values.items() if value is not None}}
        if not self._soon:
            self._soon = True
            # What belongs together is added at once, and then is one command.
            asyncio.get_running_loop().call_soon(self._flush_now)

    @property
    def is_empty(self) -> bool:
        return self._batch is None and not self._writes

    def pending(self, site: str) -> list[dict[str, Any]]:
        """What is still to be written of a site's clearances."""
        return [one for one in self._all() if one["op"] in {"save", "drop"} and one["site"] == site]

    def entries(self) -> list[dict[str, Any]]:
        """What is still to be written into the ledger."""
        return [one for one in self._all() if one["op"] in {"finish", "spend"} and "account" in one]

    def _all(self) -> list[dict[str, Any]]:
        return [*(self._batch[1] if self._batch is not None else ()), *self._writes.values()]

    def written(self) -> Deferred[None]:
        """Fires when all that was added is in Redis."""
        return succeed(None) if self.is_empty else self._waiting.join()

    def _flush_now(self) -> None:
        self._soon = False
        self.flush()

    def flush(self) -> None:
        """Send what there is. One batch at a time; one of which it is not known whether it came through, again as it was."""
        if self._under_way or not self._link.is_up or self.is_empty:
            return
        if self._batch is None:
            keys = list(islice(self._writes, _MOST_AT_ONCE))
            # Its id makes the server do it once.
            self._batch = (uuid.uuid4().hex, [self._writes.pop(key) for key in keys])
        batch_id, writes = self._batch
        self._under_way = True
        self._link.call("apply", self._worker, batch_id, json.dumps(writes)).addCallbacks(self._done, self._failed)

    def _done(self, refused: list[str]) -> None:
        self._batch, self._under_way = None, False
        for place in range(0, len(refused), 3):
            self._refused(*refused[place : place + 3])
        if self.is_empty:
            self._waiting.release_all(None)
        else:
            self.flush()

    def _failed(self, failure: Failure) -> None:
        self._under_way = False
        if failure.check(ScriptError) and self._batch is not None:
            # It would fail for ever, and all that comes after it would wait.
            kinds = sorted({one["op"] for one in self._batch[1]})
            logger.error(
                "CAPSOLVER_STORE: what could not be written is left out (%s): %s", ", ".join(kinds), failure.value
            )
            self._done([])
