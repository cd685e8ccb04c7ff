"""Every error that CapSolver answers with, and what to do about it.

Sources: docs.capsolver.com/guide/api-error for the codes that are documented; the others were observed by users and
by CapSolver's own clients. What to do is this project's reading of them: CapSolver publishes none.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from scrapy_capsolver.errors import (
    CapSolverAccountError,
    CapSolverUnavailableError,
    CaptchaError,
    CaptchaProxyError,
    CaptchaTimeoutError,
    UnsolvableCaptchaError,
    UnsupportedCaptchaError,
)


class Action(Enum):
    """What an error asks for."""

    POLL = "poll"
    """Keep the task, ask again later."""
    NEW = "new"
    """The task is dead: make a new one, ``times`` times at most."""
    WAIT = "wait"
    """Do nothing with this key for ``wait`` seconds; then poll the task, or create it where it was refused."""
    REQUEST = "request"
    """Fatal for this request: do not spend on it again."""
    CRAWL = "crawl"
    """Fatal for the crawl, or for every request of this task type: create no more tasks."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What an error means, what it asks for, and what a user is told when it is final."""

    action: Action
    meaning: str
    error: type[CaptchaError] = UnsolvableCaptchaError
    times: int = 1
    """How often NEW or WAIT may be followed within one solve before the error is final."""
    wait: float = 0.0
    """Seconds, for WAIT."""
    ends_task: bool = False
    """The task has surely ended, without a solution and without a charge."""
    forgotten: bool = False
    """CapSolver has no such task (any more), so it is not asked again."""
    of_type: bool = False
    """CRAWL: it concerns this task type alone, others may go on."""
    ends_crawl: bool = False
    """WAIT: it is fatal for the crawl once it came back after the wait."""


_POLL, _NEW, _WAIT, _REQUEST, _CRAWL = Action.POLL, Action.NEW, Action.WAIT, Action.REQUEST, Action.CRAWL
_Account, _Unavailable, _Unsupported = CapSolverAccountError, CapSolverUnavailableError, UnsupportedCaptchaError

_UNAVAILABLE = Rule(_WAIT, "CapSolver is overloaded", _Unavailable, times=3, wait=5)
_NO_SUCH_TASK = Rule(_NEW, "CapSolver no longer knows the task", forgotten=True)
_WRONG_KEY = Rule(_CRAWL, "the API key is wrong: check CAPSOLVER_API_KEY", _Account)
_NOT_ENTITLED = Rule(_CRAWL, "the account has no access to this task type", _Account, of_type=True)

# fmt: off
RULES: dict[str, Rule] = {
    "ERROR_SERVICE_UNAVALIABLE": _UNAVAILABLE,  # CapSolver's own spelling
    "ERROR_SERVICE_UNAVAILABLE": _UNAVAILABLE,
    "ERROR_RATE_LIMIT": Rule(_WAIT, "the account sends more than its package allows", _Unavailable, times=3, wait=30),
    "ERROR_INVALID_TASK_DATA": Rule(_REQUEST, "CapSolver refuses the task's fields"),
    "ERROR_BAD_REQUEST": Rule(_NEW, "CapSolver refuses the request"),
    "ERROR_TASKID_INVALID": _NO_SUCH_TASK,
    "ERROR_TASK_NOT_FOUND": _NO_SUCH_TASK,  # undocumented
    "ERROR_TASK_TIMEOUT": Rule(_NEW, "not solved within CapSolver's own 120 seconds", CaptchaTimeoutError, times=2, ends_task=True),
    "ERROR_SETTLEMENT_FAILED": Rule(_WAIT, "CapSolver could not charge the account", _Account, wait=60, ends_crawl=True),
    "ERROR_KEY_DENIED_ACCESS": _WRONG_KEY,
    "ERROR_KEY_DOES_NOT_EXIST": _WRONG_KEY,  # undocumented
    "ERROR_ZERO_BALANCE": Rule(_CRAWL, "the account's balance is used up", _Account),
    "ERROR_TASK_NOT_SUPPORTED": Rule(_CRAWL, "CapSolver does not support this task type", _Unsupported, of_type=True),
    "ERROR_CAPTCHA_UNSOLVABLE": Rule(_NEW, "not recognised (CapSolver does not charge for that)", times=2, ends_task=True),
    "ERROR_CAPTCHA_SOLVE_FAILED": Rule(_NEW, "the solve failed: if it always does, compare type and page", times=2, ends_task=True),  # undocumented
    "ERROR_UNKNOWN_QUESTION": Rule(_REQUEST, "CapSolver does not know the question", ends_task=True),
    "ERROR_PROXY_BANNED": Rule(_REQUEST, "the proxy is banned by the site: use another one", CaptchaProxyError, ends_task=True),
    "ERROR_INVALID_IMAGE": Rule(_REQUEST, "CapSolver does not take an image of this size", ends_task=True),
    "ERROR_PARSE_IMAGE_FAIL": Rule(_REQUEST, "CapSolver cannot decode the image", ends_task=True),
    "ERROR_IP_BANNED": Rule(_WAIT, "too many errors: this address is blocked for 30 minutes", _Unavailable, wait=1800),
    "ERROR_KEY_TEMP_BLOCKED": Rule(_WAIT, "too many errors: the key is blocked for 5 minutes", _Unavailable, wait=300),
}
# fmt: on

