"""reCAPTCHA v3, and its Enterprise form: a script that asks for a token without showing anything.

Sources: docs.capsolver.com/en/guide/captcha/ReCaptchaV3/ for the tasks, developers.google.com/recaptcha/docs/v3 and
cloud.google.com/recaptcha/docs for how pages embed it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from scrapy_capsolver.simulator.pages import attributes, js_text, script
from scrapy_capsolver.simulator.task_types import MICRO, Fields, Job, TaskType, is_number

from .base import make_site_key
from .recaptcha import ENTERPRISE_SCRIPT, OPTIONAL, REQUIRED, SCRIPT, SOLVE_SECONDS, RecaptchaGate, issue

if TYPE_CHECKING:
    from scrapy_capsolver.simulator.visit import Visit

# What a solver executes when the task names no action, by older documentation.
DEFAULT_ACTION = "verify"


class RecaptchaV3Gate(RecaptchaGate):
    action = "view"
    styles = frozenset({"button"})

    def __init__(self, name: str, *, enterprise: bool = False) -> None:
        self.name = name
        self.enterprise = enterprise
        self.site_key = make_site_key("6L", name, 40)

    def head(self, visit: Visit) -> str:
        address = ENTERPRISE_SCRIPT if self.enterprise else SCRIPT
        return script(address if "button" in visit.styles else f"{address}?render={self.site_key}")

    def widget(self, visit: Visit) -> str:
        if "button" in visit.styles:
            return ""
        name = "grecaptcha.enterprise" if self.enterprise else "grecaptcha"
        key, action = js_text(self.site_key), js_text(self.action)
        return (
            f'<input type="hidden" id="token" name="{self.fields[0]}" value="">\n<script>\n'
            f"{name}.ready(function() {{\n"
            f"  {name}.execute({key}, {{action: {action}}}).then(function(token) {{\n"
            "    document.getElementById('token').value = token;\n  });\n});\n</script>"
        )

    def submit(self, visit: Visit) -> str:
        if "button" not in visit.styles:
            return super().submit(visit)
        data = {"class": "g-recaptcha", "data-sitekey": self.site_key, "data-action": self.action}
        data |= {"data-callback": "onSubmit", "name": "go", "value": "Continue"}
        return f"<button{attributes(data)}>Continue</button>"


def _solve(job: Job, *, enterprise: bool) -> Fields:
    kind = "recaptcha-v3-enterprise" if enterprise else "recaptcha-v3"
    return issue(job, kind, action=job.fields.get("pageAction") or DEFAULT_ACTION)


def _type(name: str, price: int, *, needs_proxy: bool = False, by_get_token: bool = True) -> TaskType:
    return TaskType(
        name=name,
        solve=partial(_solve, enterprise="Enterprise" in name),
        price=price,
        seconds=SOLVE_SECONDS,
        required=REQUIRED,
        optional={**OPTIONAL, "minScore": is_number},
        needs_proxy=needs_proxy,
        by_get_token=by_get_token,
    )


# The price of the M1 types is unknown.
_UNKNOWN = MICRO // 1000

TASK_TYPES = (
    _type("ReCaptchaV3TaskProxyLess", 1000),
    _type("ReCaptchaV3Task", 1000, needs_proxy=True),
    _type("ReCaptchaV3EnterpriseTaskProxyLess", 3000),
    _type("ReCaptchaV3EnterpriseTask", 3000, needs_proxy=True),
    _type("ReCaptchaV3M1TaskProxyLess", _UNKNOWN, by_get_token=False),
    _type("ReCaptchaV3M1Task", _UNKNOWN, needs_proxy=True, by_get_token=False),
    _type("ReCaptchaV3EnterpriseM1TaskProxyLess", _UNKNOWN, by_get_token=False),
    _type("ReCaptchaV3EnterpriseM1Task", _UNKNOWN, needs_proxy=True, by_get_token=False),
)

GATES = (RecaptchaV3Gate("recaptcha-v3"), RecaptchaV3Gate("recaptcha-v3-enterprise", enterprise=True))
