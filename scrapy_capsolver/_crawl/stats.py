"""What the crawl is told of its captchas: stats, and one line for each thing that happened."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from scrapy_capsolver._utils.urls import host_of
from scrapy_capsolver.errors import CaptchaCancelledError, CaptchaError
from scrapy_capsolver.solving.observer import NullObserver

if TYPE_CHECKING:
    from scrapy.statscollectors import StatsCollector

    from scrapy_capsolver.families import Challenge
    from scrapy_capsolver.solving.observer import Observer
    from scrapy_capsolver.solving.solver import Solved

logger = logging.getLogger(__name__)


class StatsRecorder:
    """Stats, all beginning with ``capsolver/``, and log lines."""

    def __init__(self, stats: StatsCollector, observer: Observer | None = None) -> None:
        self._stats: Any = stats
        self._observer: Observer = observer or NullObserver()

    def count(self, name: str, value: float = 1) -> None:
        key = f"capsolver/{name}"
        if isinstance(value, float):  # money in whole nano-dollars and seconds, without the noise of adding them up
            digits = 9 if "_usd" in name else 6
            self._stats.set_value(key, round(self._stats.get_value(key, 0) + value, digits))
        else:
            self._stats.inc_value(key, value)

    def met(self, challenge: Challenge) -> None:
        self.count(f"challenges/{challenge.family}")
        logger.debug("%s at %s: %s", challenge.family, host_of(challenge.url), "; ".join(challenge.reasons))

    def solved(self, challenge: Challenge, solved: Solved, attempts: int) -> None:
        """``attempts`` are the tasks for this request so far."""
        self.count(f"solved/{challenge.family}")
        self.count(f"solve_seconds/{challenge.family}", solved.seconds)
        self._observer.solved(solved)
        logger.info(
            "Solved %s at %s in %.1f s (attempt %d, %d polls)",
            challenge.family,
            host_of(challenge.url),
            solved.seconds,
            attempts,
            solved.polls,
        )

    def failed(self, error: CaptchaError, challenge: Challenge | None) -> None:
        """Say so, and say in the error which captcha it was, where one was met."""
        self.count(f"failed/{type(error).__name__}")
        if challenge is not None:
            url = urlsplit(challenge.url)  # its query may hold secrets
            error.add_context(f"{challenge.family} at {url.hostname}{url.path[:80]}")
        self._observer.failed(error, "" if challenge is None else challenge.family)
        # One line told what the breaker refuses, what others wait for, and that the crawl stops, when that began.
        told = isinstance(error.__cause__, CaptchaError) or isinstance(error, CaptchaCancelledError)
        logger.log(logging.DEBUG if told else logging.WARNING, "%s", error.message)
