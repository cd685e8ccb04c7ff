"""What the reCAPTCHA gates share: the fields of their tasks, the solutions, and the script addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy_capsolver.simulator.errors import solve_failed
from scrapy_capsolver.simulator.task_types import (
    Check,
    Fields,
    Job,
    host_of,
    is_cookies,
    is_flag,
    is_text,
    is_text_map,
    is_url,
)
from scrapy_capsolver.simulator.tokens import Binding, random_text

from .base import USER_AGENT, TokenGate

if TYPE_CHECKING:
    from collections.abc import Mapping

# developers.google.com/recaptcha/docs/verify
LIFETIME_SECONDS = 120.0

SOLVE_SECONDS = (1.0, 10.0)

SCRIPT = "https://www.google.com/recaptcha/api.js"
ENTERPRISE_SCRIPT = "https://www.google.com/recaptcha/enterprise.js"

REQUIRED: Mapping[str, Check] = {"websiteURL": is_url, "websiteKey": is_text}
OPTIONAL: Mapping[str, Check] = {
    "pageAction": is_text,
    "enterprisePayload": is_text_map,
    "isSession": is_flag,
    "apiDomain": is_text,
    "cookies": is_cookies,
}


class RecaptchaGate(TokenGate):
    fields = ("g-recaptcha-response",)
    enterprise = False


def issue(job: Job, kind: str, *, action: str | None, data_s: str | None = None) -> Fields:
    """Make the solution of a reCAPTCHA task, and have the vendor know its token."""
    key = job.fields["websiteKey"]
    if _version(kind) != _version(job.keys.get(key, kind)):
        # A v2 task for a v3 page, or the reverse, or the key of another vendor.
        raise solve_failed()
    token = job.tokens.issue(
        Binding(kind, key, host_of(job.fields["websiteURL"]) or "", action=action, data_s=data_s),
        "03A" + random_text(job.random, 480),
        job.solved_at + LIFETIME_SECONDS,
    )
    solution = {
        "userAgent": USER_AGENT,
        "secChUa": '"Chromium";v="144", "Google Chrome";v="144", "Not_A Brand";v="99"',
        "createTime": int(job.solved_at_epoch * 1000),
        "gRecaptchaResponse": token,
    }
    if job.fields.get("isSession"):
        solution["recaptcha-ca-t"] = random_text(job.random, 60)
    return solution


def _version(kind: str) -> list[str]:
    return kind.split("-")[:2]
