"""Keeps a :class:`~scrapy_capsolver.report.record.Record` while a crawl runs."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from scrapy_capsolver.report.histogram import Histogram
from scrapy_capsolver.report.record import MOST_COUNTERS, MOST_NAMES, OTHERS, Record
from scrapy_capsolver.solving.ledger import SOLVED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from scrapy_capsolver.errors import CaptchaError
    from scrapy_capsolver.solving.ledger import Receipt
    from scrapy_capsolver.solving.solver import Solved

_NOT_SUMS = ("balance_usd", "packages", "cost_usd/", "rejected/site/")  # or in the rows already
_POSSIBLE = frozenset({"possibly_paid", "abandoned"})


class Recorder:
    """A :class:`~scrapy_capsolver.solving.observer.Observer`."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self.record = Record(started=now())

    def booked(self, receipt: Receipt, account: str) -> None:
        charged = account != "failed"
        self._enter(receipt, account, receipt.nano or 0 if charged else 0)
        if account == SOLVED:
            self.record.timeline.add(self._now(), "solved")
            if receipt.nano is None:
                self._note(self.record.unpriced, receipt.type)
            else:
                self.record.timeline.add(self._now(), "nano_usd", receipt.nano)
        elif charged and account not in _POSSIBLE:
            self.record.timeline.add(self._now(), "wasted")

    def accepted(self, receipt: Receipt) -> None:
        self._enter(receipt, "accepted", receipt.nano or 0)

    def handed_over(self, receipt: Receipt) -> None:
        self._enter(receipt, "handed_over", receipt.nano or 0)

    def solved(self, solved: Solved) -> None:
        family = solved.receipt.family
        self.record.solves.setdefault(family, Histogram()).add(solved.seconds)
        if solved.pick_up is not None:
            self.record.pick_ups.setdefault(family, Histogram()).add(solved.pick_up)

    def failed(self, error: CaptchaError, family: str) -> None:
        self.record.timeline.add(self._now(), "failed")
        self.record.fail(type(error).__name__, error.code or "", family, error.message)

    def finish(self, spider: str, ending: str, stats: Mapping[str, Any]) -> Record:
        """The record of a crawl that is over. ``stats`` are all of its stats, ``ending`` its finish reason."""
        record = self.record
        self._sign(record, spider, stats)
        record.endings[ending] += 1
        return record

    def snapshot(self, spider: str, stats: Mapping[str, Any]) -> Record:
        """The record so far of a crawl that still runs: a copy without an ending, whose ``finished`` is now."""
        record = Record()
        record.merge(self.record)
        self._sign(record, spider, stats)
        return record

    def _sign(self, record: Record, spider: str, stats: Mapping[str, Any]) -> None:
        """Enter whose record it is, until when it tells, and the counters."""
        record.finished = self._now()
        record.spiders[spider] += 1
        ours = {name[10:]: value for name, value in stats.items() if name.startswith("capsolver/")}
        sums = {
            name: value
            for name, value in ours.items()
            if isinstance(value, (int, float)) and not name.startswith(_NOT_SUMS)
        }
        record.counters = Counter(dict(Counter(sums).most_common(MOST_COUNTERS)))

    def _enter(self, receipt: Receipt, account: str, nano_usd: int) -> None:
        self.record.enter(receipt.site, receipt.family, account, 1, nano_usd)

    @staticmethod
    def _note(counts: Counter[str], name: str) -> None:
        counts[name if name in counts or len(counts) < MOST_NAMES else OTHERS] += 1
