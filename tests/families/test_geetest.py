"""GeeTest: what pages show of it, where v3's challenge comes from, and where the values of a solution go."""

from __future__ import annotations

import json
from dataclasses import replace
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scrapy import Request
from scrapy.http import HtmlResponse

from scrapy_capsolver.errors import CaptchaConfigurationError, UnsolvableCaptchaError, UnsupportedCaptchaError
from scrapy_capsolver.families import Challenge, Inject, detect, family
from scrapy_capsolver.families._page.geetest import registration, server

from .corpus import response_of

URL = "https://shop.example/list?page=2"
GT = "019924a82c70bb123aae90d483087f94"
CHALLENGE = "a0f1dbd0b6e94e2c9c0f1d2e3b4a5968"
ID = "647f5ed2ed8acb4be36784e01556bb71"
GEETEST = family("geetest")
TYPE = "GeeTestTaskProxyLess"
V3 = {"challenge": f"{CHALLENGE}ab", "validate": "val"}
V4 = {
    "captcha_id": ID,
    "captcha_output": "out==",
    "gen_time": "1735689600",
    "lot_number": "lot",
    "pass_token": "pass",
    "risk_type": "slide",
}


def seen(html, status=200, **fields):
    if not html.startswith("<"):
        html = f"<body>geetest<script>{html}</script>"
    found = detect(HtmlResponse(URL, status, body=html.encode()), fields=fields, only="geetest")
    return found[0] if found else None


def prepared(page, /, **fields):
    return GEETEST.prepare(replace(page, params={**page.params, **fields}))


def announced(**fields):
    """The challenge of a flag that says "before"."""
    return GEETEST.prepare(Challenge("geetest", TYPE, URL, params=fields))


# Pages


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("geetest_gate", {"captchaId": ID, "riskType": "slide", "geetestApiServerSubdomain": "gcaptcha4.geevisit.com"}),
        ("geetest_fields", {"captchaId": ID}),
        ("geetest_login", {"captchaId": ID}),
        ("geetest_v3", {"gt": GT, "challenge": CHALLENGE, "geetestApiServerSubdomain": "api-na.geetest.com"}),
        ("geetest_register", {}),
    ],
)
def test_pages(name, params):
    challenge = detect(response_of(name))[0]
    assert (challenge.family, challenge.type, challenge.params) == ("geetest", TYPE, params)
    assert challenge.blocked == (name != "geetest_login")
    assert challenge.perishable == (name == "geetest_v3")
    assert bool(challenge.refusal) == (name == "geetest_register")


@pytest.mark.parametrize(
    ("html", "params"),
    [
        (f"initGeetest4({{captchaId: '{ID}'}}, f)", {"captchaId": ID}),
        (f"window.initGeetest4({{'captchaId': \"{ID}\", ...more}}, f)", {"captchaId": ID}),
        (f"var c = {{captchaId: '{ID}'}}; initGeetest4(c, f)", {"captchaId": ID}),
        (f"var id = '{ID}'; initGeetest4({{captchaId: id}}, f)", {"captchaId": ID}),
        (f"initGeetest4({{captchaId: '{ID}', apiServers: ['gcaptcha4.geetest.com']}})", {"captchaId": ID}),
        (f"initGeetest4({{captchaId: '{ID}', riskType: 'A B'}})", {"captchaId": ID}),
        ("initGeetest4({captchaId: 'x'})", {}),
        (f"initGeetest4({{captchaId: '{ID}0'}})", {}),
        (f"initGeetest({{gt: '{GT}', challenge: '{CHALLENGE}'}}, f)", {"gt": GT, "challenge": CHALLENGE}),
        (f"initGeetest({{gt: '{GT}', challenge: c}}); var c = '{CHALLENGE}'", {"gt": GT, "challenge": CHALLENGE}),
        (f"initGeetest({{gt: '{GT}', challenge: data.challenge}})", {"gt": GT}),
        (f"initGeetest({{gt: '{GT}', api_server: 'api.geetest.com'}})", {"gt": GT}),
        (f"initGeetest({{gt: '{GT}'}}); initGeetest4({{captchaId: '{ID}'}})", {"captchaId": ID}),
        (f'<script src=/a/gt.js></script><div id=captcha data-gt="{GT}">', {"gt": GT}),
        (
            f"<script src=/a/gt.js></script><x-captcha gt={GT} challenge={CHALLENGE}>",
            {"gt": GT, "challenge": CHALLENGE},
        ),
        (f'<script src=/a/gt4.js?v=1></script><div data-captcha-id="{ID}">', {"captchaId": ID}),
        (f"<script src=/a/gt4.js></script><script>initGeetest({{captchaId: '{ID}'}})</script>", {"captchaId": ID}),
        (
            f"<script src='https://api.geetest.com/get.php?gt={GT}&challenge={CHALLENGE}&lang=en'></script>",
            {"gt": GT, "challenge": CHALLENGE},
        ),
    ],
)
def test_ways_to_set_it_up(html, params):
    challenge = seen(html)
    assert challenge.params == params
    assert challenge.blocked


