"""What is looked at before a crawl begins."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from scrapy_capsolver.stores import StoreError, open_store
from tests.redis_server import needs_redis, on_asyncio

if TYPE_CHECKING:
    from tests.stores.redis.workers import Place


def refused(url: str) -> str:
    with pytest.raises(StoreError) as caught:
        open_store(url)
    return str(caught.value)


@needs_redis
def test_a_server_that_does_not_answer_is_an_error(own_place: Place) -> None:
    own_place.server.kill()
    message = refused(f"redis://user:secret@127.0.0.1:{own_place.server.port}/3")
    assert message.startswith(f"redis://127.0.0.1:{own_place.server.port}/3 cannot be used: ConnectionError")
    assert "secret" not in message


@needs_redis
def test_a_wrong_password_is_an_error_and_not_shown(own_place: Place) -> None:
    own_place.redis.config_set("requirepass", "right")
    message = refused(f"redis://:wrong@127.0.0.1:{own_place.server.port}/0")
    assert "AuthenticationError" in message
    assert "wrong" not in message.replace("wrong number", "")
    open_store(f"redis://:right@127.0.0.1:{own_place.server.port}/0").close()


@pytest.mark.skipif(on_asyncio(), reason="it needs another reactor: pytest --reactor=default")
def test_another_reactor_is_an_error() -> None:
    assert "needs Twisted's asyncio reactor" in refused("redis://127.0.0.1:1/0")


@needs_redis
def test_a_server_that_evicts_keys_is_warned_of(own_place: Place, caplog: pytest.LogCaptureFixture) -> None:
    client = own_place.redis
    client.config_set("maxmemory", "50mb")
    client.config_set("maxmemory-policy", "allkeys-lru")
    with caplog.at_level(logging.WARNING):
        open_store(own_place.url).close()
    (line,) = [record.getMessage() for record in caplog.records]
    assert "maxmemory-policy allkeys-lru" in line
