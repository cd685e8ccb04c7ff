"""Flags with names that an editor completes and a type checker checks: one function for each kind of captcha.

Each gives a plain dict in CapSolver's own words, which JSON and pickle carry::

    from scrapy_capsolver import captcha

    Request(url, meta={"capsolver": captcha.turnstile(website_key="0x4AAAAAAADnPIDROrmt1Wwj", when="before")})

It goes wherever a flag goes: into a request's meta, into a spider's attribute ``capsolver``, into
:meth:`CapSolver.solve() <scrapy_capsolver.CapSolver.solve>`. Arguments are named as CapSolver's fields are, in Python's
spelling: ``website_key`` is ``websiteKey``. What is not given is left out of the dict, and read from the page. A flag that
cannot be right is a :class:`~scrapy_capsolver.CaptchaConfigurationError` at once, or a ``TypeError`` for an argument that
there is not.

All functions take, besides their own, the arguments of :class:`Common`; those of tokens and pictures take ``inject`` as well.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Unpack

# Nothing else of this package or of Scrapy is imported above the functions: a module of settings may use them.

__all__ = [
    "aws_waf",
    "aws_waf_classification",
    "botdeflector",
    "cloudflare_challenge",
    "datadome",
    "geetest",
    "image_to_text",
    "mtcaptcha",
    "on_page",
    "raw",
    "recaptcha_v2",
    "recaptcha_v2_classification",
    "recaptcha_v3",
    "turnstile",
    "vision_engine",
]


class Inject(TypedDict, total=False):
    """Where a solution goes. Each is a name, or names with the keys of the solution: ``{"field": "key"}``."""

    form: str | dict[str, str]
    json: str | dict[str, str]
    header: str | dict[str, str]
    query: str | dict[str, str]
    cookie: str | dict[str, str]


class _Page(TypedDict, total=False):
    when: Literal["challenged", "before"]
    """``"challenged"``, the default: when the response shows a captcha. ``"before"``: before the request is sent."""
    expect: str
    """CSS selector of something that only the page itself has: it is gated where that is missing."""


class Common(_Page, total=False):
    """What every named kind of captcha takes."""

    website_url: str
    """The page that shows the captcha, where it is not the request's."""
    user_agent: str
    cookies: list[dict[str, Any]] | str
    proxy: str
    """For the task alone, in CapSolver's words; without it, the request's own is sent where the type takes one."""
    proxy_type: Literal["http", "https", "socks5"]
    proxy_address: str
    proxy_port: int
    proxy_login: str
    proxy_password: str


class Placed(Common, total=False):
    """What kinds take whose solution is put into a request."""

    inject: Inject


class _AnyPage(_Page, total=False):
    inject: Inject
    proxied: bool


class _Metadata(TypedDict, total=False):
    action: str
    cdata: str


_FLAG_WORDS = ("when", "expect", "inject", "proxied")
_COMMON = {
    "website_url": "websiteURL",
    "user_agent": "userAgent",
    "cookies": "cookies",
    "proxy": "proxy",
    "proxy_type": "proxyType",
    "proxy_address": "proxyAddress",
    "proxy_port": "proxyPort",
    "proxy_login": "proxyLogin",
    "proxy_password": "proxyPassword",
}


def on_page(**common: Unpack[_AnyPage]) -> dict[str, Any]:
    """Whatever the page turns out to show. ``True`` says the same, where there is nothing more to say."""
    return _flag("on_page", None, common, ("when", "expect", "inject", "proxied"), {})


def recaptcha_v2(
    *,
    website_key: str | None = None,
    enterprise: bool = False,
    proxied: bool = False,
    page_action: str | None = None,
    recaptcha_data_s_value: str | None = None,
    enterprise_payload: Mapping[str, Any] | None = None,
    is_invisible: bool | None = None,
    is_session: bool | None = None,
    api_domain: str | None = None,
    **common: Unpack[Placed],
) -> dict[str, Any]:
    """The checkbox of reCAPTCHA v2, or the invisible one. ``proxied``: solve by the request's proxy."""
    task_type = f"ReCaptchaV2{'Enterprise' if enterprise else ''}Task{_proxyless(proxied=proxied)}"
    fields = {
        "websiteKey": website_key,
        "pageAction": page_action,
        "recaptchaDataSValue": recaptcha_data_s_value,
        "enterprisePayload": enterprise_payload,
        "isInvisible": is_invisible,
        "isSession": is_session,
        "apiDomain": api_domain,
    }
    return _flag("recaptcha_v2", task_type, common, _PLACED, fields)


