"""GeeTest, versions 3 and 4.

Sources: docs.capsolver.com/guide/captcha/Geetest ; docs.geetest.com/BehaviorVerification/deploy/server/ (what a site
wants of v4) and GeeTest's v3 SDKs (github.com/GeeTeam: the three form fields).

v3 gives every visitor a ``challenge`` of its own, which is good for one task, the failed ones included. A page seldom
holds it; its script fetches it from the site. Then the flag says where: ``challengeUrl``.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from scrapy_capsolver.errors import CaptchaConfigurationError, UnsupportedCaptchaError
from scrapy_capsolver.families._page.forms import MAX_PLACES, form_of
from scrapy_capsolver.families._page.geetest import read, registration
from scrapy_capsolver.families._page.prefilter import says_captcha
from scrapy_capsolver.families._page.submission import submission
from scrapy_capsolver.families._page.text import clean
from scrapy_capsolver.families._page.verdict import verdict
from scrapy_capsolver.families.base import Challenge, TaskType
from scrapy_capsolver.families.inject import MAIN, Inject
from scrapy_capsolver.families.solution import MAX_VALUE, as_text, member
from scrapy_capsolver.families.token import TokenFamily

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lxml.html import HtmlElement

    from scrapy_capsolver.families._page.geetest import GeeTestPage
    from scrapy_capsolver.families._page.page import Page

_V3 = {"geetest_challenge": "challenge", "geetest_validate": "validate", "geetest_seccode": "seccode"}
_V4 = {name: name for name in ("lot_number", "captcha_output", "pass_token", "gen_time", "captcha_id")}
_NO_CHALLENGE = (
    "GeeTest v3 needs a fresh challenge for every attempt, and the page does not hold it: say in the flag where the "
    'page\'s script fetches it, "challengeUrl"'
)
_NO_ID = 'GeeTest v4 needs its captchaId, and the page does not show it: give it in the flag, "captchaId"'
_MAX_URL = 8192
_MAX_CONTROLS = 100


class GeeTest(TokenFamily):
    """A solution works once, for the visit that its challenge belongs to: it is to be spent at once."""

    name = "geetest"
    field = ""
    solution_key = "validate"
    lifetime = 60.0  # ours, and cautious: neither CapSolver nor GeeTest gives a figure
    types: Mapping[str, TaskType] = {
        "GeeTestTaskProxyLess": TaskType(
            required=frozenset({"websiteURL"}),
            optional=frozenset({"riskType", "geetestApiServerSubdomain"}),
            one_of=(
                frozenset({"gt", "captchaId", "challengeUrl"}),
                frozenset({"challenge", "captchaId", "challengeUrl"}),
            ),
            own=frozenset({"challengeUrl"}),  # where the challenge of v3 is fetched
            price=1.2,
        )
    }

    def detect(self, page: Page, fields: Mapping[str, Any]) -> Challenge | None:
        """Looks for the calls that set GeeTest up, for its scripts, and for its ids in attributes."""
        if not page.mentions(b"geetest") and not (says_captcha(page) and page.mentions(b"/gt.js", b"/gt4.js")):
            return None
        found = read(page)
        told = any(fields.get(name) for name in ("gt", "challenge", "captchaId", "challengeUrl"))
        if not found.version or not (told or found.anchored or found.params):
            return None
        if fields.get("captchaId"):
            found.version = 4
        elif told:
            found.version = 3
        ours = {"captchaId", "riskType"} if found.version == 4 else {"gt", "challenge"}
        params = {key: value for key, value in found.params.items() if key in {*ours, "geetestApiServerSubdomain"}}
        usual = _V4 if found.version == 4 else _V3
        form = _form(page, found, tuple(usual))
        names = _names(form, usual) if form is not None else usual
        blocked, why = verdict(page, form, anchored=found.anchored or told, own=frozenset(names))
        challenge = Challenge(
            family=self.name,
            type="GeeTestTaskProxyLess",
            url=page.url,
            params=params,
            reasons=(*dict.fromkeys(found.reasons[:5]), why),
            blocked=blocked,
            fields=names,
            form=submission(page, form) if form is not None else None,
            perishable="challenge" in params and not fields.get("challengeUrl"),
        )
        return replace(challenge, refusal=_refusal({**params, **fields}, found.version))

    def prepare(self, challenge: Challenge) -> Challenge:
        """With the address of the challenge in what is to be fetched. It is the author's word: on any host."""
        params = challenge.params
        version = _version(challenge)
        address = params.get("challengeUrl")
        fetch: tuple[str, ...] = ()
        if address is not None and version == 3:
            fetch = (_absolute(challenge.url, address),)
        return replace(
            challenge,
            fetch=fetch,
            fields=challenge.fields or (_V4 if version == 4 else _V3),
            perishable="challenge" in params and not fetch,
            refusal=_refusal(params, version),
        )

    def task(self, challenge: Challenge, fetched: Sequence[bytes], after: str) -> dict[str, Any]:
        task = super().task(challenge, fetched, after)
        if challenge.fetch:
            task.update(registration(fetched[0] if fetched else b""))
            if not task.get("gt"):
                raise UnsupportedCaptchaError(
                    'what challengeUrl answers has no "gt", and neither has the page nor the flag'
                )
        return task

    def complete(self, solution: Mapping[str, Any], task: Mapping[str, Any]) -> dict[str, Any]:
        """Return the solution with the id or the challenge that the task had."""
        full = super().complete(solution, task)
        for key, given in (("captcha_id", "captchaId"), ("challenge", "challenge")):
            if not as_text(full.get(key)) and task.get(given):
                full[key] = task[given]
        return full

    def _spelled(self, solution: Mapping[str, Any]) -> dict[str, Any]:
        """Return it also from v3's names of form fields."""
        found = {}
        for key in {*_V4, *_V3.values()} - solution.keys():
            value = member(solution, key)
            value = member(solution, f"geetest_{key}") if value is None else value
            if value is not None:
                found[key] = value
        return found

    def values(self, solution: Mapping[str, Any]) -> Mapping[str, str]:
        """With v3's ``seccode``, which GeeTest's own script makes in the same way."""
        values = dict(super().values(solution))
        validate = values.get("validate")
        if validate is not None and "seccode" not in values and len(validate) < MAX_VALUE - 8:
            values["seccode"] = f"{validate}|jordan"
        return values

    def keys(self, challenge: Challenge) -> frozenset[str]:
        return frozenset({*_V4, "risk_type"} if _version(challenge) == 4 else _V3.values())

    def places(self, challenge: Challenge, inject: Inject | None) -> Inject:
        usual = _V4 if _version(challenge) == 4 else _V3
        if inject is None:
            return Inject(form=challenge.fields or usual)
        if MAIN in inject.keys:
            example = ", ".join(f'"{name}": "{key}"' for name, key in usual.items())
            raise CaptchaConfigurationError(
                f"inject: a solution of GeeTest has several values, so that one name is not enough; give an object, "
                f'{{"form": {{{example}}}}}'
            )
        return inject


