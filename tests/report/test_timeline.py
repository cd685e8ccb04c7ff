from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrapy_capsolver.report.timeline import SERIES, STEPS, Timeline

events = st.lists(st.tuples(st.floats(0, 2e9), st.sampled_from(SERIES)), max_size=40)


def of(happened: list[tuple[float, str]]) -> Timeline:
    timeline = Timeline()
    for when, series in happened:
        timeline.add(when, series)
    return timeline


def totals(timeline: Timeline) -> Counter[str]:
    return sum((counts for _, counts in timeline.steps()), Counter())


@given(events)
def test_nothing_is_lost_and_each_is_in_its_step(happened: list[tuple[float, str]]) -> None:
    timeline = of(happened)
    assert totals(timeline) == Counter(series for _, series in happened)
    steps = dict(timeline.steps())
    for when, series in happened:
        assert steps[int(when // timeline.seconds) * timeline.seconds][series] > 0
    if steps:
        assert (max(steps) - min(steps)) // timeline.seconds < STEPS


@given(events, events)
def test_two_add_up(one: list[tuple[float, str]], other: list[tuple[float, str]]) -> None:
    both = of(one)
    both.merge(of(other))
    assert totals(both) == Counter(series for _, series in one + other)
    together = of(one + other)
    assert both.seconds >= together.seconds or not other
    assert len(list(both.steps())) <= STEPS


@given(events)
def test_a_file_keeps_all_of_it(happened: list[tuple[float, str]]) -> None:
    timeline = of(happened)
    again = Timeline.of(json.loads(json.dumps(timeline.to_dict())))
    assert (again.seconds, list(again.steps())) == (timeline.seconds, list(timeline.steps()))


def test_a_month_takes_no_more_room_than_a_minute() -> None:
    timeline = of([(1e9 + 60 * n, "solved") for n in range(43_200)])
    assert STEPS / 2 <= len(list(timeline.steps())) <= STEPS
    assert timeline.seconds == 32_768
    assert totals(timeline)["solved"] == 43_200


@pytest.mark.parametrize(
    "values",
    [
        {"step_seconds": 0, "steps": []},
        {"step_seconds": 3, "steps": []},
        {"step_seconds": 2**61, "steps": []},
        {"step_seconds": 1, "steps": [{"at": 2**50, "solved": 1}]},
        {"step_seconds": 1, "steps": [{"at": 1, "solved": -1}]},
    ],
)
def test_a_file_that_says_nonsense_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"step|count"):
        Timeline.of(values)