def recaptcha_v3(
    *,
    website_key: str | None = None,
    enterprise: bool = False,
    m1: bool = False,
    proxied: bool = False,
    page_action: str | None = None,
    min_score: float | None = None,
    enterprise_payload: Mapping[str, Any] | None = None,
    is_session: bool | None = None,
    api_domain: str | None = None,
    **common: Unpack[Placed],
) -> dict[str, Any]:
    """The score of reCAPTCHA v3. ``m1``: CapSolver's types of that name, which aim at a higher score."""
    edition = f"{'Enterprise' if enterprise else ''}{'M1' if m1 else ''}"
    fields = {
        "websiteKey": website_key,
        "pageAction": page_action,
        "minScore": min_score,
        "enterprisePayload": enterprise_payload,
        "isSession": is_session,
        "apiDomain": api_domain,
    }
    return _flag("recaptcha_v3", f"ReCaptchaV3{edition}Task{_proxyless(proxied=proxied)}", common, _PLACED, fields)


def turnstile(
    *,
    website_key: str | None = None,
    metadata: _Metadata | None = None,
    proxied: bool = False,
    **common: Unpack[Placed],
) -> dict[str, Any]:
    """Cloudflare Turnstile, the widget. ``metadata``: its ``action`` and ``cdata``."""
    fields = {"websiteKey": website_key, "metadata": metadata}
    return _flag("turnstile", f"AntiTurnstileTask{_proxyless(proxied=proxied)}", common, _PLACED, fields)


def geetest(
    *,
    gt: str | None = None,
    challenge: str | None = None,
    captcha_id: str | None = None,
    challenge_url: str | None = None,
    risk_type: str | None = None,
    geetest_api_server_subdomain: str | None = None,
    **common: Unpack[Placed],
) -> dict[str, Any]:
    """GeeTest v3 (``gt``, ``challenge`` or where it is fetched: ``challenge_url``) and v4 (``captcha_id``)."""
    fields = {
        "gt": gt,
        "challenge": challenge,
        "captchaId": captcha_id,
        "challengeUrl": challenge_url,
        "riskType": risk_type,
        "geetestApiServerSubdomain": geetest_api_server_subdomain,
    }
    return _flag("geetest", "GeeTestTaskProxyLess", common, _PLACED, fields)


def mtcaptcha(*, website_key: str | None = None, proxied: bool = False, **common: Unpack[Placed]) -> dict[str, Any]:
    """MTCaptcha."""
    fields = {"websiteKey": website_key}
    return _flag("mtcaptcha", f"MtCaptchaTask{_proxyless(proxied=proxied)}", common, _PLACED, fields)


def botdeflector(
    *, domain: str | None = None, flow_token: str | None = None, **common: Unpack[Placed]
) -> dict[str, Any]:
    """BotDeflector."""
    fields = {"domain": domain, "flowToken": flow_token}
    return _flag("botdeflector", "AntiBotdeflectorTaskProxyLess", common, _PLACED, fields)


def cloudflare_challenge(*, html: str | None = None, **common: Unpack[Common]) -> dict[str, Any]:
    """Cloudflare's challenge page, which stands before a whole site. Always by the request's proxy."""
    return _flag("cloudflare_challenge", "AntiCloudflareTask", common, _UNPLACED, {"html": html})


def datadome(*, captcha_url: str | None = None, html: str | None = None, **common: Unpack[Common]) -> dict[str, Any]:
    """DataDome. Always by the request's proxy."""
    return _flag("datadome", "DatadomeSliderTask", common, _UNPLACED, {"captchaUrl": captcha_url, "html": html})


def aws_waf(
    *,
    proxied: bool,
    aws_key: str | None = None,
    aws_iv: str | None = None,
    aws_context: str | None = None,
    aws_api_key: str | None = None,
    aws_api_js: str | None = None,
    aws_challenge_js: str | None = None,
    aws_problem_url: str | None = None,
    aws_existing_token: str | None = None,
    **common: Unpack[Common],
) -> dict[str, Any]:
    """AWS WAF. ``proxied`` has to be said: a clearance is earned by the way that the request goes, or refused."""
    fields = {
        "awsKey": aws_key,
        "awsIv": aws_iv,
        "awsContext": aws_context,
        "awsApiKey": aws_api_key,
        "awsApiJs": aws_api_js,
        "awsChallengeJS": aws_challenge_js,
        "awsProblemUrl": aws_problem_url,
        "awsExistingToken": aws_existing_token,
    }
    return _flag("aws_waf", f"AntiAwsWafTask{_proxyless(proxied=proxied)}", common, _UNPLACED, fields)


def image_to_text(
    *,
    selector: str | None = None,
    body: str | None = None,
    images: list[str] | None = None,
    module: str | None = None,
    score: float | None = None,
    case: bool | None = None,
    **common: Unpack[Placed],
) -> dict[str, Any]:
    """A picture of text: by the CSS ``selector`` of where it is on the page, or in Base64 as ``body`` (or ``images``)."""
    fields = {"selector": selector, "body": body, "images": images, "module": module, "score": score, "case": case}
    return _flag("image_to_text", "ImageToTextTask", common, _PLACED, fields)


