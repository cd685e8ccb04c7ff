"""The news that the other workers publish."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from scrapy_capsolver.stores.redis.connection import client_of
from scrapy_capsolver.stores.redis.waiting import end_

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy_capsolver.stores.redis.address import Address
    from scrapy_capsolver.stores.redis.timings import Timings


class News:
    """Call ``heard`` with each message, and ``gap`` if some may have been missed, from now on or until now."""

    def __init__(
        self,
        address: Address,
        channel: str,
        timings: Timings,
        heard: Callable[[dict[str, Any]], None],
        gap: Callable[[], None],
    ) -> None:
        self._client = client_of(address, timings.answer)
        self._timings = timings
        self._channel = channel
        self._heard = heard
        self._gap = gap
        self._listening: asyncio.Task[None] | None = None
        self.is_live = False
        """True while no message is missed."""

    def open(self) -> None:
        self._listening = asyncio.get_running_loop().create_task(self._listen())

    async def _listen(self) -> None:
        while True:
            with suppress(RedisError, OSError, TimeoutError, asyncio.TimeoutError):
                async with self._client.pubsub() as subscription:
                    await subscription.subscribe(self._channel)
                    await self._follow(subscription)
            if self.is_live:
                self.is_live = False
                self._gap()
            await asyncio.sleep(self._timings.retry)

    async def _follow(self, subscription: Any) -> None:
        asked = False
        while True:
            message = await subscription.get_message(timeout=self._timings.answer if asked else self._timings.quiet)
            if message is None:
                if asked:
                    return  # it does not answer
                asked = True
                await subscription.ping()
                continue
            asked = False
            if message["type"] == "subscribe":
                self.is_live = True
                self._gap()
            elif message["type"] == "message":
                self._read(message["data"])

    def _read(self, text: str) -> None:
        try:
            news = json.loads(text)
        except (ValueError, RecursionError):
            news = None
        if isinstance(news, dict):
            self._heard(news)

    async def close(self) -> None:
        self.is_live = False
        if self._listening is not None:
            await end_(self._listening)
        await self._client.aclose()
