"""AWS WAF: its CAPTCHA and its silent challenge, as pages of their own or put into a site's page.

Sources: docs.capsolver.com/guide/captcha/awsWaf (which fields when) ;
docs.aws.amazon.com/waf/latest/developerguide/waf-captcha-and-challenge-how-it-works.html and
.../waf-captcha-and-challenge-actions.html (status 202 or 405, the header x-amzn-waf-action, what the pages load) ;
.../waf-js-captcha-api.html (AwsWafCaptcha.renderCaptcha), .../waf-js-challenge-api.html (AwsWafIntegration).
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from scrapy_capsolver.families._page.forms import form_of
from scrapy_capsolver.families._page.page import BLOCKING_STATUSES
from scrapy_capsolver.families._page.text import clean, plain
from scrapy_capsolver.families._page.verdict import is_sparse, verdict
from scrapy_capsolver.families.base import Challenge, TaskType
from scrapy_capsolver.families.clearance import ClearanceFamily
from scrapy_capsolver.families.cookies import cookie_value
from scrapy_capsolver.families.token import task_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scrapy_capsolver.families._page.page import Page

EXISTING = "awsExistingToken"
"""The field for the ``aws-waf-token`` that the visitor had when the captcha was shown."""

_GOKU = ("awsKey", "awsIv", "awsContext")
_WIDGET = ("awsApiKey", "awsApiJs")
# The challenge action answers 202, the CAPTCHA action 405; sites turn them into other refusals.
_OWN_STATUSES = frozenset({202, 405})
_SCRIPTS = {"challenge.js": "awsChallengeJS", "jsapi.js": "awsApiJs"}
_PROBLEM = re.compile(r"""\.awswaf\.com/[\w/.-]{1,200}/problem\?[^\s"'<>\\`]{1,2000}""", re.ASCII)
_HOST = re.compile(r"https://[\w.-]{1,200}", re.ASCII)
_MAX_HOST = 210
_LIMITS = {"awsKey": 2048, "awsIv": 512, "awsContext": 16 * 1024}
_MAX_URL = 2048
# What CapSolver says where the page's address was not enough, or what was read from the page has grown old.
_WANTED = ("captcha render unexpect status code", "your parameters have expired")
_OPTIONAL = frozenset({*_GOKU, *_WIDGET, "awsChallengeJS", "awsProblemUrl", EXISTING})


class AwsWaf(ClearanceFamily):
    name = "aws_waf"
    cookie = "aws-waf-token"
    per_host = True
    types: Mapping[str, TaskType] = {
        "AntiAwsWafTaskProxyLess": TaskType(frozenset({"websiteURL"}), _OPTIONAL, price=2.0),
        "AntiAwsWafTask": TaskType(frozenset({"websiteURL", "proxy"}), _OPTIONAL, price=2.0),
    }

    def detect(self, page: Page, fields: Mapping[str, Any]) -> Challenge | None:
        """By the header ``x-amzn-waf-action``; else by what AWS puts into its pages, and a site into its own."""
        action = page.header("x-amzn-waf-action")
        declared = action in {"captcha", "challenge"}
        if not declared and not page.mentions(b"awswaf.com", b"gokuprops"):
            return None
        seen = _read(page)
        blocked, why = (True, f"header x-amzn-waf-action: {action}") if declared else _judge(page, seen)
        if not why:
            return None
        if token := cookie_value(page.cookie(self.cookie)):
            seen[EXISTING] = token
        return Challenge(
            family=self.name,
            type="AntiAwsWafTaskProxyLess",
            url=page.url,
            seen=seen,
            reasons=(*_reasons(seen), why),
            blocked=blocked,
            perishable=True,
        )

    def having(self, challenge: Challenge, cookies: Mapping[str, str]) -> Challenge:
        """A visitor who has a token and is asked again gets a second captcha, which is solved with that token."""
        token = cookie_value(cookies.get(self.cookie))
        if token is None:
            return challenge
        return replace(challenge, seen={**challenge.seen, EXISTING: token})

    def task(self, challenge: Challenge, fetched: Sequence[bytes], after: str) -> dict[str, Any]:
        """With those of the page's values that CapSolver wants in this situation, and all that the author gave."""
        task = task_of(challenge, self.types)
        known = {**challenge.seen, **task}
        return {**{name: known[name] for name in _wanted(known, after) if name in known}, **task}


