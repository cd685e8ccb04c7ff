"""Many pending solves in one process: ``python -m benchmarks.pending '{...}'`` prints what they cost as JSON.

Keys: ``api``, ``key``, ``pending`` (how many), ``hold`` (seconds in which all of them are pending and the process is
watched), ``known`` (solve times that the poller has seen before), ``collect`` (whether Python's garbage collector runs),
``polls_per_second`` (another bound than ours), ``task``. The solver is the one that the middleware uses, with
all that stands around it, but without a crawl: what Scrapy's own requests and responses take is measured by
``crawl`` instead.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from typing import Any

from scrapy.settings import Settings
from scrapy.utils.defer import deferred_from_coro
from scrapy.utils.reactor import install_reactor
from twisted.internet.defer import Deferred, gatherResults, succeed

LOOK_SECONDS = 0.01
STARTS_PER_LOOK = 4  # solves begun every 10 ms


def rss() -> float:
    """Bytes of memory that are this process's now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096.0


class Watch:
    """How late the event loop is, looked at every 10 ms from inside; and what the process used since."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.begin()
        self._due = reactor.seconds() + LOOK_SECONDS
        reactor.callLater(LOOK_SECONDS, self._look)

    def begin(self) -> None:
        self.stall = 0.0
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def _look(self) -> None:
        now = self._reactor.seconds()
        self.stall = max(self.stall, now - self._due)
        self._due = now + LOOK_SECONDS
        self._reactor.callLater(LOOK_SECONDS, self._look)

    def end(self) -> dict[str, float]:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return {"cpu_of_a_core": cpu / wall, "stall_ms": self.stall * 1000, "seconds": wall}


async def measure(config: dict[str, Any], reactor: Any) -> dict[str, Any]:
    from scrapy.utils.test import get_crawler

    from scrapy_capsolver._crawl.service import Service
    from scrapy_capsolver._crawl.stats import StatsRecorder
    from scrapy_capsolver.settings import read_settings
    from scrapy_capsolver.solving import poller as polling
    from scrapy_capsolver.solving.job import Job
    from scrapy_capsolver.solving.ledger import TaskScope

    number = config["pending"]
    polling.POLLS_PER_SECOND = config.get("polls_per_second", polling.POLLS_PER_SECOND)
    values = {
        "CAPSOLVER_API_URL": config["api"],
        "CAPSOLVER_API_KEY": config["key"],
        "CAPSOLVER_CONCURRENCY": number,
        "CAPSOLVER_TIMEOUT": 300,
    }
    crawler = get_crawler(settings_dict=values)
    settings = read_settings(Settings(values))
    assert crawler.stats is not None
    capsolver = Service(crawler, settings, StatsRecorder(crawler.stats).count)
    solver, task = capsolver._solver, config["task"]
    poller = solver.poller
    for seconds in config["known"]:
        times = poller.times[task["type"]]
        times.end(times.begin(), seconds)

    def solve() -> Deferred[Any]:
        task_scope = TaskScope("site.example", "recaptcha_v2")
        return solver.solve(Job(task_scope, lambda said: succeed(dict(task)), attempts_allowed=1, gets_verdict=False))

    gc.collect()
    if not config["collect"]:
        gc.disable()
    before = rss()
    watch = Watch(reactor)
    done: list[Deferred[Any]] = []
    began = reactor.seconds()
    polls = crawler.stats.get_value
    while len(done) < number:
        done += [solve() for _ in range(min(STARTS_PER_LOOK, number - len(done)))]
        pause: Deferred[None] = Deferred()
        reactor.callLater(LOOK_SECONDS, pause.callback, None)
        await pause
    while crawler.stats.get_value("capsolver/tasks", 0) < number:
        pause = Deferred()
        reactor.callLater(LOOK_SECONDS, pause.callback, None)
        await pause
    begun = watch.end()
    started = reactor.seconds() - began
    gc.collect()
    each = (rss() - before) / number
    asked = polls("capsolver/polls", 0)
    watch.begin()
    pause = Deferred()
    reactor.callLater(config["hold"], pause.callback, None)
    await pause
    held = watch.end()
    held["polls_per_s"] = (polls("capsolver/polls", 0) - asked) / held["seconds"]
    watch.begin()
    asked = polls("capsolver/polls", 0)
    await gatherResults(done)
    ended = watch.end()
    ended["polls_per_s"] = (polls("capsolver/polls", 0) - asked) / ended["seconds"]
    await deferred_from_coro(capsolver.close())
    return {"begun": {**begun, "seconds": started}, "pending": {**held, "bytes_each": each}, "ended": ended}


def main() -> None:
    install_reactor("twisted.internet.asyncioreactor.AsyncioSelectorReactor")
    from twisted.internet import reactor as installed

    reactor: Any = installed

    def begin() -> None:
        measuring = Deferred.fromCoroutine(measure(json.loads(sys.argv[1]), reactor))
        measuring.addCallback(lambda result: sys.stdout.write(json.dumps(result)))
        measuring.addErrback(lambda failure: failure.printTraceback(sys.stderr))
        measuring.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run()


if __name__ == "__main__":
    main()
