"""Stands in front of CapSolver: tells when to call it, when to wait, and when to call it no more.

Errors are a limited resource there: too many of them block the key for 5 minutes, or the address for 30
(docs.capsolver.com/guide/api-error). So an error that asks for a pause pauses every call of the crawl, after which one goes ahead of the
others as a trial; and tasks are held back while errors are many.
"""

from __future__ import annotations

import logging
import random
from collections import deque
from typing import TYPE_CHECKING, Any

from scrapy_capsolver._utils.waiters import Waiters
from scrapy_capsolver.api.codes import RULES, Action
from scrapy_capsolver.errors import from_plain, to_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from scrapy_capsolver.api.replies import Fault
    from scrapy_capsolver.errors import CaptchaError
    from scrapy_capsolver.solving.clock import Clock, Timer

logger = logging.getLogger(__name__)

JITTER = 0.1  # of a pause, at most: crawls that were told to wait at once do not come back at once
LONGEST_GROWN = 60.0  # seconds to which a short pause grows while each trial fails
UNREACHABLE_IN_A_ROW = 5  # createTasks without an answer, before it is taken for an outage
_UNREACHABLE = "unreachable"
UNREACHABLE_PAUSE = 5.0  # seconds, growing

# CapSolver does not say how many errors are too many for a key; for an address it is 1000 in a minute.
WINDOW = 60.0  # seconds
MANY = 20  # errors, where they outnumber the successes
MOST = 500  # errors, however many successes there are
FEW = 5  # errors that a worker may make, however many share the account
STOP_SECONDS = 300.0  # for which workers that were out of reach are told what ended all solving


