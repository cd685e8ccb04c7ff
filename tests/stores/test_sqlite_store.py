"""A store in a file: what other crawls see of it, what happens if it cannot be written, and that nothing waits for that."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scrapy.utils.defer import deferred_f_from_coro_f
from twisted.internet.task import deferLater

from scrapy_capsolver.stores import Lease, Spend, SQLiteStore, TaskRow
from scrapy_capsolver.stores.sqlite import store as store_module
from scrapy_capsolver.stores.sqlite.store import _read
from tests.stores.opened import KEY, ONE, do, fired, held, held_in_file, sqlite_stores, written

if TYPE_CHECKING:
    from collections.abc import Iterator

SPEND = Spend("s", "shop.example", "turnstile", "solved", 1, 1_200_000)
TASK = TaskRow("t", "s", "shop.example", "turnstile", "T", 1_200_000)


@contextmanager
def locked(path: Path) -> Iterator[sqlite3.Connection]:
    """Somebody has begun to write, and does not end."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


def rows(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [(record.levelno, record.getMessage()) for record in caplog.records if "CAPSOLVER" in record.getMessage()]


async def until_said(caplog: pytest.LogCaptureFixture, number: int) -> None:
    """Wait for so many lines of the store."""
    from twisted.internet import reactor

    clock: Any = reactor
    end = time.monotonic() + 60
    while len(said(caplog)) < number:
        assert time.monotonic() < end, said(caplog)
        await fired(deferLater(clock, 0.01))


# Several crawls


@deferred_f_from_coro_f
async def test_what_another_crawl_writes_is_seen(tmp_path: Path) -> None:
    async with sqlite_stores(tmp_path / "c", 2) as (one, other):
        assert await held(one) == await held(other) == {}
        await do(one.save(KEY, ONE))
        await written(one)
        assert await held_in_file(other) == {KEY: ONE}
        # The older one of another crawl does not take the place of a newer one, whoever looks.
        await do(other.save(KEY, replace(ONE, id="2", solved_at=2000.0)))
        await do(one.save(KEY, replace(ONE, id="3", solved_at=1500.0)))
        await written(other)
        await written(one)
        assert (await held_in_file(one))[KEY].id == (await held_in_file(other))[KEY].id == "2"
        await do(one.delete(KEY, "2"))
        await written(one)
        assert await held_in_file(other) == {}


@deferred_f_from_coro_f
async def test_a_look_is_taken_once_in_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is known is served meanwhile."""
    monkeypatch.setattr(store_module, "_LOOK_SECONDS", 1e9)
    async with sqlite_stores(tmp_path / "c", 2) as (one, other):
        assert await held(one) == {}
        await do(other.save(KEY, ONE))
        await written(other)
        assert await held(one) == {}
        monkeypatch.setattr(store_module, "_LOOK_SECONDS", 0.0)
        assert await held(one) == {}  # and begins to look
        await fired(one.database.ask(lambda connection: None))
        assert dict(one.known(KEY.site)) == {KEY: ONE}


@deferred_f_from_coro_f
async def test_nothing_is_solved_that_another_crawl_has_solved(tmp_path: Path) -> None:
    async with sqlite_stores(tmp_path / "c", 2) as (one, other):
        assert await held(one) == {}
        assert isinstance(await do(one.lease(KEY, "")), Lease)
        await do(other.save(KEY, ONE))
        await written(other)
        assert await do(one.lease(KEY, "")) == ONE
        assert isinstance(await do(one.lease(KEY, ONE.id)), Lease)
        await do(other.save(KEY, replace(ONE, expires=time.time() - 1)))
        await written(other)
        assert isinstance(await do(one.lease(KEY, "")), Lease)


@deferred_f_from_coro_f
async def test_a_newer_one_that_is_not_seen_yet_stays(tmp_path: Path) -> None:
    async with sqlite_stores(tmp_path / "c", 2) as (one, other):
        assert await held(one) == {}
        await do(other.save(KEY, replace(ONE, id="2", solved_at=2000.0)))
        await written(other)
        await do(one.save(KEY, ONE))
        await written(one)
        assert (await held_in_file(one))[KEY].id == (await held_in_file(other))[KEY].id == "2"


@deferred_f_from_coro_f
async def test_what_changes_during_a_look_is_not_forgotten(tmp_path: Path) -> None:
    """The file was read before the change was written, and the answer comes after it."""
    async with sqlite_stores(tmp_path / "c") as (store,):
        assert await held(store) == {}
        looking = do(store._look(KEY.site))
        await do(store.save(KEY, ONE))
        await looking
        assert await held(store) == {KEY: ONE}


@deferred_f_from_coro_f
async def test_what_is_old_or_expired_is_forgotten_at_start(tmp_path: Path) -> None:
    now = time.time()
    async with sqlite_stores(tmp_path / "c") as (store,):
        for jar, one in {
            "old": replace(ONE, solved_at=now - 31 * 86400),
            "expired": replace(ONE, solved_at=now, expires=now - 1),
            "good": replace(ONE, solved_at=now - 29 * 86400),
        }.items():
            await do(store.save(replace(KEY, jar=jar), one))
    async with sqlite_stores(tmp_path / "c"):
        pass
    assert rows(tmp_path / "c", "SELECT jar FROM clearances") == [("good",)]


@deferred_f_from_coro_f
async def test_a_task_that_nobody_waits_for_is_abandoned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its crawl was killed; what comes of it later is not booked again."""
    async with sqlite_stores(tmp_path / "c") as (store,):
        await do(store.open_task(TASK))
    monkeypatch.setattr(store_module, "TASK_SECONDS", -1.0)
    async with sqlite_stores(tmp_path / "c") as (store,):
        await do(store.spend(SPEND, closes=TASK.id))
    assert rows(tmp_path / "c", "SELECT account, tasks, nano_usd FROM ledger") == [("abandoned", 1, 1_200_000)]
    assert rows(tmp_path / "c", "SELECT * FROM tasks") == []


WRITER = """
import sys
from dataclasses import replace
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import react
from scrapy_capsolver.stores import SQLiteStore, Clearance, Key, Spend

async def main():
    store = SQLiteStore(sys.argv[1])
    store.open()
    print("open", flush=True)
    for number in range(int(sys.argv[3])):
        key = Key("shop.example", "shop.example", "datadome", "", sys.argv[2], str(number % 50))
        await store.save(key, Clearance(str(number), "h", {"c": "v" * 500}, None, 1e10 + number))
        await store.spend(Spend(sys.argv[2], "shop.example", "f", "solved", 1, 5), closes="")
    await store.leave()
    print("done", flush=True)

react(lambda _: ensureDeferred(main()))
"""


@pytest.mark.process
def test_several_processes_write_at_once_and_one_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "c"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

    def writer(name: str, count: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", WRITER, str(path), name, str(count)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

    with writer("killed", 10**9) as killed, writer("a", 200) as a, writer("b", 200) as b:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "open\n"
        for process in (a, b):
            assert process.stdout is not None
            assert process.stdout.read() == "open\ndone\n"
            assert process.wait() == 0
        killed.kill()
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    for name in ("a", "b"):
        found = rows(path, f"SELECT id FROM clearances WHERE user_agent = '{name}'")
        assert {int(one) for (one,) in found} == set(range(150, 200))
        assert rows(path, f"SELECT tasks, nano_usd FROM ledger WHERE spider = '{name}'") == [(200, 1000)]


# A file that cannot be written


@deferred_f_from_coro_f
async def test_a_lock_is_waited_out_and_reported_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is known is served meanwhile, and all is in the file afterwards."""
    path = tmp_path / "c"
    async with sqlite_stores(path) as (store,):
        assert await held(store) == {}
        await written(store)
        with locked(path):
            await do(store.save(KEY, ONE))  # which waits until it is clear that the file is away
            await do(store.open_task(TASK))
            await do(store.spend(SPEND, closes=TASK.id))
            await do(store.save(replace(KEY, jar="1"), ONE))
            assert set(await held(store)) == set(await held_in_file(store)) == {KEY, replace(KEY, jar="1")}
            await until_said(caplog, 1)
            assert rows(path, "SELECT * FROM ledger") == []
        await written(store)
        assert len(rows(path, "SELECT * FROM clearances")) == 2
        assert rows(path, "SELECT tasks FROM ledger") == [(1,)]
        await until_said(caplog, 2)
    (warned, text), (informed, later) = said(caplog)
    assert (warned, informed) == (logging.WARNING, logging.INFO)
    assert (
        text
        == f"CAPSOLVER_STORE: {path} cannot be written, so what comes waits in memory until it can: database is locked"
    )
    assert later == f"CAPSOLVER_STORE: {path} can be written again: it has all that waited"


@deferred_f_from_coro_f
async def test_a_full_disk_is_waited_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "c"
    async with sqlite_stores(path) as (store,):
        await written(store)
        await fired(store.database.ask(lambda connection: connection.execute("PRAGMA max_page_count = 1").fetchone()))
        for number in range(300):
            await do(store.spend(replace(SPEND, site=f"{number}" * 50), closes=""))
        await written(store)  # by a connection that is opened again, for which there is room
        await until_said(caplog, 2)
    assert rows(path, "SELECT sum(tasks) FROM ledger") == [(300,)]
    assert [text.rpartition(": ")[2] for _, text in said(caplog)] == [
        "database or disk is full",
        "it has all that waited",
    ]


@deferred_f_from_coro_f
async def test_what_is_not_written_at_the_end_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_LEAVE_SECONDS", 0.5)
    path = tmp_path / "c"
    async with sqlite_stores(path) as (store,):
        await written(store)
        with locked(path):
            await do(store.spend(SPEND, closes=""))
            await do(store.open_task(TASK))
            await do(store.leave())
    level, text = said(caplog)[-1]
    assert level == logging.ERROR
    assert text.endswith("is lost: 1 entries of the ledger (0.0012 USD), 1 open tasks")


@pytest.mark.parametrize("how", ["deleted", "replaced"])
@deferred_f_from_coro_f
async def test_a_file_that_is_deleted_under_way_is_reported(
    how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """SQLite would go on to write into the one that has no name any more."""
    path = tmp_path / "c"
    async with sqlite_stores(path) as (store,):
        await do(store.save(KEY, ONE))
        await written(store)
        path.unlink()
        if how == "replaced":
            SQLiteStore(str(tmp_path / "d")).close()
            (tmp_path / "d").rename(path)
        await do(store.spend(SPEND, closes=""))
        await until_said(caplog, 1)
        assert await held(store) == {KEY: ONE}
    (_, text), (_, end) = said(caplog)
    assert text.endswith("it was deleted or replaced while it was in use")
    assert end.endswith("is lost: 1 entries of the ledger (0.0012 USD)")
    assert path.exists() == (how == "replaced")


@deferred_f_from_coro_f
async def test_a_file_that_comes_back_has_it_all(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "c"
    async with sqlite_stores(path) as (store,):
        await do(store.save(KEY, ONE))
        await written(store)
        path.rename(tmp_path / "d")
        await do(store.spend(SPEND, closes=""))
        await until_said(caplog, 1)
        (tmp_path / "d").rename(path)
        await written(store)
    assert rows(path, "SELECT tasks FROM ledger") == [(1,)]


@deferred_f_from_coro_f
async def test_a_table_that_is_gone_leaves_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What was known stays known."""
    path = tmp_path / "c"
    async with sqlite_stores(path) as (store,):
        await do(store.save(KEY, ONE))
        await written(store)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("DROP TABLE clearances")
        assert await held_in_file(store) == {KEY: ONE}
        for number in range(3):
            await do(store.save(replace(KEY, jar=str(number)), ONE))
            await do(store.spend(SPEND, closes=""))
        await written(store)
        assert len(await held(store)) == 4
    assert rows(path, "SELECT tasks FROM ledger") == [(3,)]
    assert [text.replace(str(path), "FILE") for _, text in said(caplog)] == [
        "CAPSOLVER_STORE: FILE cannot be read: no such table: clearances",
        "CAPSOLVER_STORE: a clearance that FILE does not take is left out: no such table: clearances",
    ]


@deferred_f_from_coro_f
async def test_a_text_that_is_no_text_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It comes from strangers; what comes with it is written."""
    async with sqlite_stores(tmp_path / "c") as (store,):
        await do(store.save(KEY, replace(ONE, user_agent="\ud800")))
        await do(store.save(replace(KEY, jar="1"), ONE))
        await written(store)
    assert rows(tmp_path / "c", "SELECT jar FROM clearances") == [("1",)]
    assert ["is left out" in text for _, text in said(caplog)] == [True]


# What somebody else wrote into it


@deferred_f_from_coro_f
async def test_rows_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "c"
    async with sqlite_stores(path) as (store,):
        changed = {
            "cookies": ["'{'", "'[1]'", "x'ff'", "7", "'{\"a\": 1}'", "'" + "[" * 100_000 + "'"],
            "solved_at": ["'x'", "x'00'"],
            "expires": ["'x'"],
            "host": ["x'ff'"],
            "agent": ["x'ff'"],
        }
        every = [(column, value) for column, values in changed.items() for value in values]
        for number in range(len(every)):
            await do(store.save(replace(KEY, jar=str(number)), ONE))
        await do(store.save(replace(KEY, jar="good"), ONE))
        await written(store)
        with closing(sqlite3.connect(path)) as connection, connection:
            for number, (column, value) in enumerate(every):
                connection.execute(f"UPDATE clearances SET {column} = {value} WHERE jar = '{number}'")
            connection.execute("UPDATE clearances SET host = CAST(x'ff' AS TEXT) WHERE jar = 'good'")
        assert [(key.jar, one.host) for key, one in (await held_in_file(store)).items()] == [("good", "\ufffd")]


JSON = st.dictionaries(st.text(), st.one_of(st.text(), st.integers())).map(json.dumps)
VALUES = st.one_of(st.none(), st.integers(), st.floats(), st.text(), st.binary(), JSON)


@given(st.lists(VALUES, min_size=13, max_size=13))
def test_any_row_is_a_clearance_or_none(row: list[Any]) -> None:
    found = _read(tuple(row))
    assert found is None or isinstance(found[1].solved_at, float)
