"""A Redis server as the store of many workers. It needs redis-py, which is the extra ``redis``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy_capsolver.stores.base import StoreError
from scrapy_capsolver.stores.redis.address import Address

if TYPE_CHECKING:
    from scrapy_capsolver.stores.redis.checks import Seen
    from scrapy_capsolver.stores.redis.scope import Scope
    from scrapy_capsolver.stores.redis.store import RedisStore

_OLDEST = 7


def open_redis(url: str, scope: Scope) -> RedisStore:
    """Raises :class:`~scrapy_capsolver.stores.StoreError` where the server cannot be used, which is looked at here and now."""
    seen = look_at_redis(url)
    from scrapy_capsolver.stores.redis.checks import check_reactor  # noqa: PLC0415 - the extra
    from scrapy_capsolver.stores.redis.store import RedisStore  # noqa: PLC0415 - the extra

    check_reactor()
    store = RedisStore(url, scope)
    store.fleet.reservations.young = seen.is_young
    return store


def look_at_redis(url: str) -> Seen:
    """Is it there, and will it do? Raises :class:`~scrapy_capsolver.stores.StoreError`. Blocks, for some seconds at the most."""
    address = Address.parse(url)
    try:
        import redis  # noqa: PLC0415 - the extra
    except ImportError:
        raise StoreError("it needs redis-py: pip install 'scrapy-capsolver[redis]'") from None
    from scrapy_capsolver.stores.redis.checks import look_at  # noqa: PLC0415 - the extra

    try:
        seen = look_at(address)
    except (redis.RedisError, OSError) as error:
        raise StoreError(f"{address} cannot be used: {type(error).__name__}: {address.scrub(str(error))}") from None
    if seen.version < _OLDEST:
        raise StoreError(f"{address} is a Redis {seen.version}: it takes {_OLDEST} or newer, or Valkey")
    return seen
