"""What CapSolver answers: read generously, judged strictly.

Source: docs.capsolver.com/guide/api-createtask, .../api-gettaskresult, .../api-getbalance. The body is read first,
whatever the HTTP status: errors come as 400 or 401 with the same JSON envelope as successes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scrapy_capsolver._utils.numbers import whole
from scrapy_capsolver.api.codes import NO_ENVELOPE, RULES, Rule, rule_of, rule_of_http_status
from scrapy_capsolver.api.envelope import read_envelope
from scrapy_capsolver.api.secrets import Secrets

if TYPE_CHECKING:
    from scrapy_capsolver.api.envelope import Envelope

MAX_DESCRIPTION = 200  # characters; descriptions end up in log lines
MAX_BALANCE = 1e12  # USD; what is more is no balance
MAX_CODE = 64
_NO_SECRETS = Secrets()


@dataclass(frozen=True, slots=True)
class Fault:
    """An error in a reply, without secrets. ``code`` is ``""`` if CapSolver gave none."""

    code: str
    description: str
    rule: Rule
    in_envelope: bool = True
    """CapSolver itself said so. False: something before it did, and what became of the request is not known."""

    def __str__(self) -> str:
        said = ": ".join(filter(None, (self.code, self.description)))
        return f"{self.rule.meaning} ({said})" if said else self.rule.meaning

    @property
    def stat(self) -> str:
        """Its name among the stats: a code that is known, or ``unknown``, or ``no_envelope``."""
        if not self.in_envelope:
            return "no_envelope"
        return self.code if self.code in RULES else "unknown"


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply to createTask or getTaskResult.

    ``status`` is ``"ready"`` with a ``solution``, or anything else while there is none: documented samples of
    createTask disagree on whether it is missing, null or ``idle``.
    """

    status: str | None = None
    """In lower case."""
    task_id: str | None = None
    solution: dict[str, Any] | None = field(default=None, repr=False)
    fault: Fault | None = None
    failed: bool = False
    """``status`` is ``"failed"``, which is not documented: the task is at its end."""
    numeric: bool = False
    """The task id came as a number."""

    @property
    def ended(self) -> bool:
        """By its error, the task has surely ended, and is not charged."""
        return self.fault is not None and (self.failed or self.fault.rule.ends_task)

    @property
    def ready(self) -> bool:
        """CapSolver says that the task is solved."""
        return self.fault is None and (self.status == "ready" or (not self.status and self.solution is not None))

    @property
    def empty(self) -> bool:
        """It is ready, and the solution is missing."""
        return self.ready and self.solution is None

    def is_of_another(self, task_id: str) -> bool:
        """Return whether the reply names another task. A number says nothing of a task whose id is none."""
        same_kind = self.numeric == task_id.isdecimal()
        return self.task_id is not None and same_kind and self.task_id.lower() != task_id.lower()

    @property
    def complete(self) -> bool:
        """It is ready, and there is nothing more to ask for."""
        return self.ready and (self.solution is not None or self.task_id is None)


@dataclass(frozen=True, slots=True)
class Package:
    """A prepaid package. Its own token, which getBalance shows, is a secret and is not kept."""

    title: str
    calls: int
    expires: int
    """Unix seconds; 0 if it does not expire."""


@dataclass(frozen=True, slots=True)
class Balance:
    """USD on the account, and its packages: an account without USD may still solve by a package."""

    usd: float
    packages: tuple[Package, ...] = ()


def readable(text: str, secrets: Secrets = _NO_SECRETS, solution: object = None) -> str:
    """Return untrusted text fit for a log line: without secrets, on one line, printable, not long."""
    shown = secrets.scrub(text, solution)
    words = "".join(letter if letter.isprintable() else " " for letter in shown).split()
    return " ".join(words)[:MAX_DESCRIPTION].strip()


def fault_of(http_status: int, body: bytes, envelope: Envelope | None, secrets: Secrets = _NO_SECRETS) -> Fault | None:
    """Return the error that a reply is, or None."""
    if envelope is None:
        kind = "no JSON object" if body.strip() else "empty"
        return Fault("", f"HTTP {http_status}, {kind}", rule_of_http_status(http_status), in_envelope=False)
    solved = envelope.solution is not None and envelope.status == "ready"
    if envelope.is_error or envelope.status == "failed" or (envelope.code and not solved):
        code, solution = envelope.code.upper(), envelope.solution
        rule = rule_of(code if code in RULES else envelope.code, readable(envelope.description), http_status)
        if code not in RULES:
            code = readable(envelope.code, secrets, solution)[:MAX_CODE]
        return Fault(code, readable(envelope.description, secrets, solution), rule)
    if http_status >= 300 and envelope.task_id is None and not solved:
        return Fault("", f"HTTP {http_status}", rule_of_http_status(http_status), in_envelope=False)
    return None


def read_reply(http_status: int, body: bytes, secrets: Secrets = _NO_SECRETS) -> Reply:
    """Return a reply to createTask or getTaskResult. Never raises."""
    envelope = read_envelope(body)
    fault = fault_of(http_status, body, envelope, secrets)
    if envelope is None:
        return Reply(fault=fault)
    return Reply(
        status=None if fault is not None else envelope.status or None,
        task_id=None if envelope.task_id is None else str(envelope.task_id),
        solution=None if fault is not None or envelope.solution is None else secrets.fit(envelope.solution) or None,
        fault=fault,
        failed=envelope.status == "failed",
        numeric=isinstance(envelope.task_id, int),
    )


def read_balance(http_status: int, body: bytes, secrets: Secrets = _NO_SECRETS) -> Balance | Fault:
    """Return a reply to getBalance. Never raises."""
    envelope = read_envelope(body)
    fault = fault_of(http_status, body, envelope, secrets)
    if fault is not None or envelope is None:
        return fault or Fault("", f"HTTP {http_status}", NO_ENVELOPE, in_envelope=False)
    if envelope.balance is None or abs(envelope.balance) > MAX_BALANCE:
        return Fault("", "the reply has no balance", NO_ENVELOPE, in_envelope=False)
    return Balance(envelope.balance, tuple(_package(one, secrets) for one in envelope.packages))


def _package(package: dict[str, Any], secrets: Secrets) -> Package:
    title = package.get("title")
    return Package(
        readable(title, secrets) if isinstance(title, str) else "",
        whole(package.get("numberOfCalls")) or 0,
        whole(package.get("expireTime")) or 0,
    )
