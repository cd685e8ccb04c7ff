"""Who may read a store's file, and which files are taken for one."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from scrapy.utils.defer import deferred_f_from_coro_f

from scrapy_capsolver.stores import SQLiteStore, StoreError, open_store
from tests.stores.opened import KEY, ONE, do, held, sqlite_stores, written

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ALL = dict.fromkeys(("c.sqlite", "c.sqlite-wal", "c.sqlite-shm"), 0o600)


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def run(code: str, path: Path) -> None:
    """In another process, which has the file open as ``c``."""
    begin = "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1]); "
    subprocess.run([sys.executable, "-c", begin + code, path], check=False)


def modes(folder: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}


@deferred_f_from_coro_f
async def test_it_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    async with sqlite_stores(path) as (store,):
        await do(store.save(KEY, replace(ONE, expires=time.time() + 1000, solved_at=time.time(), secure=False)))
        wanted = await held(store)
        assert set(modes(tmp_path).values()) == {0o600}
    async with sqlite_stores(path) as (store,):
        assert await held(store) == wanted != {}


@pytest.mark.xfail(strict=False, reason="of 100 clearances that are saved at once a few are not found: an open fault")
@pytest.mark.usefixtures("umask")
@deferred_f_from_coro_f
async def test_no_file_of_it_is_ever_open_to_others(tmp_path: Path) -> None:
    """Neither the log nor the index beside it, whatever the process gives its files by default."""
    path = tmp_path / "c.sqlite"
    async with sqlite_stores(path, 2) as (store, other):
        for number in range(100):  # more than the log holds before it is written back
            await do(store.save(replace(KEY, jar=str(number)), replace(ONE, cookies={"a": "v" * 60_000})))
        await written(store)
        assert len(await held(other)) == 100
        assert modes(tmp_path) == ALL
        await do(store.leave())
        assert set(modes(tmp_path).values()) == {0o600}
    assert modes(tmp_path) == {"c.sqlite": 0o600}
    SQLiteStore(str(path)).close()
    assert modes(tmp_path) == {"c.sqlite": 0o600}


@pytest.mark.parametrize("there", ["a file", "a link to none"])
@deferred_f_from_coro_f
async def test_a_file_that_was_there_before_is_closed_to_others(tmp_path: Path, there: str) -> None:
    """Made by hand, copied, or put there by somebody else."""
    path = tmp_path / "c.sqlite"
    before = os.umask(0o022)
    try:
        if there == "a file":
            path.touch()
        else:
            path.symlink_to(tmp_path / "target")
            with pytest.raises(StoreError):
                SQLiteStore(str(path))
            return
        async with sqlite_stores(path) as (store,):
            await do(store.save(KEY, ONE))
            await written(store)
            found = modes(tmp_path)
    finally:
        os.umask(before)
    assert found == ALL


@pytest.mark.parametrize("name", ["c.sqlite", "c.sqlite-wal", "c.sqlite-shm"])
def test_a_link_is_not_followed(tmp_path: Path, name: str) -> None:
    """Somebody else may have put it there, for a file that is not theirs."""
    SQLiteStore(str(tmp_path / "c.sqlite")).close()
    (tmp_path / name).unlink(missing_ok=True)
    target = tmp_path / "target"
    target.touch(0o644)
    (tmp_path / name).symlink_to(target)
    with pytest.raises(StoreError, match=f"cannot be used as an SQLite store: {name} is a symbolic link"):
        SQLiteStore(str(tmp_path / "c.sqlite"))
    assert (target.stat().st_size, modes(tmp_path)["target"]) == (0, 0o644)


@pytest.mark.parametrize(("kind", "said"), [("directory", "is a directory"), ("pipe", "is a device or pipe")])
def test_what_is_no_file_is_refused_and_keeps_its_rights(tmp_path: Path, kind: str, said: str) -> None:
    path = tmp_path / "c"
    if kind == "directory":
        path.mkdir(0o755)
    else:
        os.mkfifo(path, 0o644)
    before = modes(tmp_path)
    with pytest.raises(StoreError, match=said):
        open_store(str(path))
    assert modes(tmp_path) == before


@deferred_f_from_coro_f
async def test_what_a_killed_crawl_has_left_is_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    SQLiteStore(str(path)).close()
    run("c.execute('INSERT INTO ledger VALUES (1, 2, 3, 4, 5, 6)'); c.commit(); os._exit(9)", path)
    assert len(modes(tmp_path)) == 3
    for name in ALL:
        os.chmod(tmp_path / name, 0o644)
    async with sqlite_stores(path) as (store,):
        await do(store.save(KEY, ONE))
        await written(store)
        assert modes(tmp_path) == ALL


@deferred_f_from_coro_f
async def test_a_second_store_leaves_the_locks_of_the_first(tmp_path: Path) -> None:
    """To close a descriptor of the file releases all locks of this process: then the last one out takes the log away."""
    path = tmp_path / "c.sqlite"
    async with sqlite_stores(path) as (store,):
        await do(store.save(KEY, ONE))
        await written(store)
        SQLiteStore(str(path)).close()
        run("c.execute('SELECT * FROM tasks').fetchall()", path)
        assert len(modes(tmp_path)) == 3


def test_what_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "c"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreError, match="cannot be used as an SQLite store: file is not a database"):
        open_store(str(path))
    assert path.read_bytes() == b"this is no database" * 100


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("PRAGMA user_version = 7", "its version is 7, and this is version 1"),
        ("CREATE TABLE moz_cookies (id)", "it belongs to another program, with tables such as 'moz_cookies'"),
    ],
)
def test_the_database_of_something_else_is_left_alone(tmp_path: Path, statement: str, said: str) -> None:
    path = tmp_path / "c"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=said):
        open_store(str(path))
    assert path.read_bytes() == before


def test_a_file_that_is_locked_at_the_start_is_taken(tmp_path: Path) -> None:
    """Before its tables are there, too: another crawl may be making them."""
    path = tmp_path / "c"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        open_store(str(path)).close()
        connection.execute("ROLLBACK")
    open_store(str(path)).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        open_store(str(path)).close()


def test_a_folder_that_takes_no_files_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot be used as an SQLite store: .*No such file or directory"):
        open_store(str(tmp_path / "none" / "c"))
