from __future__ import annotations

from collections import Counter

import pytest

from scrapy_capsolver.errors import UnsolvableCaptchaError
from scrapy_capsolver.solving.ledger import TaskScope
from scrapy_capsolver.solving.site_breaker import REFUSED, REJECTED, SiteStops

ONE = TaskScope("one.example", "turnstile")
OTHERS = [TaskScope("one.example", "recaptcha_v2"), TaskScope("two.example", "turnstile")]


class Sites(SiteStops):
    def __init__(self, most: int) -> None:
        self.counts: Counter[str] = Counter()
        super().__init__(most, lambda name, value: self.counts.update({name: int(value)}))

    def stopped(self, task_scope: TaskScope = ONE) -> bool:
        try:
            self.check(task_scope)
        except UnsolvableCaptchaError:
            return True
        return False


def test_so_many_failures_in_a_row_stop_a_site_for_one_family(caplog: pytest.LogCaptureFixture) -> None:
    sites = Sites(3)
    for _ in range(2):
        sites.failed(ONE, REJECTED)
    assert not sites.stopped()
    for _ in range(5):
        sites.failed(ONE, REJECTED)
    with pytest.raises(UnsolvableCaptchaError) as caught:
        sites.check(ONE)
    why = "the site rejects the solutions, 3 times in a row (CAPSOLVER_MAX_REJECTIONS)"
    assert str(caught.value) == f"not tried, since {why}"
    assert isinstance(caught.value.__cause__, UnsolvableCaptchaError)  # so that it is not told for each request
    assert not any(sites.stopped(other) for other in OTHERS)
    assert [record.getMessage() for record in caplog.records] == [f"No more turnstile is solved for one.example: {why}"]
    assert sites.counts == {"breaker/stopped_sites": 1}


def test_the_last_failure_may_have_words_of_its_own() -> None:
    """What is lost to exceptions counts with what is rejected."""
    sites = Sites(2)
    sites.failed(ONE, REJECTED)
    sites.failed(ONE, REJECTED, "requests fail (TypeError)")
    with pytest.raises(UnsolvableCaptchaError, match=r"since requests fail \(TypeError\), 2 times in a row"):
        sites.check(ONE)
    assert sites.is_stopped(ONE)
    assert sites.most == 2


def test_a_success_of_the_same_kind_begins_the_count_anew() -> None:
    sites = Sites(3)
    for _ in range(10):
        sites.failed(ONE, REFUSED)
        sites.failed(ONE, REFUSED)
        sites.succeeded(ONE, REFUSED)
    assert not sites.stopped()


def test_the_kinds_are_counted_apart() -> None:
    """CapSolver solves it each time, and each time the site rejects it."""
    sites = Sites(3)
    for _ in range(3):
        assert not sites.stopped()
        sites.succeeded(ONE, REFUSED)
        sites.failed(ONE, REJECTED)
    assert sites.stopped()
    sites = Sites(4)
    for kind in (REFUSED, REJECTED, REFUSED, REJECTED):
        sites.failed(ONE, kind)
    assert not sites.stopped()


def test_a_site_that_is_stopped_stays_so() -> None:
    sites = Sites(1)
    sites.failed(ONE, REFUSED)
    sites.succeeded(ONE, REFUSED)
    sites.succeeded(ONE, REJECTED)
    assert sites.stopped()


def test_none_is_stopped_where_that_is_off() -> None:
    sites = Sites(0)
    for _ in range(1000):
        sites.failed(ONE, REFUSED)
    assert not sites.stopped()
