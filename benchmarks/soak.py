"""A long crawl through an API that fails in every way, and what is left of it: memory, timers, sockets, money.

``python -m benchmarks.soak`` has the simulator and the proxy that does the faults in one process, the crawl in another. The clocks of
both run faster than real time.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import tldextract
from scrapy import Spider
from scrapy.downloadermiddlewares import cookies
from scrapy.utils.defer import deferred_from_coro, maybe_deferred_to_future
from scrapy.utils.test import get_crawler
from twisted.internet import asyncioreactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react

from benchmarks.clocks import FastClock
from benchmarks.faults import Proxy, flagged, money, settled
from scrapy_capsolver._crawl.service import Service
from scrapy_capsolver.middleware import CapSolverMiddleware
from scrapy_capsolver.simulator import Simulator
from tests.crawls import run, settings_for
from tests.fault_proxy import FAULTS, Fault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response

SPEED = 20.0
REQUESTS = 5000
SEEN = (1000, REQUESTS)  # endings at which the memory is looked at

# With what the proxy does, about a fifth of all tasks and calls. What has everybody wait is rare.
QUIRKS = (
    "create-bad-request%1",
    "create-unknown-error%1",
    "create-truncated-json%1",
    "create-reply-lost%1",
    "create-html-502%1",
    "create-service-unavailable%0.2",
    "create-key-temp-blocked/3000",
    "poll-html-500%2",
    "poll-html-429%1",
    "poll-reply-lost%2",
    "poll-request-lost%2",
    "poll-truncated-json%2",
    "poll-json-list%1",
    "poll-empty-body%1",
    "poll-silence%1",
    "poll-task-id-invalid%1",
    "poll-rate-limit%0.01",
    "solve-failed%3",
    "unsolvable%2",
    "proxy-banned%1",
    "task-timeout%1",
    "ready-without-token%1",
    "ready-without-solution%1",
    "solution-string%1",
    "unknown-token%2",
    "expired-token%1",
)


def strike(every: int) -> Callable[[str, int], Fault | None]:
    """Each so many calls of a method the next of all faults."""
    return lambda method, n: FAULTS[n // every % len(FAULTS)] if n % every == 0 and method != "getBalance" else None


def rss_mb() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def sockets_to(url: str) -> int:
    """Open connections of this process to there."""
    number, found = urlsplit(url).port, 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError), socket.socket(fileno=os.dup(int(name))) as one:  # it is none, or is not connected
            found += one.family == socket.AF_INET and one.getpeername()[1] == number
    return found


def deferreds() -> int:
    gc.collect()
    return sum(isinstance(one, Deferred) for one in gc.get_objects())


def pending(crawler: Crawler | None) -> dict[str, int]:
    """What the plugin of this crawl still holds, by name, where it is anything."""
    (middleware,) = (
        one for one in gc.get_objects() if isinstance(one, CapSolverMiddleware) and one._crawler is crawler
    )
    service: Any = middleware._capsolver
    solver, poller = service._solver, service._solver.poller
    held = {
        "service waiting": len(service._waiting) + len(service._sharing),
        "slots lent": service._slots.loans,
        "turns": solver._turns.taken + solver._turns.waiting,
        "polls": len(poller._waiting) + len(poller._due) + poller._open + poller._in_flight,
        "breaker": len(service._breaker._waiting) + (service._breaker._timer is not None),
        "limits": len(service._limits._waiting) + sum((service._limits._taken - service._limits._settled).values()),
        "ledger": len(service._ledger._open),
        "outcomes": len(service.outcomes._pending),
        "feedback": len(service._feedback._waiting) + len(service._feedback._calls),
        "clearances": len(service.clearances._flights),
        "account": len(service._account._waiting) + (service._account._asking is not None),
    }
    return {name: count for name, count in held.items() if count}


def left_behind(crawler: Crawler | None, api_url: str) -> dict[str, Any]:
    """All of it is nothing where all is well."""
    from twisted.internet import reactor

    running: Any = reactor
    current = asyncio.current_task(running._asyncioEventloop)
    return {
        "delayed calls": [getattr(call.func, "__qualname__", "?") for call in running.getDelayedCalls()],
        "asyncio tasks": [str(task) for task in asyncio.all_tasks(running._asyncioEventloop) if task is not current],
        "sockets to the API": sockets_to(api_url),
        "held by the plugin": pending(crawler),
    }


async def crawl_all(requests: int, api_url: str, key: str, site_url: str) -> dict[str, Any]:
    """What came of a crawl, and what it left. Keeps no responses, which would be most of its memory."""
    from twisted.internet import reactor

    clock: Any = reactor
    before, began = deferreds(), time.monotonic()
    errors, endings = Counter[str](), Counter[int]()
    memory: dict[int, float] = {}

    def ended(n: int) -> None:
        endings[n] += 1
        if endings.total() in SEEN:
            gc.collect()
            memory[endings.total()] = rss_mb()

    class Many(Spider):
        name = "many"

        async def start(self) -> AsyncIterator[Request]:
            for request in flagged(site_url, requests):
                yield request.replace(errback=self.failed)

        def parse(self, response: Response, n: int) -> None:
            ended(n if f">Product {n}<" in response.text else -1)

        def failed(self, failure: Any) -> None:
            errors[type(failure.value).__name__] += 1
            ended(failure.request.cb_kwargs["n"])

    settings = settings_for(
        None,
        CAPSOLVER_API_URL=api_url,
        CAPSOLVER_API_KEY=key,
        CAPSOLVER_MAX_REJECTIONS=0,
        CONCURRENT_REQUESTS=32,
        CONCURRENT_REQUESTS_PER_DOMAIN=32,
        CLOSESPIDER_TIMEOUT=600,
    )
    crawler = get_crawler(Many, settings)
    await maybe_deferred_to_future(run(crawler))
    seconds = time.monotonic() - began
    for _ in range(5):  # for what was closed last
        await maybe_deferred_to_future(deferLater(clock, 0.01))
    left = left_behind(crawler, api_url)
    assert crawler.stats is not None
    stats = {name[10:]: one for name, one in crawler.stats.get_stats().items() if name.startswith("capsolver/")}
    del crawler
    return {
        "seconds": seconds,
        "pages": endings.total() - errors.total(),
        "errors": dict(errors),
        "not once": [n for n in range(requests) if endings[n] != 1] + [-1] * endings[-1],
        "memory": memory,
        "deferreds": [before, deferreds()],
        "left": left,
        "stats": stats,
    }


async def served() -> None:
    """The simulator and the proxy before it, until standard input ends; then the simulator's account."""
    capsolver = Simulator(speed=SPEED, quirks=QUIRKS, balance=1000.0, latency=0.0)
    await maybe_deferred_to_future(capsolver.start())
    async with Proxy(capsolver.api_url, strike(20)) as proxy:
        tell({"api": proxy.url, "key": capsolver.key, "site": capsolver.site_url})
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    capsolver.configure(speed=10_000)  # nobody waits for what is left
    state = await settled(capsolver)
    tell({"state": state, "hits": proxy.hits})
    await maybe_deferred_to_future(capsolver.stop())


