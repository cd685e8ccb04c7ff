"""reCAPTCHA v2: the checkbox, the invisible one, and Enterprise.

Sources: docs.capsolver.com/en/guide/captcha/ReCaptchaV2/ for the tasks, and developers.google.com/recaptcha/docs/display,
.../docs/invisible and cloud.google.com/recaptcha/docs for how pages embed the widget.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from scrapy_capsolver.simulator.pages import attributes, js_text, script
from scrapy_capsolver.simulator.task_types import Fields, Job, TaskType, is_flag, is_text

from .base import make_site_key
from .recaptcha import ENTERPRISE_SCRIPT, OPTIONAL, REQUIRED, SCRIPT, SOLVE_SECONDS, RecaptchaGate, issue

if TYPE_CHECKING:
    from scrapy_capsolver.simulator.visit import Visit


class RecaptchaV2Gate(RecaptchaGate):
    """``?style=data-s`` makes the page carry a ``data-s`` value, which the task must pass on."""

    styles = frozenset({"rendered", "data-s"})

    def __init__(self, name: str, *, enterprise: bool = False, invisible: bool = False) -> None:
        self.name = name
        self.enterprise = enterprise
        self.invisible = invisible
        self.site_key = make_site_key("6L", name, 40)
        if invisible:
            self.styles |= {"button"}

    def data_s(self, visit: Visit) -> str | None:
        return visit.secret("data-s")[:32] if "data-s" in visit.styles else None

    def head(self, visit: Visit) -> str:
        address = ENTERPRISE_SCRIPT if self.enterprise else SCRIPT
        if "rendered" in visit.styles:
            address += "?onload=onloadCallback&render=explicit"
        return script(address)

    def widget(self, visit: Visit) -> str:
        data_s = self.data_s(visit)
        if "rendered" in visit.styles:
            options = [f"sitekey: {js_text(self.site_key)}"]
            options += ["size: 'invisible'", "callback: onSubmit"] if self.invisible else ["theme: 'light'"]
            if data_s:
                options.append(f"s: {js_text(data_s)}")
            name = "grecaptcha.enterprise" if self.enterprise else "grecaptcha"
            return (
                '<div id="box"></div>\n<script>\n'
                f"var onloadCallback = function() {{\n  {name}.render('box', {{{', '.join(options)}}});\n}};\n</script>"
            )
        if "button" in visit.styles:
            return ""
        data = {"class": "g-recaptcha", "data-sitekey": self.site_key, "data-s": data_s}
        if self.invisible:
            data |= {"data-size": "invisible", "data-callback": "onSubmit"}
        return f"<div{attributes(data)}></div>"

    def submit(self, visit: Visit) -> str:
        if "button" not in visit.styles:
            return super().submit(visit)
        # "Automatically bind the challenge to a button", the first way of developers.google.com/recaptcha/docs/invisible.
        data = {"class": "g-recaptcha", "data-sitekey": self.site_key, "data-s": self.data_s(visit)}
        data |= {"data-callback": "onSubmit", "name": "go", "value": "Continue"}
        return f"<button{attributes(data)}>Continue</button>"


def _solve(job: Job, *, enterprise: bool) -> Fields:
    fields = job.fields
    if enterprise:
        kind = "recaptcha-v2-enterprise"
        data_s = (fields.get("enterprisePayload") or {}).get("s")
    else:
        kind = "recaptcha-v2-invisible" if fields.get("isInvisible") else "recaptcha-v2"
        data_s = fields.get("recaptchaDataSValue")
    return issue(job, kind, action=fields.get("pageAction"), data_s=data_s)


def _type(name: str, price: int, *, needs_proxy: bool = False) -> TaskType:
    return TaskType(
        name=name,
        solve=partial(_solve, enterprise="Enterprise" in name),
        price=price,
        seconds=SOLVE_SECONDS,
        required=REQUIRED,
        optional={**OPTIONAL, "recaptchaDataSValue": is_text, "isInvisible": is_flag},
        needs_proxy=needs_proxy,
        by_get_token=True,
    )


TASK_TYPES = (
    _type("ReCaptchaV2TaskProxyLess", 800),
    _type("ReCaptchaV2Task", 800, needs_proxy=True),
    _type("ReCaptchaV2EnterpriseTaskProxyLess", 1000),
    _type("ReCaptchaV2EnterpriseTask", 1000, needs_proxy=True),
)

GATES = (
    RecaptchaV2Gate("recaptcha-v2"),
    RecaptchaV2Gate("recaptcha-v2-invisible", invisible=True),
    RecaptchaV2Gate("recaptcha-v2-enterprise", enterprise=True),
)
