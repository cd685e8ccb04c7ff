"""A crawl through faults of all kinds leaves nothing behind and no request out; see benchmarks/soak.py for the long one."""

from __future__ import annotations

from scrapy.utils.defer import deferred_f_from_coro_f

from benchmarks.faults import Proxy, money, settled
from benchmarks.soak import QUIRKS, crawl_all, strike
from tests.crawls import simulator

REQUESTS = 400
LEFT_OUT = "create-key-temp-blocked"  # which has all wait for minutes


@deferred_f_from_coro_f
async def test_nothing_is_left_of_a_crawl_through_all_faults() -> None:
    quirks = [quirk for quirk in QUIRKS if not quirk.startswith(LEFT_OUT)]
    async with simulator(quirks=quirks) as capsolver:
        async with Proxy(capsolver.api_url, strike(20)) as proxy:
            done = await crawl_all(REQUESTS, proxy.url, capsolver.key, capsolver.site_url)
            assert proxy.open == 0
        told = money(await settled(capsolver), done["stats"])
    assert sum(capsolver.state()["api"]["faults"].values()) > REQUESTS / 10
    assert proxy.hits.total() > REQUESTS / 20
    assert done["not once"] == []
    assert done["pages"] > REQUESTS / 2
    # The simulator, which shares the process, keeps the time for its log.
    done["left"]["delayed calls"] = [one for one in done["left"]["delayed calls"] if "_updateLogDate" not in one]
    assert {name for name, held in done["left"].items() if held} == set(), done["left"]
    assert told.agrees, told
    assert told.unreported == 0
