"""What the families of reCAPTCHA v2 and v3 do alike."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from scrapy_capsolver.families._page.forms import MAX_PLACES, form_of
from scrapy_capsolver.families._page.recaptcha import (
    KEY,
    KEY_BYTES,
    RESPONSE_FIELD,
    Recaptcha,
    Sighting,
    params,
    read,
    with_data_s,
)
from scrapy_capsolver.families._page.submission import submission
from scrapy_capsolver.families._page.text import clean
from scrapy_capsolver.families._page.verdict import verdict
from scrapy_capsolver.families.base import Challenge
from scrapy_capsolver.families.cookies import with_cookies
from scrapy_capsolver.families.solution import read_cookie
from scrapy_capsolver.families.token import TokenFamily

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lxml.html import HtmlElement
    from scrapy import Request

    from scrapy_capsolver.families._page.page import Page
    from scrapy_capsolver.families.inject import Inject


SESSION_COOKIES = ("recaptcha-ca-t", "recaptcha-ca-e")


class RecaptchaFamily(TokenFamily):
    """Base class of both. They differ in the types, and in which of a page's site keys are theirs."""

    field = RESPONSE_FIELD
    lifetime = 120.0
    solution_key = "gRecaptchaResponse"
    solution_keys = frozenset(
        {"gRecaptchaResponse", "userAgent", "secChUa", "createTime", "expireTime", *SESSION_COOKIES}
    )
    version: int
    plain_type: str
    enterprise_type: str

    def detect(self, page: Page, fields: Mapping[str, Any]) -> Challenge | None:
        """Looks for site keys of this version; or, where the flag brings the key, for the script alone."""
        wanted = fields.get("websiteKey")
        given = isinstance(wanted, str) and KEY.fullmatch(wanted) is not None
        if not page.matches(b"6L", KEY_BYTES) and not (given and page.mentions(b"/recaptcha/")):
            return None
        recaptcha = page.once(read)
        sightings = recaptcha.of(self.version, wanted)
        if given and not any(sighting.key == wanted for sighting in sightings):
            # The author knows better than the page's markup which version a key is of.
            others = recaptcha.sightings if page.wanted_family == self.name else ()
            seen = [replace(one, version=self.version) for one in others if one.key == wanted]
            if not seen and (recaptcha.scripts and (wanted in recaptcha.candidates or not recaptcha.sightings)):
                reason = f"script {clean(recaptcha.scripts[0])}, with the site key of the flag"
                seen = [Sighting(str(wanted), self.version, reason, enterprise=recaptcha.enterprise)]
            sightings = tuple(seen) or sightings
        return self._challenge(page, recaptcha, sightings) if sightings else None

    def task(self, challenge: Challenge, fetched: Sequence[bytes], after: str) -> dict[str, Any]:
        """``s`` goes into the field that the type has for it, whichever it was given in."""
        task = super().task(challenge, fetched, after)
        plain_v2 = self.version == 2 and "Enterprise" not in str(task["type"])
        return with_data_s(task, as_payload=not plain_v2)

    def apply(
        self, request: Request, challenge: Challenge, solution: Mapping[str, Any], inject: Inject | None
    ) -> Request:
        """With the session's cookies as well, where ``isSession`` asked for them or the site uses them."""
        found = {name: read_cookie(solution, name, bare=False) for name in SESSION_COOKIES}
        cookies = {name: cookie.value for name, cookie in found.items() if cookie is not None}
        sent = super().apply(request, challenge, solution, inject)
        return with_cookies(sent, cookies) if cookies else sent

    def _challenge(self, page: Page, recaptcha: Recaptcha, sightings: tuple[Sighting, ...]) -> Challenge:
        form = self._form(page, sightings)
        blocked, why = verdict(page, form, anchored=any(sighting.anchored for sighting in sightings))
        enterprise = recaptcha.enterprise or any(sighting.enterprise for sighting in sightings)
        fields = params(recaptcha, sightings)
        if self.version == 3:
            fields.pop("isInvisible", None)  # it always is
        s = next((sighting.s for sighting in sightings if sighting.s), None)
        if s and (enterprise or self.version == 3):
            fields["enterprisePayload"] = {"s": s}
        elif s:
            fields["recaptchaDataSValue"] = s
        return Challenge(
            family=self.name,
            type=self.enterprise_type if enterprise else self.plain_type,
            url=page.url,
            params=fields,
            reasons=(*dict.fromkeys(sighting.reason for sighting in sightings[:5]), why),
            blocked=blocked,
            field=self._field_in(form),
            form=submission(page, form) if form is not None else None,
        )

    def _form(self, page: Page, sightings: tuple[Sighting, ...]) -> HtmlElement | None:
        """The form of the first sighting that has a place in the page."""
        placed = [sighting for sighting in sightings if sighting.element is not None or sighting.container]
        for sighting in placed[:MAX_PLACES]:
            form = form_of(page, sighting.element, sighting.container, RESPONSE_FIELD)
            if form is not None:
                return form
        return None if placed else form_of(page, None, None, RESPONSE_FIELD)

    def _field_in(self, form: HtmlElement | None) -> str:
        """The form's field for the token, where it is not the usual one. The widgets of v2 bring their own field."""
        return ""
