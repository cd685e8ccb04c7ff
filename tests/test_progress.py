from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

import pytest
from scrapy import Request
from scrapy.utils.defer import deferred_f_from_coro_f
from twisted.internet.task import Clock

from scrapy_capsolver._crawl.progress import Progress, Tally
from tests.crawls import crawl, simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

LINE = re.compile(
    r"Captchas: (\d+) tasks open, (\d+) requests waiting, (\d+) solved \(\+(\d+)\), (\d+) failed \(\+(\d+)\), ([\d.]+) USD spent"
)
NOTHING = Tally(0, 0, 0, 0, 0.0)


class Bench:
    def __init__(self, seconds: float = 60) -> None:
        self.clock: Any = Clock()
        self.now = NOTHING
        self.progress = Progress(self.clock, seconds, lambda: self.now)


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[float, ...]]:
    """The numbers in each, which are all removed from the log."""
    found = [
        LINE.fullmatch(one.getMessage()) for one in caplog.records if one.name == "scrapy_capsolver._crawl.progress"
    ]
    caplog.clear()
    assert all(found)
    return [tuple(float(number) for number in one.groups()) for one in found if one is not None]


@pytest.fixture
def bench() -> Iterator[Bench]:
    one = Bench()
    yield one
    one.progress.close()
    assert one.clock.getDelayedCalls() == []


def test_a_line_for_each_interval_while_something_is_solved(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.progress.begin()
    bench.now = Tally(2, 3, 0, 0, 0.0)
    bench.clock.advance(59)
    assert lines(caplog) == []
    bench.clock.advance(1)
    assert lines(caplog) == [(2, 3, 0, 0, 0, 0, 0)]
    bench.clock.advance(60)  # nothing has changed, and they still wait
    assert lines(caplog) == [(2, 3, 0, 0, 0, 0, 0)]
    bench.now = Tally(0, 0, 2, 1, 0.0016)
    bench.clock.advance(60)  # over, since the last line
    assert lines(caplog) == [(0, 0, 2, 2, 1, 1, 0.0016)]


def test_nothing_when_idle_not_even_a_timer(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.progress.begin()
    bench.now = Tally(0, 0, 1, 0, 0.0008)
    bench.clock.advance(60)
    assert len(lines(caplog)) == 1
    bench.clock.advance(60)
    assert lines(caplog) == []
    assert bench.clock.getDelayedCalls() == []
    bench.progress.begin()  # and again
    bench.progress.begin()
    assert len(bench.clock.getDelayedCalls()) == 1
    bench.now = Tally(1, 1, 1, 0, 0.0008)
    bench.clock.advance(60)
    assert lines(caplog) == [(1, 1, 1, 0, 0, 0, 0.0008)]


def test_no_interval_no_line() -> None:
    bench = Bench(0)
    bench.progress.begin()
    assert bench.clock.getDelayedCalls() == []


@deferred_f_from_coro_f
async def test_in_a_crawl(caplog: pytest.LogCaptureFixture) -> None:
    """Each line adds up with the one before, and none of them overtakes the stats at the end."""
    async with simulator(solve_seconds=(8, 12)) as capsolver:
        paths = [f"/recaptcha-v2/{n}" for n in range(6)] + ["/reject/turnstile/1"]
        done = await crawl(capsolver, paths, LOGSTATS_INTERVAL=2, CAPSOLVER_RETRY_TIMES=0, CAPSOLVER_CONCURRENCY=3)
    found = lines(caplog)
    assert found
    assert 0 < max(line[0] for line in found) <= 3
    assert 3 <= max(line[1] for line in found) <= 7  # not all have met their captcha at the first line
    for before, after in itertools.pairwise(found):
        assert (after[2] - before[2], after[4] - before[4]) == (after[3], after[5])
    stats = done.ours()
    assert found[-1][2] <= stats["solved/recaptcha_v2"] + stats["solved/turnstile"] == 7
    assert found[-1][6] <= stats["estimated_cost_usd"]


@deferred_f_from_coro_f
async def test_not_where_nothing_is_solved(caplog: pytest.LogCaptureFixture) -> None:
    async with simulator() as capsolver:
        await crawl(capsolver, [Request(f"{capsolver.site_url}/free/1")], LOGSTATS_INTERVAL=0.001)
    assert lines(caplog) == []
