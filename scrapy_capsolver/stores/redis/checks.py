"""What is looked at before a crawl begins, so that it is reported in one line."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from twisted.internet.asyncioreactor import AsyncioSelectorReactor

from scrapy_capsolver.stores.base import StoreError

if TYPE_CHECKING:
    from scrapy_capsolver.stores.redis.address import Address

logger = logging.getLogger(__name__)

_SECONDS = 3.0


def check_reactor() -> None:
    """Raise :class:`StoreError` if Twisted does not run on asyncio's event loop, on which redis-py waits."""
    from twisted.internet import reactor

    if not isinstance(reactor, AsyncioSelectorReactor):
        raise StoreError(
            f"Redis needs Twisted's asyncio reactor, and this is {type(reactor).__name__}: "
            'set TWISTED_REACTOR to "twisted.internet.asyncioreactor.AsyncioSelectorReactor"'
        )


def look_at(address: Address) -> int:
    """Return the server's version. Blocks, for :data:`_SECONDS` at the most. Raises what redis-py does."""
    with redis.Redis(
        **address.options(),
        protocol=2,
        decode_responses=True,
        socket_timeout=_SECONDS,
        socket_connect_timeout=_SECONDS,
        retry=Retry(NoBackoff(), 0),  # or it tries ten times
    ) as client:
        client.ping()
        told = client.info()
    policy = str(told.get("maxmemory_policy", "noeviction"))
    if told.get("maxmemory") and policy != "noeviction":
        logger.warning(
            "CAPSOLVER_STORE: %s forgets keys where it has to make room (maxmemory-policy %s). Limits are kept by what workers "
            "remember of them; clearances are paid for again, and the ledger has gaps. Set it to noeviction",
            address,
            policy,
        )
    return int(str(told["redis_version"]).partition(".")[0])