def recaptcha_v2_classification(
    *,
    question: str | None = None,
    question_selector: str | None = None,
    selector: str | None = None,
    image: str | None = None,
    website_key: str | None = None,
    **common: Unpack[Placed],
) -> dict[str, Any]:
    """Which tiles of a reCAPTCHA v2 picture show what the ``question`` (``/m/0k4j``) asks for."""
    fields = {
        "question": question,
        "questionSelector": question_selector,
        "selector": selector,
        "image": image,
        "websiteKey": website_key,
    }
    return _flag("recaptcha_v2_classification", "ReCaptchaV2Classification", common, _PLACED, fields)


def aws_waf_classification(
    *,
    question: str | None = None,
    question_selector: str | None = None,
    selector: str | None = None,
    images: list[str] | None = None,
    **common: Unpack[Placed],
) -> dict[str, Any]:
    """The puzzles of AWS WAF: nine pictures for a ``question`` that begins with ``aws:grid:``, one for any other."""
    fields = {"question": question, "questionSelector": question_selector, "selector": selector, "images": images}
    return _flag("aws_waf_classification", "AwsWafClassification", common, _PLACED, fields)


def vision_engine(
    *,
    module: str,
    selector: str | None = None,
    image: str | None = None,
    background_selector: str | None = None,
    image_background: str | None = None,
    question: str | None = None,
    question_selector: str | None = None,
    **common: Unpack[Placed],
) -> dict[str, Any]:
    """Sliders, rotated pictures and others, by ``module`` (``slider_1``, ``rotate_1``, ``shein``)."""
    fields = {
        "module": module,
        "selector": selector,
        "image": image,
        "backgroundSelector": background_selector,
        "imageBackground": image_background,
        "question": question,
        "questionSelector": question_selector,
    }
    return _flag("vision_engine", "VisionEngine", common, _PLACED, fields)


def raw(
    task_type: str,
    fields: Mapping[str, Any] | None = None,
    *,
    inject: Inject,
    proxied: bool | None = None,
    **common: Unpack[_Page],
) -> dict[str, Any]:
    """A task type that this version need not know, with its ``fields`` as CapSolver has them.

    ``inject`` says where the solution goes, since nobody else knows. ``proxied``: send the request's proxy along.
    """
    if fields is not None and (taken := [name for name in ("type", *_FLAG_WORDS) if name in fields]):
        raise TypeError(f"captcha.raw(): fields holds {', '.join(map(repr, taken))}: give it as an argument of its own")
    words = {**common, "inject": inject, "proxied": proxied}
    return _flag("raw", task_type, words, _FLAG_WORDS, fields or {})


_UNPLACED = ("when", "expect", *_COMMON)
_PLACED = (*_UNPLACED, "inject")


def _proxyless(*, proxied: bool) -> str:
    if not isinstance(proxied, bool):
        raise TypeError(f"proxied is of type {type(proxied).__name__}: it takes True or False")
    return "" if proxied else "ProxyLess"


def _flag(
    name: str,
    task_type: str | None,
    common: Mapping[str, Any],
    allowed: tuple[str, ...],
    fields: Mapping[str, Any],
) -> dict[str, Any]:
    """The dict, once it was checked as the flag of a request will be."""
    for argument in common:
        if argument not in allowed:
            near = difflib.get_close_matches(argument, allowed, n=1)
            hint = f": did you mean {near[0]!r}?" if near else ""
            raise TypeError(f"captcha.{name}() got an unexpected keyword argument {argument!r}{hint}")
    words = {"type": task_type, **fields, **{_COMMON.get(key, key): value for key, value in common.items()}}
    flag = {key: value for key, value in words.items() if value is not None}
    _check(name, flag)
    return flag


def _check(name: str, flag: Mapping[str, Any]) -> None:
    # Not at module level: they load the families, with parsel and its like.
    from scrapy_capsolver._request.flag import parse_flag  # noqa: PLC0415
    from scrapy_capsolver.errors import CaptchaError  # noqa: PLC0415

    try:
        parse_flag(flag, f"captcha.{name}()")
    except CaptchaError as error:
        if name != "raw":  # it was given the fields in CapSolver's words, and the others in Python's
            where, colon, said = error.message.partition("(): ")
            names, rest = said.split(": ", 1) if ": " in said else ("", said)
            error.message = where + colon + (f"{_python(names)}: " if names else "") + rest
        raise


def _python(names: str) -> str:
    """The arguments in which these fields are given."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=S)(?=Value)", "_", names).lower()
