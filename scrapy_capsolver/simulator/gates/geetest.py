"""GeeTest, versions 3 and 4.

Sources: docs.capsolver.com/guide/captcha/Geetest for the task; docs.geetest.com/captcha/deploy/client/web for how pages
embed version 3, .../deploy/server for the fields that its server checks, and docs.geetest.com/gt4 for both of version 4.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from scrapy_capsolver.simulator.errors import invalid_task, solve_failed
from scrapy_capsolver.simulator.pages import hidden, js_text, json_page, script
from scrapy_capsolver.simulator.task_types import Attempt, Fields, Job, TaskType, host_of, is_text, is_url
from scrapy_capsolver.simulator.tokens import Binding, random_text

from .base import Gate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scrapy_capsolver.simulator.pages import Page
    from scrapy_capsolver.simulator.shown import Shown
    from scrapy_capsolver.simulator.visit import Visit

# Of a challenge that waits to be solved, and of a solution that waits to be handed in.
LIFETIME_SECONDS = 60.0


class GeeTestV3Gate(Gate):
    """The page fetches a challenge of the visitor's session; ``?style=inline`` has it in the page.

    A solution consists of the challenge, the validation, and the seccode, which follows from the validation.
    """

    name = "geetest-v3"
    fields = ("geetest_challenge", "geetest_validate", "geetest_seccode")
    styles = frozenset({"inline"})
    site_key = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()

    def head(self, visit: Visit) -> str:
        return script("https://static.geetest.com/static/tools/gt.js")

    def widget(self, visit: Visit) -> str:
        values = "".join(f"{hidden(name, '')}\n" for name in self.fields)
        box = '<div id="captcha"></div>\n'
        if "inline" in visit.styles:
            gt, challenge = js_text(self.site_key), js_text(self._challenge(visit))
            return (
                f"{box}{values}<script>\ninitGeetest({{\n  gt: {gt},\n  challenge: {challenge},\n"
                '  offline: false,\n  new_captcha: true,\n  product: "popup"\n}, handler);\n</script>'
            )
        address = js_text(f"/{self.name}/{visit.number}/register?t=")
        return (
            f"{box}{values}<script>\nfetch({address} + (new Date()).getTime()).then(function (answer) {{\n"
            "  return answer.json();\n}).then(function (data) {\n"
            "  initGeetest({gt: data.gt, challenge: data.challenge, offline: !data.success, "
            'new_captcha: data.new_captcha, product: "popup"}, handler);\n});\n</script>'
        )

    def below(self, visit: Visit, name: str) -> Page | None:
        if name != "register":
            return None
        challenge = self._challenge(visit)
        return json_page({"success": 1, "gt": self.site_key, "challenge": challenge, "new_captcha": True})

    def _challenge(self, visit: Visit) -> str:
        challenge = visit.site.next_ticket()
        visit.site.shown.add(self.name, challenge, visit.shown())
        return challenge

    def refusal(self, visit: Visit, solution: Mapping[str, str]) -> str | None:
        challenge, validate, seccode = (solution.get(name, "") for name in self.fields)
        if not (challenge and validate and seccode):
            return "incomplete"
        if seccode != f"{validate}|jordan":
            return "wrong-seccode"
        shown = visit.site.shown.find(self.name, challenge[:32])
        if shown is None or shown.solution != {"challenge": challenge, "validate": validate}:
            return "unknown"
        if shown.session != visit.session:
            return "wrong-session"
        return visit.site.tokens.siteverify(validate, Binding(self.name, self.site_key, visit.host))


class GeeTestV4Gate(Gate):
    name = "geetest-v4"
    fields = ("lot_number", "captcha_output", "pass_token", "gen_time", "captcha_id")
    site_key = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()

    def head(self, visit: Visit) -> str:
        return script("https://static.geetest.com/v4/gt4.js")

    def widget(self, visit: Visit) -> str:
        values = "".join(f"{hidden(name, '')}\n" for name in self.fields[:4])
        return (
            f'<div id="captcha"></div>\n{values}<script>\n'
            f"initGeetest4({{captchaId: {js_text(self.site_key)}, product: 'bind', riskType: 'slide'}}, handler);\n"
            "</script>"
        )

    def refusal(self, visit: Visit, solution: Mapping[str, str]) -> str | None:
        if any(name not in solution for name in self.fields[:4]):
            return "incomplete"
        if solution.get("captcha_id", self.site_key) != self.site_key:
            return "wrong-site-key"
        shown = visit.site.shown.find(self.name, solution["pass_token"])
        if shown is None or any(solution[name] != shown.solution[name] for name in self.fields[:4]):
            return "unknown"
        return visit.site.tokens.siteverify(solution["pass_token"], Binding(self.name, self.site_key, visit.host))


def _check(fields: Fields) -> None:
    if fields.get("captchaId"):
        return
    if not fields.get("gt") and not fields.get("challenge"):
        raise invalid_task("invalid task data: captchaId is required")
    for name in ("gt", "challenge"):
        if not fields.get(name):
            raise invalid_task(f"invalid task data: {name} is required")


def _attempt(attempt: Attempt) -> Shown | None:
    if attempt.fields.get("captchaId"):
        return None
    shown = attempt.shown.take(GeeTestV3Gate.name, attempt.fields["challenge"], seconds=LIFETIME_SECONDS)
    if shown is None or attempt.fields["gt"] != GeeTestV3Gate.site_key:
        raise solve_failed()
    return shown


def _solve(job: Job) -> Fields:
    return _solve_v4(job) if job.found is None else _solve_v3(job, job.found)


def _solve_v3(job: Job, shown: Shown) -> Fields:
    validate = job.random.randbytes(16).hex()
    solution = {"challenge": job.fields["challenge"] + job.random.randbytes(1).hex(), "validate": validate}
    shown.solution = solution
    _issue(job, GeeTestV3Gate.name, job.fields["gt"], validate)
    return dict(solution)


def _solve_v4(job: Job) -> Fields:
    key = job.fields["captchaId"]
    if job.keys.get(key, GeeTestV4Gate.name) != GeeTestV4Gate.name:
        raise solve_failed()
    dice = job.random
    solution = {
        "captcha_id": key,
        "captcha_output": random_text(dice, 300) + "==",
        "gen_time": str(int(job.solved_at_epoch)),
        "lot_number": dice.randbytes(16).hex(),
        "pass_token": dice.randbytes(32).hex(),
        "risk_type": job.fields.get("riskType") or "slide",
    }
    host = host_of(job.fields["websiteURL"]) or ""
    job.shown.add(GeeTestV4Gate.name, solution["pass_token"], job.shown.nobody(host, solution))
    _issue(job, GeeTestV4Gate.name, key, solution["pass_token"])
    return dict(solution)


def _issue(job: Job, kind: str, key: str, text: str) -> None:
    host = host_of(job.fields["websiteURL"]) or ""
    job.tokens.issue(Binding(kind, key, host), text, job.solved_at + LIFETIME_SECONDS)


TASK_TYPES = (
    TaskType(
        name="GeeTestTaskProxyLess",
        solve=_solve,
        price=1200,
        seconds=(1.0, 30.0),
        required={"websiteURL": is_url},
        optional=dict.fromkeys(("gt", "challenge", "captchaId", "riskType", "geetestApiServerSubdomain"), is_text),
        check=_check,
        attempt=_attempt,
    ),
)

GATES = (GeeTestV3Gate(), GeeTestV4Gate())
