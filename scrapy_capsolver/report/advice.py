"""What the words of a report mean, and what to do about them."""

from __future__ import annotations

from typing import NamedTuple

from scrapy_capsolver.api.codes import RULES


class Advice(NamedTuple):
    meaning: str
    to_do: str


WASTE: dict[str, Advice] = {
    "rejected": Advice(
        "The site showed its captcha again.",
        "Compare the task's type and fields with the page; solve by the request's own proxy ('proxied': True); lower "
        "CAPSOLVER_MAX_REJECTIONS to give up sooner.",
    ),
    "expired": Advice(
        "Too old when its turn to be sent came.",
        "Lower DOWNLOAD_DELAY or CONCURRENT_REQUESTS for this site, or raise CAPSOLVER_PRIORITY_ADJUST.",
    ),
    "already_sent": Advice(
        "Its request was retried after it had been sent, and a solution is good for once.",
        "Look why the site's pages fail after the captcha: RETRY_HTTP_CODES, time-outs, a proxy.",
    ),
    "lost": Advice(
        "Its request ended by an exception before the site had answered.",
        "Look at the exceptions of requests with a solution: a middleware or a download handler that fails, time-outs, a proxy.",
    ),
    "unusable": Advice(
        "The solution did not fit the page or the flag.",
        "Compare the flag's 'inject' with the page; the log has the line.",
    ),
    "no_solution": Advice("CapSolver said ready and sent none.", "Report it to CapSolver: it was charged."),
    "undelivered": Advice(
        "No page came of it before the crawl ended.", "Let the crawl end by itself, or use a JOBDIR, which keeps it."
    ),
    "possibly_paid": Advice(
        "The reply to createTask was lost, so nobody knows whether it was charged.",
        "Compare with CapSolver's dashboard; look at the connection to the API.",
    ),
    "abandoned": Advice(
        "Its result was not waited for: a time-out, a stop, or a killed process.",
        "Raise CAPSOLVER_TIMEOUT if it is low; stop once, gently, with a JOBDIR.",
    ),
}
"""By the ledger's account."""

ERRORS: dict[str, str] = {
    "CaptchaConfigurationError": "Correct the flag or the spider's attribute: the message names it.",
    "UnsupportedCaptchaError": "Nothing was paid. Flag the request with a type, 'inject' or 'expect', or leave it unflagged.",
    "UnsolvableCaptchaError": "Compare the type and its fields with the page. If the site rejects what CapSolver solves, 'proxied': True "
    "or another type may do.",
    "CaptchaProxyError": "Give the request a proxy that CapSolver can reach, or another one.",
    "CaptchaBudgetError": "A limit of yours was reached: CAPSOLVER_BUDGET, CAPSOLVER_MAX_SOLVES or CAPSOLVER_MAX_SOLVES_PER_DOMAIN.",
    "CapSolverAccountError": "Look at the key, the balance and the packages of the account.",
    "CapSolverUnavailableError": "Look whether this machine reaches CapSolver. Run these requests again later.",
    "CaptchaStoreError": "See to the Redis server that CAPSOLVER_STORE names, or allow CAPSOLVER_OFFLINE_SOLVES. Run these requests again.",
    "CaptchaTimeoutError": "Raise CAPSOLVER_TIMEOUT if it is below CapSolver's own 120 seconds; else run these requests again.",
    "CaptchaCancelledError": "The crawl ended first. With a JOBDIR they wait for the next run.",
}
"""By the error's name."""


def of_failure(error: str, code: str) -> Advice:
    """What an error means as CapSolver's code puts it, where it is known, and what to do."""
    rule = RULES.get(code)
    return Advice("" if rule is None else rule.meaning, ERRORS.get(error, "Look at the message and at the log."))
