"""AWS WAF: the captcha, the silent challenge, and the six situations in which CapSolver wants different fields.

Sources: docs.capsolver.com/guide/captcha/awsWaf for the tasks and their errors;
docs.aws.amazon.com/waf/latest/developerguide/waf-captcha-and-challenge-how-it-works.html for statuses and headers,
.../waf-tokens-immunity-times.html for the life of a token, and .../waf-js-captcha-api.html for the script's interface.
"""

from __future__ import annotations

import hashlib
import uuid
from base64 import b64encode
from typing import TYPE_CHECKING

from scrapy_capsolver.simulator.clearances import Clearance
from scrapy_capsolver.simulator.errors import ApiError
from scrapy_capsolver.simulator.pages import attributes, document, js_text
from scrapy_capsolver.simulator.task_types import Attempt, Fields, Job, TaskType, host_of, is_text, is_url
from scrapy_capsolver.simulator.tokens import random_text

from .base import page_at
from .clearance import ClearanceGate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scrapy_capsolver.simulator.pages import Page
    from scrapy_capsolver.simulator.visit import Visit

IMMUNITY_SECONDS = 300.0

# For how long the parameters of a page are good. No figure is published.
_PARAMETER_SECONDS = 60.0

_ID, _OTHER_ID, _KEY_ID = (hashlib.sha256(name).hexdigest()[:12] for name in (b"integration", b"other", b"key"))
_REGION = "us-east-1"
CHALLENGE_JS = f"https://{_ID}.edge.sdk.awswaf.com/{_ID}/{_OTHER_ID}/challenge.js"
CAPTCHA_JS = f"https://{_ID}.{_REGION}.captcha.awswaf.com/{_ID}/{_OTHER_ID}/captcha.js"
API_JS = f"https://{_ID}.edge.captcha-sdk.awswaf.com/{_ID}/jsapi.js"
API_KEY = b64encode(hashlib.sha512(b"api key").digest() * 2).decode("ascii")
# The key of gokuProps is the same on all pages of a site.
_GOKU_KEY = b64encode(hashlib.sha512(_KEY_ID.encode()).digest() * 3).decode("ascii")

# The fields by which the situations differ, and those that go with gokuProps.
_FIELDS = ("awsKey", "awsIv", "awsContext", "awsChallengeJS", "awsApiJs", "awsProblemUrl", "awsApiKey")
_EXISTING = "awsExistingToken"
_GOKU = frozenset({"awsKey", "awsIv", "awsContext", "awsChallengeJS"})
_SECOND = frozenset({"awsApiKey", "awsApiJs", _EXISTING})

# For each style of a page, the fields that may come with websiteURL.
_SITUATIONS: Mapping[str, tuple[frozenset[str], ...]] = {
    "": (frozenset(), _GOKU),
    "challenge": (frozenset(), _GOKU, frozenset({"awsChallengeJS"})),
    "needs-params": (_GOKU,),
    "challenge-only": (frozenset({"awsChallengeJS"}),),
    "jsapi": (frozenset({"awsApiJs"}),),
    "problem": (frozenset({"awsProblemUrl"}),),
    "again": (frozenset(), _GOKU, _SECOND),
    "first-address": (frozenset(), _GOKU),
}


class AwsWafGate(ClearanceGate):
    """The captcha, or another page by ``?style=``.

    - ``challenge``: the check of the browser, which shows nothing; ``challenge-only``: the same without gokuProps.
    - ``jsapi``: a page of the site that embeds the captcha by its script interface.
    - ``problem``: a page that names the endpoint of the problems.
    - ``needs-params``: the captcha, which a solver does not get to see when it goes there by itself.
    - ``again``: a visitor with a token, good or expired, has to do another one, like ``jsapi`` but with the token; only
      the second token opens.
    - ``first-address``: the site, not AWS, binds a token to the address that brings it first.
    """

    name = "aws-waf"
    cookie = "aws-waf-token"
    styles = frozenset(style for style in _SITUATIONS if style)

    def wanted(self, visit: Visit) -> Clearance:
        address = visit.address if "first-address" in visit.styles else None
        return Clearance(self.name, visit.host, address, level=2 if "again" in visit.styles else 1)

    def clearance(self, visit: Visit) -> str | None:
        if "first-address" in visit.styles:
            visit.site.clearances.bind(visit.cookie(self.cookie) or "", visit.address)
        return super().clearance(visit)

    def challenge(self, visit: Visit, reason: str) -> Page:
        styles = visit.styles
        if "again" in styles and visit.site.clearances.known(visit.cookie(self.cookie) or "", self.name, visit.host):
            return _script_page(visit)
        if "jsapi" in styles:
            return _script_page(visit)
        if "problem" in styles:
            return _problem_page(visit)
        if "challenge-only" in styles:
            return _challenge_page("")
        if "challenge" in styles:
            return _challenge_page(_goku_props(visit))
        return _captcha_page(_goku_props(visit))


def problem_url(host: str) -> str:
    return f"https://{_ID}.{_REGION}.captcha.awswaf.com/{_ID}/problem?kind=visual&domain={host}&locale=en-us"


def _goku_props(visit: Visit) -> str:
    ticket = visit.site.next_ticket()
    iv = b64encode(bytes.fromhex(ticket[:24])).decode("ascii")
    context = b64encode(
        bytes.fromhex("".join(visit.secret("context", ticket, str(part)) for part in range(6)))
    ).decode()
    visit.site.shown.add(AwsWafGate.name, context, visit.shown(key=_GOKU_KEY, iv=iv))
    return (
        '<script type="text/javascript">\nwindow.awsWafCookieDomainList = [];\n'
        f'window.gokuProps = {{\n"key":"{_GOKU_KEY}",\n          "iv":"{iv}",\n          "context":"{context}"\n}};\n</script>'
    )


