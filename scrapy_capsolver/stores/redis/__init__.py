"""A Redis server as the store of many workers. It needs redis-py, which is the extra ``redis``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy_capsolver.stores.base import StoreError
from scrapy_capsolver.stores.redis.address import Address

if TYPE_CHECKING:
    from scrapy_capsolver.stores.redis.scope import Scope
    from scrapy_capsolver.stores.redis.store import RedisStore
    from scrapy_capsolver.stores.redis.timings import Timings

_OLDEST = 7


def open_redis(url: str, scope: Scope, timings: Timings | None = None) -> RedisStore:
    """Open the store. Raises :class:`~scrapy_capsolver.stores.StoreError` if the server cannot be used, which is looked at here and now."""
    look_at_redis(url)
    from scrapy_capsolver.stores.redis.checks import check_reactor  # noqa: PLC0415 - the extra
    from scrapy_capsolver.stores.redis.store import RedisStore  # noqa: PLC0415 - the extra

    check_reactor()
    return RedisStore(url, scope, timings)


def look_at_redis(url: str) -> None:
    """Raise :class:`~scrapy_capsolver.stores.StoreError` if the server cannot be used. Blocks, for some seconds at the most."""
    address = Address.parse(url)
    try:
        import redis  # noqa: PLC0415 - the extra
    except ImportError:
        raise StoreError("it needs redis-py: pip install 'scrapy-capsolver[redis]'") from None
    from scrapy_capsolver.stores.redis.checks import look_at  # noqa: PLC0415 - the extra

    try:
        version = look_at(address)
    except (redis.RedisError, OSError) as error:
        raise StoreError(f"{address} cannot be used: {type(error).__name__}: {address.scrub(str(error))}") from None
    if version < _OLDEST:
        raise StoreError(f"{address} is a Redis {version}: it takes {_OLDEST} or newer, or Valkey")
