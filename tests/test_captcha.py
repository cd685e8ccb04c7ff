"""The builders of flags: each gives the dict that CapSolver's own words would, and there is one for everything."""

from __future__ import annotations

import inspect
import json
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any, get_type_hints

import pytest
from scrapy import Request
from scrapy.http import HtmlResponse
from scrapy.settings import Settings
from scrapy.utils.defer import deferred_f_from_coro_f, maybe_deferred_to_future

import scrapy_capsolver
from scrapy_capsolver import CaptchaConfigurationError, captcha
from scrapy_capsolver._request.detection import challenge_of_flag
from scrapy_capsolver._request.flag import OWN_KEYS, WHEN, parse_flag
from scrapy_capsolver._request.proxy import KINDS, Proxy
from scrapy_capsolver._request.task_builder import TaskMaker, choose_type
from scrapy_capsolver.families import FAMILIES, family
from scrapy_capsolver.families.clearance import ClearanceFamily
from scrapy_capsolver.families.fields import COMMON
from scrapy_capsolver.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy_capsolver._request.flag import Flag

URL = "https://www.example.com/1"
KEY = "6LeIxAcTAAAAAJcZVRqyHh71UMIEGNQ_MXjiZKhI"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
SOLVABLE = [one for one in FAMILIES if one.types]

