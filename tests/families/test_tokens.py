"""MTCaptcha, BotDeflector, types of tomorrow; and what all token families do with a solution's values."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scrapy import Request
from scrapy.http import HtmlResponse

from scrapy_capsolver.errors import CaptchaConfigurationError, UnsolvableCaptchaError, UnsupportedCaptchaError
from scrapy_capsolver.families import FAMILIES, Challenge, Inject, SolutionKind, detect, family
from scrapy_capsolver.families.solution import MAX_VALUE, as_text
from scrapy_capsolver.families.token import TokenFamily

from .corpus import response_of

URL = "https://shop.example/list?page=2"
V2 = "6LeIxAcTAAAAAJcZVRqyHh71UMIEGNQ_MXjiZKhI"
KEY = "MTPublic-KzqLY1cKH"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJhIjoxfQ.c2lnbmF0dXJl"
TOKENS = [one for one in (*FAMILIES, family("raw")) if isinstance(one, TokenFamily)]


def seen(html, name, status=200, **fields):
    found = detect(HtmlResponse(URL, status, body=html.encode()), fields=fields, only=name)
    return found[0] if found else None


# MTCaptcha


@pytest.mark.parametrize(
    ("name", "blocked", "form"),
    [("mtcaptcha_gate", True, "/pass"), ("mtcaptcha_frame", True, "/pass"), ("mtcaptcha_everywhere", False, None)],
)
def test_mtcaptcha(name, blocked, form):
    challenge = detect(response_of(name))[0]
    assert (challenge.family, challenge.type) == ("mtcaptcha", "MtCaptchaTaskProxyLess")
    assert challenge.params == {"websiteKey": KEY}
    assert challenge.blocked is blocked
    assert (challenge.form and challenge.form.url) == (form and f"https://shop.example{form}")
    assert family("mtcaptcha").task(challenge, (), "") == {
        "type": "MtCaptchaTaskProxyLess",
        "websiteURL": URL,
        "websiteKey": KEY,
    }


@pytest.mark.parametrize(
    ("html", "blocked"),
    [
        (f"<div class='box mtcaptcha' data-sitekey='{KEY}'></div>", True),
        (f"<mtcaptcha-box data-mt-key={KEY}></mtcaptcha-box>", True),
        (f"<div id=mtcaptcha></div><script>mtcaptchaConfig = {{sitekey: `{KEY}`}}</script>", True),
        (f"<script>mtcaptchaConfig = {{sitekey: '{KEY}', render: 'explicit', renderQueue: ['a']}}</script>", True),
        (f"<script>window.mtcaptchaConfig={{'sitekey':K}};var K='{KEY}';mtcaptcha.renderUI()</script>", True),
        (f"<script src='https://service.mtcaptcha.com/a.js?sitekey={KEY}'></script>", False),
        (f"<script>mtcaptchaConfig = {{sitekey: '{KEY}'}}</script><template><p class=mtcaptcha></template>", False),
    ],
)
def test_ways_to_set_mtcaptcha_up(html, blocked):
    challenge = seen(html, "mtcaptcha")
    assert challenge.params == {"websiteKey": KEY}
    assert challenge.blocked is blocked
    assert not challenge.perishable


def test_the_flag_chooses_the_key_of_mtcaptcha():
    other = "MTPublic-Other1234"
    html = f"<b class=mtcaptcha data-sitekey={KEY}></b><b data-sitekey={other}></b>"
    assert seen(html, "mtcaptcha").params["websiteKey"] == KEY
    assert seen(html, "mtcaptcha", websiteKey=other).params["websiteKey"] == other
    loader = "<script src=https://service.mtcaptcha.com/mtcv1/client/mtcaptcha.min.js></script><p class=mtcaptcha></p>"
    inline = "<script>s.src = 'https://service2.mtcaptcha.com/a.js'</script>"
    for html in (loader, inline):
        assert seen(html, "mtcaptcha") is None
        assert seen(html, "mtcaptcha", websiteKey=other).params == {"websiteKey": other}
        assert seen(html, "mtcaptcha", websiteKey="x") is None
    assert seen("<p>mtcaptcha</p>", "mtcaptcha", websiteKey=other) is None


def test_mtcaptcha_in_its_form():
    challenge = detect(response_of("mtcaptcha_frame"))[0]
    one = family("mtcaptcha")
    one.rehearse(Request(URL), challenge, None)
    sent = one.apply(Request(URL), challenge, {"token": "v1(a,b)", "userAgent": "Mozilla/5.0 x"}, None)
    assert sent.body == b"mtcaptcha-verifiedtoken=v1%28a%2Cb%29"
    assert sent.headers[b"User-Agent"] == b"Mozilla/5.0 x"
    assert "proxy" in one.types["MtCaptchaTask"].required
    assert "proxy" not in one.types["MtCaptchaTaskProxyLess"].required


# BotDeflector


@pytest.mark.parametrize(
    ("name", "domain"),
    [("botdeflector_gate", "api.botdeflector.example"), ("botdeflector_attribute", "puzzles.example")],
)
def test_botdeflector(name, domain):
    challenge = detect(response_of(name))[0]
    assert (challenge.family, challenge.type) == ("botdeflector", "AntiBotdeflectorTaskProxyLess")
    assert challenge.params["domain"] == domain
    assert challenge.blocked
    assert challenge.perishable
    assert family("botdeflector").task(challenge, (), "") == {
        "type": "AntiBotdeflectorTaskProxyLess",
        "websiteURL": "https://shop.example/",
        **challenge.params,
    }


@pytest.mark.parametrize(
    "html",
    [
        f"<script>botReflectorJwtToken='{JWT}'</script>",
        f'<script>var c = {{"botDeflectorJwtToken" : "{JWT}"}}</script>',
        f"<script>window['botDeflectorJwtToken'] = `{JWT}`</script>",
        f"<i data-botDeflectorJwtToken='{JWT}'></i>",
    ],
)
def test_ways_to_hand_over_the_token(html):
    assert seen(html, "botdeflector").params == {"domain": "shop.example", "flowToken": JWT}


@pytest.mark.parametrize(
    "html",
    [
        f"<script>botDeflectorJwtToken='{JWT}.x'</script>",
        f"<script>botDeflectorJwtToken='{JWT[:-13]}'</script>",
        f"<script>botDeflectorJwtToken='x{JWT}'</script>",
        f"<script>botDeflectorJwtToken=f('{JWT}')</script>",
        f"<template><i data-bot-deflector-jwt='{JWT}'></i></template>",
        f"<i data-deflector-jwt='{JWT}'></i>",
        f"<i data-bot-deflector-jwt='eyJ{'a' * 20_000}.aaaaa.aaaaa'></i>",
    ],
)
def test_what_is_no_token(html):
    assert seen(html, "botdeflector") is None


@pytest.mark.parametrize(
    ("address", "domain"),
    [
        ("https://a.example/pow/get", "a.example"),
        ("//a.example:8080/x/y/icon/get?b", "a.example"),
        ("https://a.example/pow/getter", "shop.example"),
        ("https://a.example/powder/get", "shop.example"),
        ("/pow/get", "shop.example"),
        ("https://evil.example@a.example/pow/get", "shop.example"),
    ],
)
def test_where_the_puzzles_are(address, domain):
    html = f"<script>botReflectorJwtToken='{JWT}'; fetch('{address}')</script>"
    assert seen(html, "botdeflector").params["domain"] == domain


def test_botdeflector_needs_a_place():
    challenge = detect(response_of("botdeflector_gate"))[0]
    one = family("botdeflector")
    with pytest.raises(CaptchaConfigurationError, match=r"^inject: none was given"):
        one.rehearse(Request(URL), challenge, None)
    one.rehearse(Request(URL), challenge, Inject(header={"X-Any": "anything"}))
    assert one.apply(Request(URL), challenge, {"token": "t"}, Inject(cookie="bd")).cookies[0]["value"] == "t"


def test_numbers_too_long_for_text():
    assert as_text(10**5000) is None


# Types that this version does not know


RAW = Challenge("raw", "NewCaptchaTask", URL, params={"websiteKey": "k", "deep": {"a": [1]}})


def test_a_raw_task_is_what_the_flag_says():
    assert family("raw").task(RAW, (), "") == {"type": "NewCaptchaTask", "websiteURL": URL, **RAW.params}
    assert family("raw").lifetime is None
    assert family("raw").kind is SolutionKind.TOKEN
    assert detect(response_of("hcaptcha_gate"), only="raw") == []
    with pytest.raises(CaptchaConfigurationError, match=r"^inject: .*NewCaptchaTask"):
        family("raw").rehearse(Request(URL), RAW, None)
    family("raw").rehearse(Request(URL), RAW, Inject(form={"a": "any"}))


@pytest.mark.parametrize(
    ("solution", "value"),
    [
        ({"token": "t", "text": "x", "cookie": "c"}, "t"),
        ({"cookie": "c", "gRecaptchaResponse": "g"}, "g"),
        ({"token": " ", "text": "x"}, "x"),
        ({"userAgent": "Mozilla", "type": "new", "seal": "s", "time": 5}, "s"),
    ],
)
def test_the_main_value_of_a_raw_solution(solution, value):
    assert family("raw").value(solution) == value
    assert family("raw").apply(Request(URL), RAW, solution, Inject(query="q")).url == f"{URL}&q={value}"


@pytest.mark.parametrize(
    "solution", [{}, {"a": "secret", "b": "secret"}, {"a": 5}, {"userAgent": "x"}, {"a": ["secret"]}]
)
def test_no_main_value_of_a_raw_solution(solution):
    with pytest.raises(UnsolvableCaptchaError, match=r'inject \{"form": \{"name of the field"') as caught:
        family("raw").value(solution)
    assert all(f'"{key}"' in str(caught.value) for key in solution)
    assert "secret" not in str(caught.value)


# Values


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        (" a ", "a"),
        ("a\n", "a"),
        (5, "5"),
        (2.5, "2.5"),
        (1e300, "1e+300"),
        (["1", "", "3"], "1,,3"),
        ([0, 4, 8], "0,4,8"),
        ([1.5, "a"], "1.5,a"),
        ("", None),
        (" \n", None),
        ([], None),
        ([""], None),
        ([[1]], None),
        ([{"a": 1}], None),
        ([True], None),
        (True, None),
        (None, None),
        ({"a": 1}, None),
        (float("nan"), None),
        (float("inf"), None),
        ("\ud800", None),
        (["\ud800"], None),
        ("x" * (MAX_VALUE + 1), None),
        (["x" * MAX_VALUE, "y"], None),
        ([1] * 1001, None),
    ],
)
def test_values_as_text(value, text):
    assert as_text(value) == text
    assert dict(family("turnstile").values({"k": value})) == ({} if text is None else {"k": text})


def test_inject_by_key():
    challenge = Challenge("recaptcha_v2", "ReCaptchaV2Task", URL)
    inject = Inject(form={"t": "gRecaptchaResponse", "time": "createTime"}, header="X-T")
    one = family("recaptcha_v2")
    one.rehearse(Request(URL), challenge, inject)
    sent = one.apply(Request(URL), challenge, {"gRecaptchaResponse": "03", "createTime": 5}, inject)
    assert sent.url == f"{URL}&t=03&time=5"
    assert sent.headers[b"X-T"] == b"03"


@pytest.mark.parametrize("name", ["recaptcha_v2", "turnstile", "mtcaptcha", "image_to_text"])
def test_keys_that_no_solution_has_cost_nothing(name):
    with pytest.raises(
        CaptchaConfigurationError, match=r'inject: "nope" is no key of the solution of T; allowed are .*,'
    ):
        family(name).rehearse(Request(URL), Challenge(name, "T", URL), Inject(form={"a": "nope"}))


def test_values_that_no_request_can_hold():
    one = family("vision_engine")
    challenge = Challenge("vision_engine", "VisionEngine", URL)
    with pytest.raises(
        UnsolvableCaptchaError, match=r'"rects" .*\(list\).*response\.meta\["capsolver_solution"\]'
    ) as caught:
        one.apply(Request(URL), challenge, {"rects": [{"x1": "secret"}]}, Inject(form={"r": "rects"}))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("one", TOKENS, ids=lambda one: one.name)
def test_who_hands_the_solution_over(one):
    challenge = Challenge(one.name, "T", URL)
    assert one.hands_over(challenge, None) == (one.kind is SolutionKind.ANSWER)
    assert not one.hands_over(challenge, Inject(form="a"))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(["token", "text", "gRecaptchaResponse", "validate", "challenge", "objects", "userAgent", ""])


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(TOKENS),
    st.dictionaries(KEYS | st.text(max_size=5), VALUES, max_size=5),
    st.sampled_from(
        [
            None,
            Inject(form="a"),
            Inject(json={"a.b": "validate", "c": "token"}),
            Inject(header="X-A", cookie={"c": "text"}),
            Inject(query={"a": "objects"}),
        ]
    ),
)
def test_any_solution_is_used_or_refused(one, solution, inject):
    assert all(isinstance(text, str) and text.strip() and text.encode() for text in one.values(solution).values())
    challenge = Challenge(one.name, next(iter(one.types), "T"), URL)
    try:
        sent = one.apply(Request(URL, method="POST"), challenge, solution, inject)
    except (UnsolvableCaptchaError, CaptchaConfigurationError) as error:
        assert error.message.isprintable()
        assert len(error.message) < 1000
    else:
        assert sent.url.startswith(URL)
        json.dumps(sent.to_dict()["url"])


# reCAPTCHA's other fields


@pytest.mark.parametrize("name", ["recaptcha_v2", "recaptcha_v3"])
def test_a_session_is_asked_for_and_its_cookies_are_sent(name):
    one = family(name)
    for type_name in one.types:
        challenge = Challenge(name, type_name, URL, params={"websiteKey": V2, "isSession": True, "apiDomain": "x"})
        task = one.task(challenge, (), "")
        assert (task["isSession"], task["apiDomain"]) == (True, "x")
        assert one.types[type_name].kinds["isSession"] is bool
        solution = {"gRecaptchaResponse": "03", "recaptcha-ca-t": "T", "recaptcha-ca-e": "E"}
        sent = one.apply(Request(URL), challenge, solution, Inject(header="X-T"))
        assert {cookie["name"]: cookie["value"] for cookie in sent.cookies} == {
            "recaptcha-ca-t": "T",
            "recaptcha-ca-e": "E",
        }


@pytest.mark.parametrize(
    "base",
    [
        "ReCaptchaV2",
        "ReCaptchaV2Enterprise",
        "ReCaptchaV3",
        "ReCaptchaV3Enterprise",
        "ReCaptchaV3M1",
        "ReCaptchaV3EnterpriseM1",
    ],
)
def test_each_type_of_recaptcha_is_there_with_a_proxy_and_without(base):
    types = {**family("recaptcha_v2").types, **family("recaptcha_v3").types}
    assert types[f"{base}Task"].required - types[f"{base}TaskProxyLess"].required == {"proxy"}
    assert types[f"{base}Task"].price == types[f"{base}TaskProxyLess"].price


PIECES = [
    f"<script>mtcaptchaConfig = {{sitekey: '{KEY}'",
    f"<div class=mtcaptcha data-sitekey={KEY}>",
    f"<iframe src='https://service.mtcaptcha.com/?sitekey={KEY}&'>",
    f"<script>botDeflectorJwtToken = '{JWT}'",
    "fetch('https://a.example/pow/get')",
    f"<i data-bot-reflector-jwt-token={JWT}>",
    "<form action='http://['>",
    "renderQueue",
    "</script>",
    "<template>",
    "<!--",
    "\0",
]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5)), max_size=15).map("".join), st.booleans())
def test_any_page_is_read_without_error(html, told):
    for name in ("mtcaptcha", "botdeflector"):
        challenge = seen(f"<p>mtcaptcha{html}", name, **({"websiteKey": KEY} if told else {}))
        if challenge is not None:
            assert family(name).prepare(challenge) == challenge
            assert family(name).task(replace(challenge), (), "")["type"] == challenge.type
            assert all(len(reason) < 250 and reason.isprintable() for reason in challenge.reasons)


# What CapSolver does not solve


@pytest.mark.parametrize(
    ("name", "page", "blocked"),
    [
        ("hcaptcha", "hcaptcha_gate", True),
        ("hcaptcha", "hcaptcha_frame", True),
        ("hcaptcha", "hcaptcha_newsletter", False),
        ("funcaptcha", "funcaptcha_gate", True),
        ("funcaptcha", "funcaptcha_frame", True),
        ("perimeterx", "perimeterx_gate", True),
        ("perimeterx", "perimeterx_first_party", True),
    ],
)
def test_what_is_not_solvable_is_said_so(name, page, blocked):
    challenge = detect(response_of(page))[0]
    assert (challenge.family, challenge.blocked, challenge.error) == (name, blocked, UnsupportedCaptchaError)
    assert challenge.refusal.endswith("nothing was paid")
    one = family(name)
    assert one.types == {}
    assert one.prepare(challenge) == challenge
    for use in (lambda: one.task(challenge, (), ""), lambda: one.rehearse(Request(URL), challenge, None)):
        with pytest.raises(UnsupportedCaptchaError, match="is not solvable by CapSolver"):
            use()


@pytest.mark.parametrize(
    ("html", "name"),
    [
        (
            "<script>new ArkoseEnforcement({public_key: '2F4F3D5A-1111-2222-3333-444455556666'})</script>arkoselabs",
            "funcaptcha",
        ),
        ("<input type=hidden name=fc-token value='a|b'>", "funcaptcha"),
        ("<iframe src=https://client-api.arkoselabs.com/fc/></iframe>", "funcaptcha"),
        ("<script src=https://captcha.perimeterx.net/PXa/captcha.js></script>", "perimeterx"),
        ("<script src=https://captcha.px-cdn.perimeterx.net/PXa/captcha.js></script>", "perimeterx"),
        ("<div class='h-captcha big'></div>", "hcaptcha"),
        ("<script>hcaptcha.execute('10000000-ffff-ffff-ffff-000000000001')</script>", "hcaptcha"),
    ],
)
def test_more_marks_of_them(html, name):
    assert [challenge.family for challenge in detect(HtmlResponse(URL, body=html.encode()))] == [name]


@pytest.mark.parametrize(
    "html",
    [
        "<template><div class=h-captcha></div></template>",
        "<textarea><div id=px-captcha></textarea>",
        "<iframe src=https://arkoselabs.com.evil.example/></iframe>",
        "<div class=h-captcha-box></div>",
        "<script>ArkoseEnforcement({public_key: key}) // arkoselabs</script>",
    ],
)
def test_what_is_none_of_them(html):
    assert detect(HtmlResponse(URL, 403, body=html.encode())) == []


def test_what_can_be_solved_goes_first():
    html = f"<div class=h-captcha></div><div id=FunCaptcha></div><div class=g-recaptcha data-sitekey={V2}></div>"
    assert [challenge.family for challenge in detect(HtmlResponse(URL, body=html.encode()))] == [
        "recaptcha_v2",
        "hcaptcha",
        "funcaptcha",
    ]
