"""What every store does, and what becomes of one in a file."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from scrapy_capsolver.stores import Clearance, Key, MemoryStore, SQLiteStore, Store, StoreError, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = Key("shop.example", "shop.example", "datadome", "", "Chrome", "")
ONE = Clearance("1", "www.shop.example", {"datadome": "a"}, "Chrome/146", 1000.0)


def do(coroutine: Any) -> Any:
    """The result of a coroutine that waits for nothing."""
    with pytest.raises(StopIteration) as stopped:
        coroutine.send(None)
    return stopped.value.value


def held(store: Store, site: str = KEY.site) -> dict[Key, Clearance]:
    return dict(do(store.load(site)))


def test_neither_key_nor_clearance_shows_a_cookie() -> None:
    assert "datadome': 'a'" not in repr(ONE)
    assert "'a'" not in repr(ONE)


# In a file


def test_it_is_there_after_a_restart_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    first = SQLiteStore(str(path))
    do(first.save(KEY, replace(ONE, expires=time.time() + 1000, solved_at=time.time(), secure=False)))
    wanted = held(first)
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}
    first.close()
    second = SQLiteStore(str(path))
    assert held(second) == wanted
    second.close()


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}


@pytest.mark.usefixtures("umask")
def test_no_file_of_it_is_ever_open_to_others(tmp_path: Path) -> None:
    """Neither the log nor the index beside it, whatever the process gives its files by default."""
    path = tmp_path / "c.sqlite"
    store, other = SQLiteStore(str(path)), SQLiteStore(str(path))
    assert modes(tmp_path) == dict.fromkeys(("c.sqlite", "c.sqlite-wal", "c.sqlite-shm"), 0o600)
    for number in range(100):  # more than the log holds before it is written back
        do(store.save(replace(KEY, jar=str(number)), replace(ONE, cookies={"a": "v" * 60_000})))
    assert len(held(other)) == 100
    assert modes(tmp_path) == dict.fromkeys(("c.sqlite", "c.sqlite-wal", "c.sqlite-shm"), 0o600)
    store.close()
    assert set(modes(tmp_path).values()) == {0o600}
    other.close()
    assert modes(tmp_path) == {"c.sqlite": 0o600}
    SQLiteStore(str(path)).close()
    assert modes(tmp_path) == {"c.sqlite": 0o600}


@pytest.mark.parametrize("there", ["a file", "a link to none"])
def test_a_file_that_was_there_before_is_closed_to_others_too(tmp_path: Path, there: str) -> None:
    """Made by hand, copied, or put there by somebody else."""
    before = os.umask(0o022)
    try:
        path = tmp_path / "c.sqlite"
        if there == "a file":
            path.touch()
        else:
            path.symlink_to(tmp_path / "target")
        store = SQLiteStore(str(path))
    except StoreError:
        return  # said so, and not used
    finally:
        os.umask(before)
    do(store.save(KEY, ONE))
    found = modes(tmp_path)
    store.close()
    assert set(found.values()) == {0o600}, {name: oct(mode) for name, mode in found.items()}


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


def test_what_a_crawl_that_was_killed_has_left_is_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    code = "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('PRAGMA journal_mode = WAL');"
    subprocess.run([sys.executable, "-c", f"{code} c.execute('CREATE TABLE t (a)'); os._exit(9)", path])  # noqa: PLW1510
    assert len(modes(tmp_path)) == 3
    for file in tmp_path.iterdir():
        file.chmod(0o644)
    store = SQLiteStore(str(path))
    do(store.save(KEY, ONE))
    assert modes(tmp_path) == dict.fromkeys(("c.sqlite", "c.sqlite-wal", "c.sqlite-shm"), 0o600)
    store.close()


def test_a_second_store_of_a_process_leaves_the_locks_of_the_first(tmp_path: Path) -> None:
    """To close a descriptor of the file lets go all locks of this process. Then the last one out takes the log away."""
    path = tmp_path / "c.sqlite"
    one = SQLiteStore(str(path))
    do(one.save(KEY, ONE))
    SQLiteStore(str(path)).close()
    code = "import sys; from scrapy_capsolver.stores import SQLiteStore; SQLiteStore(sys.argv[1]).close()"
    subprocess.run([sys.executable, "-c", code, path], check=True)
    assert len(modes(tmp_path)) == 3
    one.close()


def test_what_another_writes_is_seen(tmp_path: Path) -> None:
    one, other = SQLiteStore(str(tmp_path / "c")), SQLiteStore(str(tmp_path / "c"))
    assert held(one) == held(other) == {}
    do(one.save(KEY, ONE))
    assert held(other) == {KEY: ONE}
    # The older one of another crawl does not take the place of a newer one, whoever looks.
    do(other.save(KEY, replace(ONE, id="2", solved_at=2000.0)))
    do(one.save(KEY, replace(ONE, id="3", solved_at=1500.0)))
    assert held(one)[KEY].id == held(other)[KEY].id == "2"
    do(one.delete(KEY, "2"))
    assert held(other) == {}
    one.close()
    other.close()


def test_a_newer_one_that_comes_between_reading_and_writing_stays(tmp_path: Path) -> None:
    other = SQLiteStore(str(tmp_path / "c"))

    class Overtaken(SQLiteStore):
        async def load(self, site: str) -> Any:
            found = dict(await super().load(site))
            await other.save(KEY, replace(ONE, id="2", solved_at=2000.0))
            return found

    store = Overtaken(str(tmp_path / "c"))
    do(store.save(KEY, ONE))
    assert held(other)[KEY].id == "2"
    store.close()
    other.close()


def test_what_is_old_or_expired_is_forgotten_at_start(tmp_path: Path) -> None:
    store = SQLiteStore(str(tmp_path / "c"))
    now = time.time()
    for jar, one in {
        "old": replace(ONE, solved_at=now - 31 * 86400),
        "expired": replace(ONE, solved_at=now, expires=now - 1),
        "good": replace(ONE, solved_at=now - 29 * 86400),
    }.items():
        do(store.save(replace(KEY, jar=jar), one))
    store.close()
    store = SQLiteStore(str(tmp_path / "c"))
    with sqlite3.connect(tmp_path / "c") as connection:
        assert connection.execute("SELECT jar FROM clearances").fetchall() == [("good",)]
    connection.close()
    store.close()


@pytest.mark.parametrize("content", [b"this is no database" * 100, None], ids=["text", "directory"])
def test_what_is_no_store_is_said_so_and_left_alone(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "c"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(StoreError, match="cannot be used as an SQLite store"):
        open_store(str(path))
    assert content is None or path.read_bytes() == content


def test_a_file_of_another_version_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "c") as connection:
        connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(StoreError, match="its version is 7, and this is version 1"):
        open_store(str(tmp_path / "c"))


def test_a_file_that_fails_later_is_told_once_and_memory_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = SQLiteStore(str(tmp_path / "c"))
    do(store.save(KEY, ONE))
    with sqlite3.connect(tmp_path / "c") as connection:
        connection.execute("DROP TABLE clearances")
    connection.close()
    assert held(store) == {}  # somebody else wrote, so the file was read again, as far as that goes
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            do(store.save(replace(KEY, jar=str(number)), ONE))
    assert len(held(store)) == 3
    assert [record.getMessage()[:15] for record in caplog.records] == ["CAPSOLVER_STORE"]
    store.close()


def test_rows_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    store = SQLiteStore(str(tmp_path / "c"))
    for jar in ("bad", "list", "good"):
        do(store.save(replace(KEY, jar=jar), ONE))
    with sqlite3.connect(tmp_path / "c") as connection:
        connection.execute("UPDATE clearances SET cookies = '{' WHERE jar = 'bad'")
        connection.execute("UPDATE clearances SET cookies = '[1]' WHERE jar = 'list'")
    connection.close()
    assert [key.jar for key in held(store)] == ["good"]
    store.close()


WRITER = """
import sys
from dataclasses import replace
from scrapy_capsolver.solving.clearances import Clearances
from scrapy_capsolver.stores import SQLiteStore, Clearance, Key

