"""``python -m benchmarks [mixed|many|unflagged|pickup|clearance|tokens|detection|faults|soak ...]`` prints the figures, compared within one run.

The simulator and each crawl have a process of their own, so two cores are enough.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from benchmarks.detection import detection
from benchmarks.soak import soak

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ADDON = {"ADDONS": {"scrapy_capsolver.Addon": 500}}


class Service:
    """A simulator in a process of its own."""

    def __init__(self, *options: str) -> None:
        command = [sys.executable, "-m", "scrapy_capsolver.simulator", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.where: dict[str, str] = json.loads(self.process.stdout.readline())

    def get(self, name: str) -> Any:
        with urllib.request.urlopen(f"{self.where['api']}/_simulator/{name}") as response:
            return json.load(response)

    def crawl(self, settings: dict[str, Any], *, plugin: bool = True, **spider: Any) -> dict[str, Any]:
        ours = {
            **ADDON,
            "CAPSOLVER_API_URL": self.where["api"],
            "CAPSOLVER_API_KEY": self.where["key"],
        }
        config = {
            "settings": {**(ours if plugin else {}), **settings},
            "spider": {
                "site": self.where["site"],
                "gate": "recaptcha-v2",
                "gated": 0,
                "plain": 0,
                "flag": True,
                **spider,
            },
        }
        command = [sys.executable, "-m", "benchmarks.one_crawl", json.dumps(config)]
        result: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        missing = config["spider"]["gated"] + config["spider"]["plain"] - result["gated"] - result["plain"]
        if missing:
            print(f"  {missing} pages are missing, {result['errors']} errors: {result['stats']}")
        return result


@contextmanager
def service(*options: str) -> Iterator[Service]:
    running = Service(*options)
    try:
        yield running
    finally:
        running.process.terminate()
        running.process.wait()


def spread(values: list[float], digits: int = 2) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def mixed(runs: int) -> None:
    """20 gated and 400 plain pages of 50 ms, solves of 6 s, CONCURRENT_REQUESTS 16."""
    settings = {"CONCURRENT_REQUESTS": 16, "CONCURRENT_REQUESTS_PER_DOMAIN": 16}
    alone, more, beside, total = [], [], [], []
    with service("--solve-seconds", "6", "--latency", "0.05") as capsolver:
        for _ in range(runs):
            alone.append(capsolver.crawl(settings, plugin=False, plain=400)["last_plain_s"])
            more.append(capsolver.crawl(settings, plugin=False, plain=420)["last_plain_s"])
            result = capsolver.crawl(settings, gated=20, plain=400)
            beside.append(result["last_plain_s"])
            total.append(result["last_gated_s"])
    print(f"400 plain pages alone:        {spread(alone)} s")
    print(f"420 plain pages alone:        {spread(more)} s")
    print(f"400 beside 20 gated:          {spread(beside)} s")
    print(f"  ratio to 400 alone:         {statistics.median(beside) / statistics.median(alone):.3f}")
    print(f"  ratio to 420 alone:         {statistics.median(beside) / statistics.median(more):.3f}")
    print(f"all pages:                    {spread(total)} s, {statistics.median(total) / 6:.3f} x the solve time")


def many(runs: int) -> None:
    """2,000 gated pages, solves of 5 s against instant ones; default settings but for the two bounds."""
    settings = {"CAPSOLVER_CONCURRENCY": 2000, "CAPSOLVER_MAX_PENDING": 2000}
    slow, instant, memory, paid = [], [], [], []
    with (
        service("--solve-seconds", "5", "--latency", "0") as five,
        service("--solve-seconds", "0", "--latency", "0") as none,
    ):
        for _ in range(runs):
            result = five.crawl(settings, gated=2000)
            slow.append(result["total_s"])
            memory.append(result["peak_mb"])
            instant.append(none.crawl(settings, gated=2000)["total_s"])
        paid.append(five.get("state")["tasks"]["paid"] / runs)
    print(f"2,000 gated, 5 s solves:      {spread(slow)} s, peak {spread(memory, 0)} MB, {paid[0]:.0f} paid a run")
    print(f"2,000 gated, instant solves:  {spread(instant)} s")
    print(f"  difference:                 {spread([a - b for a, b in zip(slow, instant, strict=True)])} s")


def unflagged(runs: int) -> None:
    """Requests per second of a crawl without flags, with and without the plugin, in turn."""
    settings = {"CONCURRENT_REQUESTS": 32, "CONCURRENT_REQUESTS_PER_DOMAIN": 32}
    pages = 2000
    rates: dict[bool, list[float]] = {True: [], False: []}
    cpu: dict[bool, list[float]] = {True: [], False: []}
    with service("--latency", "0") as capsolver:
        for run in range(runs * 2):
            plugin = bool((run + run // 2) % 2)  # off on, on off, ...: no place in the pair is favoured
            result = capsolver.crawl(settings, plugin=plugin, plain=pages)
            rates[plugin].append(pages / result["last_plain_s"])
            cpu[plugin].append(result["cpu_s"] / pages * 1e6)
    print(f"requests/s without:           {spread(rates[False], 0)}")
    print(f"requests/s with:              {spread(rates[True], 0)}")
    print(f"  ratio of medians, of bests: {ratio(statistics.median, rates):.3f}, {ratio(max, rates):.3f}")
    print(f"CPU per request without:      {spread(cpu[False], 0)} us")
    print(f"CPU per request with:         {spread(cpu[True], 0)} us")
    print(f"  ratio of medians, of bests: {ratio(statistics.median, cpu):.3f}, {ratio(min, cpu):.3f}", flush=True)
    subprocess.run([sys.executable, "-m", "benchmarks.chain"], check=True)


def ratio(of: Callable[[list[float]], float], values: dict[bool, list[float]]) -> float:
    return of(values[True]) / of(values[False])


def pickup(runs: int) -> None:
    """From "solution ready" to "token in hand", and polls, in real time, for solve times uniform over a range."""
    for low, high in ((1, 30), (1, 10)):
        late, polls, slowest = [], [], []
        with service("--solve-seconds", f"{low}:{high}", "--latency", "0") as capsolver:
            capsolver.crawl({"CAPSOLVER_CONCURRENCY": 100}, gated=200 * runs)
            for task in capsolver.get("tasks"):
                late.append(task["delivered_at"] - task["ready_at"])
                polls.append(task["queries"])
                if task["seconds"] > high * 0.97:
                    slowest.append(task["queries"])
        print(f"solves of {low}-{high} s, {len(late)} of them:")
        print(f"  ready to token in hand:     mean {statistics.mean(late):.2f} s, worst {max(late):.2f} s")
        print(f"  polls per solve:            mean {statistics.mean(polls):.1f}, most {max(polls)}")
        print(f"  polls of those near {high} s:   mean {statistics.mean(slowest):.1f}, most {max(slowest)}")


def clearance(runs: int) -> None:
    """200 pages behind one clearance gate, 16 at once, solves of 6 s: cold, and with the cookie from the start."""
    settings = {"CONCURRENT_REQUESTS": 16, "CONCURRENT_REQUESTS_PER_DOMAIN": 16}
    cold, warm, shown, paid = [], [], [], []
    for _ in range(runs):
        with service("--solve-seconds", "6", "--latency", "0.05") as capsolver, TemporaryDirectory() as folder:
            stored = {**settings, "CAPSOLVER_STORE": f"{folder}/clearances.sqlite"}
            cold.append(capsolver.crawl(stored, gate="aws-waf", gated=200)["last_gated_s"])
            shown.append(capsolver.get("state")["site"]["gates_shown"]["aws-waf"])
            warm.append(capsolver.crawl(stored, gate="aws-waf", gated=200)["last_gated_s"])
            paid.append(capsolver.get("state")["tasks"]["paid"])
    over = [a - b for a, b in zip(cold, warm, strict=True)]
    print(f"cold:                         {spread(cold)} s, {spread(shown, 0)} times the gate was met")
    print(f"with the cookie:              {spread(warm)} s")
    print(f"  over it:                    {spread(over)} s, {statistics.median(over) / 6:.3f} x the solve time")
    print(f"  paid, both crawls:          {spread(paid, 0)}")


def tokens(runs: int) -> None:
    """200 single-use gates in real time, solves of 1-10 s; without a delay, and with DOWNLOAD_DELAY 1 (7 minutes)."""
    for delay in (0, 1):
        for _ in range(runs):
            with service("--solve-seconds", "1:10", "--latency", "0") as capsolver:
                result = capsolver.crawl({"DOWNLOAD_DELAY": delay}, gated=200)
                state = capsolver.get("state")
            told = {name: count for name, count in result["stats"].items() if "/wasted/" in name}
            print(
                f"DOWNLOAD_DELAY {delay}: {result['gated']} pages in {result['last_gated_s']:.1f} s, "
                f"{state['tasks']['paid']} paid, {state['tokens']['presented_twice']} sent twice, "
                f"{state['tokens']['refused'].get('expired', 0)} too old, wasted by our own account: {told or 'none'}"
            )


def faults(runs: int) -> None:
    """8 gated pages while the API fails in one way, on every third call; CAPSOLVER_TIMEOUT 30; clocks 20 times as fast."""
    for _ in range(runs):
        subprocess.run([sys.executable, "-m", "benchmarks.faults"], check=True)


MEASURES: dict[str, tuple[Callable[[int], None], int]] = {
    "mixed": (mixed, 9),
    "many": (many, 3),
    "unflagged": (unflagged, 12),
    "pickup": (pickup, 3),
    "clearance": (clearance, 5),
    "tokens": (tokens, 1),
    "detection": (detection, 30),
    "faults": (faults, 1),
    "soak": (soak, 1),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("measures", nargs="*", choices=[*MEASURES, []], help="which; all without any")
    parser.add_argument("--runs", type=int, help="repetitions of each")
    arguments = parser.parse_args()
    for name in arguments.measures or MEASURES:
        measure, runs = MEASURES[name]
        print(f"{name}: {measure.__doc__}", flush=True)
        measure(arguments.runs or runs)
        print(flush=True)


if __name__ == "__main__":
    main()
