"""The misbehaviour that a test can ask of the simulator, by name.

A quirk is written ``NAME`` for every occasion, ``NAME:N`` for the first N, ``NAME/K`` for every K-th, or ``NAME%P`` for
P percent of them. Which ones a percentage hits depends on the seed and on the number of the occasion alone, so a
run can be repeated. An *occasion* is a call of the API, or, for the outcomes of solving, a task.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# Errors that come instead of an answer, before the call has had any effect: (errorCode, errorDescription, status).
ERROR_FAULTS: dict[str, tuple[str, str, int]] = {
    # CapSolver's own spelling, and the right one.
    "service-unavailable": ("ERROR_SERVICE_UNAVALIABLE", "Service temporarily unavailable", 400),
    "service-unavailable-spelt-right": ("ERROR_SERVICE_UNAVAILABLE", "Service temporarily unavailable", 400),
    "rate-limit": ("ERROR_RATE_LIMIT", "Request rate limit exceeded", 400),
    "rate-limit-429": ("ERROR_RATE_LIMIT", "Request rate limit exceeded", 429),
    "key-temp-blocked": ("ERROR_KEY_TEMP_BLOCKED", "Too many errors, the key is blocked for 5 minutes", 400),
    "ip-banned": ("ERROR_IP_BANNED", "Too many errors, your address is blocked for 30 minutes", 400),
    "zero-balance": ("ERROR_ZERO_BALANCE", "Your account balance is insufficient", 400),
    "settlement-failed": ("ERROR_SETTLEMENT_FAILED", "Settlement failed, check your balance", 400),
    "bad-request": ("ERROR_BAD_REQUEST", "Request error", 400),
    "task-id-invalid": ("ERROR_TASKID_INVALID", "Task ID is invalid or no longer exists", 400),
    "maintenance": ("ERROR_INVALID_TASK_DATA", "This website is currently under maintenance", 400),
    "unknown-error": ("ERROR_OF_TOMORROW", "Nobody has seen this code before", 400),
}

# Replies of the edge in front of the API, which never sees the call.
EDGE_FAULTS = {
    "html-403": "HTTP 403 with an HTML page",
    "html-429": "HTTP 429 with an HTML page",
    "html-500": "HTTP 500 with an HTML page",
    "html-502": "HTTP 502 with an HTML page",
    "html-503": "HTTP 503 with an HTML page",
    "redirect": "HTTP 302 to the gated site",
    "redirect-307": "HTTP 307 to the gated site, which keeps the method and the body",
    "request-lost": "the connection is closed before the call has any effect",
}

# What happens to a reply after the call has had its effect: a task that was created stays created.
REPLY_FAULTS = {
    "reply-lost": "the connection is closed without a reply",
    "silence": "nothing is answered, and the connection stays open",
    "slow-drip": "one byte of the reply each 0.1 s of real time",
    "html-504": "HTTP 504 with an HTML page",
    "html-200": "HTTP 200 with an HTML page",
    "huge-body": "100 MB of JSON",
    "truncated-json": "the first half of the JSON, as if it were all",
    "short-body": "the first half of the promised Content-Length, then the connection is closed",
    "empty-body": "HTTP 200 without a body",
    "json-list": "the envelope inside of a list",
    "json-null": "null",
    "not-utf8": "bytes that are not UTF-8",
}

# The outcome of a solve. The occasion is an asynchronous task.
OUTCOMES = {
    "solve-failed": "the solve fails with ERROR_CAPTCHA_SOLVE_FAILED",
    "failed-over-200": "the same, with HTTP status 200",
    "failed-over-400": "the same, with HTTP status 400",
    "unsolvable": "the solve fails with ERROR_CAPTCHA_UNSOLVABLE",
    "proxy-banned": "the solve fails with ERROR_PROXY_BANNED",
    "invalid-site-key-late": "ERROR_INVALID_TASK_DATA, Invalid site key, from getTaskResult",
    "task-timeout": "the task is never ready, and fails with ERROR_TASK_TIMEOUT after 120 s",
    "ready-without-token": "ready, with a solution that lacks the token",
    "ready-empty-token": "ready, with an empty token",
    "ready-without-solution": "ready, without a solution",
    "solution-string": "ready, with a text in place of the solution object",
    "unknown-token": "ready, with a token that no site accepts",
    "expired-token": "ready, with a token whose time is over",
    "cookies-string": "ready, with cookies as one text and the user agent among headers, where there are cookies",
}

# How every reply is written, and what the service accepts.
MANNERS = {
    "status-missing": "createTask answers without status",
    "status-null": "createTask answers status null",
    "status-processing": "createTask answers status processing",
    "error-fields-missing": "success comes without errorCode and errorDescription",
    "error-fields-null": "success comes with both null",
    "error-fields-empty": 'success comes with both "", as documented and as without this quirk',
    "status-idle": "createTask answers status idle, as without this quirk",
    "bad-key-400": "a bad key is ERROR_KEY_DOES_NOT_EXIST, from createTask ERROR_INVALID_TASK_DATA, over HTTP 400",
    "strict-type-names": "task type names are matched with regard to the case of letters",
    "lock-out": "a burst of 30 errors in a minute blocks the key for 5 minutes, one of 1000 the address for 30",
}

# A fault's name may begin with one of these, to concern that call only; without, it concerns them all.
CALLS = {
    "create": "createTask",
    "poll": "getTaskResult",
    "token": "getToken",
    "balance": "getBalance",
    "feedback": "feedbackTask",
}

_FAULTS = {**{name: row[0] for name, row in ERROR_FAULTS.items()}, **EDGE_FAULTS, **REPLY_FAULTS}

# Every name that is understood, with what it does.
QUIRKS: dict[str, str] = {
    **MANNERS,
    **OUTCOMES,
    **_FAULTS,
    **{f"{call}-{name}": f"{method}: {text}" for call, method in CALLS.items() for name, text in _FAULTS.items()},
}

_FORM = re.compile(r"(?P<name>[a-z0-9-]+)(?:(?P<how>[:/%])(?P<number>\d{1,9}(?:\.\d{1,9})?))?")


@dataclass(frozen=True)
class Quirk:
    """A quirk and the occasions it concerns: the first ``count``, every ``every``-th, ``percent`` of them, or all."""

    name: str
    count: int | None = None
    every: int | None = None
    percent: float | None = None

    @classmethod
    def parse(cls, text: str) -> Quirk:
        """Read ``NAME``, ``NAME:N``, ``NAME/K`` or ``NAME%P``; raise :class:`ValueError` that says what is allowed."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is no quirk: expected NAME, NAME:COUNT, NAME/EVERY or NAME%PERCENT")
        name, how, number = match["name"], match["how"], match["number"]
        if name not in QUIRKS:
            calls = ", ".join(f"{call}-" for call in CALLS)
            raise ValueError(
                f"unknown quirk {name!r}; allowed: {', '.join([*MANNERS, *OUTCOMES])}, and {', '.join(_FAULTS)}"
                f" (these with one of {calls} in front to concern one call)"
            )
        if how == "%":
            if float(number) > 100:
                raise ValueError(f"{text!r}: a percentage is 100 at most")
            return cls(name, percent=float(number))
        if how is not None and ("." in number or (how == "/" and int(number) == 0)):
            raise ValueError(f"{text!r}: expected a whole number{' above 0' if how == '/' else ''} after {how!r}")
        if how == "/":
            return cls(name, every=int(number))
        return cls(name, count=int(number) if how else None)

    def __str__(self) -> str:
        if self.count is not None:
            return f"{self.name}:{self.count}"
        if self.every is not None:
            return f"{self.name}/{self.every}"
        return self.name if self.percent is None else f"{self.name}%{self.percent:g}"

    def hits(self, occasion: int, seed: int) -> bool:
        """Tell whether the quirk strikes at its n-th occasion, counted from 1."""
        if self.count is not None:
            return occasion <= self.count
        if self.every is not None:
            return occasion % self.every == 0
        if self.percent is not None:
            return random.Random(f"{seed}:{self.name}:{occasion}").random() * 100 < self.percent
        return True