class Breaker:
    """One for all calls of a crawl. ``dice`` gives random numbers from 0 to 1."""

    def __init__(
        self, clock: Clock, count: Callable[[str, float], None], dice: Callable[[], float] = random.random
    ) -> None:
        self._clock = clock
        self._count = count
        self._dice = dice
        self._all: CaptchaError | None = None
        self._types: dict[str, CaptchaError] = {}
        self._paused_until = 0.0  # no calls
        self._held_until = 0.0  # no new tasks
        self._asked = self._asked_from = self._asked_until = 0.0
        self._pause_asked = 0.0  # seconds, before it grew
        self._pauses = 0  # without a success between them
        self._on_trial = False  # the next call shows whether the pause is over
        self._trial = 0  # the number of the one that is under way
        self._trials = 0
        self._unreachable = 0  # in a row
        self._answers: deque[tuple[float, bool]] = deque()  # when, and was it an error
        self._errors = 0  # of these
        self._waiting: Waiters[None] = Waiters(clock, lambda: self._all is not None or self.may_create)
        self._listener: Callable[[], None] = lambda: None
        self._tell: Callable[[str, dict[str, Any], float], None] = lambda name, what, seconds: None
        self.workers = 1
        """That share the account, and the errors that it may make."""
        self._timer: Timer | None = None

    # What must not be called any more

    def check(self, task_type: str | None = None) -> None:
        """Raise what ended the solving of tasks of this type, or of all."""
        cause = self._all or (self._types.get(task_type) if task_type is not None else None)
        if cause is not None:
            raise type(cause)(f"not tried, since an earlier task failed: {cause.message}", code=cause.code) from cause

    def open(self, cause: CaptchaError, task_type: str | None) -> None:
        """No more tasks of ``task_type``, or of any type where it is None."""
        if self._all is not None or (task_type is not None and task_type in self._types):
            return
        if task_type is None:
            self._all = cause
            self._count("breaker/stopped", 1)
            self._wake()
        else:
            self._types[task_type] = cause
            self._count(f"breaker/stopped/{task_type}", 1)
        what = "captchas" if task_type is None else f"{task_type} tasks"
        logger.error("No more %s are solved in this crawl: %s", what, cause.message)
        self._tell(f"stop {task_type or ''}", {"kind": "stop", "type": task_type, **to_plain(cause)}, STOP_SECONDS)

    # When to call

    async def admit(self) -> int:
        """Wait until a task may be created, in the order of asking. See :meth:`begin` for what it gives.

        Raises what ended all solving.
        """
        self.check()
        if self._waiting or not self.may_create:
            waiting = self._waiting.join()
            self._set_timer()
            await waiting
            self.check()
        return self.begin()

    @property
    def may_create(self) -> bool:
        return self.may_call and self._clock.seconds() >= self._held_until

    @property
    def may_call(self) -> bool:
        return self._clock.seconds() >= self._paused_until and not self._trial

    @property
    def is_clear(self) -> bool:
        """Nothing speaks against a call that is not needed."""
        return self._all is None and not self._on_trial

    @property
    def paused_until(self) -> float:
        return self._paused_until

    @property
    def is_unreachable(self) -> bool:
        """CapSolver did not answer for a while."""
        return self._unreachable >= UNREACHABLE_IN_A_ROW

    def asked_for(self) -> float:
        """Seconds, by now, in which nothing could be done because CapSolver or the ration of its errors said so."""
        return self._asked + max(min(self._clock.seconds(), self._asked_until) - self._asked_from, 0.0)

    def _ask_for(self, until: float) -> None:
        now = self._clock.seconds()
        self._asked, self._asked_from, self._asked_until = self.asked_for(), now, max(until, self._asked_until)

    def begin(self) -> int:
        """A call begins. 0, or the number of a trial after a pause, for which all others wait until :meth:`leave`."""
        if self._on_trial:
            self._trials += 1
            self._trial = self._trials
        return self._trial

    def leave(self, trial: int) -> None:
        """The call is over, whatever came of it."""
        if trial and self._trial == trial:
            self._trial = 0
            self._wake()

    def listen(self, listener: Callable[[], None]) -> None:
        """Have ``listener`` called when calls may be made again."""
        self._listener = listener

    # What came of a call

    def answered(self, fault: Fault | None, *, ended: bool = True) -> None:
        """CapSolver has answered: with success, where there is no fault. ``ended``: not just "not yet"."""
        self._unreachable = 0
        if ended:
            self._ration(is_error=fault is not None)
        if fault is not None and fault.rule.action is Action.WAIT:
            self._pause(fault.rule.wait, fault.rule.meaning, fault.stat)
        elif self._clock.seconds() >= self._paused_until:
            self._pauses = 0
            if self._on_trial:
                self._on_trial, self._trial = False, 0
                logger.info("CapSolver answers again: captchas are being solved")
                self._wake()

    def unanswered(self) -> None:
        """A createTask brought no answer from CapSolver."""
        self._unreachable += 1
        if self._unreachable >= UNREACHABLE_IN_A_ROW or self._on_trial:
            self._pause(UNREACHABLE_PAUSE, "CapSolver does not answer", _UNREACHABLE)

    def _pause(self, seconds: float, why: str, code: str) -> None:
        now = self._clock.seconds()
        if now < self._paused_until and seconds <= self._pause_asked:
            return  # a call that was on its way when the pause began tells nothing new
        if now >= self._paused_until:
            self._pauses += 1
        self._pause_asked = seconds
        seconds = max(seconds, min(seconds * 2 ** (self._pauses - 1), LONGEST_GROWN)) * (1 + JITTER * self._dice())
        until = now + seconds
        self._count(f"breaker/pauses/{code}", 1)
        self._count("breaker/paused_seconds", until - max(self._paused_until, now))
        self._paused_until = until
        if code != _UNREACHABLE:
            self._ask_for(until)
        self._on_trial, self._trial = True, 0
        logger.warning("No captchas are solved for %.0f seconds, and requests wait: %s", seconds, why)
        self._set_timer()
        if code != _UNREACHABLE:  # which may be this worker's own network
            self._tell("pause", {"kind": "pause", "why": why, "code": code}, seconds)

    def _ration(self, *, is_error: bool) -> None:
        now = self._clock.seconds()
        self._answers.append((now, is_error))
        self._errors += is_error
        while self._answers[0][0] <= now - WINDOW:
            self._errors -= self._answers.popleft()[1]
        many = self._errors >= max(MANY / self.workers, FEW) and self._errors * 2 > len(self._answers)
        if is_error and now >= self._held_until and (many or self._errors >= max(MOST / self.workers, FEW)):
            # Until half of them are out of sight.
            times = [at for at, error in self._answers if error]
            self._held_until = times[len(times) // 2] + WINDOW
            self._ask_for(self._held_until)
            self._count("breaker/held", 1)
            logger.warning(
                "%d errors of CapSolver within a minute: no new tasks for %.0f seconds, before it blocks the key",
                self._errors,
                self._held_until - now,
            )
            self._tell("hold", {"kind": "hold"}, self._held_until - now)

    # With other workers

    def share(self, tell: Callable[[str, dict[str, Any], float], None]) -> None:
        """Have ``tell`` called with a name for what happened, with it as plain data, and with the seconds for which it holds."""
        self._tell = tell

    def hear(self, what: Mapping[str, Any], seconds: float) -> None:
        """Another worker of the account was told this."""
        tell, self._tell = self._tell, lambda name, what, seconds: None  # it went round already
        try:
            kind = what["kind"]
            if kind == "stop":
                self.open(from_plain(what), what["type"])
            elif kind in {"pause", "hold"}:
                self._wait_as_well(kind, str(what.get("why", "")), str(what.get("code", "")), seconds)
        finally:
            self._tell = tell

    def _wait_as_well(self, kind: str, why: str, code: str, seconds: float) -> None:
        now = self._clock.seconds()
        until = now + seconds * (1 + JITTER * self._dice())
        if kind == "hold":
            self._held_until = max(self._held_until, until)
        elif until > self._paused_until:
            self._count(f"breaker/pauses/{code if code in RULES else 'unknown'}", 1)
            self._count("breaker/paused_seconds", until - max(self._paused_until, now))
            self._paused_until = until
            self._on_trial, self._trial = True, 0
            logger.warning("Another worker was told to wait: no captchas are solved for %.0f seconds: %s", seconds, why)
        self._ask_for(until)
        self._set_timer()

    def close(self) -> None:
        """Nobody waits any more."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _set_timer(self) -> None:
        self.close()
        left = max(self._paused_until, self._held_until) - self._clock.seconds()
        if left <= 0:  # a timer that was due already may just have been cancelled
            self._waiting.look()
        elif self._waiting:
            self._timer = self._clock.callLater(left, self._wake)

    def _wake(self) -> None:
        """Let those go on that may: all of them, or only one if that is a trial."""
        self._waiting.look()
        self._clock.callLater(0, self._go_on)

    def _go_on(self) -> None:
        """After those that waited, since one of them may be a trial."""
        self._set_timer()
        if self.may_call:
            self._listener()
