"""What a crawl has used of its limits is known to its next run, if it should be; also if it was killed."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scrapy.utils.defer import deferred_f_from_coro_f

from scrapy_capsolver.stores import SQLiteStore, StoreError
from scrapy_capsolver.stores.base import Reserved
from scrapy_capsolver.stores.sqlite import journal as journal_module
from scrapy_capsolver.stores.sqlite.changes import Changes
from scrapy_capsolver.stores.sqlite.files import prepare
from scrapy_capsolver.stores.sqlite.journal import open_journal
from scrapy_capsolver.stores.sqlite.running import RunLock
from tests.stores.opened import do, fired

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

ONE, TWO = Reserved("1", "one.example", "turnstile", 800), Reserved("2", "two.example", "turnstile", 1200)


@asynccontextmanager
async def job_run(folder: Path) -> AsyncIterator[tuple[Any, Any]]:
    """A run with this JOBDIR, and what it finds; it is killed if an exception ends it."""
    journal = open_journal(str(folder))
    found = await fired(journal.load())
    try:
        yield journal, found
        await do(journal.end())
    finally:
        journal.close()


@asynccontextmanager
async def store_run(folder: Path, crawl: str = "project/spider") -> AsyncIterator[tuple[Any, Any]]:
    """The same with a store."""
    store = SQLiteStore(str(folder / "c"))
    journal = store.journal(crawl)
    found = await fired(journal.load())
    try:
        yield journal, found
        await do(journal.end())
    finally:
        await do(store.leave())
        journal.close()


class KilledError(Exception):
    pass


async def used_by(run: Callable[[Path], Any], folder: Path, *, killed: bool = False) -> None:
    """A run that paid for one task and has another one open, and that was creating a third."""
    with suppress(KilledError):
        async with run(folder) as (journal, _):
            await fired(journal.reserve(ONE))
            journal.opened(ONE.id, "t1")
            journal.settle(Reserved(ONE.id, ONE.site, "turnstile", ONE.nano_usd, "t1"), charged=True)
            await fired(journal.reserve(TWO))
            journal.opened(TWO.id, "t2")
            await fired(journal.reserve(Reserved("3", "two.example", "turnstile", 5)))
            if killed:
                raise KilledError
            journal.settle(Reserved("3", "two.example", "turnstile", 5), charged=False)


@deferred_f_from_coro_f
async def test_a_jobdir_knows_what_its_runs_used(tmp_path: Path) -> None:
    await used_by(job_run, tmp_path)
    for _ in range(3):  # it stays what it is
        async with job_run(tmp_path) as (_, found):
            assert (found.solves, found.nano_usd) == (2, 2000)
            assert found.sites == {"one.example": 1, "two.example": 1}
            assert list(found.left) == [Reserved("2", "two.example", "turnstile", 1200, "t2")]
            assert list(found.lost) == []


@pytest.mark.parametrize("run", [job_run, store_run])
@deferred_f_from_coro_f
async def test_what_a_killed_run_reserved_counts(run: Any, tmp_path: Path) -> None:
    """Once: what was lost is booked by the next run, and not by the one after it."""
    await used_by(run, tmp_path, killed=True)
    with suppress(KilledError):
        async with run(tmp_path) as (_, found):
            assert (found.solves, found.nano_usd) == (3, 2005)
            assert found.sites == {"one.example": 1, "two.example": 2}
            assert [one.task for one in found.left] == ["t2"]
            assert [one.id for one in found.lost] == ["3"]
            raise KilledError
    async with run(tmp_path) as (_, found):
        assert (found.solves, found.nano_usd, list(found.lost)) == (3, 2005, [])


@deferred_f_from_coro_f
async def test_a_run_that_ends_by_itself_leaves_nothing(tmp_path: Path) -> None:
    await used_by(store_run, tmp_path, killed=True)
    async with store_run(tmp_path):
        pass
    async with store_run(tmp_path) as (_, found):
        assert (found.solves, found.nano_usd, dict(found.sites)) == (0, 0, {})
    assert os.listdir(tmp_path) == ["c"]


@deferred_f_from_coro_f
async def test_a_run_that_is_alive_keeps_what_it_has(tmp_path: Path) -> None:
    """So does one of another crawl that was killed."""
    await used_by(lambda folder: store_run(folder, "another"), tmp_path, killed=True)
    async with store_run(tmp_path) as (journal, _):
        await fired(journal.reserve(ONE))
        async with store_run(tmp_path) as (_, found):
            assert found.solves == 0
    async with store_run(tmp_path, "another") as (_, found):
        assert found.solves == 3


@deferred_f_from_coro_f
async def test_a_task_is_gone_on_with_by_the_run_after_next(tmp_path: Path) -> None:
    await used_by(job_run, tmp_path)
    async with job_run(tmp_path) as (_, found):
        (left,) = found.left
    async with job_run(tmp_path) as (journal, found):
        assert list(found.left) == [left]
        journal.settle(left, charged=False)
    async with job_run(tmp_path) as (_, found):
        assert (found.solves, list(found.left)) == (1, [])


@deferred_f_from_coro_f
async def test_a_task_that_is_too_old_is_paid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await used_by(job_run, tmp_path)
    monkeypatch.setattr(journal_module, "TASK_SECONDS", -1.0)
    async with job_run(tmp_path) as (_, found):
        assert (found.solves, list(found.left)) == (2, [])


@deferred_f_from_coro_f
async def test_what_is_not_on_disk_has_not_fired(tmp_path: Path) -> None:
    async with job_run(tmp_path) as (journal, _):
        with closing(sqlite3.connect(tmp_path / "capsolver.sqlite", isolation_level=None)) as lock:
            lock.execute("BEGIN IMMEDIATE")
            reserving = journal.reserve(ONE)
            while not journal.is_away:
                await fired(journal._database.ask(lambda connection: None))
            assert not reserving.called
            assert journal.away_seconds > 0
            assert journal.trouble == "database is locked"
            cancelled = journal.reserve(TWO)
            cancelled.addErrback(lambda _: None)
            cancelled.cancel()
            journal.settle(TWO, charged=False)
            lock.execute("ROLLBACK")
        await fired(reserving)
        with closing(sqlite3.connect(tmp_path / "capsolver.sqlite")) as file:
            assert file.execute("SELECT id FROM reservations").fetchall() == [("1",)]
        assert (journal.is_away, journal.away_seconds) == (False, 0.0)


@deferred_f_from_coro_f
async def test_many_at_once_are_few_transactions(tmp_path: Path) -> None:
    async with job_run(tmp_path) as (journal, _):
        database, transactions = journal._database, []
        transact = database._transact
        database._transact = lambda work: (transactions.append(work), transact(work))[1]
        reserving = [journal.reserve(Reserved(str(n), "one.example", "turnstile", 1)) for n in range(200)]
        for one in reserving:
            await fired(one)
        assert 0 < len(transactions) < 50


KILLED = """
import os, sys
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import react
from scrapy_capsolver.stores import SQLiteStore
from scrapy_capsolver.stores.base import Reserved
from scrapy_capsolver.stores.sqlite.journal import open_journal

