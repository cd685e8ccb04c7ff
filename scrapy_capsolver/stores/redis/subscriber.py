"""What the other workers tell, as it happens."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from scrapy_capsolver.stores.redis.connection import COMMAND_SECONDS, client_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy_capsolver.stores.redis.address import Address

_AGAIN_SECONDS = 0.5
_QUIET_SECONDS = 5.0  # after which the server is asked whether it is there still


class News:
    """``heard`` is called with each message; ``gap`` where some may have been missed, from now on or until now."""

    def __init__(
        self, address: Address, channel: str, heard: Callable[[dict[str, Any]], None], gap: Callable[[], None]
    ) -> None:
        self._client = client_of(address)
        self._channel = channel
        self._heard = heard
        self._gap = gap
        self._listening: asyncio.Task[None] | None = None
        self.is_live = False
        """Nothing is missed."""

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
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _follow(self, subscription: Any) -> None:
        asked = False
        while True:
            message = await subscription.get_message(timeout=COMMAND_SECONDS if asked else _QUIET_SECONDS)
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
        except ValueError:
            news = None
        if isinstance(news, dict):
            self._heard(news)

    async def close(self) -> None:
        self.is_live = False
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        await self._client.aclose()