# A builder, its arguments, and the dict in CapSolver's own words.
BUILT: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (captcha.recaptcha_v2(website_key=KEY), {"type": "ReCaptchaV2TaskProxyLess", "websiteKey": KEY}),
    (
        captcha.recaptcha_v2(
            website_key=KEY,
            enterprise=True,
            proxied=True,
            page_action="login",
            recaptcha_data_s_value="s",
            enterprise_payload={"s": "t"},
            is_invisible=True,
            is_session=False,
            api_domain="www.recaptcha.net",
            when="before",
            inject={"json": "a.b"},
            user_agent="UA",
            cookies=[{"name": "a", "value": "b"}],
        ),
        {
            "type": "ReCaptchaV2EnterpriseTask",
            "websiteKey": KEY,
            "pageAction": "login",
            "recaptchaDataSValue": "s",
            "enterprisePayload": {"s": "t"},
            "isInvisible": True,
            "isSession": False,
            "apiDomain": "www.recaptcha.net",
            "when": "before",
            "inject": {"json": "a.b"},
            "userAgent": "UA",
            "cookies": [{"name": "a", "value": "b"}],
        },
    ),
    (captcha.recaptcha_v2(website_key=KEY, proxied=True), {"type": "ReCaptchaV2Task", "websiteKey": KEY}),
    (
        captcha.recaptcha_v2(website_key=KEY, enterprise=True),
        {"type": "ReCaptchaV2EnterpriseTaskProxyLess", "websiteKey": KEY},
    ),
    *(
        (
            captcha.recaptcha_v3(website_key=KEY, enterprise=enterprise, m1=m1, proxied=proxied, min_score=0.7),
            {
                "type": f"ReCaptchaV3{'Enterprise' * enterprise}{'M1' * m1}Task{'ProxyLess' * (not proxied)}",
                "websiteKey": KEY,
                "minScore": 0.7,
            },
        )
        for enterprise in (False, True)
        for m1 in (False, True)
        for proxied in (False, True)
    ),
    (
        captcha.recaptcha_v3(
            page_action="view", enterprise_payload={"s": "t"}, is_session=True, api_domain="www.recaptcha.net"
        ),
        {
            "type": "ReCaptchaV3TaskProxyLess",
            "pageAction": "view",
            "enterprisePayload": {"s": "t"},
            "isSession": True,
            "apiDomain": "www.recaptcha.net",
        },
    ),
    (
        captcha.turnstile(website_key="0x4AAAAAAADnPIDROrmt1Wwj", metadata={"action": "a", "cdata": "c"}, expect="h1"),
        {
            "type": "AntiTurnstileTaskProxyLess",
            "websiteKey": "0x4AAAAAAADnPIDROrmt1Wwj",
            "metadata": {"action": "a", "cdata": "c"},
            "expect": "h1",
        },
    ),
    (captcha.turnstile(website_key="k", proxied=True), {"type": "AntiTurnstileTask", "websiteKey": "k"}),
    (
        captcha.geetest(captcha_id="c" * 32, risk_type="slide", geetest_api_server_subdomain="api.example.com"),
        {
            "type": "GeeTestTaskProxyLess",
            "captchaId": "c" * 32,
            "riskType": "slide",
            "geetestApiServerSubdomain": "api.example.com",
        },
    ),
    (
        captcha.geetest(gt="a" * 32, challenge="b" * 32),
        {"type": "GeeTestTaskProxyLess", "gt": "a" * 32, "challenge": "b" * 32},
    ),
    (captcha.mtcaptcha(website_key="MTPublic-x"), {"type": "MtCaptchaTaskProxyLess", "websiteKey": "MTPublic-x"}),
    (
        captcha.mtcaptcha(website_key="MTPublic-x", proxied=True, proxy="socks5:p.example.com:1:u:p"),
        {"type": "MtCaptchaTask", "websiteKey": "MTPublic-x", "proxy": "socks5:p.example.com:1:u:p"},
    ),
    (
        captcha.botdeflector(domain="d.example.com", flow_token="f", website_url="https://d.example.com/x"),
        {
            "type": "AntiBotdeflectorTaskProxyLess",
            "domain": "d.example.com",
            "flowToken": "f",
            "websiteURL": "https://d.example.com/x",
        },
    ),
    (captcha.cloudflare_challenge(html="<p>"), {"type": "AntiCloudflareTask", "html": "<p>"}),
    (
        captcha.datadome(
            captcha_url="https://geo.captcha-delivery.com/captcha/?t=fe",
            html="<p>",
            proxy_type="http",
            proxy_address="p.example.com",
            proxy_port=3128,
            proxy_login="u",
            proxy_password="p",
        ),
        {
            "type": "DatadomeSliderTask",
            "captchaUrl": "https://geo.captcha-delivery.com/captcha/?t=fe",
            "html": "<p>",
            "proxyType": "http",
            "proxyAddress": "p.example.com",
            "proxyPort": 3128,
            "proxyLogin": "u",
            "proxyPassword": "p",
        },
    ),
    (
        captcha.aws_waf(
            proxied=False,
            aws_key="k",
            aws_iv="i",
            aws_context="c",
            aws_api_key="a",
            aws_api_js="https://x.sdk.awswaf.com/jsapi.js",
            aws_challenge_js="https://x.token.awswaf.com/challenge.js",
            aws_problem_url="https://x.captcha.awswaf.com/problem?a",
            aws_existing_token="t",
        ),
        {
            "type": "AntiAwsWafTaskProxyLess",
            "awsKey": "k",
            "awsIv": "i",
            "awsContext": "c",
            "awsApiKey": "a",
            "awsApiJs": "https://x.sdk.awswaf.com/jsapi.js",
            "awsChallengeJS": "https://x.token.awswaf.com/challenge.js",
            "awsProblemUrl": "https://x.captcha.awswaf.com/problem?a",
            "awsExistingToken": "t",
        },
    ),
    (captcha.aws_waf(proxied=True), {"type": "AntiAwsWafTask"}),
    (
        captcha.image_to_text(body=PNG, module="common", score=0.8, case=True),
        {"type": "ImageToTextTask", "body": PNG, "module": "common", "score": 0.8, "case": True},
    ),
    (
        captcha.image_to_text(images=[PNG], module="number"),
        {"type": "ImageToTextTask", "images": [PNG], "module": "number"},
    ),
    (
        captcha.recaptcha_v2_classification(question="/m/0k4j", image=PNG, website_key=KEY),
        {"type": "ReCaptchaV2Classification", "question": "/m/0k4j", "image": PNG, "websiteKey": KEY},
    ),
    (
        captcha.aws_waf_classification(question="aws:toycarcity:carcity", images=[PNG]),
        {"type": "AwsWafClassification", "question": "aws:toycarcity:carcity", "images": [PNG]},
    ),
    (
        captcha.vision_engine(module="slider_1", image=PNG, image_background=PNG, question="q"),
        {"type": "VisionEngine", "module": "slider_1", "image": PNG, "imageBackground": PNG, "question": "q"},
    ),
    (
        captcha.raw("NewTask", {"someKey": 1}, inject={"form": "f"}, proxied=True),
        {"type": "NewTask", "someKey": 1, "inject": {"form": "f"}, "proxied": True},
    ),
    # What the page or the visit has still to give.
    (captcha.geetest(challenge_url="register"), {"type": "GeeTestTaskProxyLess", "challengeUrl": "register"}),
    (captcha.image_to_text(selector="img"), {"type": "ImageToTextTask", "selector": "img"}),
    (
        captcha.recaptcha_v2_classification(selector="img", question_selector="p"),
        {"type": "ReCaptchaV2Classification", "selector": "img", "questionSelector": "p"},
    ),
    (
        captcha.aws_waf_classification(selector="img", question_selector="p"),
        {"type": "AwsWafClassification", "selector": "img", "questionSelector": "p"},
    ),
    (
        captcha.vision_engine(module="x", selector="img", background_selector="b", question_selector="p"),
        {
            "type": "VisionEngine",
            "module": "x",
            "selector": "img",
            "backgroundSelector": "b",
            "questionSelector": "p",
        },
    ),
    (captcha.on_page(), {}),
    (
        captcha.on_page(expect="h1", inject={"form": "f"}, proxied=False, when="challenged"),
        {"expect": "h1", "inject": {"form": "f"}, "proxied": False, "when": "challenged"},
    ),
]
IDS = [f"{words.get('type', 'on_page')}-{number}" for number, (_, words) in enumerate(BUILT)]


