"""What is kept of a crawl: exact sums, bounded room, and records that add up."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrapy_capsolver.errors import UnsolvableCaptchaError
from scrapy_capsolver.report.figures import figures_of
from scrapy_capsolver.report.record import MOST_KINDS, MOST_NAMES, MOST_ROWS, OTHERS, Record, record_of_ledger
from scrapy_capsolver.report.recorder import Recorder
from scrapy_capsolver.stores import Spend
from tests.report.samples import crawl_of, planted, receipt, solved


def again(record: Record) -> Record:
    return Record.of(json.loads(json.dumps(record.to_dict())))


def test_each_event_is_entered_where_it_belongs() -> None:
    recorder = Recorder(lambda: 1000.0)
    one = receipt(nano=800_000)
    for account in ("solved", "rejected", "solved", "failed", "possibly_paid"):
        recorder.booked(one, account)
    recorder.accepted(one)
    recorder.handed_over(one)
    recorder.booked(receipt(nano=None, task_type="New"), "solved")
    recorder.solved(solved(one, 4.0, 0.5))
    recorder.solved(solved(one, 6.0))
    recorder.failed(UnsolvableCaptchaError("why", code="ERROR_X"), "recaptcha_v2")
    recorder.failed(UnsolvableCaptchaError("why else", code="ERROR_X"), "recaptcha_v2")
    stats = {"capsolver/tasks": 4, "capsolver/balance_usd": 3.0, "capsolver/cost_usd/site/a": 1.0, "other": 1}
    record = recorder.finish("s", "finished", stats)
    (row,) = record.rows.values()
    assert {name: (one.tasks, one.nano_usd) for name, one in row.items()} == {
        "solved": (3, 1_600_000),
        "rejected": (1, 800_000),
        "failed": (1, 0),
        "possibly_paid": (1, 800_000),
        "accepted": (1, 800_000),
        "handed_over": (1, 800_000),
    }
    assert record.unpriced == {"New": 1}
    assert (record.solves["recaptcha_v2"].number, record.pick_ups["recaptcha_v2"].number) == (2, 1)
    assert record.failures["UnsolvableCaptchaError", "ERROR_X", "recaptcha_v2"].requests == 2
    assert record.failures["UnsolvableCaptchaError", "ERROR_X", "recaptcha_v2"].example == "why"
    assert record.counters == {"tasks": 4}
    (step,) = [dict(counts) for _, counts in record.timeline.steps()]
    assert step == {"solved": 3, "nano_usd": 1_600_000, "wasted": 1, "failed": 2}
    assert (record.spiders, record.endings) == ({"s": 1}, {"finished": 1})


def test_a_file_keeps_all_of_it() -> None:
    record = crawl_of(500)
    assert figures_of(again(record)) == figures_of(record)
    assert again(record).to_dict() == record.to_dict()


def test_workers_add_up_to_what_one_would_have_recorded() -> None:
    """Sums are those of both, whichever comes first; nothing of either is changed by that of the other."""
    one, other = crawl_of(300, seed=1), crawl_of(200, seed=2, spider="books")
    before = pickle.dumps(other)
    both, reverse = again(one), again(other)
    both.merge(other)
    reverse.merge(one)
    assert pickle.dumps(other) == before
    first, second = figures_of(both), figures_of(reverse)
    assert (first.total, first.waste) == (second.total, second.waste)
    assert {line.name: line for line in first.sites} == {line.name: line for line in second.sites}
    assert (first.runs, first.spiders) == (2, ("books", "shop"))
    parts = [figures_of(one), figures_of(other)]
    assert first.total.solved.nano_usd == sum(part.total.solved.nano_usd for part in parts)
    assert first.total.accepted == sum(part.total.accepted for part in parts)
    assert first.requests_failed == sum(part.requests_failed for part in parts)
    assert first.solves[0].number == sum(part.solves[0].number for part in parts)
    assert sum(step.solved for step in first.steps) == first.total.solved.tasks
    assert first.counters["tasks"] == 500
    assert (first.started, first.finished) == (parts[0].started, max(part.finished or 0 for part in parts))


def test_room_is_bounded_and_sums_stay_exact() -> None:
    """A crawl of a hundred thousand sites, each with its own error, of which the dear ones stay."""
    recorder = Recorder(lambda: 1.0)
    for n in range(100_000):
        recorder.booked(receipt(f"{n}.example", nano=1000), "solved")
        recorder.failed(UnsolvableCaptchaError("no", code=f"ERROR_{n}"), "turnstile")
        recorder.booked(receipt("dear.example", nano=None, task_type=f"Type{n}"), "failed")
        if n % 100 == 0:
            recorder.booked(receipt("dear.example", nano=900_000), "solved")
    record = recorder.finish("s", "finished", {f"capsolver/tasks/refused/{n}": n for n in range(5000)})
    assert len(record.rows) <= MOST_ROWS
    assert len(record.failures) <= MOST_KINDS + 1
    assert len(record.unpriced) <= MOST_NAMES + 1
    figures = figures_of(record)
    assert figures.total.solved.nano_usd == 100_000 * 1000 + 1000 * 900_000
    assert figures.sites[0].name == "dear.example"
    assert figures.sites[0].solved.nano_usd == 1000 * 900_000
    assert figures.sites[-1].name == OTHERS
    assert figures.requests_failed == 100_000
    assert len(json.dumps(record.to_dict())) < 2_000_000
    assert figures_of(again(record)) == figures


def test_a_ledger_is_what_its_rows_say() -> None:
    rows = [
        Spend("a", "shop.example", "turnstile", "solved", 5, 6_000_000),
        Spend("b", "shop.example", "turnstile", "solved", 1, 1_200_000),
        Spend("a", "shop.example", "turnstile", "rejected", 2, 2_400_000),
        Spend("a", "other.example", "turnstile", "abandoned", 1, 1_200_000),
        Spend("a", "other.example", "turnstile", "open", 3, 3_600_000),
    ]
    figures = figures_of(record_of_ledger(rows))
    assert (figures.total.solved.tasks, figures.total.solved.nano_usd) == (6, 7_200_000)
    assert (figures.total.wasted.tasks, figures.total.possible.tasks, figures.total.open) == (2, 1, 3)
    assert figures.total.rejected == 2
    assert (figures.spiders, figures.from_ledger) == (("a", "b"), True)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
def test_what_anybody_may_have_written_is_a_record_or_one_error(data: Any) -> None:
    """Any value at any place of a report that was good."""
    values = crawl_of(40).to_dict()
    place: Any = values
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else list(range(len(place)))))
        if not isinstance(place[key], (dict, list)) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(json_values)
    try:
        record = Record.of(values)
    except ValueError as error:
        assert str(error)
    else:
        figures_of(record)


def test_planted_texts_survive_a_file() -> None:
    assert figures_of(again(planted())) == figures_of(planted())


@pytest.mark.parametrize("missing", list(Record().to_dict()))
def test_nothing_may_be_missing(missing: str) -> None:
    values = Record().to_dict()
    del values[missing]
    with pytest.raises(ValueError, match=missing):
        Record.of(values)