UNKNOWN_CODE = Rule(_NEW, "CapSolver reports an error that this version does not know")

# ERROR_INVALID_TASK_DATA covers several causes, told apart by the description alone: a substring, in lower case.
INVALID_TASK_DATA: dict[str, Rule] = {
    "clientkey is invalid": _WRONG_KEY,
    "request body must be a json raw": Rule(_CRAWL, "CapSolver could not read the request", _Unavailable),
    "missing proxy params": Rule(_CRAWL, "this task type needs a proxy", _Unsupported, of_type=True),
    "access. please contact our support": _NOT_ENTITLED,
    "deny access": _NOT_ENTITLED,
    "website is currently under maintenance": Rule(_REQUEST, "CapSolver has suspended this website"),
    "invalid site key": Rule(_REQUEST, "the site key is wrong: compare websiteKey with the page", ends_task=True),
    "question empty": Rule(_REQUEST, "the task needs a question"),
}

# Told apart by the description whatever the code. Source: docs.capsolver.com/guide/captcha/awsWaf
DESCRIPTIONS: dict[str, Rule] = {
    "captcha render unexpect status code": Rule(_NEW, "CapSolver was shown no challenge by AWS WAF", ends_task=True),
    "timeout metering, your parameters have expired": Rule(_NEW, "the AWS WAF parameters are stale", ends_task=True),
}

# For replies in which CapSolver says nothing: no JSON envelope.
EDGE_BLOCKED = Rule(
    _CRAWL, "the edge before CapSolver refuses this address: the API must not be called by proxy", _Unavailable
)
NO_ENVELOPE = Rule(_POLL, "CapSolver's reply cannot be read", _Unavailable)
WRONG_ADDRESS = Rule(_CRAWL, "there is no CapSolver at this address: check CAPSOLVER_API_URL", _Unavailable)


def rule_of(code: str, description: str, http_status: int) -> Rule:
    """The rule for an error that CapSolver put into the envelope; the HTTP status counts where there is no code."""
    text = description.lower()
    for part, rule in DESCRIPTIONS.items():
        if part in text:
            return rule
    if code in {"ERROR_INVALID_TASK_DATA", ""}:
        for part, rule in INVALID_TASK_DATA.items():
            if part in text:
                return rule
    if code:
        return RULES.get(code, UNKNOWN_CODE)
    if http_status == 401:
        return _WRONG_KEY
    if http_status == 429:
        return RULES["ERROR_RATE_LIMIT"]
    return _UNAVAILABLE if http_status >= 500 else UNKNOWN_CODE


def rule_of_http_status(status: int) -> Rule:
    """The rule for a reply without an envelope."""
    if status == 401:
        return _WRONG_KEY
    if status == 403:
        return EDGE_BLOCKED
    if status in {404, 405} or 300 <= status < 400:
        return WRONG_ADDRESS
    return NO_ENVELOPE
