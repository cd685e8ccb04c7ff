"""What many workers do over one Redis: ``python -m benchmarks fleet [NAME ...] [--quick]`` prints tables, and keeps nothing.

A Redis server, the simulator and each worker are processes of their own. Workers begin together, when all have started.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from benchmarks.record import Table, cell
from tests.fleet.fleet import Worker, worker
from tests.processes import ask, simulator_process
from tests.proxies import proxy as running_proxy
from tests.redis_server import BINARY, RedisServer, redis_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

SCRIPT = str(Path(__file__).with_name("fleet_worker.py"))
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/146.0.0.0 Safari/537.36"
)
LONGEST = 900.0  # seconds for a worker
KEPT_SECONDS = 10  # after which a dead worker's requests are another's, in the quick run
CLIENTS = ("evalsha", "hgetall", "ping", "subscribe", "script|load")  # commands that clients send, and no script does

Pages = list[list[Any]]


@dataclass
class Site:
    """A simulator that runs."""

    where: dict[str, str]

    @property
    def url(self) -> str:
        return self.where["site"]

    def tasks(self) -> dict[str, Any]:
        found: dict[str, Any] = ask(f"{self.where['api']}/_simulator/state")["tasks"]
        return found

    def settings(self, server: RedisServer | None, **others: Any) -> dict[str, Any]:
        store = {} if server is None else {"CAPSOLVER_STORE": server.url}
        return {"CAPSOLVER_API_URL": self.where["api"], "CAPSOLVER_API_KEY": self.where["key"], **store, **others}


@dataclass
class Logs:
    """What the workers had to say: nothing, where all is well."""

    lines: Counter[str] = field(default_factory=Counter)

    def add(self, case: str, found: Sequence[Worker]) -> None:
        for one in found:
            for line in one.log:
                text = re.sub(r"^\d{4}-\d\d-\d\d [\d:]+ ", "", line)
                self.lines[f"{case}: {re.sub(r'[0-9a-f]{8,}|[0-9]+', '#', text)}"] += 1

    def show(self) -> None:
        if self.lines:
            print("\nIn the logs of the workers:")
        for line, times in self.lines.most_common(40):
            print(f"  {times} x {line}"[:300])


LOGS = Logs()


@contextmanager
def site(solve_seconds: str, latency: str = "0.01") -> Iterator[Site]:
    options = ("--solve-seconds", solve_seconds, "--latency", latency, "--balance", "100000")
    with simulator_process(*options) as where:
        yield Site(where)


@contextmanager
def crew(
    place: Site, each: Sequence[Pages], settings: dict[str, Any], *apart: dict[str, Any], **config: Any
) -> Iterator[Crew]:
    """A worker for each of the pages, all started; ``apart`` are further settings of each in turn."""
    with ExitStack() as stack:
        go = Path(stack.enter_context(TemporaryDirectory())) / "go"

        def start(number: int) -> Worker:
            more = apart[number % len(apart)] if apart else {}
            given = {**config, "pages": each[number], "site": place.url, "go": str(go)}
            return stack.enter_context(worker([], {**settings, **more}, script=SCRIPT, **given))

        made = Crew([start(number) for number in range(len(each))], go, start)
        for one in made.workers:
            one.until("started")
        yield made


@dataclass
class Crew:
    workers: list[Worker]
    _go: Path
    start: Callable[[int], Worker]
    """Once more the worker of this number."""

    def go(self) -> None:
        self._go.touch()

    def wait(self, *without: Worker) -> None:
        for one in self.workers:
            if one not in without:
                one.process.wait(LONGEST)
            one.wait()

    @property
    def seconds(self) -> float:
        """From the beginning to the last page of them all."""
        times: list[dict[str, float]] = [json.loads(text) for one in self.workers for text in one.of("times")]
        ended = [one for one in times if one["last"]]
        return max(one["last"] for one in ended) - min(one["began"] for one in ended) if ended else 0.0

    @property
    def cpu(self) -> float:
        return sum(float(json.loads(text)["cpu"]) for one in self.workers for text in one.of("times"))

    def ended(self) -> Counter[str]:
        """How often each request did."""
        words = ("page", "captcha", "error")
        return Counter(line.split(" ")[0] for one in self.workers for word in words for line in one.of(word))

    def pages(self) -> Counter[str]:
        return Counter(line for one in self.workers for line in one.of("page"))

    def errors(self) -> Counter[str]:
        found = Counter(line.split(" ")[1] for one in self.workers for line in one.of("error"))
        found["a captcha page"] = sum(len(one.of("captcha")) for one in self.workers)
        return +found

    def not_once(self, requests: int) -> int:
        """Requests that did not end, or not once."""
        ended = self.ended()
        return requests - len(ended) + sum(times > 1 for times in ended.values())

    def codes(self) -> list[int | None]:
        return [one.process.returncode for one in self.workers]

    def store(self) -> tuple[Counter[str], dict[str, list[float]]]:
        """Commands by script, and seconds until the answer."""
        commands: Counter[str] = Counter()
        seconds: dict[str, list[float]] = {}
        for one in self.workers:
            for text in one.of("store"):
                told = json.loads(text)
                commands.update(told["commands"])
                for script, some in told["seconds"].items():
                    seconds.setdefault(script, []).extend(some)
        return commands, seconds


def shares(path: str, pages: int, workers: int, *, flagged: bool = True) -> list[Pages]:
    """The pages of a path, dealt out."""
    each, rest = divmod(pages, workers)
    found, first = [], 0
    for number in range(workers):
        many = each + (number < rest)
        found.append([[path, flagged, first, many]])
        first += many
    return found


def ledger(server: RedisServer) -> Counter[str]:
    """Tasks by account."""
    client: Any = server.client()
    found: Counter[str] = Counter()
    for key in client.scan_iter("capsolver:ledger:*"):
        for name, value in client.hgetall(key).items():
            account, kind = name.split("/")[-2:]
            if kind == "tasks":
                found[account] += int(value)
    return +found


def unsettled(server: RedisServer) -> int:
    """Tasks of which the store does not know yet what came of them."""
    client: Any = server.client()
    tasks = [json.loads(client.get(key) or "{}") for key in client.scan_iter("capsolver:task:*")]
    return sum(task.get("state") != "over" and not task.get("paid") for task in tasks)


def listed(found: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(found.items())) or "-"


# One clearance for all


def clearances(*, quick: bool) -> Iterator[Table]:
    workers, pages = (2, 30) if quick else (8, 500)
    table = Table(
        f"Clearances: {workers} workers, {pages} pages behind one gate, cold",
        ["", "store", "pages", "not once", "paid solves", "expected", "seconds", "errors"],
    )
    apart = [{"DOWNLOAD_BIND_ADDRESS": f"127.0.0.{number + 30}"} for number in range(workers)]
    with running_proxy(source="127.0.0.77") as proxy:
        cases: list[tuple[str, str, Any, dict[str, Any], list[dict[str, Any]], bool, int]] = [
            ("through one proxy", "cloudflare/{n}", {"proxy": proxy.url}, {"USER_AGENT": CHROME}, apart, True, 1),
            (
                "through one proxy",
                "cloudflare/{n}",
                {"proxy": proxy.url},
                {"USER_AGENT": CHROME},
                apart,
                False,
                workers,
            ),
            ("one address", "aws-waf/{n}?style=first-address", {}, {}, [], True, 1),
            ("an address each", "aws-waf/{n}?style=first-address", {}, {}, apart, True, workers),
        ]
        for name, path, meta, settings, each, shared, expected in cases[::3] if quick else cases:
            with redis_server() as server, site("1:3") as place:
                all_settings = place.settings(server if shared else None, **settings)
                with crew(place, shares(path, pages, workers), all_settings, *each, meta=meta) as found:
                    found.go()
                    found.wait()
                store = "Redis" if shared else "memory"
                LOGS.add(f"{name}, {store}", found.workers)
                table.rows.append(
                    [
                        name,
                        store,
                        str(found.pages().total()),
                        str(found.not_once(pages)),
                        str(place.tasks()["paid"]),
                        str(expected),
                        f"{found.seconds:.1f}",
                        listed(found.errors()),
                    ]
                )
    yield table


# A budget for all


def budget(*, quick: bool) -> Iterator[Table]:
    workers, pages, most = (3, 30, 12) if quick else (8, 1000, 100)
    table = Table(
        f"Budget: MAX_SOLVES = {most}, {workers} workers, {pages} gated pages",
        ["", "paid", "ledger", "not settled", "pages", "errors of who lived", "not once", "seconds"],
    )
    for name, kills in (("two killed -9", 2),) if quick else (("all live", 0), ("two killed -9", 2)):
        with redis_server() as server, site("1:3") as place:
            settings = place.settings(server, CAPSOLVER_MAX_SOLVES=most)
            with crew(place, shares("recaptcha-v2/{n}", pages, workers), settings) as found:
                found.go()
                killed = found.workers[:kills]
                for one in killed:
                    one.until("page", 1 if quick else 2)
                for one in killed:
                    one.process.kill()
                found.wait()
                lived = Crew(found.workers[kills:], found._go, found.start)
                theirs = sum(many for one in shares("", pages, workers)[kills:] for _, _, _, many in one)
                LOGS.add(f"budget, {name}", found.workers)
                table.rows.append(
                    [
                        name,
                        str(place.tasks()["paid"]),
                        listed(ledger(server)),
                        str(unsettled(server)),
                        str(found.pages().total()),
                        listed(lived.errors()),
                        str(lived.not_once(theirs)),
                        f"{lived.seconds:.1f}",
                    ]
                )
    yield table


# A queue for all


def fill(server: RedisServer, url: str, pages: Pages) -> None:
    """Put the requests into the queue that the workers share."""
    import redis
    from scrapy import Request
    from scrapy_redis.queue import PriorityQueue  # type: ignore[import-untyped]

    from benchmarks.fleet_worker import FleetSpider, requests_of

    spider = FleetSpider()
    with redis.Redis(port=server.port) as client:
        queue = PriorityQueue(client, spider, f"{spider.name}:requests")
        for one in requests_of(url, pages):
            queue.push(Request(**one, callback=spider.parse, errback=spider.failed))


def in_hand(one: Worker) -> set[str]:
    """What a worker had taken out of the queue, and neither ended nor given back."""
    hand: set[str] = set()
    for line in one.lines:
        word, _, rest = line.partition(" ")
        if word == "take":
            hand.add(rest)
        elif word in {"put", "page", "captcha", "error"}:
            hand.discard(rest.split(" ")[0])
    return hand


def frontier(*, quick: bool) -> Iterator[Table]:
    workers, pages = (2, 40) if quick else (4, 1000)
    table = Table(
        f"Frontier: {pages} flagged requests by scrapy-redis, {workers} workers; one killed -9 at the half, and started anew",
        [
            "scheduler",
            "MAX_PENDING",
            "delivered",
            "errors",
            "twice",
            "lost",
            "in hand at the kill",
            "lost beside",
            "created",
            "paid",
            "created - delivered",
            "ledger",
            "not settled",
            "seconds",
        ],
    )
    alive = {"alive": KEPT_SECONDS, "beat": 1.0} if quick else {"alive": 60, "beat": 5.0}
    for scheduler, pending in (("Ours", 20),) if quick else (("Ours", None), ("Ours", 20), ("Theirs", None)):
        with redis_server() as server, site("1:3") as place:
            settings = place.settings(
                server,
                SCHEDULER=f"benchmarks.fleet_schedulers.{scheduler}",
                DUPEFILTER_CLASS="scrapy_redis.dupefilter.RFPDupeFilter",
                SCHEDULER_PERSIST=True,
                REDIS_URL=server.url,
                **({} if pending is None else {"CAPSOLVER_MAX_PENDING": pending}),
            )
            asked: Pages = [["recaptcha-v2/{n}", True, 0, pages]]
            with crew(place, [[]] * workers, settings, **alive) as found:
                fill(server, place.url, asked)
                began = time.monotonic()
                found.go()
                first = found.workers[0]
                while found.pages().total() < pages / 2:
                    time.sleep(0.02)
                    assert any(one.process.poll() is None for one in found.workers), "all have ended before the half"
                first.process.kill()
                first.wait()
                hand = in_hand(first)
                found.workers.append(found.start(0))
                found.wait(first)
                seconds = time.monotonic() - began
                created, paid = (place.tasks()[name] for name in ("created", "paid"))
                delivered, ended = found.pages(), found.ended()
                lost = {f"recaptcha-v2/{n}" for n in range(pages)} - ended.keys()
                name = "ours" if scheduler == "Ours" else "scrapy-redis"
                LOGS.add(f"{name}, {pending}", found.workers)
                table.rows.append(
                    [
                        name,
                        str(pending or "1000"),
                        str(len(delivered)),
                        listed(found.errors()),
                        str(sum(times > 1 for times in ended.values())),
                        str(len(lost)),
                        str(len(hand)),
                        listed(Counter(lost - hand)),
                        str(created),
                        str(paid),
                        str(created - len(delivered)),
                        listed(ledger(server)),
                        str(unsettled(server)),
                        f"{seconds:.0f}",
                    ]
                )
    yield table


# What Redis is asked for, and what it carries


def client_commands(server: RedisServer) -> int:
    stats: Any = server.client().info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in CLIENTS)


def redis_cpu(server: RedisServer) -> float:
    found: Any = server.client().info("cpu")
    return float(found["used_cpu_user"] + found["used_cpu_sys"])


def redis(*, quick: bool) -> Iterator[Table]:
    pages = 40 if quick else 400
    commands = Table(
        "Redis: commands a request, counted where the store sends them",
        [
            "",
            "requests",
            "reserve",
            "apply",
            "claim",
            "HGETALL",
            "all but beats",
            "beats",
            "seconds",
            "INFO commandstats",
        ],
    )
    latency = Table(
        "Redis: milliseconds from a call of the store to its answer, in workers that crawl",
        ["", "calls", "p50", "p99", "longest"],
    )
    workers = 2 if quick else 4
    cases: list[tuple[str, list[Pages], int]] = [
        (f"tokens, {workers} workers", shares("recaptcha-v2/{n}", pages, workers), 0),
        ("tokens, one worker, 4 at a time", shares("recaptcha-v2/{n}", 4 if quick else 60, 1), 4),
        ("without a flag", shares("free/{n}", pages, 1, flagged=False), 0),
        ("flagged, clearance known", shares("aws-waf/{n}", pages, 1), 0),
        ("nothing to do", [[]], 0),
    ]
    with redis_server() as server, site("1:2") as place:
        with crew(place, shares("aws-waf/{n}", 1, 1), place.settings(server)) as found:
            found.go()
            found.wait()
        for name, each, at_once in cases:
            settings = place.settings(server, **({"CAPSOLVER_CONCURRENCY": at_once} if at_once else {}))
            before = client_commands(server)
            with crew(place, each, settings, timed=True) as found:
                found.go()
                found.wait()
            LOGS.add(name, found.workers)
            requests = sum(many for one in each for _, _, _, many in one)
            sent, seconds = found.store()
            beats = sent.pop("beat", 0)
            a_request = {script: f"{count / max(requests, 1):.3f}" for script, count in sent.items()}
            commands.rows.append(
                [
                    name,
                    f"{found.pages().total()} of {requests}",
                    *(a_request.get(script, "-") for script in ("reserve", "apply", "claim", "HGETALL")),
                    f"{sent.total() / max(requests, 1):.3f}" if requests else f"{sent.total()} in all",
                    str(beats),
                    f"{found.seconds:.1f}",
                    str(client_commands(server) - before),
                ]
            )
            for script in ("reserve", "apply") if name.startswith("tokens") else ():
                some = sorted(seconds.get(script, []))
                latency.rows.append([f"{script}; {name}", str(len(some)), *milliseconds(some)])
    yield commands
    yield latency
    yield look_ups(quick=quick)
    yield carried(quick=quick)


def milliseconds(some: list[float]) -> list[str]:
    if not some:
        return ["-"] * 3
    return [f"{some[min(int(len(some) * part), len(some) - 1)] * 1e3:.2f}" for part in (0.5, 0.99, 1)]


def look_ups(*, quick: bool) -> Table:
    with redis_server() as server:
        config = json.dumps({"url": server.url, "rounds": 3 if quick else 60})
        command = [sys.executable, "-m", "benchmarks.fleet_store", config]
        told = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    table = Table(
        "A request to a site whose clearance is known, microseconds of CPU",
        ["", "look-up in the store", "chain of middlewares, flagged", "without a flag"],
    )
    for name in ("nothing", "memory", "redis"):
        cells = (told.get(f"{kind}, {name}") for kind in ("load", "flagged", "unflagged"))
        title = {"nothing": "without the plugin", "memory": "memory", "redis": "Redis"}[name]
        table.rows.append([title, *("-" if one is None else f"{one:.1f}" for one in cells)])
    return table


def carried(*, quick: bool) -> Table:
    """Solves by the store alone, as fast as they go. The last columns are of Redis itself, so they bound what it carries."""
    table = Table(
        "What one Redis carries: reserve, open, finish by the store alone, no CapSolver",
        [
            "processes",
            "at once, each",
            "solves/s",
            "commands a solve",
            "CPU of a process, us a solve",
            "Redis, % of a core",
            "Redis, us a solve",
            "1 / that, solves/s",
        ],
    )
    seconds = 1.0 if quick else 5.0
    for processes, at_once in ((2, 100),) if quick else ((1, 1), (8, 8), (1, 100), (2, 100), (4, 100), (8, 100)):
        with redis_server() as server, ExitStack() as stack:
            go = Path(stack.enter_context(TemporaryDirectory())) / "go"
            config = json.dumps({"url": server.url, "go": str(go), "seconds": seconds, "at_once": at_once})
            command = [sys.executable, "-m", "benchmarks.fleet_store", config]
            running = [
                stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
                for _ in range(processes)
            ]
            for one in running:
                assert one.stdout is not None
                assert one.stdout.readline() == "started\n"
            before = redis_cpu(server)
            go.touch()
            told = [json.loads(one.communicate(timeout=LONGEST)[0]) for one in running]
            used = redis_cpu(server) - before
        solves = sum(one["solves"] for one in told)
        longest = max(one["seconds"] for one in told)
        sent = sum(count for one in told for script, count in one["commands"].items() if script != "beat")
        table.rows.append(
            [
                str(processes),
                str(at_once),
                f"{solves / longest:,.0f}",
                f"{sent / solves:.2f}",
                f"{sum(one['cpu'] for one in told) / solves * 1e6:.0f}",
                f"{used / longest * 100:.0f}",
                f"{used / solves * 1e6:.0f}",
                f"{solves / used:,.0f}",
            ]
        )
    return table


# Pages in a second


def pages(*, quick: bool) -> Iterator[Table]:
    plain, gated, tokens = (80, 8, 4) if quick else (1000, 100, 50)
    each = plain + gated + tokens
    table = Table(
        f"Pages: {plain} plain, {gated} by a clearance, {tokens} by tokens for each worker, the stores in turn",
        ["workers", "store", "pages", "not once", "pages/s", "x memory", "CPU ms a page", "x memory", "paid"],
    )
    for workers in (2,) if quick else (1, 2, 4):
        asked: list[Pages] = [
            [
                ["free/{n}", False, number * plain, plain],
                ["aws-waf/{n}", True, number * gated, gated],
                ["recaptcha-v2/{n}", True, number * tokens, tokens],
            ]
            for number in range(workers)
        ]
        rates: dict[str, list[float]] = {"memory": [], "Redis": []}
        cpu: dict[str, list[float]] = {"memory": [], "Redis": []}
        told: dict[str, list[str]] = {}
        for run in range(1 if quick else 3):
            for store in ("memory", "Redis") if run % 2 else ("Redis", "memory"):
                with redis_server() as server, site("0.3:0.8", "0") as place:
                    settings = place.settings(server if store == "Redis" else None)
                    with crew(place, asked, settings) as found:
                        found.go()
                        found.wait()
                    LOGS.add(f"{workers} workers, {store}", found.workers)
                    rates[store].append(workers * each / found.seconds)
                    cpu[store].append(found.cpu / (workers * each) * 1e3)
                    counts = (found.pages().total(), found.not_once(workers * each), place.tasks()["paid"])
                    told[store] = [str(count) for count in counts]
        for store in ("memory", "Redis"):
            whole, not_once, paid = told[store]
            table.rows.append(
                [
                    str(workers),
                    store,
                    whole,
                    not_once,
                    cell(rates[store], 0),
                    _ratio(rates, store),
                    cell(cpu[store]),
                    _ratio(cpu, store),
                    paid,
                ]
            )
    yield table


def _ratio(found: dict[str, list[float]], store: str) -> str:
    return f"{statistics.median(found[store]) / statistics.median(found['memory']):.2f}"


MEASURES: dict[str, Callable[..., Iterator[Table]]] = {
    "clearances": clearances,
    "budget": budget,
    "frontier": frontier,
    "redis": redis,
    "pages": pages,
}


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks fleet", description=__doc__)
    parser.add_argument(
        "measures", nargs="*", choices=[*MEASURES, []], help=f"which; without any, {', '.join(MEASURES)}"
    )
    parser.add_argument("--quick", action="store_true", help="whether everything works, in a minute")
    chosen = parser.parse_args(arguments)
    if BINARY is None:
        parser.error("there is no redis-server here (Debian's package of that name)")
    for name in chosen.measures or MEASURES:
        for table in MEASURES[name](quick=chosen.quick):
            print(table.text(), flush=True)
    LOGS.show()


if __name__ == "__main__":
    main(sys.argv[1:])
