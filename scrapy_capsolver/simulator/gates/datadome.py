"""DataDome: a page, or an answer in JSON, that leads to a captcha elsewhere, and a cookie that is new on every page.

Sources: docs.capsolver.com/en/guide/captcha/datadome for the task, and docs.datadome.co for the page, for the address
of the captcha that follows from its values, and for the cookie.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit

from scrapy_capsolver.simulator.clearances import Clearance, site_of
from scrapy_capsolver.simulator.errors import ApiError, invalid_task, solve_failed
from scrapy_capsolver.simulator.pages import document, js_text, json_page
from scrapy_capsolver.simulator.task_types import Attempt, Fields, Job, TaskType, is_text, is_url
from scrapy_capsolver.simulator.tokens import random_text

from .clearance import ClearanceGate

if TYPE_CHECKING:
    from scrapy_capsolver.simulator.pages import Page
    from scrapy_capsolver.simulator.shown import Shown
    from scrapy_capsolver.simulator.visit import Visit

CAPTCHA_HOST = "geo.captcha-delivery.com"

# For how long a captcha can be solved after it was shown, and a cookie used after it was replaced.
_CAPTCHA_SECONDS = 120.0
_GRACE_SECONDS = 30.0

# The rolling list of user agents is the documentation's.
_AGENT = re.compile(
    r"Mozilla/5\.0 \(Windows NT 10\.0; Win64; x64\) AppleWebKit/537\.36 \(KHTML, like Gecko\) "
    r"Chrome/(?P<version>\d+)\.0\.0\.0 Safari/537\.36"
)
_VERSIONS = range(137, 147)

# What a captcha's address has of the page, by the names that they have there and here.
_PARAMETERS = {"initialCid": "cid", "hash": "hsh", "cid": "cookie", "t": "t", "s": "s", "e": "e"}


class DataDomeGate(ClearanceGate):
    """The slider, or with ``?style=interstitial`` the check of the device.

    ``?style=json`` answers as to a script's request; ``?style=banned`` says that the visitor's address is banned.
    Where every page that is passed replaces the cookie, ``?style=rolling-strict`` takes none that was replaced, which
    others do for some time.
    """

    name = "datadome"
    cookie = "datadome"
    styles = frozenset({"interstitial", "json", "banned", "rolling-strict"})

    def grace(self, visit: Visit) -> float:
        return 0.0 if "rolling-strict" in visit.styles else _GRACE_SECONDS

    def clearance(self, visit: Visit) -> str | None:
        # A cookie that came with a captcha is none yet.
        if visit.site.shown.find(f"{self.name} cookie", visit.cookie(self.cookie)):
            return "missing"
        return super().clearance(visit)

    def follow_up(self, visit: Visit, page: Page) -> None:
        value = visit.cookie(self.cookie) or ""
        successor = f"{visit.site.next_ticket()}~{visit.secret('successor', value)}"
        visit.site.clearances.renew(value, successor)
        page.headers += [("X-DataDome", "protected"), ("Set-Cookie", _set_cookie(successor, visit.host))]

    def challenge(self, visit: Visit, reason: str) -> Page:
        ticket = visit.site.next_ticket()
        device_check = "interstitial" in visit.styles
        dd: dict[str, str | int] = {
            "rt": "i" if device_check else "c",
            "cid": f"AHrlqAAAAAMA{ticket}",
            "hsh": visit.site.sign("hsh", site_of(visit.host))[:30].upper(),
            "t": "bv" if "banned" in visit.styles else "fe",
            "qp": "",
            "s": int(ticket[:4], 16),
            "e": visit.secret("e", ticket) + visit.secret("e 2", ticket)[:24],
            "host": CAPTCHA_HOST,
            "cookie": f"{visit.secret('unsolved', ticket)}~{ticket}",
        }
        if device_check:
            dd["b"] = int(ticket[4:9], 16)
        shown = visit.shown(**{name: str(value) for name, value in dd.items()})
        visit.site.shown.add(self.name, str(dd["cid"]), shown)
        visit.site.shown.add(f"{self.name} cookie", str(dd["cookie"]), shown)
        if "json" in visit.styles:
            page = json_page({"url": _captcha_url(dd, f"http://{visit.header('host')}{visit.path}")}, status=403)
        else:
            page = _page(dd)
        page.headers += [("X-DataDome", "protected"), ("X-DD-B", "1")]
        page.headers.append(("Set-Cookie", _set_cookie(str(dd["cookie"]), visit.host)))
        return page


def _page(dd: dict[str, str | int]) -> Page:
    members = ",".join(f"'{name}':{value if isinstance(value, int) else js_text(value)}" for name, value in dd.items())
    script = f"https://ct.captcha-delivery.com/{dd['rt']}.js"
    return document(
        "shop",
        '<p id="cmsg">Please enable JS and disable any ad blocker</p>\n'
        f'<script data-cfasync="false">var dd={{{members}}}</script>'
        f'<script data-cfasync="false" src="{script}"></script>',
        status=403,
    )


def _captcha_url(dd: dict[str, str | int], referer: str) -> str:
    parameters = {name: str(dd[own]) for name, own in _PARAMETERS.items()}
    parameters |= {"referer": referer, "dm": "cd"} | ({"b": str(dd["b"])} if "b" in dd else {})
    return f"https://{CAPTCHA_HOST}/{'interstitial' if dd['rt'] == 'i' else 'captcha'}/?{urlencode(parameters)}"


def _set_cookie(value: str, host: str) -> str:
    # Where names have one part, and where there is none, a cookie belongs to its host alone.
    site = site_of(host)
    domain = f" Domain=.{site};" if "." in site and not site.rpartition(".")[2].isdigit() else ""
    return f"{DataDomeGate.cookie}={value}; Max-Age=31536000;{domain} Path=/; SameSite=Lax"


def _check(fields: Fields) -> None:
    agent = _AGENT.fullmatch(fields["userAgent"])
    if agent is None or int(agent["version"]) not in _VERSIONS:
        raise invalid_task("invalid task data: userAgent is not supported")
    parts = urlsplit(fields["captchaUrl"])
    query = dict(parse_qsl(parts.query))
    if (parts.scheme, parts.netloc) != ("https", CAPTCHA_HOST) or "initialCid" not in query:
        raise invalid_task("invalid task data: captchaUrl is invalid")
    if query.get("t") not in {"fe", "bv"}:
        raise invalid_task("invalid task data: captchaUrl must have t=fe")


def _attempt(attempt: Attempt) -> Shown:
    """Load the captcha through the proxy, which shows it to nobody but the one it was meant for."""
    parts = urlsplit(attempt.fields["captchaUrl"])
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if query["t"] == "bv":
        raise ApiError("ERROR_PROXY_BANNED", "The proxy is banned by the target")
    shown = attempt.shown.take(DataDomeGate.name, query["initialCid"], seconds=_CAPTCHA_SECONDS)
    if shown is None or (shown.address, shown.agent) != (attempt.address, attempt.fields["userAgent"]):
        raise solve_failed()
    details = shown.details
    if any(query.get(name) != details[own] for name, own in _PARAMETERS.items()):
        raise solve_failed()
    if parts.path != ("/interstitial/" if details["rt"] == "i" else "/captcha/") or query.get("b") != details.get("b"):
        raise solve_failed()
    return shown


def _solve(job: Job) -> Fields:
    assert job.found is not None
    agent = job.fields["userAgent"]
    value = job.clearances.issue(
        f"{random_text(job.random, 120)}~",
        Clearance(DataDomeGate.name, site_of(job.found.host), job.address, agent),
    )
    return {"cookie": _set_cookie(value, job.found.host), "userAgent": agent}


TASK_TYPES = (
    TaskType(
        name="DatadomeSliderTask",
        solve=_solve,
        price=2000,  # The real price is not published.
        seconds=(1.0, 20.0),
        required={"captchaUrl": is_url, "userAgent": is_text},
        optional={"websiteURL": is_text, "html": is_text},
        needs_proxy=True,
        check=_check,
        attempt=_attempt,
        dials=True,
    ),
)

GATES = (DataDomeGate(),)