class Quirks:
    """The quirks that are switched on, with a count of the occasions of each."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._active: dict[Quirk, int] = {}
        self._faults: dict[str, list[Quirk]] = {}
        self._outcomes: list[Quirk] = []
        self._manners: list[Quirk] = []

    def switch(self, quirks: Iterable[str | Quirk]) -> None:
        """Have exactly these quirks from now on; raise :class:`ValueError` for an unknown one, and then change nothing."""
        # Written out and read again, a Quirk that was built by hand is checked like any other.
        parsed = [Quirk.parse(str(quirk)) for quirk in quirks]
        self._active = dict.fromkeys(parsed, 0)
        self._outcomes = [quirk for quirk in parsed if quirk.name in OUTCOMES]
        self._manners = [quirk for quirk in parsed if quirk.name in MANNERS]
        self._faults = {}
        for call, method in CALLS.items():
            self._faults[method] = [
                q for q in parsed if q.name in _FAULTS or q.name.removeprefix(f"{call}-") in _FAULTS
            ]

    def restart(self) -> None:
        """Count the occasions from the beginning again."""
        self._active = dict.fromkeys(self._active, 0)

    def names(self) -> list[str]:
        return [str(quirk) for quirk in self._active]

    def fault(self, method: str) -> str | None:
        """Return the fault, without a call's prefix, that strikes this call of that method, if any."""
        struck = [quirk.name for quirk in self._faults.get(method, ()) if self._strikes(quirk)]
        if not struck:
            return None
        name = struck[0]
        return name if name in _FAULTS else name.partition("-")[2]

    def outcome(self) -> str | None:
        """Return the outcome that strikes the task that is being created, if any."""
        struck = [quirk.name for quirk in self._outcomes if self._strikes(quirk)]
        return struck[0] if struck else None

    def manners(self, method: str) -> frozenset[str]:
        """Return the manners of this call of that method; those of the status concern createTask alone."""
        return frozenset(
            quirk.name
            for quirk in self._manners
            if (method == "createTask" or not quirk.name.startswith("status-")) and self._strikes(quirk)
        )

    def _strikes(self, quirk: Quirk) -> bool:
        self._active[quirk] += 1
        return quirk.hits(self._active[quirk], self._seed)