@pytest.mark.parametrize(("built", "words"), BUILT, ids=IDS)
def test_it_gives_plain_dicts_in_capsolvers_words(built: dict[str, Any], words: dict[str, Any]) -> None:
    assert built == words
    assert type(built) is dict
    assert json.loads(json.dumps(built)) == words
    assert pickle.loads(pickle.dumps(built)) == words
    assert parse_flag(built, "built") == parse_flag(words, "words")


@pytest.mark.parametrize(("built", "words"), BUILT, ids=IDS)
@deferred_f_from_coro_f
async def test_the_task_is_the_same(built: dict[str, Any], words: dict[str, Any]) -> None:
    if "type" not in words or any("elector" in key or key == "challengeUrl" for key in words):
        return  # its task is the page's
    task = await task_of(built)
    assert task == await task_of(words)
    assert task["type"] == words["type"]
    # reCAPTCHA Enterprise takes "s" in one of two fields.
    assert set(words) - {*OWN_KEYS, "recaptchaDataSValue"} <= set(task)


async def task_of(value: dict[str, Any]) -> dict[str, Any]:
    flag: Flag | None = parse_flag(value, "flag")
    assert flag is not None
    settings = read_settings(Settings({"CAPSOLVER_API_KEY": "CAP-1"}))
    challenge = challenge_of_flag(flag, URL, "test")
    solver = family(challenge.family)
    proxy = Proxy("http", "p.example.com", 3128, "u", "p")
    challenge = choose_type(challenge, solver, flag, proxy, settings)
    crawler: Any = None  # nothing is fetched
    make = TaskMaker(crawler, settings, solver, challenge, flag, Request(URL), proxy=proxy, seen_by="UA", session=[])
    task: dict[str, Any] = await maybe_deferred_to_future(make(""))
    return task


# Everything there is has an argument, and every argument is something.


def arguments(builder: Callable[..., Any]) -> set[str]:
    """The names of those that a call may give, common ones included."""
    names = set()
    for parameter in inspect.signature(builder).parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            common = str(parameter.annotation).removeprefix("Unpack[").removesuffix("]")
            names |= set(getattr(captcha, common).__annotations__)
            for base in getattr(captcha, common).__mro__:
                names |= set(getattr(base, "__annotations__", ()))
        else:
            names.add(parameter.name)
    return names


def fields_of(name: str) -> set[str]:
    """The keys that a flag of this family may have."""
    one = family(name)
    keys = set(COMMON) | set(OWN_KEYS)
    for task_type in one.types.values():
        keys |= task_type.required.union(task_type.optional, task_type.own, task_type.given, *task_type.one_of)
    if isinstance(one, ClearanceFamily):
        keys.remove("inject")  # it takes none
    return keys - {"type", "proxied"}  # the builder says these with its name and with arguments of its own


def spelled(argument: str) -> str:
    head, *rest = argument.split("_")
    word = head + "".join({"url": "URL", "js": "JS"}.get(part, part.capitalize()) for part in rest)
    return {"challengeURL": "challengeUrl", "captchaURL": "captchaUrl", "awsProblemURL": "awsProblemUrl"}.get(
        word, word.replace("awsApiJS", "awsApiJs")
    )


@pytest.mark.parametrize("name", [one.name for one in SOLVABLE])
def test_every_key_has_an_argument_and_the_reverse(name: str) -> None:
    own = {"enterprise", "m1", "proxied"}
    assert {spelled(one) for one in arguments(getattr(captcha, name)) - own} == fields_of(name)


@pytest.mark.parametrize("one", SOLVABLE, ids=lambda one: one.name)
def test_every_type_can_be_had(one: Any) -> None:
    assert {words["type"] for _, words in BUILT if words.get("type") in one.types} == set(one.types)


def test_there_is_a_builder_for_every_family_and_no_other() -> None:
    assert set(captcha.__all__) == {one.name for one in SOLVABLE} | {"raw", "on_page"}
    assert arguments(captcha.on_page) == set(OWN_KEYS) - {"type"}
    assert arguments(captcha.raw) == {*OWN_KEYS, "task_type", "fields"} - {"type"}


