"""Limits that are written down: over runs that end, that are killed, and where they cannot be written."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any

import pytest
from scrapy.utils.defer import deferred_f_from_coro_f, maybe_deferred_to_future
from twisted.internet.defer import CancelledError, Deferred

from scrapy_capsolver.errors import CaptchaBudgetError, CaptchaStoreError
from scrapy_capsolver.solving.ledger import Receipt
from scrapy_capsolver.solving.limits import Limits
from scrapy_capsolver.stores import open_journal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


def receipt(number: int, site: str = "one.example", task: str = "") -> Receipt:
    return Receipt(task, "T", site, "recaptcha_v2", 800_000, f"r{number}")


class Run:
    """Limits of one run, and what it was told."""

    def __init__(self, folder: Path, **limits: Any) -> None:
        from twisted.internet import reactor

        every = {"max_solves": None, "max_solves_per_domain": None, "budget": None, "patience": 1e9, **limits}
        clock: Any = reactor
        self.journal = open_journal(str(folder))
        self.limits = Limits(clock, exhausted=lambda name: None, journal=self.journal, **every)
        self.lost: list[str] = []

    def open(self) -> None:
        self.limits.open(lambda tasks: self.lost.extend(one.id for one in tasks))

    def ask(self, number: int, site: str = "one.example") -> Deferred[Any]:
        return Deferred.fromCoroutine(self.limits.reserve(receipt(number, site)))

    async def got(self, number: int, site: str = "one.example") -> bool:
        try:
            await maybe_deferred_to_future(self.ask(number, site))
        except CaptchaBudgetError:
            return False
        return True

    def settle(self, number: int, *, charged: bool) -> None:
        self.limits.settle(receipt(number), charged=charged)


@asynccontextmanager
async def running(folder: Path, **limits: Any) -> AsyncIterator[Run]:
    """A run that ends by itself; what is not settled by then counts for the next one, as if it had been killed."""
    run = Run(folder, **limits)
    run.open()
    try:
        yield run
    finally:
        await maybe_deferred_to_future(Deferred.fromCoroutine(run.journal.end()))


@deferred_f_from_coro_f
async def test_limits_go_on_where_the_last_run_ended(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What was paid counts, what was under way does, and what cost nothing does not."""
    caplog.set_level(logging.INFO)
    async with running(tmp_path, max_solves=3) as run:
        assert [await run.got(number) for number in range(3)] == [True] * 3
        run.settle(0, charged=True)
        run.settle(1, charged=False)
    assert not [record for record in caplog.records if "Limits" in record.getMessage()]
    async with running(tmp_path, max_solves=3) as run:
        assert await run.got(3)
        run.settle(3, charged=True)
        assert not await run.got(4)
        assert run.lost == ["r2"]
    assert "Limits: 2 solves (0.0016 USD) of earlier runs of this crawl count" in caplog.messages
    async with running(tmp_path, max_solves=4) as run:
        assert await run.got(5)


@pytest.mark.parametrize("limit", [{"max_solves_per_domain": 2}, {"budget": 0.0016}], ids=str)
@deferred_f_from_coro_f
async def test_each_limit_goes_on(limit: dict[str, Any], tmp_path: Path) -> None:
    async with running(tmp_path) as run:  # no limit yet: it counts all the same
        assert await run.got(0)
        assert await run.got(1)
        run.settle(1, charged=True)
    async with running(tmp_path, **limit) as run:
        assert not await run.got(2)
        assert await run.got(3, "two.example") == ("budget" not in limit)