def _script(address: str) -> str:
    return f"<script{attributes({'src': address})}></script>"


def _challenge_page(goku_props: str) -> Page:
    page = document(
        "",
        '<div id="challenge-container"></div>\n<script type="text/javascript">\n'
        "AwsWafIntegration.saveReferrer();\n"
        "AwsWafIntegration.getToken().then(() => { window.location.reload(true); });\n</script>\n"
        "<noscript><h1>JavaScript is disabled</h1></noscript>",
        head=f"{goku_props}\n{_script(CHALLENGE_JS)}",
        status=202,
    )
    page.headers += [("Server", "awselb/2.0"), ("x-amzn-waf-action", "challenge")]
    return page


def _captcha_page(goku_props: str) -> Page:
    page = document(
        "Human Verification",
        '<div id="captcha-container"></div>\n<script type="text/javascript">\n'
        "AwsWafIntegration.saveReferrer();\n"
        "window.addEventListener('load', function() {\n"
        "  const container = document.querySelector('#captcha-container');\n"
        "  CaptchaScript.renderCaptcha(container, async (voucher) => {\n"
        "    await ChallengeScript.submitCaptcha(voucher);\n    window.location.reload(true);\n  });\n});\n</script>",
        head=f"{goku_props}\n{_script(CHALLENGE_JS)}\n{_script(CAPTCHA_JS)}",
        status=405,
    )
    page.headers += [("Server", "awselb/2.0"), ("x-amzn-waf-action", "captcha")]
    return page


def _script_page(visit: Visit) -> Page:
    page = document(
        "Please confirm that you are human",
        '<h1>Please confirm that you are human</h1>\n<div id="my-captcha-container"></div>\n<script>\n'
        "function showMyCaptcha() {\n  var container = document.querySelector('#my-captcha-container');\n"
        f"  AwsWafCaptcha.renderCaptcha(container, {{\n    apiKey: {js_text(API_KEY)},\n"
        "    onSuccess: function (token) { location.reload(); }\n  });\n}\n</script>",
        head=f'<script type="text/javascript"{attributes({"src": API_JS})} defer></script>',
        status=405 if "again" in visit.styles else 403,
    )
    page.headers.append(("x-amzn-waf-action", "captcha"))
    return page


def _problem_page(visit: Visit) -> Page:
    page = document(
        "Please confirm that you are human",
        f'<div id="captcha"></div>\n<script>\nfetch({js_text(problem_url(visit.host))})'
        ".then(function (answer) { return answer.json(); }).then(show);\n</script>",
        status=405,
    )
    page.headers.append(("x-amzn-waf-action", "captcha"))
    return page


def _no_challenge() -> ApiError:
    return ApiError("ERROR_CAPTCHA_SOLVE_FAILED", "captcha render unexpect status code")


def _expired() -> ApiError:
    return ApiError("ERROR_CAPTCHA_SOLVE_FAILED", "timeout metering, your parameters have expired")


def _attempt(attempt: Attempt) -> None:
    fields = attempt.fields
    name, styles = page_at(fields["websiteURL"])
    sent = frozenset(field for field in (*_FIELDS, _EXISTING) if fields.get(field))
    situations = _SITUATIONS.get("".join(styles)) if name == AwsWafGate.name and len(styles) < 2 else None
    if situations is None or sent not in situations:
        raise _no_challenge()
    host = host_of(fields["websiteURL"]) or ""
    shown_to_all = {
        "awsChallengeJS": CHALLENGE_JS,
        "awsApiJs": API_JS,
        "awsApiKey": API_KEY,
        "awsProblemUrl": problem_url(host),
    }
    if any(field in sent and fields[field] != value for field, value in shown_to_all.items()):
        raise _no_challenge()
    if _EXISTING in sent and not attempt.clearances.known(fields[_EXISTING], AwsWafGate.name, host):
        raise _no_challenge()
    if "awsContext" in sent:
        shown = attempt.shown.take(AwsWafGate.name, fields["awsContext"], seconds=_PARAMETER_SECONDS)
        of_page = {} if shown is None else {**shown.details, "host": shown.host}
        if of_page != {"key": fields["awsKey"], "iv": fields["awsIv"], "host": host}:
            raise _expired()


def _solve(job: Job) -> Fields:
    dice = job.random
    value = f"{uuid.UUID(int=dice.getrandbits(128), version=4)}:{random_text(dice, 16)}:{random_text(dice, 200)}"
    host = host_of(job.fields["websiteURL"]) or ""
    level = 2 if job.fields.get(_EXISTING) else 1
    job.clearances.issue(value, Clearance(AwsWafGate.name, host, level=level, expires=job.solved_at + IMMUNITY_SECONDS))
    return {"cookie": value}


def _type(name: str, *, needs_proxy: bool = False) -> TaskType:
    return TaskType(
        name=name,
        solve=_solve,
        price=2000,
        seconds=(1.0, 30.0),
        required={"websiteURL": is_url},
        optional=dict.fromkeys((*_FIELDS, _EXISTING), is_text),
        needs_proxy=needs_proxy,
        attempt=_attempt,
        dials=needs_proxy,
    )


TASK_TYPES = (_type("AntiAwsWafTaskProxyLess"), _type("AntiAwsWafTask", needs_proxy=True))

GATES = (AwsWafGate(),)
