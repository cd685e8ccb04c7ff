"""Cloudflare Turnstile.

Sources: docs.capsolver.com/guide/captcha/cloudflare_turnstile for the tasks,
developers.cloudflare.com/turnstile/get-started/client-side-rendering/ for how pages embed the widget, and
developers.cloudflare.com/turnstile/get-started/server-side-validation/ for the life of a token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy_capsolver.simulator.errors import solve_failed
from scrapy_capsolver.simulator.pages import attributes, js_text, script
from scrapy_capsolver.simulator.task_types import Fields, Job, TaskType, host_of, is_text, is_text_map, is_url
from scrapy_capsolver.simulator.tokens import Binding, random_text

from .base import USER_AGENT, TokenGate, make_site_key

if TYPE_CHECKING:
    from scrapy_capsolver.simulator.visit import Visit

LIFETIME_SECONDS = 300.0

SCRIPT = "https://challenges.cloudflare.com/turnstile/v0/api.js"


class TurnstileGate(TokenGate):
    name = "turnstile"
    fields = ("cf-turnstile-response",)
    action = "view"
    site_key = make_site_key("0x4AAAAAAA", name, 24)
    styles = frozenset({"rendered"})

    def cdata(self, visit: Visit) -> str:
        return visit.secret("cdata")[:24]

    def head(self, visit: Visit) -> str:
        return script(
            SCRIPT + "?render=explicit&onload=onloadTurnstileCallback" if "rendered" in visit.styles else SCRIPT
        )

    def widget(self, visit: Visit) -> str:
        if "rendered" not in visit.styles:
            data = {"class": "cf-turnstile", "data-sitekey": self.site_key}
            data |= {"data-action": self.action, "data-cdata": self.cdata(visit)}
            return f"<div{attributes(data)}></div>"
        return (
            '<div id="box"></div>\n<script>\nwindow.onloadTurnstileCallback = function () {\n'
            f"  turnstile.render('#box', {{\n    sitekey: {js_text(self.site_key)},\n"
            f"    action: {js_text(self.action)},\n    cData: {js_text(self.cdata(visit))},\n"
            "    callback: function (token) { console.log('solved'); }\n  });\n};\n</script>"
        )


def _solve(job: Job) -> Fields:
    key = job.fields["websiteKey"]
    if job.keys.get(key, TurnstileGate.name) != TurnstileGate.name:
        raise solve_failed()
    metadata = job.fields.get("metadata") or {}
    token = job.tokens.issue(
        Binding(
            TurnstileGate.name,
            key,
            host_of(job.fields["websiteURL"]) or "",
            action=metadata.get("action") or None,
            cdata=metadata.get("cdata") or None,
        ),
        f"0.{random_text(job.random, 400)}.{random_text(job.random, 22)}.{job.random.randbytes(32).hex()}",
        job.solved_at + LIFETIME_SECONDS,
    )
    return {"token": token, "type": "turnstile", "userAgent": USER_AGENT}


def _type(name: str, *, needs_proxy: bool = False) -> TaskType:
    return TaskType(
        name=name,
        solve=_solve,
        price=1200,
        seconds=(1.0, 20.0),
        required={"websiteURL": is_url, "websiteKey": is_text},
        optional={"metadata": is_text_map},
        needs_proxy=needs_proxy,
    )


# The second is what CapSolver's own client sends when it is given a proxy. Its price is unknown.
TASK_TYPES = (_type("AntiTurnstileTaskProxyLess"), _type("AntiTurnstileTask", needs_proxy=True))

GATES = (TurnstileGate(),)
