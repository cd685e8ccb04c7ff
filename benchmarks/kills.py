"""Crawls that are killed by SIGKILL at random moments, and started again: are more tasks created than their limit allows?"""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.killed_crawl import MOMENTS
from benchmarks.record import Table
from benchmarks.service import service

PLACES = {"JOBDIR": ("job",), "SQLite": ("store",), "both": ("job", "store")}
LIMIT = 12
PAGES = 20
SPEED = 20.0
PRICE = 0.0008
_SECONDS = 120.0  # for one crawl


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of a crawl that was killed and started again, until it ended by itself."""

    kills: tuple[int, ...]
    """Exit codes of the runs that were to be killed."""
    created: int
    paid: int
    pages: int
    errors: dict[str, int]
    """Of the last run."""
    limit: int
    ledger: int
    """Tasks in the store that are paid, or may be; 0 without a store."""

    @property
    def lost(self) -> int:
        """How many tasks of the limit were not created, since a killed run was about to create them."""
        return self.limit - self.created


def settings_for(folder: Path, place: str, limit: int, *, budget: bool) -> dict[str, Any]:
    limits = {"CAPSOLVER_BUDGET": round(limit * PRICE, 6)} if budget else {"CAPSOLVER_MAX_SOLVES": limit}
    if "job" in PLACES[place]:
        limits["JOBDIR"] = str(folder / "job")
    if "store" in PLACES[place]:
        limits["CAPSOLVER_STORE"] = str(folder / "store.sqlite")
    return limits


def run(where: dict[str, Any], folder: Path, place: str, moment: tuple[str, int] | None, **more: Any) -> Any:
    """Return what a run told, or the exit code of one that was killed."""
    limits = settings_for(folder, place, more.pop("limit", LIMIT), budget=more.pop("budget", False))
    config = {
        "api": where["api"],
        "key": where["key"],
        "site": where["site"],
        "pages": PAGES,
        "moment": moment,
        "speed": SPEED,
        "settings": {**limits, **more},
    }
    command = [sys.executable, "-m", "benchmarks.killed_crawl", json.dumps(config)]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=_SECONDS, check=False, text=True)
    return done.returncode or json.loads(done.stdout.splitlines()[-1])


def trial(simulated: Any, folder: Path, place: str, moments: list[tuple[str, int]], **more: Any) -> Trial:
    """Kill a run at each of the moments, one after the other, and let the last one end."""
    simulated.post("reset", {})
    kills = [run(simulated.where, folder, place, moment, **more) for moment in moments]
    last = run(simulated.where, folder, place, None, **more)
    tasks = simulated.get("state")["tasks"]
    return Trial(
        kills=tuple(code if isinstance(code, int) else 0 for code in kills),
        created=tasks["created"],
        paid=tasks["paid"],
        pages=last["came"].pop("page", 0),
        errors=last["came"],
        limit=more.get("limit", LIMIT),
        ledger=_ledger(folder / "store.sqlite"),
    )


def _ledger(path: Path) -> int:
    if not path.exists():
        return 0
    with closing(sqlite3.connect(path)) as connection:
        booked = "SELECT coalesce(sum(tasks), 0) FROM ledger WHERE account IN ('solved', 'abandoned', 'possibly_paid')"
        (tasks,) = connection.execute(booked).fetchone()
        (still_open,) = connection.execute("SELECT count(*) FROM tasks").fetchone()
    return int(tasks) + int(still_open)


def kills(runs: int) -> None:
    """``runs`` moments for each place where limits are written down."""
    dice = random.Random(14)
    rows = []
    with service(solve_seconds=(1, 8), speed=SPEED, latency=0.0) as simulated:
        for place, kept_in in PLACES.items():
            trials = []
            for number in range(runs):
                moment = (dice.choice(list(MOMENTS)), dice.randint(1, LIMIT))
                with TemporaryDirectory() as folder:
                    one = trial(simulated, Path(folder), place, [moment], budget=number % 2 == 1)
                trials.append(one)
                print(
                    f"{place}: killed at {moment[1]} x {moment[0]} ({one.kills[0]}): {one.created} created, limit {one.limit}",
                    flush=True,
                )
            rows.append(
                [
                    place,
                    f"{sum(-9 in one.kills for one in trials)} of {runs}",
                    str(LIMIT),
                    f"{min(one.created for one in trials)}-{max(one.created for one in trials)}",
                    str(sum(one.created > one.limit for one in trials)),
                    f"{sum(one.lost for one in trials) / len(trials):.1f}",
                    str(sum(0 < one.ledger < one.created for one in trials)) if "store" in kept_in else "-",
                ]
            )
    head = ["limits kept in", "killed", "limit", "tasks created", "over it", "not created", "ledger too low"]
    print(Table("Killed at random moments, and started again", head, rows).text(), flush=True)
