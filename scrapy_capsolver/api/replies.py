"""What CapSolver answers, read from untrusted bytes.

Source: docs.capsolver.com/guide/api-createtask, .../api-gettaskresult, .../api-getbalance. The body is read first,
whatever the HTTP status: errors come as 400 or 401 with the same JSON envelope as successes.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from scrapy_capsolver.api.codes import NO_ENVELOPE, Rule, rule_of, rule_of_http_status

MAX_DESCRIPTION = 200  # characters; descriptions end up in log lines
_CODE = re.compile(r"[A-Z0-9_]{1,64}")
_TASK_ID = re.compile(r"[\x21-\x7e]{1,128}")


@dataclass(frozen=True, slots=True)
class Fault:
    """An error in a reply. ``code`` is ``""`` where CapSolver gave none."""

    code: str
    description: str
    rule: Rule
    in_envelope: bool = True
    """CapSolver itself said so. False: something before it did, and what became of the request is not known."""

    def __str__(self) -> str:
        return f"{self.rule.meaning} ({': '.join(filter(None, (self.code, self.description)))})"


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply to createTask or getTaskResult.

    ``status`` is ``"ready"`` with a ``solution``, or anything else while there is none: documented samples of
    createTask disagree on whether it is missing, null or ``idle``.
    """

    status: str | None = None
    task_id: str | None = None
    solution: dict[str, Any] | None = field(default=None, repr=False)
    fault: Fault | None = None
    failed: bool = False
    """``status`` is ``"failed"``, which is not documented: the task is at its end."""

    @property
    def ended(self) -> bool:
        """By its error, the task has surely ended, and is not charged."""
        return self.fault is not None and (self.failed or self.fault.rule.ends_task)

    @property
    def ready(self) -> bool:
        return self.fault is None and self.status == "ready"


@dataclass(frozen=True, slots=True)
class Package:
    """A prepaid package. Its own token, which getBalance shows, is a secret and is not kept."""

    title: str
    calls: int
    expires: int
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class Balance:
    """USD on the account, and its packages: an account without USD may still solve by a package."""

    usd: float
    packages: tuple[Package, ...] = ()


def readable(text: object) -> str:
    """Untrusted text, fit for a log line: on one line, printable, not long."""
    start = text[: 4 * MAX_DESCRIPTION] if isinstance(text, str) else ""
    words = "".join(letter if letter.isprintable() else " " for letter in start).split()
    return " ".join(words)[:MAX_DESCRIPTION].strip()


def read_envelope(http_status: int, body: bytes) -> tuple[dict[str, Any], Fault | None]:
    """The reply's JSON object, and its error if it is one. Never raises."""
    try:
        envelope = json.loads(body)
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        envelope = None
    if not isinstance(envelope, dict):
        kind = "empty" if not body.strip() else "no JSON object"
        text = f"HTTP {http_status}, {kind}"
        return {}, Fault("", text, rule_of_http_status(http_status), in_envelope=False)
    code = envelope.get("errorCode")
    code = code if isinstance(code, str) else ""
    if envelope.get("errorId") not in (0, None) or code or envelope.get("status") == "failed":
        description = readable(envelope.get("errorDescription"))
        known = code if _CODE.fullmatch(code) else readable(code)
        return envelope, Fault(known, description, rule_of(known, description, http_status))
    if http_status >= 300:
        return envelope, Fault("", f"HTTP {http_status}", rule_of_http_status(http_status), in_envelope=False)
    return envelope, None


def read_reply(http_status: int, body: bytes) -> Reply:
    """A reply to createTask or getTaskResult. Never raises."""
    envelope, fault = read_envelope(http_status, body)
    task_id = envelope.get("taskId")
    if not (isinstance(task_id, str) and _TASK_ID.fullmatch(task_id)):
        task_id = None
    if fault is not None:
        return Reply(task_id=task_id, fault=fault, failed=envelope.get("status") == "failed")
    status, solution = envelope.get("status"), envelope.get("solution")
    return Reply(
        status=status if isinstance(status, str) else None,
        task_id=task_id,
        solution=solution if isinstance(solution, dict) else None,
    )


def read_balance(http_status: int, body: bytes) -> Balance | Fault:
    """A reply to getBalance. Never raises."""
    envelope, fault = read_envelope(http_status, body)
    if fault is not None:
        return fault
    usd = envelope.get("balance")
    if isinstance(usd, bool) or not isinstance(usd, (int, float)):
        return Fault("", "the reply has no balance", NO_ENVELOPE, in_envelope=False)
    packages = envelope.get("packages")
    return Balance(
        float(usd),
        tuple(
            Package(readable(p.get("title")), _count(p.get("numberOfCalls")), _count(p.get("expireTime")))
            for p in (packages if isinstance(packages, list) else [])
            if isinstance(p, dict)
        ),
    )


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
