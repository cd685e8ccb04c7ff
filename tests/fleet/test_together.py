"""What a crawl does about tasks that dead workers left, and what it shows of itself."""

from __future__ import annotations

import json
from collections import Counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from scrapy_capsolver._crawl.cluster import ClusterCoordinator
from scrapy_capsolver.api.replies import Reply, read_reply
from scrapy_capsolver.report.record import Record
from scrapy_capsolver.solving.breaker import Breaker
from scrapy_capsolver.stores.redis.reservations import Left

if TYPE_CHECKING:
    from scrapy_capsolver.solving.job import ResumeToken

LEFT = Left("r", "t", "T", "shop.example", "turnstile", 100, "m", 20.0)


class Crawl:
    """As much of a crawl and of its fleet as is asked for here."""

    def __init__(self) -> None:
        self.said: list[tuple[Any, ...]] = []
        self.counts: Counter[str] = Counter()
        self.asked: list[ResumeToken] = []
        self.answer: Deferred[Reply | None] = Deferred()
        self.poller = SimpleNamespace(times={}, took=None)

        def say(name: str) -> Any:
            return lambda *words, **more: self.said.append((name, *words, *more.values()))

        self.reservations = SimpleNamespace(finish=say("finish"), leave=say("leave"), paid=say("paid"))
        self.record = say("record")
        self.took = self.tell_breaker = lambda *words: None
        self.on_orphan: Any = None
        fleet: Any = self
        solver: Any = self
        self.together = ClusterCoordinator(
            fleet,
            "s",
            solver,
            Breaker(Clock(), self._count, lambda: 0),
            self._count,  # type: ignore[arg-type]
        )

    def _count(self, name: str, value: float) -> None:
        self.counts[name] += value  # type: ignore[assignment]

    async def watch(self, note: ResumeToken) -> Reply | None:
        self.asked.append(note)
        return await self.answer


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(status="ready", solution={"token": "x"}), ("paid", "r")),
        (
            read_reply(200, b'{"errorId": 1, "errorCode": "ERROR_X", "status": "failed"}'),
            ("finish", "r", "failed", False),
        ),
        (None, ("finish", "r", "abandoned", True)),
        (read_reply(400, b'{"errorId": 1, "errorCode": "ERROR_TASKID_INVALID"}'), ("finish", "r", "abandoned", True)),
    ],
    ids=["solved", "failed", "not told", "forgotten"],
)
def test_what_became_of_a_dead_workers_task(reply: Reply | None, said: tuple[Any, ...]) -> None:
    crawl = Crawl()
    crawl.on_orphan(LEFT)
    assert [(note.receipt.task, note.receipt.reservation) for note in crawl.asked] == [("t", "r")]
    assert crawl.counts["store/orphans"] == 1
    crawl.answer.callback(reply)
    assert crawl.said == [said]


def test_a_crawl_that_ends_leaves_it_to_the_next() -> None:
    crawl = Crawl()
    crawl.on_orphan(LEFT)
    crawl.together.close()
    assert crawl.said == [("leave", "r")]


def test_a_record_is_shown_where_something_has_changed() -> None:
    crawl = Crawl()
    record = Record(started=1.0)
    for finished in (2.0, 3.0):  # the time alone is no news
        record.finished = finished
        crawl.together.show(record, finished=False)
    assert len(crawl.said) == 1
    record.enter("shop.example", "turnstile", "solved", 1, 100)
    crawl.together.show(record, finished=False)
    crawl.together.show(record, finished=True)
    assert [json.loads(text)["finished"] for _, text in crawl.said] == [False, False, True]
    assert json.loads(crawl.said[-1][1])["record"] == record.to_dict()