async def crawled(where: dict[str, str]) -> None:
    Service.clock = FastClock(SPEED)
    tell(await crawl_all(REQUESTS, where["api"], where["key"], where["site"]))


def tell(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


def soak(runs: int) -> None:
    """5,000 gated pages, a fifth of all calls and tasks struck by faults of every kind; clocks 20 times as fast."""
    for _ in range(runs):
        command = [sys.executable, "-m", "benchmarks.soak"]
        with subprocess.Popen([*command, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as served:
            assert served.stdin is not None
            assert served.stdout is not None
            where = served.stdout.readline()
            done = json.loads(subprocess.run([*command, where], stdout=subprocess.PIPE, check=True).stdout)
            served.stdin.close()
            told = json.loads(served.stdout.readline())
        state, account = told["state"], money(told["state"], done["stats"])
        faults, tasks = state["api"]["faults"], state["tasks"]
        calls = sum(state["api"]["calls"].values())
        print(
            f"endings:                      {done['pages']} pages, {sum(done['errors'].values())} errors in {done['seconds']:.0f} s"
        )
        for name, count in sorted(done["errors"].items()):
            print(f"  {name:28}{count}")
        print(f"requests that did not end once: {len(done['not once'])}")
        print(
            f"faults:                       {sum(faults.values())} of {calls} calls by the simulator, "
            f"{sum(told['hits'].values())} by the proxy, {tasks['failed']} of {tasks['created']} tasks failed"
        )
        print(f"spent, by the simulator:      {account.spent:.4f} USD, {account.paid} tasks")
        print(
            f"  by the stats:               {account.estimated:.4f} USD and possibly {account.possible:.4f}; unreported {account.unreported:.4f}"
        )
        print(f"  delivered, wasted, unknown: {account.delivered}, {account.wasted}, {account.unknown}")
        for name, count in sorted(done["stats"].items()):
            if name.startswith(("wasted/", "breaker/")):
                print(f"    {name:26}{count:g}")
        memory = {int(ended): mb for ended, mb in done["memory"].items()}
        print(
            "memory:                       "
            + ", ".join(f"{mb:.1f} MB at {ended} endings" for ended, mb in memory.items())
        )
        print("Deferreds before and after:   {}, {}".format(*done["deferreds"]))
        print(f"left:                         {done['left']}")


def main() -> None:
    cookies._split_domain = tldextract.TLDExtract(suffix_list_urls=(), include_psl_private_domains=True)
    asyncioreactor.install()
    if sys.argv[1:] == ["serve"]:
        react(lambda _: deferred_from_coro(served()))
    elif sys.argv[1:]:
        react(lambda _: deferred_from_coro(crawled(json.loads(sys.argv[1]))))
    else:
        soak(1)


if __name__ == "__main__":
    main()
