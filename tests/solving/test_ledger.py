from __future__ import annotations

from collections import Counter

import pytest

from scrapy_capsolver.solving.ledger import Ledger, Receipt, TaskScope
from scrapy_capsolver.stores import MemoryStore
from scrapy_capsolver.stores.base import Spend, TaskRow

PRICES = {"A": 0.8, "B": 1.2}
ONE = TaskScope("one.example", "recaptcha_v2")
TWO = TaskScope("two.example", "turnstile")


class Book(MemoryStore):
    """A ledger, what it counts, and what it has its store keep."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.opened: list[TaskRow] = []
        self.spent: list[tuple[Spend, str]] = []
        self.ledger = Ledger("s", PRICES, self, self._count)

    def _count(self, name: str, value: float) -> None:
        self.counts[name] += value  # type: ignore[assignment]

    async def open_task(self, task: TaskRow) -> None:
        self.opened.append(task)

    async def spend(self, entry: Spend, *, closes: str, reservation: str = "", wasted: bool = False) -> None:
        self.spent.append((entry, closes))

    def begin(self, task_scope: TaskScope = ONE, task_type: str = "A", task_id: str = "t") -> Receipt:
        receipt = self.ledger.receipt(task_scope, task_type, task_id)
        self.ledger.opened(receipt)
        return receipt

    def usd(self, *names: str) -> list[float]:
        return [round(self.counts[name], 9) for name in names]


def test_a_paid_task_is_booked_once_and_closed() -> None:
    book = Book()
    receipt = book.begin()
    book.ledger.paid(receipt)
    reservation = receipt.reservation
    assert reservation
    assert book.opened == [TaskRow("t", "s", "one.example", "recaptcha_v2", "A", 800_000, reservation)]
    assert book.spent == [(Spend("s", "one.example", "recaptcha_v2", "solved", 1, 800_000), "t")]
    assert book.usd("estimated_cost_usd", "cost_usd/family/recaptcha_v2") == [0.0008, 0.0008]
    book.ledger.close()
    assert book.usd("cost_usd/site/one.example") == [0.0008]
    assert len(book.spent) == 1
    assert not [name for name in book.counts if name.startswith("wasted")]


def test_a_failed_task_costs_nothing() -> None:
    book = Book()
    book.ledger.failed(book.begin())
    book.ledger.close()
    assert book.spent == [(Spend("s", "one.example", "recaptcha_v2", "failed", 1, 0), "t")]
    assert book.counts == {}


def test_what_is_open_at_the_end_is_abandoned() -> None:
    book = Book()
    book.begin()
    book.ledger.close()
    assert book.spent == [(Spend("s", "one.example", "recaptcha_v2", "abandoned", 1, 800_000), "t")]
    assert (book.counts["wasted/abandoned"], book.counts["estimated_cost_usd"]) == (1, 0)
    assert book.usd("possible_cost_usd", "wasted_usd/abandoned") == [0.0008, 0.0008]


def test_what_the_next_run_takes_care_of_is_not() -> None:
    book = Book()
    receipt = book.begin()
    assert book.ledger.carried("t") == receipt
    assert book.ledger.carried("t") is None
    assert book.ledger.carried("another") is None
    book.ledger.close()
    assert (book.spent, dict(book.counts)) == ([], {"tasks/carried_over": 1})
    after = Book()
    after.ledger.adopted(receipt)
    after.ledger.paid(receipt)
    assert (after.opened, after.spent[0][1]) == ([], "t")


def test_a_task_without_an_id_closes_none() -> None:
    book = Book()
    book.ledger.unknown(book.ledger.receipt(ONE, "A"), "possibly_paid")
    assert book.spent == [(Spend("s", "one.example", "recaptcha_v2", "possibly_paid", 1, 800_000), "")]
    assert book.usd("possible_cost_usd") == [0.0008]


def test_waste_is_a_part_of_what_was_paid() -> None:
    book = Book()
    receipt = book.begin()
    book.ledger.paid(receipt)
    book.ledger.wasted(receipt, "rejected")
    book.ledger.close()
    assert [(entry.account, closes) for entry, closes in book.spent] == [("solved", "t"), ("rejected", "")]
    assert book.usd("estimated_cost_usd", "wasted_usd/rejected") == [0.0008, 0.0008]
    assert (book.counts["wasted/rejected"], book.counts["rejected/site/one.example"]) == (1, 1)


def test_an_unknown_price_is_told_once_and_is_in_no_sum(caplog: pytest.LogCaptureFixture) -> None:
    book = Book()
    for _ in range(3):
        receipt = book.begin(task_type="New")
        assert receipt.nano is None
        book.ledger.paid(receipt)
        book.ledger.wasted(receipt, "rejected")
    book.ledger.close()
    assert book.counts == {"unpriced": 3, "wasted/rejected": 3, "rejected/site/one.example": 3}
    assert {entry.nano_usd for entry, _ in book.spent} == {0}
    (line,) = [record.getMessage() for record in caplog.records]
    assert "The price of New is not known" in line
    assert "CAPSOLVER_PRICES" in line


def test_sums_are_exact_and_sites_are_told_up_to_a_number() -> None:
    book = Book()
    for n in range(3000):
        book.ledger.paid(book.begin(TaskScope(f"{n % 30}.example", "turnstile"), "B" if n % 30 < 5 else "A"))
    book.ledger.close()
    sites = {name: value for name, value in book.counts.items() if name.startswith("cost_usd/site/")}
    assert len(sites) == 20
    assert {f"cost_usd/site/{n}.example" for n in range(5)} <= set(sites)  # the dearest
    assert book.usd("estimated_cost_usd") == [500 * 0.0012 + 2500 * 0.0008]
    assert sum(sites.values()) + book.counts["cost_usd/other_sites"] == pytest.approx(2.6)


def test_a_receipt_is_plain_data() -> None:
    receipt = Book().begin(TWO, "B")
    assert Receipt(**receipt.to_dict()) == receipt
    assert receipt.task_scope == TWO
