"""One solve for all who wait for it, and what each of them gets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from scrapy_capsolver.errors import CaptchaCancelledError, UnsolvableCaptchaError
from scrapy_capsolver.solving.clearances import Clearances
from scrapy_capsolver.stores import Clearance, Key, MemoryStore

SITE, HOST = "shop.example", "www.shop.example"
ASKED = Key(SITE, SITE, "", "", "ours", "")
KEY = replace(ASKED, family="datadome")
ONE = Clearance("1", HOST, {"datadome": "a"}, None, 1000.0)


class Solving:
    """A solve that ends when the test says so, and the clearances that it is for."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clearances = Clearances(MemoryStore(), ("aws_waf", "datadome"), self.clock)
        self.begun: list[Deferred[Any]] = []
        self.outcomes: list[Any] = []

    async def __call__(self) -> Any:
        self.begun.append(Deferred())
        return await self.begun[-1]

    def obtain(self, key: Key = KEY, refused: str = "") -> Deferred[Any]:
        waiting = self.clearances.obtain(key, refused, self)
        waiting.addBoth(self.outcomes.append)
        return waiting

    def solve(self, clearance: Clearance) -> Any:
        solved: Any = object()
        self.begun[-1].callback((solved, clearance))
        self.clock.advance(0)
        return solved

    def held(self) -> set[Key]:
        return set(self.clearances.held(SITE))

    def of(self, key: Key = ASKED, host: str = HOST, *, secure: bool = True) -> list[str]:
        return [one.id for one in self.clearances.of(key, host, secure=secure).values()]


def do(coroutine: Any) -> Any:
    """The result of a coroutine that waits for nothing."""
    with pytest.raises(StopIteration) as stopped:
        coroutine.send(None)
    return stopped.value.value


@pytest.fixture
def solving() -> Solving:
    return Solving()


def test_the_first_began_the_solve_and_the_rest_share_it(solving: Solving) -> None:
    for _ in range(3):
        solving.obtain()
    assert len(solving.begun) == 1
    assert solving.outcomes == []
    assert not solving.clearances.is_idle
    solved = solving.solve(ONE)
    assert [(one.clearance, one.solved, one.shared) for one in solving.outcomes] == [
        (ONE, solved, False),
        (ONE, solved, True),
        (ONE, solved, True),
    ]
    assert solving.clearances.under_way(ASKED, HOST) is None


def test_each_has_an_error_of_its_own(solving: Solving) -> None:
    """What is added to one (where it was) is not in the others, and what was paid is told once."""
    for _ in range(3):
        solving.obtain()
    solving.begun[0].errback(UnsolvableCaptchaError("no", code="ERROR", attempts=2, possibly_paid=1))
    solving.clock.advance(0)
    first, second, third = (failure.value for failure in solving.outcomes)
    assert [(one.attempts, one.possibly_paid) for one in (first, second, third)] == [(2, 1), (0, 0), (0, 0)]
    assert {(type(one), one.code, str(one)) for one in (first, second, third)} == {
        (UnsolvableCaptchaError, "ERROR", "no")
    }
    assert second.__cause__ is third.__cause__ is first
    second.add_context("here")
    assert (str(first), str(third)) == ("no", "no")
    assert solving.clearances.is_idle


def test_what_the_first_to_wake_says_of_its_error_is_not_said_by_the_others(solving: Solving) -> None:
    """Without asyncio whoever waits goes on at once, before the next is woken."""
    said = []

    def say(failure: Failure, where: str) -> None:
        failure.value.add_context(where)
        said.append(str(failure.value))

    for where in ("here", "there", "elsewhere"):
        solving.clearances.obtain(KEY, "", solving).addErrback(say, where)
    solving.begun[-1].errback(Failure(UnsolvableCaptchaError("no solution")))
    solving.clock.advance(0)
    assert said == ["here: no solution", "there: no solution", "elsewhere: no solution"]


