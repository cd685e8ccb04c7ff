"""Stalls, lost answers, cancellations and deaths at any moment: each part of a limit is somebody's, and each task is booked once."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from scrapy.utils.defer import deferred_f_from_coro_f

from tests.redis_server import needs_redis
from tests.stores.redis.model import Cluster, steps_of

if TYPE_CHECKING:
    from tests.stores.redis.workers import Place

pytestmark = needs_redis


@deferred_f_from_coro_f
async def test_any_series_of_faults(place: Place) -> None:
    total: Counter[str] = Counter()
    for seed in range(15):
        steps = steps_of(seed)
        await Cluster(place.server, total).run(steps)
    for name in ("stalls", "cuts", "deaths", "cancelled", "refused", "taken over", "orphans", "created"):
        assert total[name], total