@pytest.mark.parametrize(
    "html",
    [
        f"myinitGeetest({{gt: '{GT}'}})",
        f"var s = \"initGeetest({{gt: '{GT}'}})\"",
        f"// initGeetest4({{captchaId: '{ID}'}})",
        f"<template><b data-gt={GT}>geetest</b></template>",
        f"<textarea>geetest <b data-captcha-id={ID}></textarea>",
        f"<div data-captcha-id={ID}>",
        f"<p>geetest<div data-gt={GT}0>",
        "<script src=https://static.geetest.com/v4/gt4.js></script>",
        "<script src=/widgt.js></script>",
    ],
)
def test_what_is_none(html):
    assert seen(html) is None


def test_a_script_is_enough_where_the_flag_brings_the_rest():
    script = "<script src=https://static.geetest.com/static/tools/gt.js></script>"
    for fields in ({"challengeUrl": "/r"}, {"gt": GT, "challenge": CHALLENGE}, {"captchaId": ID}):
        challenge = seen(script, **fields)
        assert challenge.blocked
        assert challenge.refusal == ""
        assert prepared(challenge, **fields).refusal == ""
    assert seen(script) is None


def test_the_flag_says_which_version():
    both = f"initGeetest({{gt: '{GT}'}}); initGeetest4({{captchaId: '{ID}'}})"
    challenge = seen(both, challengeUrl="/r")
    assert "captchaId" not in challenge.params
    assert set(challenge.fields.values()) == {"challenge", "validate", "seccode"}
    assert seen(f"initGeetest({{gt: '{GT}'}})", captchaId=ID).params == {}


def test_the_form_around_the_container_is_the_one():
    assert detect(response_of("geetest_gate"))[0].form.url == "https://shop.example/verify"


@pytest.mark.parametrize(
    ("value", "host"),
    [
        ("api-na.geetest.com", "api-na.geetest.com"),
        (["https://a.geevisit.com/", "b.geevisit.com"], "a.geevisit.com"),
        ("API.geetest.com", None),
        (["gcaptcha4.geetest.com"], None),
        ([], None),
        ([["a"]], None),
        ({"a": 1}, None),
        ("a b.com", None),
        ("localhost", None),
        ("x" * 5000 + ".com", None),
        (5, None),
        (None, None),
    ],
)
def test_servers(value, host):
    assert server(value) == host


# The challenge of v3


def test_a_page_without_the_challenge_says_which_key_helps():
    challenge = detect(response_of("geetest_register"))[0]
    assert '"challengeUrl"' in challenge.refusal
    assert prepared(challenge).refusal == challenge.refusal
    assert '"challengeUrl"' in seen(f"initGeetest({{gt: '{GT}'}})").refusal
    assert '"captchaId"' in seen("initGeetest4({captchaId: config.id})").refusal
    assert seen("initGeetest4({captchaId: config.id})", captchaId=ID).refusal == ""


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("/register", "https://shop.example/register"),
        ("gt/register?t=1", "https://shop.example/gt/register?t=1"),
        (" https://api.other.example/r ", "https://api.other.example/r"),
        ("//api.other.example/r", "https://api.other.example/r"),
    ],
)
def test_the_challenge_is_fetched_for_every_attempt(given, address):
    page = detect(response_of("geetest_register"), fields={"challengeUrl": given})[0]
    assert page.refusal == ""
    for challenge in (prepared(page, challengeUrl=given), announced(challengeUrl=given)):
        assert challenge.fetch == (address,)
        assert not challenge.perishable
        assert challenge.refusal == ""
        answer = {"success": 1, "gt": GT, "challenge": CHALLENGE, "new_captcha": True}
        for wrapped in (answer, {"code": 0, "data": answer}, {"result": answer, "success": True}):
            assert GEETEST.task(challenge, (json.dumps(wrapped).encode(),), "") == {
                "type": TYPE,
                "websiteURL": URL,
                "gt": GT,
                "challenge": CHALLENGE,
            }


