from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrapy_capsolver.solving.schedule import MAX_AGE, MAX_QUERIES, QUERIES, SolveTimes

if TYPE_CHECKING:
    from collections.abc import Callable


def solve(times: SolveTimes, seconds: float, answer_takes: float = 0.02) -> tuple[int, float]:
    """Queries until a task that takes so long is found ready, and how long it was ready by then."""
    age = not_ready = 0.0
    queries, running = 0, times.begin()
    while True:
        asked = running.next_age(age)
        queries += 1
        if asked >= seconds:
            times.end(running, (not_ready + asked) / 2)
            return queries, asked - seconds
        not_ready, age = asked, asked + answer_takes


def learned(draw: Callable[[random.Random], float], solves: int = 600) -> tuple[list[int], list[float]]:
    chance, times = random.Random(7), SolveTimes()
    results = [solve(times, draw(chance)) for _ in range(solves)][100:]
    return [queries for queries, _ in results], [late for _, late in results]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_before_anything_is_learned_every_second_while_young_and_slower_with_age() -> None:
    first = SolveTimes().begin()
    assert [first.next_age(age) for age in (0, 1, 2.01, 9)] == [1, 2, 3, 10]
    assert first.next_age(15.1) - 15.1 > 2.5
    assert solve(SolveTimes(), 30)[0] == QUERIES


@pytest.mark.parametrize(
    ("draw", "late", "most"),
    [
        (lambda c: c.uniform(1, 10), 0.40, QUERIES),
        (lambda c: c.uniform(1, 20), 0.80, QUERIES),
        (lambda c: c.uniform(1, 30), 1.15, QUERIES),
        (lambda c: c.choice((c.uniform(3, 4), c.uniform(20, 21))), 0.4, QUERIES),
        (lambda c: 5.0, 0.4, 8),
        (lambda c: c.uniform(0.2, 0.4), 0.5, 3),
    ],
)
def test_what_is_learned_brings_results_sooner_within_the_same_queries(
    draw: Callable[[random.Random], float], late: float, most: int
) -> None:
    queries, lateness = learned(draw)
    assert mean(lateness) < late
    assert max(queries) <= most + 1


def test_queries_within_the_limits_of_the_service() -> None:
    for times in (SolveTimes(), _trained(0.3), _trained(5), _trained(100)):
        age, queries, solve_ = 0.0, 0, times.begin()
        while age < MAX_AGE:
            following = solve_.next_age(age)
            assert following > age
            age, queries = following, queries + 1
        assert queries <= MAX_QUERIES


def test_likelihood_prefers_the_task_that_is_about_to_be_ready() -> None:
    times = _trained(10)
    assert times.likelihood(0, 2) < times.likelihood(0, 11) <= 1
    assert times.likelihood(9, 9.2) < times.likelihood(9, 11)


def _trained(seconds: float) -> SolveTimes:
    times, chance = SolveTimes(), random.Random(3)
    for _ in range(64):
        at = chance.uniform(seconds * 0.9, seconds * 1.1)
        times.end(times.begin(), at)
    return times


def test_of_solves_that_run_together_the_quick_ones_do_not_speak_for_all() -> None:
    times = SolveTimes()
    together = [times.begin() for _ in range(100)]
    for solve in together[50:]:
        times.end(solve, 1.5)
    assert together[0].next_age(1.6) == 2  # as before anything is learned
    for solve in together[:50]:
        times.end(solve, 20.0)
    assert times.begin().next_age(1.6) > 2.3


def test_solves_that_failed_teach_nothing_and_hold_up_nothing() -> None:
    times = SolveTimes()
    failed = times.begin()
    others = [times.begin() for _ in range(40)]
    for solve in others:
        times.end(solve, 20.0)
    assert others[0].next_age(0) == 1
    times.end(failed, None)
    assert times.begin().next_age(0) > 10


@given(st.lists(st.floats(0, 300) | st.none(), max_size=200), st.floats(0, 300))
def test_any_history_gives_a_next_query_that_is_later(history: list[float | None], age: float) -> None:
    times = SolveTimes()
    for seconds in history:
        times.end(times.begin(), seconds)
    following = times.begin().next_age(age)
    assert age < following <= max(age + 300, 301)
    assert 0 <= times.likelihood(0, age) <= 1


def test_what_other_workers_learned_is_as_good_as_what_one_learned_itself() -> None:
    own, told = SolveTimes(), SolveTimes()
    seconds = [5 + n / 100 for n in range(100)]
    for one in seconds:
        own.end(own.begin(), one)
    told.learn(seconds)
    assert told.begin().ages == own.begin().ages != SolveTimes().begin().ages
