"""What is looked at before a crawl begins, so that it is told in one line."""

from __future__ import annotations

import logging
from dataclasses import dataclass
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
_YOUNG_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Seen:
    version: int
    is_young: bool
    """It was started lately, and may have forgotten what others know."""


def check_reactor() -> None:
    """redis-py waits on asyncio's event loop."""
    from twisted.internet import reactor

    if not isinstance(reactor, AsyncioSelectorReactor):
        raise StoreError(
            f"Redis needs Twisted's asyncio reactor, and this is {type(reactor).__name__}: "
            'set TWISTED_REACTOR to "twisted.internet.asyncioreactor.AsyncioSelectorReactor"'
        )


def look_at(address: Address) -> Seen:
    """Blocks, for :data:`_SECONDS` at the most. Raises what redis-py does."""
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
    return Seen(int(str(told["redis_version"]).partition(".")[0]), told["uptime_in_seconds"] < _YOUNG_SECONDS)
