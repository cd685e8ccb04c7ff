"""Changes that wait for their file are written as if each had been written at once."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from scrapy_capsolver.stores import Key, Spend, TaskRow
from scrapy_capsolver.stores.sqlite.changes import Changes
from scrapy_capsolver.stores.sqlite.files import prepare
from tests.stores.opened import KEY, ONE

KEYS = [replace(KEY, jar=jar) for jar in "ab"]


class Written:
    """A database in memory, with the tables of a store."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        prepare(self.connection)
        self.refused: list[Any] = []

    def write(self, changes: Changes) -> None:
        self.refused += changes.apply(self.connection)

    def rows(self) -> list[Any]:
        queries = ("SELECT * FROM clearances", "SELECT id, site FROM tasks", "SELECT * FROM ledger")
        return [self.connection.execute(query).fetchall() for query in queries]


def do(changes: Changes, step: tuple[str, Any], time: int) -> None:
    kind, value = step
    if kind == "save":
        changes.save(KEYS[value], replace(ONE, id=str(time), solved_at=float(time)))
    elif kind == "delete":
        changes.delete(KEYS[value[0]], str(value[1]))
    elif kind == "open":
        changes.open_task(TaskRow(str(time), "s", "shop.example", "turnstile", "T", value))
    elif kind == "close":
        changes.close_task(str(value), spend("solved", value))
    else:
        changes.spend(spend(*value))


def spend(account: str, nano: int) -> Spend:
    return Spend("s", "shop.example", "turnstile", account, 1, nano)


STEPS = st.one_of(
    st.tuples(st.just("save"), st.sampled_from(range(2))),
    st.tuples(st.just("delete"), st.tuples(st.sampled_from(range(2)), st.integers(0, 30))),
    st.tuples(st.just("open"), st.integers(0, 10)),
    st.tuples(st.just("close"), st.integers(0, 30)),
    st.tuples(st.just("spend"), st.tuples(st.sampled_from(["solved", "failed"]), st.integers(0, 10))),
)


@given(st.lists(st.tuples(STEPS, st.sampled_from(["later", "written", "failed"])), max_size=30))
def test_any_batches_leave_the_same_file(steps: list[tuple[tuple[str, Any], str]]) -> None:
    """Whatever is written together, and whatever is tried again together with what came after it."""
    closed: set[Any] = set()
    at_once, in_batches = Written(), Written()
    failed, pending = Changes(), Changes()
    for time, (step, then) in enumerate(steps):
        if step[0] == "close" and (step[1] in closed or step[1] >= time):
            continue  # a task is closed once, and after it was opened
        closed |= {step[1]} if step[0] == "close" else set()
        single = Changes()
        do(single, step, time)
        at_once.write(single)
        do(pending, step, time)
        if then != "later":
            failed.absorb(pending)
            pending = Changes()
        if then == "written":
            in_batches.write(failed)
            failed = Changes()
    failed.absorb(pending)
    in_batches.write(failed)
    assert in_batches.rows() == at_once.rows()
    assert in_batches.refused == at_once.refused == []


def test_what_waits_grows_with_what_there_is() -> None:
    """And not with what happens: the file may be locked for days."""
    changes = Changes()
    for number in range(1000):
        changes.open_task(TaskRow(str(number), "s", "shop.example", "turnstile", "T", 5))
        changes.close_task(str(number), spend("solved", 5))
        changes.save(KEY, replace(ONE, id=str(number), solved_at=float(number)))
    assert (len(changes.opened), len(changes.closed), len(changes.spent), len(changes.saved)) == (0, 0, 1, 1)
    assert changes.describe() == "1000 entries of the ledger (0.0000 USD), 1 clearances"


def test_what_the_file_will_never_take_is_left_out() -> None:
    """Text that is no text, and numbers that are too large; and the rest is written."""
    written = Written()
    changes = Changes()
    changes.save(KEYS[0], replace(ONE, user_agent="\ud800"))
    changes.save(KEYS[1], ONE)
    changes.spend(spend("solved", 10**400))
    changes.spend(spend("failed", 0))
    changes.spend(replace(spend("failed", 0), site="\udfff"))
    written.write(changes)
    assert [kind for kind, _ in written.refused] == ["a clearance", *["an entry of the ledger"] * 2]
    clearances, _, ledger = written.rows()
    assert [row[5] for row in clearances] == ["b"]
    assert [row[3] for row in ledger] == ["failed"]


def test_a_file_that_fails_keeps_nothing_and_loses_nothing() -> None:
    written = Written()
    written.connection.execute("PRAGMA max_page_count = 1")
    changes = Changes()
    for number in range(1000):
        changes.save(replace(KEY, jar=str(number)), ONE)
    try:
        written.write(changes)
    except sqlite3.OperationalError as error:
        assert "full" in str(error)
    else:
        raise AssertionError("the file took it")
    assert len(changes.saved) == 1000


def test_rows_of_a_site_are_shown_as_they_will_be() -> None:
    changes = Changes()
    other = Key("other.example", "other.example", "datadome", "", "Chrome", "")
    changes.delete(KEYS[0], "1")
    changes.save(KEYS[1], replace(ONE, id="2", solved_at=2000.0))
    changes.save(other, ONE)
    rows = {KEYS[0]: ONE, KEYS[1]: ONE}
    changes.overlay(KEY.site, rows)
    assert rows == {KEYS[1]: replace(ONE, id="2", solved_at=2000.0)}
    newer = {KEYS[0]: replace(ONE, id="3"), KEYS[1]: replace(ONE, solved_at=3000.0)}
    unchanged = dict(newer)
    changes.overlay(KEY.site, newer)
    assert newer == unchanged
