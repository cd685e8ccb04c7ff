"""A store in a file never holds up its crawl, whatever happens to the file."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from scrapy import Request
from scrapy.utils.defer import deferred_f_from_coro_f

from scrapy_capsolver.stores.sqlite import store as store_module
from tests.crawls import Crawl, crawl, simulator
from tests.test_limits_of_a_crawl import PRICE, check_money

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[threading.Thread]]:
    """The threads that call SQLite."""
    found: set[threading.Thread] = set()
    connect = sqlite3.connect

    class Connection(sqlite3.Connection):
        def execute(self, *args: Any) -> Any:
            found.add(threading.current_thread())
            return super().execute(*args)

        def close(self) -> None:
            found.add(threading.current_thread())
            super().close()

    def spied(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        found.add(threading.current_thread())
        return connect(*args, factory=Connection, **kwargs)

    monkeypatch.setattr(sqlite3, "connect", spied)
    yield found
    assert found  # or it has watched nothing


def pages(capsolver: Any, number: int) -> list[Request]:
    """As many with a captcha as without, those of a clearance among them."""
    site = capsolver.site_url
    flagged = [f"{site}/{'aws-waf' if n % 4 == 0 else 'recaptcha-v2'}/{n}" for n in range(number)]
    return [
        request
        for n, url in enumerate(flagged)
        for request in (Request(url, meta={"capsolver": True}), Request(f"{site}/free/{n}"))
    ]


def spent(path: Path) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT account, sum(tasks), sum(nano_usd) FROM ledger GROUP BY account").fetchall()


@deferred_f_from_coro_f
async def test_no_statement_runs_on_the_reactor_s_thread(tmp_path: Path, threads: set[threading.Thread]) -> None:
    """From the start to the end of a crawl that writes all that there is to be written."""
    path = tmp_path / "c.sqlite"
    async with simulator(solve_seconds=(1, 5)) as capsolver:
        done = await crawl(capsolver, pages(capsolver, 12), CAPSOLVER_STORE=str(path), JOBDIR=str(tmp_path / "job"))
        assert len(done.responses) == 24
        assert threading.main_thread() not in threads
        await check_money(capsolver, done, store=path)


@deferred_f_from_coro_f
async def test_a_lock_holds_up_no_page(tmp_path: Path, threads: set[threading.Thread]) -> None:
    """Somebody writes to the file until all pages have come, those with a captcha too."""
    path = tmp_path / "c.sqlite"
    lock: list[sqlite3.Connection] = []
    real = sqlite3.Connection

    def begin() -> None:
        lock.append(real(str(path), isolation_level=None))
        lock[0].execute("BEGIN IMMEDIATE")

    def parse(result: Crawl, spider: Any, response: Any) -> None:
        if not lock:
            begin()
        if len(result.responses) == 24:
            lock[0].execute("ROLLBACK")
            lock[0].close()

    async with simulator(solve_seconds=(1, 5)) as capsolver:
        done = await crawl(capsolver, pages(capsolver, 12), parse=parse, CAPSOLVER_STORE=str(path))
        assert (len(done.responses), done.errors) == (24, [])
        assert threading.main_thread() not in threads
        await check_money(capsolver, done, store=path)  # it was written when the lock was gone


@deferred_f_from_coro_f
async def test_a_lock_that_stays_ends_no_crawl_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What could not be written is reported, in one line."""
    monkeypatch.setattr(store_module, "_LEAVE_SECONDS", 0.5)
    path = tmp_path / "c.sqlite"
    lock: list[sqlite3.Connection] = []

    def parse(result: Crawl, spider: Any, response: Any) -> None:
        if not lock:
            lock.append(sqlite3.connect(path, isolation_level=None))
            lock[0].execute("BEGIN IMMEDIATE")

    async with simulator(solve_seconds=(1, 5)) as capsolver:
        requests = [Request(f"{capsolver.site_url}/recaptcha-v2/{n}", meta={"capsolver": True}) for n in range(5)]
        requests.insert(0, Request(f"{capsolver.site_url}/free/1", priority=9))
        done = await crawl(capsolver, requests, parse=parse, CAPSOLVER_STORE=str(path), CONCURRENT_REQUESTS=1)
        lock[0].close()
        assert (len(done.responses), done.errors) == (6, [])
        (line,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
        assert line.endswith(f"is lost: 5 entries of the ledger ({5 * PRICE:.4f} USD)")
        assert spent(path) == []


@pytest.mark.parametrize("how", ["deleted", "overwritten", "emptied"])
@deferred_f_from_coro_f
async def test_a_file_that_breaks_under_way_costs_no_page(
    how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "c.sqlite"

    def parse(result: Crawl, spider: Any, response: Any) -> None:
        if len(result.responses) != 1:
            return
        if how == "deleted":
            path.unlink()
        else:
            path.write_bytes(b"x" * 4096 * 16 if how == "overwritten" else b"")

    async with simulator(solve_seconds=(1, 5)) as capsolver:
        settings = {"CAPSOLVER_STORE": str(path), "CONCURRENT_REQUESTS": 1}
        done = await crawl(capsolver, pages(capsolver, 6), parse=parse, **settings)
        assert (len(done.responses), done.errors) == (12, [])
        await check_money(capsolver, done)
        said = [record for record in caplog.records if "CAPSOLVER_STORE" in record.getMessage()]
        assert len([record for record in said if record.levelname == "WARNING"]) <= 2
        assert not [record for record in caplog.records if record.exc_info]