def test_what_is_fetched_goes_before_what_was_read():
    fields = {"challengeUrl": "/r"}
    page = detect(response_of("geetest_v3"), fields=fields)[0]
    assert not page.perishable
    challenge = prepared(page, **fields)
    task = GEETEST.task(challenge, (b'{"challenge": "new", "success": 1}',), "")
    assert (task["gt"], task["challenge"]) == (GT, "new")
    assert task["geetestApiServerSubdomain"] == "api-na.geetest.com"
    assert GEETEST.task(challenge, (b'{"challenge": "new", "gt": "other"}',), "")["gt"] == "other"


def test_a_challenge_in_the_page_is_good_once():
    challenge = prepared(detect(response_of("geetest_v3"))[0])
    assert challenge.perishable
    assert challenge.fetch == ()
    assert GEETEST.task(challenge, (), "")["challenge"] == CHALLENGE
    assert not prepared(detect(response_of("geetest_gate"))[0]).perishable


@pytest.mark.parametrize("given", ["ftp://a.example/", "javascript:x", "http://[", "data:text/html,x", 5, "x" * 9000])
def test_addresses_that_are_none(given):
    with pytest.raises(CaptchaConfigurationError, match=r"^challengeUrl: ") as caught:
        announced(challengeUrl=given)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no JSON object"),
        (b"<html>", "no JSON object"),
        (b"[]", "no JSON object"),
        (b"\xff", "no JSON object"),
        (b"[" * 60_000, "no JSON object"),
        (b'{"challenge": "x", "a": "' + b"x" * 70_000 + b'"}', "no JSON object"),
        (b"{}", 'no "challenge"'),
        (b'{"data": {"gt": "x"}, "list": [1]}', 'no "challenge"'),
        (b'{"challenge": 5}', 'no "challenge"'),
        (b'{"challenge": ""}', 'no "challenge"'),
        (b'{"challenge": "x\\n"}', 'no "challenge"'),
        (b'{"challenge": "x"}', 'no "gt", and neither'),
        (b'{"success": 0, "gt": "x", "challenge": "y"}', "offline mode"),
        (b'{"data": {"success": "0", "gt": "x", "challenge": "y"}, "success": true}', "offline mode"),
        (b'{"success": false, "gt": "x", "challenge": "y"}', "offline mode"),
    ],
)
def test_answers_that_cannot_be_used(content, words):
    with pytest.raises(UnsupportedCaptchaError, match=words):
        GEETEST.task(announced(challengeUrl="/r"), (content,), "")


def test_nothing_was_fetched():
    with pytest.raises(UnsupportedCaptchaError, match="no JSON object"):
        GEETEST.task(announced(challengeUrl="/r"), (), "")


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.dictionaries(st.sampled_from(["gt", "challenge", "success", "data"]), inner, max_size=4)
            | st.lists(inner, max_size=2)
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_answer_is_read_or_refused(content):
    try:
        found = registration(content)
    except UnsupportedCaptchaError as error:
        assert error.message.isprintable()
    else:
        assert set(found) <= {"gt", "challenge"}
        assert all(value.isascii() and value.isprintable() for value in found.values())


# Solutions


def sent(challenge, solution, inject=None, request=None):
    request = request or Request(URL)
    GEETEST.rehearse(request, challenge, inject)
    return GEETEST.apply(request, challenge, solution, inject)


def test_v4_into_its_form():
    body = dict(parse_qsl(sent(detect(response_of("geetest_gate"))[0], V4).body.decode()))
    assert body == {"back": "/list?page=2", **{key: value for key, value in V4.items() if key != "risk_type"}}


def test_a_form_has_its_own_names():
    body = dict(parse_qsl(sent(detect(response_of("geetest_fields"))[0], V4).body.decode()))
    assert body == {
        "captcha[lot_number]": "lot",
        "captcha[captcha_output]": "out==",
        "geetest_pass_token": "pass",
        "gen_time": "1735689600",  # the page had put something else there
        "captcha_id": ID,
    }