async def main():
    folder = sys.argv[1]
    journal = open_journal(folder) if sys.argv[2] == "job" else SQLiteStore(f"{folder}/c").journal("project/spider")
    await journal.load()
    for n in range(7):
        await journal.reserve(Reserved(f"killed{n}", "one.example", "turnstile", 10))
    os.kill(os.getpid(), 9)

react(lambda _: ensureDeferred(main()))
"""


def run_and_kill(folder: Path, where: str) -> int:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", KILLED, str(folder), where]
    return subprocess.run(command, env=environment, check=False).returncode


@pytest.mark.parametrize("where", ["job", "store"])
@deferred_f_from_coro_f
async def test_a_process_that_kills_itself_has_written_it(where: str, tmp_path: Path) -> None:
    """What had fired is known to the next run, once more each time."""
    for _ in range(2):
        assert run_and_kill(tmp_path, where) == -9
    async with (job_run if where == "job" else store_run)(tmp_path) as (_, found):
        assert (found.solves, found.nano_usd, len(found.lost)) == (14, 140, 7)


def test_a_journal_that_is_none_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "capsolver.sqlite").write_bytes(b"something else" * 100)
    with pytest.raises(StoreError, match="cannot be used as an SQLite store: file is not a database"):
        open_journal(str(tmp_path))


# Who is alive


def test_a_lock_shows_that_its_run_is_alive(tmp_path: Path) -> None:
    path = str(tmp_path / "c")
    one, other = RunLock(path, "one"), RunLock(path, "other")
    assert not other.is_alive("one")
    one.take()
    one.take()
    assert other.is_alive("one")
    assert one.is_alive("one")
    other.clean_up()
    assert os.listdir(tmp_path) == ["c-run-one"]
    one.release()
    assert not other.is_alive("one")
    assert os.listdir(tmp_path) == []


def test_the_lock_of_a_killed_run_is_removed(tmp_path: Path) -> None:
    (tmp_path / "c-run-one").touch()
    other = RunLock(str(tmp_path / "c"), "other")
    assert not other.is_alive("one")
    other.clean_up()
    assert os.listdir(tmp_path) == []


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    """Somebody else may have put it there, for a file that is not theirs."""
    (tmp_path / "c-run-one").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="c-run-one"):
        RunLock(str(tmp_path / "c"), "one").take()
    assert not (tmp_path / "target").exists()


# What waits for the file

IDS = st.sampled_from("abc")
STEPS = st.one_of(
    st.tuples(st.just("reserve"), IDS),
    st.tuples(st.just("again"), IDS),
    st.tuples(st.just("opened"), IDS),
    st.tuples(st.just("settle"), st.tuples(IDS, st.booleans())),
)


def step(changes: Changes, kind: str, value: Any) -> None:
    limits = changes.limits
    if kind in {"reserve", "again"}:
        limits.reserve("run", Reserved(value, "one.example", "turnstile", 5), again=kind == "again")
    elif kind == "opened":
        limits.name(value, f"task {value}")
    else:
        limits.release(value[0])
        if value[1]:
            limits.use("run", "one.example", 1, 5)


class Written:
    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        prepare(self.connection)

    def write(self, changes: Changes) -> None:
        assert changes.apply(self.connection) == []

    def rows(self) -> list[Any]:
        queries = ("SELECT id, run, task FROM reservations", "SELECT * FROM limits")
        return [self.connection.execute(query).fetchall() for query in queries]


@given(st.lists(st.tuples(STEPS, st.sampled_from(["later", "written", "failed"])), max_size=30))
def test_any_batches_leave_the_same_limits(steps: list[tuple[tuple[str, Any], str]]) -> None:
    """Whatever is written together, and whatever is tried again together with what came after it."""
    open_ones: set[str] = set()
    there: set[str] = set()
    at_once, in_batches = Written(), Written()
    failed, pending = Changes(), Changes()
    for (kind, value), then in steps:
        name = value[0] if kind == "settle" else value
        if (kind == "reserve" and name in there) or (kind in {"opened", "settle"} and name not in open_ones):
            continue  # a reservation has an id of its own, and is there before its task
        if kind == "settle":
            open_ones.discard(name)
        else:
            open_ones.add(name)
            there.add(name)
        single = Changes()
        step(single, kind, value)
        at_once.write(single)
        step(pending, kind, value)
        if then != "later":
            failed.absorb(pending)
            pending = Changes()
        if then == "written":
            in_batches.write(failed)
            failed = Changes()
    failed.absorb(pending)
    in_batches.write(failed)
    assert in_batches.rows() == at_once.rows()


def test_reservations_that_end_leave_nothing_to_write() -> None:
    """The file may be locked for days, while no limit is set."""
    changes = Changes()
    for number in range(1000):
        one = Reserved(str(number), "one.example", "turnstile", 5)
        changes.limits.reserve("run", one, again=False)
        changes.limits.name(one.id, "task")
        changes.limits.release(one.id)
        changes.limits.use("run", one.site, 1, one.nano_usd)
    limits = changes.limits
    assert (len(limits.reserved), len(limits.named), len(limits.released), len(limits.used)) == (0, 0, 0, 1)
    assert changes.describe() == "what limits count"


@deferred_f_from_coro_f
async def test_what_is_there_is_read_before_anything_is_added(tmp_path: Path) -> None:
    """Or the run would take its own reservations for those of another one."""
    journal = open_journal(str(tmp_path))
    loading, reserving = journal.load(), journal.reserve(ONE)
    await fired(reserving)
    assert (await fired(loading)).solves == 0
    await do(journal.end())
