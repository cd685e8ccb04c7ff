"""A Redis server as the store of many workers. It needs redis-py, which is the extra ``redis``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy_capsolver.stores.base import StoreError
from scrapy_capsolver.stores.redis.address import Address

if TYPE_CHECKING:
    from scrapy_capsolver.stores.redis.scope import Scope
    from scrapy_capsolver.stores.redis.store import RedisStore

_OLDEST = 7


def open_redis(url: str, scope: Scope) -> RedisStore:
    """Raises :class:`~scrapy_capsolver.stores.StoreError` where the server cannot be used, which is looked at here and now."""
    try:
        import redis  # noqa: PLC0415 - the extra
    except ImportError:
        raise StoreError("it needs redis-py: pip install 'scrapy-capsolver[redis]'") from None
    from scrapy_capsolver.stores.redis.checks import check_reactor, look_at  # noqa: PLC0415 - the extra
    from scrapy_capsolver.stores.redis.store import RedisStore  # noqa: PLC0415 - the extra

    address = Address.parse(url)
    check_reactor()
    try:
        seen = look_at(address)
    except (redis.RedisError, OSError) as error:
        raise StoreError(f"{address} cannot be used: {type(error).__name__}: {error}") from None
    if seen.version < _OLDEST:
        raise StoreError(f"{address} is a Redis {seen.version}: it takes {_OLDEST} or newer, or Valkey")
    store = RedisStore(url, scope)
    store.fleet.young = seen.uptime < seen.YOUNG
    return store