store = SQLiteStore(sys.argv[1])
print("open", flush=True)
for number in range(int(sys.argv[3])):
    key = Key("shop.example", "shop.example", "datadome", "", sys.argv[2], str(number % 50))
    for step in (store.load("shop.example"), store.save(key, Clearance(str(number), "h", {"c": "v" * 500}, None, 1e10 + number))):
        try:
            step.send(None)
        except StopIteration:
            pass
print("done", flush=True)
"""


def test_several_processes_write_at_once_and_one_is_killed(tmp_path: Path) -> None:
    path = str(tmp_path / "c")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

    def writer(name: str, count: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", WRITER, path, name, str(count)], stdout=subprocess.PIPE, text=True, env=environment
        )

    with writer("killed", 10**9) as killed, writer("a", 300) as a, writer("b", 300) as b:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "open\n"
        for process in (a, b):
            assert process.stdout is not None
            assert process.stdout.read() == "open\ndone\n"
            assert process.wait() == 0
        killed.kill()
    store = SQLiteStore(path)
    found = held(store)
    assert {name: len([key for key in found if key.user_agent == name]) for name in ("a", "b")} == {"a": 50, "b": 50}
    assert {one.id for key, one in found.items() if key.user_agent == "a"} == {str(n) for n in range(250, 300)}
    store.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_a_memory_store_is_empty_at_first_and_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scrapy_capsolver.stores.memory.MOST", 2)
    store = MemoryStore()
    assert store.is_empty
    for jar in ("1", "2", "3"):
        do(store.save(replace(KEY, jar=jar), ONE))
    assert [key.jar for key in held(store)] == ["2", "3"]