def _version(challenge: Challenge) -> int:
    params = challenge.params
    if params.get("captchaId") or "captcha_id" in challenge.fields.values():
        return 4
    return 3


def _refusal(params: Mapping[str, Any], version: int) -> str:
    if version == 4:
        return "" if params.get("captchaId") else _NO_ID
    return "" if params.get("challengeUrl") or (params.get("gt") and params.get("challenge")) else _NO_CHALLENGE


def _absolute(base: str, address: object) -> str:
    if isinstance(address, str) and len(address) <= _MAX_URL:
        try:
            url = urljoin(base, address.strip())
            parts = urlsplit(url)
            if parts.scheme in {"http", "https"} and parts.hostname:
                return url
        except ValueError:
            pass
    raise CaptchaConfigurationError(
        f"challengeUrl: {clean(ascii(address), 80)} is no address over http or https, nor one relative to the page"
    )


def _form(page: Page, found: GeeTestPage, names: tuple[str, ...]) -> HtmlElement | None:
    for container in found.containers[:MAX_PLACES]:
        form = form_of(page, None, container)
        if form is not None:
            return form
    return form_of(page, found.element, None, *names)


def _names(form: HtmlElement, usual: Mapping[str, str]) -> dict[str, str]:
    """The fields' names as this form has them, ``captcha[lot_number]``; what it lacks keeps its usual name.

    A field that holds a value already is another thing's.
    """
    present = [
        name
        for control in islice(form.iter("input", "textarea"), _MAX_CONTROLS)
        if (name := control.get("name")) and len(name) <= 100 and name.isprintable() and not control.get("value")
    ]
    names = {}
    for name, key in usual.items():
        ending = re.compile(rf"(?:.*[\W_])?{re.escape(key)}\]?")
        own = name if name in present else next((one for one in present if ending.fullmatch(one)), name)
        names[own] = key
    return names
