"""reCAPTCHA v3, which asks nothing and gives a score; and its Enterprise edition.

Sources: docs.capsolver.com/en/guide/captcha/ReCaptchaV3/ ; developers.google.com/recaptcha/docs/v3 ;
developers.google.com/recaptcha/docs/verify (120 s, once). ``minScore`` is from older versions of CapSolver's page.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from scrapy_capsolver.families._page.entries import MAX_CONTROLS
from scrapy_capsolver.families._page.forms import has_field
from scrapy_capsolver.families.base import TaskType
from scrapy_capsolver.families.recaptcha import RecaptchaFamily

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lxml.html import HtmlElement

_KINDS: Mapping[str, type] = {"enterprisePayload": dict, "isSession": bool, "minScore": float}
_REQUIRED = frozenset({"websiteURL", "websiteKey"})
_OPTIONAL = frozenset({"pageAction", "enterprisePayload", "isSession", "apiDomain", "minScore"})
_PROXYLESS = TaskType(_REQUIRED, _OPTIONAL, kinds=_KINDS)
_PROXIED = TaskType(_REQUIRED | {"proxy"}, _OPTIONAL, kinds=_KINDS)


class RecaptchaV3(RecaptchaFamily):
    name = "recaptcha_v3"
    version = 3
    plain_type = "ReCaptchaV3TaskProxyLess"
    enterprise_type = "ReCaptchaV3EnterpriseTaskProxyLess"
    types: Mapping[str, TaskType] = {
        "ReCaptchaV3TaskProxyLess": replace(_PROXYLESS, price=1.0),
        "ReCaptchaV3Task": replace(_PROXIED, price=1.0),
        "ReCaptchaV3EnterpriseTaskProxyLess": replace(_PROXYLESS, price=3.0),
        "ReCaptchaV3EnterpriseTask": replace(_PROXIED, price=3.0),
        "ReCaptchaV3M1TaskProxyLess": _PROXYLESS,
        "ReCaptchaV3M1Task": _PROXIED,
        "ReCaptchaV3EnterpriseM1TaskProxyLess": _PROXYLESS,
        "ReCaptchaV3EnterpriseM1Task": _PROXIED,
    }

    def _field_in(self, form: HtmlElement | None) -> str:
        """v3 brings no field; pages make their own, hidden and empty, and name it after the captcha."""
        if form is None or has_field(form, self.field):
            return ""
        names = [
            name
            for control in islice(form.iter("input"), MAX_CONTROLS)
            if "recaptcha" in (name := control.get("name") or "").lower() and not control.get("value")
        ]
        return names[0] if len(names) == 1 and len(names[0]) <= 100 else ""