def test_v3_with_its_seccode():
    body = dict(parse_qsl(sent(detect(response_of("geetest_v3"))[0], V3).body.decode()))
    assert body == {
        "geetest_challenge": f"{CHALLENGE}ab",
        "geetest_validate": "val",
        "geetest_seccode": "val|jordan",
    }
    assert GEETEST.values({**V3, "seccode": "own"})["seccode"] == "own"
    assert "seccode" not in GEETEST.values({"challenge": "x"})


def test_before_there_is_a_page():
    request = Request(URL, method="POST", headers={"Content-Type": "application/x-www-form-urlencoded"}, body=b"a=1")
    assert b"a=1&geetest_challenge=" in sent(announced(gt=GT, challenge=CHALLENGE), V3, request=request).body
    assert b"a=1&lot_number=lot&" in sent(announced(captchaId=ID), V4, request=request).body
    assert GEETEST.task(announced(captchaId=ID, riskType="slide"), (), "") == {
        "type": TYPE,
        "websiteURL": URL,
        "captchaId": ID,
        "riskType": "slide",
    }


def test_inject_by_key():
    v4 = announced(captchaId=ID)
    inject = Inject(json={"captcha.lot": "lot_number", "captcha.time": "gen_time"}, header={"X-Risk": "risk_type"})
    request = sent(v4, V4, inject, Request(URL, method="POST", body=b"{}"))
    assert json.loads(request.body) == {"captcha": {"lot": "lot", "time": "1735689600"}}
    assert request.headers[b"X-Risk"] == b"slide"
    assert sent(announced(challengeUrl="/r"), V3, Inject(query={"sec": "seccode"})).url == f"{URL}&sec=val%7Cjordan"


@pytest.mark.parametrize(
    ("fields", "inject", "words"),
    [
        ({"captchaId": ID}, Inject(form="token"), '"lot_number": "lot_number"'),
        ({"gt": GT}, Inject(header="X"), '"geetest_challenge": "challenge"'),
        ({"captchaId": ID}, Inject(form={"a": "validate"}), '"validate" is no key .*allowed are captcha_id'),
        ({"gt": GT}, Inject(form={"a": "lot_number"}), "allowed are challenge, seccode, validate"),
    ],
)
def test_inject_that_cannot_work_costs_nothing(fields, inject, words):
    with pytest.raises(CaptchaConfigurationError, match=words):
        GEETEST.rehearse(Request(URL), announced(**fields), inject)


def test_a_solution_that_lacks_a_value():
    with pytest.raises(UnsolvableCaptchaError, match=r'no "validate"; it has "challenge"$'):
        sent(announced(gt=GT, challenge="x"), {"challenge": "secret"}, request=Request(URL, method="POST"))
    with pytest.raises(UnsolvableCaptchaError, match=r'no "captcha_output"; it has "lot_number"$'):
        sent(announced(captchaId=ID), {"lot_number": "secret"}, request=Request(URL, method="POST"))


PIECES = [
    f"<script>initGeetest4({{captchaId: '{ID}',",
    f"<script>initGeetest({{gt: '{GT}', challenge:",
    f"'{CHALLENGE}'",
    "apiServers: [[",
    "<script src=https://static.geetest.com/v4/gt4.js>",
    "<script src=/gt.js?",
    f"<div data-gt={GT} data-captcha-id='{ID}'>",
    "captcha.appendTo('#c')",
    "<div id=c>",
    "<form method=dialog>",
    "<form action='http://['>",
    "<input name='a[lot_number]'>",
    "<input name=\x01lot_number>",
    "})",
    "</script>",
    "<template>",
    "\0",
]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5)), max_size=15).map("".join), st.booleans())
def test_any_page_is_read_without_error(html, told):
    fields = {"challengeUrl": "/r"} if told else {}
    challenge = seen(f"<p>geetest{html}", **fields)
    if challenge is not None:
        challenge = prepared(challenge, **fields)
        assert all(len(reason) < 250 and reason.isprintable() for reason in challenge.reasons)
        assert all(name.isprintable() and len(name) <= 100 for name in challenge.fields)
        if not challenge.fetch:
            assert GEETEST.task(challenge, (), "")["type"] == TYPE
