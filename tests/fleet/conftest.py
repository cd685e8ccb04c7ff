from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.redis_server import redis_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.redis_server import RedisServer


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis_server() as found:
        yield found