@deferred_f_from_coro_f
async def test_a_task_that_was_left_is_counted_once(tmp_path: Path) -> None:
    """Whether its request comes before it is known what earlier runs used, or after."""
    async with running(tmp_path, max_solves=3) as run:
        for number in range(2):
            assert await run.got(number)
            run.limits.opened(receipt(number, task=f"t{number}"))
            run.limits.leave(receipt(number, task=f"t{number}"))
    run = Run(tmp_path, max_solves=3)
    run.limits.adopt(receipt(0, task="t0"))
    run.limits.resume(receipt(0, task="t0"))
    run.open()
    assert await run.got(2)
    run.limits.adopt(receipt(1, task="t1"))
    waiting = run.ask(3)
    run.limits.settle(receipt(0, task="t0"), charged=False)
    await maybe_deferred_to_future(waiting)
    run.settle(2, charged=True)
    run.settle(3, charged=True)
    assert not await run.got(4)
    await maybe_deferred_to_future(Deferred.fromCoroutine(run.journal.end()))
    async with running(tmp_path, max_solves=3) as run:
        assert not await run.got(5)
    async with running(tmp_path, max_solves=4) as run:
        assert await run.got(6)


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    open_journal(str(tmp_path)).close()
    with closing(sqlite3.connect(tmp_path / "capsolver.sqlite", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


async def until_away(run: Run) -> None:
    while not run.journal.is_away:
        await maybe_deferred_to_future(run.journal._database.ask(lambda connection: None))


@deferred_f_from_coro_f
async def test_nothing_is_created_before_it_is_written_down(tmp_path: Path, lock: sqlite3.Connection) -> None:
    waited: list[bool] = []
    async with running(tmp_path, max_solves=3) as run:
        first, cancelled = run.ask(0), run.ask(1)
        await until_away(run)
        second = Deferred.fromCoroutine(run.limits.reserve(receipt(2), "", lambda: waited.append(True)))
        assert run.limits.is_away
        assert not first.called
        cancelled.addErrback(lambda failure: failure.trap(CancelledError))
        cancelled.cancel()
        assert waited == [True]  # others must not wait for the trial of a pause that it may hold
        lock.execute("ROLLBACK")
        await maybe_deferred_to_future(first)
        await maybe_deferred_to_future(second)
        assert not run.limits.is_away
        assert await run.got(3)  # what was cancelled took nothing


@deferred_f_from_coro_f
async def test_without_a_limit_nothing_waits(tmp_path: Path, lock: sqlite3.Connection) -> None:
    async with running(tmp_path) as run:
        for number in range(3):
            assert run.ask(number).called
            run.settle(number, charged=True)
        assert not run.limits.is_away
        lock.execute("ROLLBACK")
    async with running(tmp_path, max_solves=3) as run:
        assert not await run.got(3)


@deferred_f_from_coro_f
async def test_after_a_while_it_is_said_at_once(tmp_path: Path, lock: sqlite3.Connection) -> None:
    async with running(tmp_path, budget=1, patience=0.1) as run:
        waiting = run.ask(0)
        await until_away(run)
        with pytest.raises(
            CaptchaStoreError, match=r"JOBDIR cannot be written \(database is locked\).* no task was created"
        ):
            raise run.limits.away()
        lock.execute("ROLLBACK")
        await maybe_deferred_to_future(waiting)
        lock.execute("BEGIN IMMEDIATE")
        second = run.ask(1)
        await until_away(run)
        with pytest.raises(CaptchaStoreError, match="JOBDIR cannot be written"):
            await maybe_deferred_to_future(run.ask(2))
        lock.execute("ROLLBACK")
        await maybe_deferred_to_future(second)
        assert await run.got(3)


@deferred_f_from_coro_f
async def test_a_journal_that_loses_its_tables_buys_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path, max_solves=5)
    with closing(sqlite3.connect(tmp_path / "capsolver.sqlite")) as connection, connection:
        connection.execute("ALTER TABLE limits RENAME COLUMN solves TO other")
    run.open()
    waiting = run.ask(0)
    with pytest.raises(CaptchaStoreError, match=r"JOBDIR cannot be written \(no such column: solves\)"):
        await maybe_deferred_to_future(waiting)
    await maybe_deferred_to_future(Deferred.fromCoroutine(run.journal.end()))
