"""Captchas that CapSolver does not solve (any more): their gates open to nobody.

Sources: docs.hcaptcha.com for hCaptcha, developer.arkoselabs.com for FunCaptcha, and docs.humansecurity.com for the page
of what was PerimeterX.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING

from scrapy_capsolver.simulator.clearances import Clearance
from scrapy_capsolver.simulator.pages import attributes, document, script

from .base import Gate
from .clearance import ClearanceGate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scrapy_capsolver.simulator.pages import Page
    from scrapy_capsolver.simulator.visit import Visit


def _uuid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


class HCaptchaGate(Gate):
    name = "hcaptcha"
    fields = ("h-captcha-response",)
    site_key = _uuid(name)

    def head(self, visit: Visit) -> str:
        return script("https://js.hcaptcha.com/1/api.js")

    def widget(self, visit: Visit) -> str:
        return f"<div{attributes({'class': 'h-captcha', 'data-sitekey': self.site_key})}></div>"

    def refusal(self, visit: Visit, solution: Mapping[str, str]) -> str | None:
        return "unknown"


class FunCaptchaGate(Gate):
    name = "funcaptcha"
    fields = ("fc-token",)
    site_key = _uuid(name).upper()

    def head(self, visit: Visit) -> str:
        data = {
            "src": f"https://client-api.arkoselabs.com/v2/{self.site_key}/api.js",
            "data-callback": "setupEnforcement",
        }
        return f"<script{attributes(data)} async defer></script>"

    def widget(self, visit: Visit) -> str:
        data = {"id": "arkose", "data-pkey": self.site_key}
        field = {"type": "hidden", "name": self.fields[0], "id": "FunCaptcha-Token", "value": ""}
        return f"<div{attributes(data)}></div>\n<input{attributes(field)}>"

    def refusal(self, visit: Visit, solution: Mapping[str, str]) -> str | None:
        return "unknown"


class PerimeterXGate(ClearanceGate):
    name = "perimeterx"
    cookie = "_px3"
    app_id = "PX" + hashlib.sha256(name.encode()).hexdigest()[:8]

    def wanted(self, visit: Visit) -> Clearance:
        return Clearance(self.name, visit.host)

    def challenge(self, visit: Visit, reason: str) -> Page:
        own = f"{self.app_id[2:]}/captcha"
        values = {
            "_pxAppId": self.app_id,
            "_pxJsClientSrc": f"/{self.app_id[2:]}/init.js",
            "_pxHostUrl": f"/{self.app_id[2:]}/xhr",
            "_pxUuid": _uuid(visit.site.next_ticket()),
            "_pxVid": _uuid(visit.session),
        }
        members = "".join(f"window.{name} = '{value}';\n" for name, value in values.items())
        return document(
            "Access to this page has been denied",
            "<h1>Press &amp; Hold to confirm you are a human (and not a bot).</h1>\n"
            '<div id="px-captcha"></div>\n'
            f"<script>\n{members}window._pxFirstPartyEnabled = true;\n</script>\n"
            f"{script(f'https://captcha.px-cdn.net/{own}/captcha.js?a=c&m=0')}",
            head='<meta name="robots" content="noindex, nofollow">',
            status=403,
        )


TASK_TYPES = ()

GATES = (HCaptchaGate(), FunCaptchaGate(), PerimeterXGate())
