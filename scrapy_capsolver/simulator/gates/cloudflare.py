"""Cloudflare's challenge in place of a whole page.

Sources: docs.capsolver.com/guide/captcha/cloudflare_challenge for the task,
developers.cloudflare.com/cloudflare-challenges/ for the page, the header ``cf-mitigated``, and the default passage of
30 minutes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from scrapy_capsolver.simulator.clearances import Clearance, site_of
from scrapy_capsolver.simulator.errors import invalid_task, solve_failed
from scrapy_capsolver.simulator.pages import document, js_text
from scrapy_capsolver.simulator.task_types import Attempt, Fields, Job, TaskType, host_of, is_text, is_url
from scrapy_capsolver.simulator.tokens import random_text

from .base import USER_AGENT, page_at
from .clearance import ClearanceGate

if TYPE_CHECKING:
    from scrapy_capsolver.simulator.pages import Page
    from scrapy_capsolver.simulator.shown import Shown
    from scrapy_capsolver.simulator.visit import Visit

PASSAGE_SECONDS = 1800.0

# For how long a solver can use a page that it is given.
_HTML_SECONDS = 60.0

_CHROME = re.compile(
    r"Mozilla/5\.0 \([^()]+\) AppleWebKit/537\.36 \(KHTML, like Gecko\) Chrome/\d+(?:\.\d+){3}(?: Mobile)? Safari/537\.36"
)
_RAY = re.compile(r"\bcRay: ['\"]([0-9a-f]{16})['\"]")

_SCRIPT = "/cdn-cgi/challenge-platform/h/b/orchestrate/chl_page/v1?ray="


class CloudflareGate(ClearanceGate):
    """``?style=iuam`` is the page of older days; ``?style=needs-html`` opens only to a solver that was given the page."""

    name = "cloudflare"
    cookie = "cf_clearance"
    styles = frozenset({"iuam", "needs-html"})

    def challenge(self, visit: Visit, reason: str) -> Page:
        ray = visit.site.next_ticket()[:16]
        visit.site.shown.add(self.name, ray, visit.shown())
        options = {
            "cvId": "3",
            "cZone": visit.host,
            "cType": "managed",
            "cRay": ray,
            "cH": visit.secret("cH", ray) + "-1.2.1.1-" + visit.secret("cH 2", ray),
            "cUPMDTk": f"{visit.path}?__cf_chl_tk={visit.secret('tk', ray)}",
        }
        members = ",".join(f"{name}: {js_text(value)}" for name, value in options.items())
        body = (
            '<div class="main-wrapper" role="main"><div class="main-content">\n'
            '<noscript><div class="h2"><span id="challenge-error-text">Enable JavaScript and cookies to continue</span>'
            "</div></noscript>\n</div></div>\n"
            f"<script>(function(){{window._cf_chl_opt = {{{members}}};"
            "var a = document.createElement('script');"
            f"a.src = {js_text(_SCRIPT + ray)};"
            "document.getElementsByTagName('head')[0].appendChild(a);}());</script>"
        )
        older = "iuam" in visit.styles
        page = document("Just a moment...", body, status=503 if older else 403)
        page.headers += [("Server", "cloudflare"), ("CF-RAY", f"{ray}-FRA")]
        if not older:
            page.headers.append(("cf-mitigated", "challenge"))
        return page


def _check(fields: Fields) -> None:
    agent = fields.get("userAgent")
    if agent and not _CHROME.fullmatch(agent):
        raise invalid_task("invalid task data: userAgent must be one of Chrome")


def _attempt(attempt: Attempt) -> Shown | None:
    """Load the page through the proxy; the older page, or another, is as it is to everybody."""
    name, styles = page_at(attempt.fields["websiteURL"])
    if name != CloudflareGate.name:
        raise solve_failed()  # There is no challenge.
    if "needs-html" not in styles:
        return None
    ray = _RAY.search(attempt.fields.get("html") or "")
    shown = attempt.shown.find(CloudflareGate.name, ray and ray[1], seconds=_HTML_SECONDS)
    if shown is None or shown.address != attempt.address:
        raise solve_failed()
    return shown


def _solve(job: Job) -> Fields:
    agent = job.fields.get("userAgent") or USER_AGENT
    site = site_of(host_of(job.fields["websiteURL"]) or "")
    value = job.clearances.issue(
        f"{random_text(job.random, 43)}-{int(job.solved_at_epoch)}-1.2.1.1-{random_text(job.random, 200)}",
        Clearance(CloudflareGate.name, site, job.address, agent, expires=job.solved_at + PASSAGE_SECONDS),
    )
    return {"cookies": {CloudflareGate.cookie: value}, "token": value, "userAgent": agent}


TASK_TYPES = (
    TaskType(
        name="AntiCloudflareTask",
        solve=_solve,
        price=2000,  # The real price is not published.
        seconds=(2.0, 20.0),
        required={"websiteURL": is_url},
        optional={"userAgent": is_text, "html": is_text},
        needs_proxy=True,
        check=_check,
        attempt=_attempt,
        dials=True,
    ),
)

GATES = (CloudflareGate(),)