def test_it_ends_when_the_last_who_waits_has_left_and_not_before(solving: Solving) -> None:
    first, second = solving.obtain(), solving.obtain()
    first.cancel()
    assert isinstance(solving.outcomes[0], Failure)
    assert solving.outcomes[0].check(CaptchaCancelledError)
    assert not solving.begun[0].called
    third = solving.clearances.under_way(ASKED, HOST)
    assert third is not None
    third.addBoth(solving.outcomes.append)
    second.cancel()
    assert not solving.begun[0].called
    third.cancel()
    assert solving.begun[0].called
    assert all(outcome.check(CaptchaCancelledError) for outcome in solving.outcomes)
    assert len(solving.outcomes) == 3
    solving.obtain()  # whoever comes after that begins anew
    assert len(solving.begun) == 2
    solving.solve(ONE)
    assert solving.outcomes[3].clearance == ONE


def test_the_first_leaves_and_the_second_has_the_solve(solving: Solving) -> None:
    first = solving.obtain()
    solving.obtain()
    first.cancel()
    solving.solve(ONE)
    assert (solving.outcomes[1].clearance, solving.outcomes[1].shared) == (ONE, False)


def test_only_the_one_that_was_refused_is_dropped(solving: Solving) -> None:
    do(solving.clearances.keep(KEY, ONE))
    solving.obtain(refused="0")  # an older one: meanwhile another request has this one
    assert (solving.outcomes[0].clearance, solving.outcomes[0].solved) == (ONE, None)
    assert not solving.begun
    solving.obtain(refused="1")
    assert solving.held() == set()
    solving.solve(replace(ONE, id="2"))
    assert solving.of() == ["2"]


def test_it_also_fits_who_comes_with_its_user_agent_by_itself(solving: Solving) -> None:
    theirs = replace(ASKED, user_agent="theirs")
    do(solving.clearances.keep(KEY, replace(ONE, user_agent="theirs")))
    assert solving.of() == solving.of(theirs) == ["1"]
    assert solving.of(replace(ASKED, user_agent="other")) == []
    solving.obtain(refused="1")
    assert solving.of() == solving.of(theirs) == []


def test_that_of_the_host_goes_before_that_of_the_site(solving: Solving) -> None:
    do(solving.clearances.keep(KEY, ONE))
    do(solving.clearances.keep(replace(KEY, scope=HOST), replace(ONE, id="2")))
    do(solving.clearances.keep(replace(KEY, scope=HOST, family="aws_waf"), replace(ONE, id="3")))
    assert solving.of() == ["3", "2"]
    assert solving.of(host="api.shop.example") == ["1"]


def test_one_earned_over_https_stays_there(solving: Solving) -> None:
    do(solving.clearances.keep(KEY, ONE))
    assert solving.of(secure=True) == ["1"]
    assert solving.of(secure=False) == []
    do(solving.clearances.keep(KEY, replace(ONE, id="2", secure=False)))
    assert solving.of(secure=True) == solving.of(secure=False) == ["2"]


@pytest.mark.parametrize(("scope", "waits"), [(SITE, True), (HOST, True), ("api.shop.example", False)])
def test_who_waits_for_what_is_under_way(solving: Solving, scope: str, *, waits: bool) -> None:
    solving.obtain(replace(KEY, scope=scope))
    joined = solving.clearances.under_way(ASKED, HOST)
    assert (joined is not None) == waits
    assert solving.clearances.under_way(replace(ASKED, jar="1"), HOST) is None
    solving.solve(ONE)
    if joined is not None:
        joined.addCallback(solving.outcomes.append)
        assert [one.shared for one in solving.outcomes] == [False, True]


def test_a_cookie_that_comes_late_does_not_bring_back_what_was_dropped(solving: Solving) -> None:
    do(solving.clearances.keep(KEY, ONE))
    solving.clearances.note(KEY, replace(ONE, cookies={"datadome": "b"}))
    assert [dict(one.cookies) for one in solving.clearances.of(ASKED, HOST, secure=True).values()] == [
        {"datadome": "b"}
    ]
    do(solving.clearances.drop(KEY, ONE))
    solving.clearances.note(KEY, replace(ONE, cookies={"datadome": "c"}))
    assert solving.of() == []
