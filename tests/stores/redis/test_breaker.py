"""What the breaker of one worker lets the others of its account know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scrapy.utils.defer import deferred_f_from_coro_f

from tests.redis_server import needs_redis
from tests.stores.redis.workers import opened, reconnect, until, written

if TYPE_CHECKING:
    from tests.stores.redis.workers import Place

pytestmark = needs_redis


@deferred_f_from_coro_f
async def test_workers_of_the_account_alone_hear_of_it(place: Place) -> None:
    """Those that come later as well; but what ended all solving before, they find out by looking at the account."""
    async with (
        opened(place, "a", "b") as (a, b),
        opened(place, "c", run="other") as (c,),
        opened(place, "d", account="other") as (d,),
    ):
        heard: list[Any] = []
        for name, store in {"a": a, "b": b, "c": c, "d": d}.items():
            store.fleet.on_breaker = lambda what, seconds, name=name: heard.append((name, what["kind"], round(seconds)))
        a.fleet.tell_breaker("pause", {"kind": "pause", "why": "w", "code": "c"}, 100.0)
        await until(lambda: len(heard) == 2)
        assert sorted(heard) == [("b", "pause", 100), ("c", "pause", 100)]
        a.fleet.tell_breaker("stop ", {"kind": "stop", "name": "x", "message": "m", "code": None, "type": None}, 100.0)
        await until(lambda: len(heard) == 4)
        await written(a)
        async with opened(place, "e") as (late,):
            late.fleet._came_before = False  # as if it came now
            late.fleet.on_breaker = lambda what, seconds: heard.append(("e", what["kind"]))
            await reconnect(late)
            assert [one for one in heard if one[0] == "e"] == [("e", "pause")]
            await reconnect(late)
            assert {one[1] for one in heard if one[0] == "e"} == {"pause", "stop"}
