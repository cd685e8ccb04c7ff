"""The Redis store by itself, without a crawl and without CapSolver: ``python -m benchmarks.fleet_store CONFIG``, where CONFIG is JSON.

With ``at_once``: as many solves at a time as that, each a reservation, a task's id and its end, for ``seconds`` from when the file
``go`` is there. Prints ``started``, and then what it did.

Without: what a look-up of a known site's clearances costs, and what it adds to a request's way through Scrapy's chain of downloader
middlewares, in microseconds, beside the memory store.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
import uuid
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import tldextract
from scrapy import Request
from scrapy.downloadermiddlewares import cookies
from scrapy.http import HtmlResponse
from twisted.internet import asyncioreactor
from twisted.internet.defer import Deferred

from benchmarks.fleet_worker import Watch, once

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from scrapy_capsolver.stores.redis.store import RedisStore

CALLS = 500
SOLVE_SECONDS = 0.02  # so that a task's id and its end are not written at once
SITE = "http://site.example/page"


def awaited(coroutine: Coroutine[Any, Any, Any]) -> asyncio.Future[Any]:
    """What waits on Twisted's Deferreds, for asyncio."""
    return Deferred.fromCoroutine(coroutine).asFuture(asyncio.get_running_loop())


async def connected(store: RedisStore) -> None:
    store.open()
    await store._link.up().asFuture(asyncio.get_running_loop())
    await once(lambda: store._news.is_live)


async def solves(config: dict[str, Any]) -> dict[str, Any]:
    from twisted.internet import reactor as installed

    from scrapy_capsolver.solving.clock import sleep
    from scrapy_capsolver.stores import Scope, Spend, TaskRow
    from scrapy_capsolver.stores.redis.reservations import Most, Wanted
    from scrapy_capsolver.stores.redis.store import RedisStore

    watch = Watch()
    watch.begin(timed=False)
    store = RedisStore(config["url"], Scope(account="a", spider="fleet"))
    await connected(store)
    reactor: Any = installed
    # Limits that are looked at each time, and never reached.
    most = Most(solves=10**9, of_site=10**9, nano=10**15)
    family, task_type, nano = "recaptcha-v2", "ReCaptchaV2TaskProxyLess", 800_000
    done, until = 0, 0.0

    async def one(place: int) -> None:
        nonlocal done
        while True:
            reservation, site = uuid.uuid4().hex[:16], f"site{place % 10}.example"
            wanted = Wanted(reservation, site, family, task_type, nano, uuid.uuid4().hex)
            await store.fleet.reservations.reserve(wanted, most, lambda: None)
            task = uuid.uuid4().hex
            await store.open_task(TaskRow(task, "fleet", site, family, task_type, nano, reservation))
            await sleep(reactor, SOLVE_SECONDS)
            await store.spend(Spend("fleet", site, family, "solved", 1, nano), closes=task, reservation=reservation)
            done += 1
            if time.perf_counter() >= until:
                return

    await awaited(one(0))  # what the first solve of a run may wait for is no part of it
    print("started", flush=True)
    await once(Path(config["go"]).exists)
    watch.commands.clear()
    done, began, cpu = 0, time.perf_counter(), time.process_time()
    until = began + config["seconds"]
    await asyncio.gather(*(awaited(one(place)) for place in range(config["at_once"])))
    await store._journal.written().asFuture(asyncio.get_running_loop())
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    await awaited(store.leave())
    return {"solves": done, "seconds": seconds, "cpu": cpu, "commands": watch.commands}


async def lookups(config: dict[str, Any]) -> dict[str, float]:
    """Of one process, so that all of it is CPU; each the median of rounds in turn."""
    from benchmarks.chain import manager
    from scrapy_capsolver.middleware import CapSolverMiddleware
    from scrapy_capsolver.stores import Clearance

    ours = {"ADDONS": {"scrapy_capsolver.Addon": 500}}
    chains = {
        "nothing": manager(),
        "memory": manager(**ours),
        "redis": manager(**ours, CAPSOLVER_STORE=config["url"]),
    }
    stores: dict[str, Any] = {}
    for name in ("memory", "redis"):
        (middleware,) = (one for one in chains[name].middlewares if isinstance(one, CapSolverMiddleware))
        store: Any = middleware._capsolver._store
        stores[name] = store
        crawler: Any = middleware._crawler
        # All that is asked of the engine, which does not run here.
        crawler.engine = SimpleNamespace(downloader=SimpleNamespace(middleware=chains[name]))
        if name == "redis":
            await connected(store)
        key, _ = middleware._clearance_flow._identity(Request(SITE, headers={"User-Agent": "a"}))
        key = replace(key, family="aws-waf")
        clearance = Clearance(
            "1", "site.example", {"aws-waf-token": "t"}, None, time.time(), time.time() + 3600, secure=False
        )
        await awaited(store.save(key, clearance))
        await awaited(store.load(key.site))
    page = HtmlResponse(SITE, body=b"<html>" + b"<p>text</p>" * 1000)

    async def download(request: Request) -> HtmlResponse:
        return page

    async def sent(name: str, meta: dict[str, Any]) -> float:
        requests = [Request(SITE, headers={"User-Agent": "a"}, meta=dict(meta)) for _ in range(CALLS)]
        began = time.process_time()
        for request in requests:
            await chains[name].download_async(download, request)
        return (time.process_time() - began) / CALLS * 1e6

    async def looked_up(name: str) -> float:
        async def look() -> None:
            for _ in range(CALLS):
                await stores[name].load("site.example")

        began = time.process_time()
        await awaited(look())
        return (time.process_time() - began) / CALLS * 1e6

    found: dict[str, list[float]] = {}
    for _ in range(config["rounds"]):
        for name in stores:
            found.setdefault(f"load, {name}", []).append(await looked_up(name))
        for name in chains:
            found.setdefault(f"flagged, {name}", []).append(await sent(name, {"capsolver": True}))
            found.setdefault(f"unflagged, {name}", []).append(await sent(name, {}))
    await awaited(stores["redis"].leave())
    return {name: statistics.median(values) for name, values in found.items()}


def main() -> None:
    cookies._split_domain = tldextract.TLDExtract(suffix_list_urls=(), include_psl_private_domains=True)
    asyncioreactor.install()
    config = json.loads(sys.argv[1])
    work = solves(config) if "at_once" in config else lookups(config)
    print(json.dumps(asyncio.get_event_loop_policy().get_event_loop().run_until_complete(work)), flush=True)


if __name__ == "__main__":
    main()
