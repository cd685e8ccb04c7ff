"""What a store in a file costs its crawl: while somebody holds a lock on it, for each task that is written down, and for three crawls at once."""

from __future__ import annotations

import json
import sqlite3
import statistics
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.record import Table, cell
from benchmarks.service import service

PAGES = 60
SOAK_SECONDS = 120.0
SOAK_SPEED = 10.0
AT_ONCE = (1, 10, 100, 500)


def file_store(runs: int) -> None:
    print(locked(runs).text(), flush=True)
    print(written_down(runs).text(), flush=True)


def locked(runs: int) -> Table:
    """As many plain as gated pages, with and without somebody who holds ``BEGIN IMMEDIATE`` from before the crawl to its end."""
    names = ("free", "locked")
    done: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    with service(solve_seconds=(0.3, 0.3), latency=0.0) as simulated:
        for number in range(runs):
            for name in names if number % 2 == 0 else reversed(names):
                done[name].append(_crawl(simulated, locked=name == "locked"))
    rows = [
        [
            name,
            cell([one["last_plain_s"] for one in done[name]]),
            cell([one["last_gated_s"] for one in done[name]]),
            cell([one["stall_s"] * 1000 for one in done[name]], 0),
            f"{statistics.median(one['plain'] for one in done[name]):.0f}",
            f"{statistics.median(one['gated'] for one in done[name]):.0f}",
        ]
        for name in names
    ]
    plain, gated = (
        statistics.median(one[key] for one in done["locked"]) / statistics.median(one[key] for one in done["free"])
        for key in ("last_plain_s", "last_gated_s")
    )
    rows.append(["ratio", f"{plain:.2f}", f"{gated:.2f}", "", "", ""])
    head = ["store", "last plain page, s", "last gated page, s", "longest stall, ms", "plain pages", "gated pages"]
    return Table(f"{PAGES} plain and {PAGES} gated pages, {runs} runs of each in turn", head, rows)


def _crawl(simulated: Any, *, locked: bool) -> dict[str, Any]:
    from scrapy_capsolver.stores import open_store

    with TemporaryDirectory() as folder:
        path = Path(folder) / "store.sqlite"
        open_store(str(path)).close()
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            if locked:
                connection.execute("BEGIN IMMEDIATE")
            settings = {"CAPSOLVER_STORE": str(path), "CONCURRENT_REQUESTS": 8, "CONCURRENT_REQUESTS_PER_DOMAIN": 8}
            done: dict[str, Any] = simulated.crawl(
                "ours", settings, gate="recaptcha-v2", gated=PAGES, plain=PAGES, limit=120, stalls=True
            )
            return done


def written_down(runs: int) -> Table:
    """Seconds that the file adds to createTask, for so many solves that begin at once."""
    command = [sys.executable, "-m", "benchmarks.file_store"]
    figures: dict[int, list[dict[str, Any]]] = {number: [] for number in AT_ONCE}
    for _ in range(runs):
        for number in AT_ONCE:
            done = subprocess.run([*command, str(number)], stdout=subprocess.PIPE, check=True, text=True)
            figures[number].append(json.loads(done.stdout))
    rows = [
        [
            str(number),
            *(cell([one[key] * 1000 for one in figures[number]]) for key in ("first", "median", "last")),
            cell([float(one["transactions"]) for one in figures[number]], 0),
        ]
        for number in AT_ONCE
    ]
    head = ["at once", "first, ms", "median, ms", "last, ms", "transactions"]
    return Table(f"What writing a reservation down adds to createTask, {runs} runs", head, rows)


def _reserve(number: int) -> None:
    """Print how long so many reservations took, as JSON."""
    from scrapy.utils.defer import deferred_from_coro
    from twisted.internet.defer import gatherResults
    from twisted.internet.task import react

    from scrapy_capsolver.stores import open_journal
    from scrapy_capsolver.stores.base import Reserved

    async def main(folder: str) -> None:
        journal = open_journal(folder)
        await journal.load()
        database: Any = journal._database
        transactions = []
        transact = database._transact
        database._transact = lambda work: (transactions.append(work), transact(work))[1]
        began = time.perf_counter()
        seconds: list[float] = []
        await gatherResults(
            [
                journal.reserve(Reserved(str(one), "shop.example", "recaptcha_v2", 800_000)).addCallback(
                    lambda _: seconds.append(time.perf_counter() - began)
                )
                for one in range(number)
            ]
        )
        figures = {"first": min(seconds), "median": statistics.median(seconds), "last": max(seconds)}
        print(json.dumps({**figures, "transactions": len(transactions)}), flush=True)
        await journal.end()

    with TemporaryDirectory(dir=".") as folder:
        react(lambda _: deferred_from_coro(main(folder)))


def three_crawls(simulated: Any, folder: Path, seconds: float, speed: float) -> dict[str, Any]:
    """Run three crawls on one file at once, two of them of one spider, and compare its ledger with the simulator's account."""
    path = folder / "store.sqlite"
    simulated.post("reset", {})
    crawls = []
    for spider in ("one", "one", "two"):
        config = {
            "api": simulated.where["api"],
            "key": simulated.where["key"],
            "site": simulated.where["site"],
            "spider": spider,
            "seconds": seconds,
            "at_once": 8,
            "settings": {"CAPSOLVER_STORE": str(path), "CAPSOLVER_BUDGET": 1000},
        }
        command = [sys.executable, "-m", "benchmarks.file_crawl", json.dumps(config)]
        crawls.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    done = [json.loads(one.communicate(timeout=seconds + 300)[0]) for one in crawls]
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT account, sum(tasks), sum(nano_usd) FROM ledger GROUP BY account").fetchall()
        left = {
            name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
            for name in ("tasks", "runs", "limits", "reservations")
        }
    state = simulated.get("state")
    return {
        "crawls": done,
        "ledger": {account: {"tasks": tasks, "nano": nano} for account, tasks, nano in rows},
        "left": left,
        "files": sorted(one.name for one in folder.iterdir()),
        "tasks": state["tasks"],
        "spent_nano": round(state["money"]["spent"] * 1e9),
        "speed": speed,
    }


def file_soak(runs: int) -> None:
    """Three crawls on one file for two minutes."""
    for _ in range(runs):
        with (
            service(solve_seconds=(1, 8), speed=SOAK_SPEED, latency=0.0) as simulated,
            TemporaryDirectory() as folder,
        ):
            done = three_crawls(simulated, Path(folder), SOAK_SECONDS, SOAK_SPEED)
        for one in done["crawls"]:
            memory = ", ".join(f"{mb:.0f}" for mb in one["memory"])
            print(f"{one['finish']}: {one['pages']} pages, errors {one['errors']}, memory {memory} MB")
        paid = done["ledger"].get("solved", {"tasks": 0, "nano": 0})
        print(f"ledger:    {paid['tasks']} tasks paid, {paid['nano']} nano-dollars; all accounts: {done['ledger']}")
        print(f"simulator: {done['tasks']['paid']} tasks paid, {done['spent_nano']} nano-dollars; {done['tasks']}")
        print(f"left in the file: {done['left']}; beside it: {done['files']}", flush=True)


if __name__ == "__main__":
    _reserve(int(sys.argv[1]))
