"""BotDeflector: a signed flow of the session, which the solver takes to an endpoint that may be on another host.

Source: docs.capsolver.com/en/guide/captcha/botdeflector/ for the task. The solution's shape and the field that takes it
are assumptions: no published text names them.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING

from scrapy_capsolver.simulator.errors import solve_failed
from scrapy_capsolver.simulator.pages import hidden, script
from scrapy_capsolver.simulator.task_types import Attempt, Fields, Job, TaskType, host_of, is_text, is_url
from scrapy_capsolver.simulator.tokens import Binding, random_text

from .base import Gate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scrapy_capsolver.simulator.shown import Shown
    from scrapy_capsolver.simulator.visit import Visit

# The host of the endpoints, which the task calls the domain.
DOMAIN = "deflector.example"

# For how long a flow can be taken up; and a solution handed in, of which nothing is published.
LIFETIME_SECONDS = 120.0


class BotDeflectorGate(Gate):
    name = "botdeflector"
    fields = ("botdeflector-token",)

    def head(self, visit: Visit) -> str:
        flow = self._flow(visit)
        return (
            f'<script>\nwindow.botDeflectorJwtToken = "{flow}";\n</script>\n'
            f"{script(f'https://{DOMAIN}/pow/get?session={visit.secret(self.name)[:16]}')}"
        )

    def widget(self, visit: Visit) -> str:
        icons = f"https://{DOMAIN}/icon/get"
        return f'<div id="bot-deflector" data-endpoint="{icons}"></div>\n{hidden(self.fields[0], "")}'

    def _flow(self, visit: Visit) -> str:
        """Return a JWT that the site signed for the session."""
        header = _base64(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
        claims = {"jti": visit.site.next_ticket(), "sub": visit.session, "aud": visit.host}
        payload = _base64(json.dumps(claims).encode())
        flow = f"{header}.{payload}.{_base64(bytes.fromhex(visit.secret(self.name, payload)))}"
        visit.site.shown.add(self.name, flow, visit.shown())
        return flow

    def refusal(self, visit: Visit, solution: Mapping[str, str]) -> str | None:
        token = solution[self.fields[0]]
        shown = visit.site.shown.find(f"{self.name} solution", token)
        if shown is not None and shown.session != visit.session:
            return "wrong-session"
        return visit.site.tokens.siteverify(token, Binding(self.name, DOMAIN, visit.host))


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _attempt(attempt: Attempt) -> Shown:
    fields = attempt.fields
    shown = attempt.shown.take(BotDeflectorGate.name, fields["flowToken"], seconds=LIFETIME_SECONDS)
    if shown is None or fields["domain"] != DOMAIN or host_of(fields["websiteURL"]) != shown.host:
        raise solve_failed()
    return shown


def _solve(job: Job) -> Fields:
    assert job.found is not None
    token = job.tokens.issue(
        Binding(BotDeflectorGate.name, DOMAIN, job.found.host),
        random_text(job.random, 120),
        job.solved_at + LIFETIME_SECONDS,
    )
    job.shown.add(f"{BotDeflectorGate.name} solution", token, job.found)
    return {"token": token}


TASK_TYPES = (
    TaskType(
        name="AntiBotdeflectorTaskProxyLess",
        solve=_solve,
        price=1200,  # The real price is not published.
        seconds=(2.0, 20.0),
        required={"websiteURL": is_url, "domain": is_text, "flowToken": is_text},
        attempt=_attempt,
    ),
)

GATES = (BotDeflectorGate(),)
