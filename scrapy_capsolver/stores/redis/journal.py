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
    from collections.abc import Callable, Sequence

    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    from scrapy_capsolver.stores.redis.bookings import Bookings
    from scrapy_capsolver.stores.redis.connection import Link

logger = logging.getLogger(__name__)

_MOST_AT_ONCE = 100  # writes, so that a batch keeps the server busy for some milliseconds


class Journal:
    """The writes of one worker.

    ``refused`` is called with site, field and text of clearances for which there are newer ones.
    """

    def __init__(self, link: Link, bookings: Bookings, refused: Callable[[str, str, str], None]) -> None:
        self._link = link
        self._bookings = bookings
        self._refused = refused
        self._writes: dict[Any, dict[str, Any]] = {}
        self._number = count()
        self._batch: tuple[str, list[dict[str, Any]]] | None = None
        self._under_way = self._soon = False
        self._waiting: Waiters[None] = Waiters(reactor())

    def add(self, op: str, **values: Any) -> None:
        """Have something written. Values that are None are left out."""
        # Of a clearance that the site issues again with each page, and of a record, the last is enough.
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
        """Return what is still to be written of a site's clearances."""
        return [one for one in self._all() if one["op"] in {"save", "drop"} and one["site"] == site]

    def reservations(self) -> set[str]:
        """Return those of which something is still to be written."""
        return {one["id"] for one in self._all() if "id" in one}

    def _all(self) -> list[dict[str, Any]]:
        return [*(self._batch[1] if self._batch is not None else ()), *self._writes.values()]

    def written(self) -> Deferred[None]:
        """Fire when all that was added is in Redis."""
        return succeed(None) if self.is_empty else self._waiting.join()

    def _flush_now(self) -> None:
        self._soon = False
        self.flush()

    def flush(self) -> None:
        """Send what there is: one batch at a time. A batch that may have been done is sent again as it was."""
        if self._under_way or not self._link.is_up or self.is_empty:
            return
        if self._batch is None:
            keys = list(islice(self._writes, _MOST_AT_ONCE))
            # Its id makes the server do it once.
            self._batch = (uuid.uuid4().hex, [self._writes.pop(key) for key in keys])
        batch_id, writes = self._batch
        self._under_way = True
        bookings = self._bookings
        call = self._link.call("apply", batch_id, bookings.ledger, bookings.count, json.dumps(writes))
        call.addCallbacks(self._done, self._failed)

    def _done(self, text: str) -> None:
        self._under_way = False
        answer = json.loads(text)
        if answer.get("forgot"):
            self._write_again(answer["count"])
        else:
            self._batch = None
            # An empty list of Lua is an empty object of JSON.
            self._bookings.note(answer["count"], list(answer["booked"]))
            refused = list(answer["refused"])
            for place in range(0, len(refused), 3):
                self._refused(*refused[place : place + 3])
        self._go_on()

    def check(self, entries: int, booked: Sequence[Any]) -> None:
        """The ledger has so many entries of this worker, of which it ``booked`` some just now: enter again what is missing.

        If it cannot be read, ``entries`` is negative.
        """
        if entries >= self._bookings.count:
            if booked:
                self._bookings.note(entries, booked)
        elif entries >= 0 and not self._under_way:
            self._write_again(entries)
            self._go_on()

    def _write_again(self, entries: int) -> None:
        """Put what the ledger has lost before all that is still to be written."""
        batch = [] if self._batch is None else self._batch[1]
        self._batch = None
        first = [*self._bookings.again(entries), *batch]
        self._writes = {next(self._number): one for one in first} | self._writes

    def _go_on(self) -> None:
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
            self._batch = None
            self._go_on()
