"""MTCaptcha.

Sources: docs.capsolver.com/en/guide/captcha/MtCaptcha/ for the tasks, docs.mtcaptcha.com/dev-guide-quickstart for the
page, the field, and the life of a token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy_capsolver.simulator.errors import solve_failed
from scrapy_capsolver.simulator.pages import script
from scrapy_capsolver.simulator.task_types import Fields, Job, TaskType, host_of, is_text, is_url
from scrapy_capsolver.simulator.tokens import Binding, random_text

from .base import USER_AGENT, TokenGate, make_site_key

if TYPE_CHECKING:
    from scrapy_capsolver.simulator.visit import Visit

LIFETIME_SECONDS = 120.0

SCRIPT = "https://service.mtcaptcha.com/mtcv1/client/mtcaptcha.min.js"


class MtCaptchaGate(TokenGate):
    name = "mtcaptcha"
    fields = ("mtcaptcha-verifiedtoken",)
    site_key = make_site_key("MTPublic-", name, 18).replace("_", "x")

    def head(self, visit: Visit) -> str:
        return f'<script>\nvar mtcaptchaConfig = {{"sitekey": "{self.site_key}"}};\n</script>\n{script(SCRIPT)}'

    def widget(self, visit: Visit) -> str:
        return '<div class="mtcaptcha"></div>'


def _solve(job: Job) -> Fields:
    key = job.fields["websiteKey"]
    if job.keys.get(key, MtCaptchaGate.name) != MtCaptchaGate.name:
        raise solve_failed()
    parts = ",".join(random_text(job.random, length) for length in (8, 16, 32, 160))
    token = job.tokens.issue(
        Binding(MtCaptchaGate.name, key, host_of(job.fields["websiteURL"]) or ""),
        f"v1({parts})",
        job.solved_at + LIFETIME_SECONDS,
    )
    return {"token": token, "userAgent": USER_AGENT}


def _type(name: str, *, needs_proxy: bool = False) -> TaskType:
    return TaskType(
        name=name,
        solve=_solve,
        price=1200,  # The real price is not published.
        seconds=(5.0, 30.0),
        required={"websiteURL": is_url, "websiteKey": is_text},
        needs_proxy=needs_proxy,
    )


TASK_TYPES = (_type("MtCaptchaTaskProxyLess"), _type("MtCaptchaTask", needs_proxy=True))

GATES = (MtCaptchaGate(),)
