"""reCAPTCHA v2: the checkbox, the invisible one, and both as Enterprise.

Sources: docs.capsolver.com/en/guide/captcha/ReCaptchaV2/ ; developers.google.com/recaptcha/docs/verify (120 s, once).
``ReCaptchaV2Task`` is no longer on that page, but docs.capsolver.com/guide/api-how-to-use-proxy still uses it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from scrapy_capsolver.families.base import TaskType
from scrapy_capsolver.families.recaptcha import RecaptchaFamily

if TYPE_CHECKING:
    from collections.abc import Mapping

_KINDS: Mapping[str, type] = {"enterprisePayload": dict, "isInvisible": bool, "isSession": bool}
_REQUIRED = frozenset({"websiteURL", "websiteKey"})
_OPTIONAL = frozenset(
    {"pageAction", "recaptchaDataSValue", "enterprisePayload", "isInvisible", "isSession", "apiDomain", "cookies"}
)
_PROXYLESS = TaskType(_REQUIRED, _OPTIONAL, kinds=_KINDS, price=0.8)
_PROXIED = TaskType(_REQUIRED | {"proxy"}, _OPTIONAL, kinds=_KINDS, price=0.8)


class RecaptchaV2(RecaptchaFamily):
    name = "recaptcha_v2"
    version = 2
    plain_type = "ReCaptchaV2TaskProxyLess"
    enterprise_type = "ReCaptchaV2EnterpriseTaskProxyLess"
    types: Mapping[str, TaskType] = {
        "ReCaptchaV2TaskProxyLess": _PROXYLESS,
        "ReCaptchaV2Task": _PROXIED,
        "ReCaptchaV2EnterpriseTaskProxyLess": replace(_PROXYLESS, price=1.0),
        "ReCaptchaV2EnterpriseTask": replace(_PROXIED, price=1.0),
    }
