from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from scrapy_capsolver.errors import CaptchaBudgetError
from scrapy_capsolver.solving.ledger import Receipt
from scrapy_capsolver.solving.limits import Limits


def receipt(site: str = "one.example", nano: int | None = 800_000) -> Receipt:
    return Receipt("", "T", site, "recaptcha_v2", nano)


class Spending:
    """Limits, and who got a part and who was refused, in that order."""

    def __init__(self, **limits: Any) -> None:
        self.exhausted: list[str] = []
        every = {"max_solves": None, "max_solves_per_domain": None, "budget": None}
        self.clock = Clock()
        self.limits = Limits(self.clock, **{**every, **limits}, exhausted=self.exhausted.append)
        self.got: list[str] = []
        self.refused: dict[str, str] = {}

    def ask(self, *names: str, of: Receipt | None = None) -> list[Deferred[Any]]:
        return [Deferred.fromCoroutine(self._ask(name, of or receipt())) for name in names]

    def settle(self, *, charged: bool) -> None:
        self.limits.settle(receipt(), charged=charged)
        self.clock.advance(0)

    async def _ask(self, name: str, of: Receipt) -> None:
        try:
            await self.limits.reserve(of)
        except CaptchaBudgetError as error:
            self.refused[name] = str(error)
        else:
            self.got.append(name)


def test_without_limits_all_get_their_part() -> None:
    spending = Spending()
    spending.ask(*"abc")
    spending.ask("d", of=receipt(nano=None))
    assert spending.got == list("abcd")


@pytest.mark.parametrize("limits", [{"max_solves": 2}, {"max_solves_per_domain": 2}, {"budget": 0.0016}], ids=str)
def test_what_is_under_way_stands_against_a_limit_and_is_waited_for(limits: dict[str, Any]) -> None:
    spending = Spending(**limits)
    spending.ask(*"abcd")
    assert spending.got == list("ab")
    assert spending.refused == {}  # a and b may fail yet, and cost nothing
    spending.settle(charged=False)
    assert spending.got == list("abc")
    spending.settle(charged=True)
    assert spending.refused == {}
    spending.settle(charged=True)
    assert list(spending.refused) == ["d"]
    (name,) = limits
    assert spending.exhausted == [name.upper()]
    assert f"CAPSOLVER_{name.upper()} is reached (" in spending.refused["d"]


@pytest.mark.parametrize(("budget", "fit"), [(0.0024, 3), (0.00239, 2), (0.1, 125), (0.3, 375), (0.0008, 1), (0, 0)])
def test_the_last_cent_is_used_and_none_after_it(budget: float, fit: int) -> None:
    spending = Spending(budget=budget)
    for n in range(fit + 1):
        spending.ask(str(n))
        if len(spending.got) > n:
            spending.settle(charged=True)
    assert len(spending.got) == fit
    assert list(spending.refused) == [str(fit)]


def test_a_domain_that_is_used_up_leaves_the_others() -> None:
    spending = Spending(max_solves_per_domain=1)
    spending.ask("a")
    spending.settle(charged=True)
    spending.ask("b")
    spending.ask("c", of=receipt("two.example"))
    assert spending.got == ["a", "c"]
    assert spending.refused["b"].startswith("CAPSOLVER_MAX_SOLVES_PER_DOMAIN is reached (1 solves for one.example)")


def test_an_unknown_price_is_no_limit_that_is_reached() -> None:
    spending = Spending(budget=10)
    spending.ask("a", of=receipt(nano=None))
    assert "the price of T is not known" in spending.refused["a"]
    assert "CAPSOLVER_PRICES" in spending.refused["a"]
    assert spending.exhausted == []
    spending.ask("b")
    assert spending.got == ["b"]


def test_whoever_stops_waiting_takes_nothing() -> None:
    spending = Spending(max_solves=1)
    _, second, _ = spending.ask(*"abc")
    second.addErrback(lambda _: None)
    second.cancel()
    spending.settle(charged=False)
    assert spending.got == ["a", "c"]


def test_a_task_that_was_left_counts_until_it_is_gone_on_with() -> None:
    spending = Spending(max_solves=1)
    for _ in range(2):  # two requests may bring it
        spending.limits.adopt(receipt())
    with pytest.raises(CaptchaBudgetError, match="1 solves"):
        spending.limits.check(receipt())
    spending.limits.resume(receipt())
    spending.limits.check(receipt())
    spending.ask("a")
    assert (spending.got, spending.refused) == ([], {})  # it may be charged yet
    spending.settle(charged=False)
    assert spending.got == ["a"]


def test_a_task_that_is_left_counts_for_this_run_too() -> None:
    spending = Spending(max_solves=1)
    spending.ask("a")
    spending.limits.leave(receipt())
    spending.ask("b")
    assert list(spending.refused) == ["b"]
    spending.limits.resume(receipt())
    spending.settle(charged=True)
    spending.ask("c")
    assert list(spending.refused) == ["b", "c"]
