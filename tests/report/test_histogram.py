from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrapy_capsolver.report.histogram import CLASSES, LEAST, MOST, RATIO, Histogram

times = st.lists(st.floats(0, 2 * MOST), max_size=60)


def of(values: list[float]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


def test_nothing() -> None:
    empty = Histogram()
    assert (empty.number, empty.mean, empty.quantile(0.5), empty.spread((1.0, 2.0))) == (0, 0, 0, [0, 0, 0])
    assert Histogram.of(json.loads(json.dumps(empty.to_dict()))) == empty


@given(st.lists(st.floats(LEAST, MOST), min_size=1, max_size=60), st.sampled_from([0.01, 0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_near_the_time_itself(values: list[float], share: float) -> None:
    exact = sorted(values)[max(math.ceil(share * len(values)), 1) - 1]
    assert exact / math.sqrt(RATIO) * 0.999 <= of(values).quantile(share) <= exact * math.sqrt(RATIO) * 1.001


@given(times, times)
def test_two_add_up_to_one_of_all(one: list[float], other: list[float]) -> None:
    both, together = of(one), of(one + other)
    both.merge(of(other))
    assert both.counts == together.counts
    assert (both.number, both.least, both.most) == (together.number, together.least, together.most)
    assert both.total == pytest.approx(together.total)


@given(times)
def test_a_file_keeps_all_of_it(values: list[float]) -> None:
    assert Histogram.of(json.loads(json.dumps(of(values).to_dict()))) == of(values)


@given(times)
def test_each_time_is_in_one_bar(values: list[float]) -> None:
    assert sum(of(values).spread((0.5, 1.0, 20.0))) == len(values)


def test_bars() -> None:
    assert of([0.1, 0.6, 0.7, 3, 40]).spread((0.5, 1.0, 20.0)) == [1, 2, 1, 1]


def test_room_is_bounded_and_what_is_told_is_exact_where_it_can_be() -> None:
    histogram = of([n / 7 for n in range(50_000)])
    histogram.add(1e12)
    histogram.add(-1.0)
    assert len(histogram.counts) <= CLASSES + 1 < 300
    assert (histogram.number, histogram.least, histogram.most) == (50_002, 0, 1e12)


@pytest.mark.parametrize(
    "change",
    [
        {"counts": {"-1": 1}},
        {"counts": {str(CLASSES + 1): 1}},
        {"counts": {"x": 1}},
        {"counts": {"1": -1}},
        {"counts": {"1": 1.5}},
        {"counts": {"1": True}},
        {"seconds": math.nan},
        {"seconds": "1"},
        {"most": math.inf},
    ],
)
def test_a_file_that_says_nonsense_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"class|count|number|invalid literal"):
        Histogram.of({**of([1.0]).to_dict(), **change})