@pytest.mark.parametrize("name", captcha.__all__)
def test_every_argument_reaches_the_dict(name: str) -> None:
    """None is taken and forgotten."""
    common = {*captcha._COMMON, *OWN_KEYS}
    own = {spelled(one) for one in arguments(getattr(captcha, name)) - common}
    assert own - {"enterprise", "m1", "taskType", "fields"} <= {
        key for built, _ in BUILT if _of(built, name) for key in built
    }
    assert {captcha._COMMON.get(one, one) for one in common} <= {key for built, _ in BUILT for key in built}


def _of(built: dict[str, Any], name: str) -> bool:
    known = name not in {"raw", "on_page"}
    return built.get("type") in family(name).types if known else (built.get("type") == "NewTask") == (name == "raw")


def test_what_the_types_say_is_what_the_code_takes() -> None:
    hints = get_type_hints(captcha.Common)
    assert hints["proxy_type"].__args__ == KINDS
    assert hints["when"].__args__ == WHEN
    assert set(get_type_hints(captcha.Inject)) == {"form", "json", "header", "query", "cookie"}


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (
            lambda: captcha.turnstile(website_key=5),
            CaptchaConfigurationError,
            "captcha.turnstile(): website_key: 5 was",
        ),  # type: ignore[arg-type]
        (lambda: captcha.turnstile(when="before"), CaptchaConfigurationError, "website_key: AntiTurnstileTask"),
        (lambda: captcha.turnstile(when="soon"), CaptchaConfigurationError, '"challenged" or "before"'),  # type: ignore[arg-type]
        (lambda: captcha.turnstile(inject={"forms": "a"}), CaptchaConfigurationError, 'did you mean "form"?'),  # type: ignore[typeddict-unknown-key]
        (lambda: captcha.turnstile(metadata="a"), CaptchaConfigurationError, "metadata: 'a' was given"),  # type: ignore[arg-type]
        (lambda: captcha.turnstile(expect="h1["), CaptchaConfigurationError, "no CSS selector"),
        (captcha.image_to_text, CaptchaConfigurationError, "body or images or selector: "),
        (lambda: captcha.recaptcha_v2(recaptcha_data_s_value=1), CaptchaConfigurationError, "recaptcha_data_s_value: "),  # type: ignore[arg-type]
        (lambda: captcha.raw("ReCaptchaV1Task", inject={}), CaptchaConfigurationError, "captcha.raw(): inject: "),
        (lambda: captcha.raw("X", {"when": "before"}, inject={"form": "a"}), TypeError, "fields holds 'when'"),
        (lambda: captcha.turnstile(sitekey="a"), TypeError, "unexpected keyword argument 'sitekey'"),  # type: ignore[call-arg]
        (lambda: captcha.turnstile(wen="before"), TypeError, "did you mean 'when'?"),  # type: ignore[call-arg]
        (lambda: captcha.turnstile("0x4A"), TypeError, "positional"),  # type: ignore[misc]
        (lambda: captcha.turnstile(proxied="yes"), TypeError, "proxied is of type str: it takes True or False"),  # type: ignore[arg-type]
        (lambda: captcha.datadome(inject={"form": "a"}), TypeError, "'inject'"),  # type: ignore[call-arg]
        (captcha.aws_waf, TypeError, "'proxied'"),
        (captcha.vision_engine, TypeError, "'module'"),
    ],
)
def test_what_cannot_be_right_is_an_error_at_once(call: Callable[[], Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert says in str(caught.value)


def test_no_message_shows_a_proxy() -> None:
    with pytest.raises(CaptchaConfigurationError) as caught:
        captcha.mtcaptcha(website_key="k", proxied=True, proxy=["user:secret@p"])  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)


def test_it_is_light_to_import() -> None:
    """No Scrapy, no Twisted, nothing of the families: not before a flag is made."""
    code = "import sys; from scrapy_capsolver import captcha; print(*sorted(m.split('.')[0] for m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"scrapy", "twisted", "parsel", "lxml", "treq", "pytest", "tldextract"} & set(done.stdout.split())


def test_every_public_name_is_there() -> None:
    for name in scrapy_capsolver.__all__:
        assert getattr(scrapy_capsolver, name).__name__.rpartition(".")[2] == name
        assert name in dir(scrapy_capsolver)
    with pytest.raises(AttributeError, match="no attribute 'Captcha'"):
        scrapy_capsolver.Captcha  # noqa: B018


def test_a_flag_of_a_builder_is_a_spiders_attribute_too() -> None:
    class S:
        capsolver = captcha.on_page(expect="h1")

    assert parse_flag(S.capsolver, "spider.capsolver") == parse_flag({"expect": "h1"}, "spider.capsolver")
    assert HtmlResponse(URL, request=Request(URL, meta={"capsolver": S.capsolver})).meta["capsolver"] == S.capsolver
