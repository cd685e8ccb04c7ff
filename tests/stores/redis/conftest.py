from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.redis_server import BINARY, on_asyncio, redis_server
from tests.stores.redis.workers import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.redis_server import RedisServer


@pytest.fixture
def place(shared_redis: RedisServer, redis_prefix: str) -> Place:
    """Keys of a test's own on the server that all share."""
    if not on_asyncio():
        pytest.skip("redis-py waits on asyncio's event loop")
    return Place(shared_redis, redis_prefix)


@pytest.fixture
def own_place() -> Iterator[Place]:
    """A server of a test's own, to be stopped or broken."""
    if BINARY is None or not on_asyncio():
        pytest.skip("there is no redis-server here, or no asyncio reactor")
    with redis_server() as server:
        yield Place(server, "capsolver")