def _wanted(known: Mapping[str, Any], after: str) -> tuple[str, ...]:
    """Fields by situation, as CapSolver's page has them: 1 and 2 (gokuProps), 4, 5, 3-1 and 3-2."""
    if all(name in known for name in _GOKU):
        return (*_GOKU, "awsChallengeJS") if any(words in after for words in _WANTED) else ()
    if "awsProblemUrl" in known:
        return ("awsProblemUrl",)
    if EXISTING in known and all(name in known for name in _WIDGET):
        return (*_WIDGET, EXISTING)
    return ("awsChallengeJS",) if "awsChallengeJS" in known else ("awsApiJs",)


def _judge(page: Page, seen: Mapping[str, str]) -> tuple[bool, str]:
    """(blocked, why), without the header; why is nothing where the page shows no captcha."""
    refused = page.status in BLOCKING_STATUSES | _OWN_STATUSES
    if "awsKey" in seen:
        blocked, why = (True, f"status {page.status}") if refused else verdict(page, None, anchored=True)
        return blocked, why if blocked else ""
    if "awsApiJs" in seen and page.calls("AwsWafCaptcha.renderCaptcha"):
        return verdict(page, form_of(page), anchored=True)
    # The script alone is on every page of the sites that use it. AWS's own page has nothing else, and loads itself anew.
    challenged = ("awsChallengeJS" in seen and _reloads(page)) or "awsProblemUrl" in seen
    if challenged and refused and is_sparse(page):
        return True, f"status {page.status}, and the page holds nothing but the challenge"
    return False, ""


def _reloads(page: Page) -> bool:
    scripts = page.scripts
    return bool(scripts.texts("AwsWafIntegration", bare=True) & scripts.texts("location.reload", bare=True))


def _read(page: Page) -> dict[str, str]:
    """CapSolver's fields, as far as the page shows them."""
    seen: dict[str, str] = {}
    if not page.body:
        return seen
    for properties in page.objects("gokuProps"):
        values = {name: plain(properties.get(name[3:].lower()), limit) for name, limit in _LIMITS.items()}
        found = {name: value for name, value in values.items() if value}
        if len(found) == len(_GOKU):
            seen.update(found)
            break
    for resource in page.resources:
        name = _SCRIPTS.get(resource.file)
        ours = resource.tag == "script" and resource.host.endswith(".awswaf.com")
        if ours and name and name not in seen and (url := plain(resource.url, _MAX_URL)):
            seen[name] = url
    for call in page.calls("AwsWafCaptcha.renderCaptcha"):
        if key := plain(call.options.get("apiKey"), _MAX_URL):
            seen["awsApiKey"] = key
            break
    if problem := _problem(page):
        seen["awsProblemUrl"] = problem
        keys = parse_qs(urlsplit(problem).query).get("api_key", [])
        if keys and (key := plain(keys[0], _MAX_URL)):
            seen.setdefault("awsApiKey", key)
    return seen


def _problem(page: Page) -> str:
    """The address from which the captcha gets its pictures."""
    for found in page.scripts.matches(".awswaf.com/", _PROBLEM):
        before = found.string[max(0, found.start() - _MAX_HOST) : found.start()]
        if host := _HOST.fullmatch(before, max(0, before.rfind("https://"))):
            return plain(host[0] + found[0], _MAX_URL) or ""
    return ""


def _reasons(seen: Mapping[str, str]) -> list[str]:
    reasons = ["a script sets gokuProps"] if "awsKey" in seen else []
    names = ("awsChallengeJS", "awsApiJs", "awsProblemUrl")
    return reasons + [f"{name} {clean(seen[name])}" for name in names if name in seen]
