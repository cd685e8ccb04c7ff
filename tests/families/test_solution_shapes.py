"""Solutions in every shape that a client of CapSolver's is known to read: one reader for cookies, one for tokens."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scrapy import Request

from scrapy_capsolver.errors import CaptchaError, UnsolvableCaptchaError
from scrapy_capsolver.families import FAMILIES, Challenge, Inject, family
from scrapy_capsolver.families.clearance import ClearanceFamily
from scrapy_capsolver.families.cookies import cookie_value
from scrapy_capsolver.families.solution import MAX_USER_AGENT, MAX_VALUE, member, read_agent, read_cookie
from scrapy_capsolver.families.token import TokenFamily

URL = "https://shop.example/a"
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/144.0.0.0 Safari/537.36"
)
CLEARANCES = [one for one in FAMILIES if isinstance(one, ClearanceFamily)]
TOKENS = [one for one in FAMILIES if isinstance(one, TokenFamily)]
VALUE = "_VPC-1.2~abc/def+ghi=="


def shapes(name: str, value: str) -> dict[str, Any]:
    """Of the cookie ``name``. What is bare has no name, and may end in ``=``."""
    pair, one = f"{name}={value}", {"name": name, "value": value, "domain": ".shop.example"}
    return {
        "cookies object": {"cookies": {name: value}},
        "cookies object with others": {"cookies": {"__cf_bm": "BM", name: value}},
        "cookies object of objects": {"cookies": {name: {"value": value, "path": "/"}}},
        "cookies object of lists": {"cookies": {name: [value]}},
        "cookies list of objects": {"cookies": [{"name": "__cf_bm", "value": "BM"}, one]},
        "cookies list of pairs": {"cookies": ["__cf_bm=BM; Path=/", f"{pair}; Path=/"]},
        "cookies one object": {"cookies": one},
        "cookies text": {"cookies": pair},
        "cookies text of several": {"cookies": f"__cf_bm=BM; {pair}"},
        "cookie object": {"cookie": {name: value}},
        "cookie list": {"cookie": [one]},
        "cookie pair": {"cookie": pair},
        "cookie pair with blanks": {"cookie": f"  {name} = {value} ;Path=/"},
        "cookie with attributes": {
            "cookie": f"{pair}; Max-Age=3600; Domain=.shop.example; Path=/; Secure; SameSite=Lax"
        },
        "cookie as a header": {"cookie": f"Set-Cookie: {pair}; Path=/"},
        "cookie as a header in lower case": {"cookie": f"set-cookie:{pair}"},
        "setCookie": {"setCookie": f"{pair}; Path=/"},
        "top-level": {name: value},
        "top-level object": {name: {"value": value}},
        "token pair": {"token": pair},
        "bare cookie": {"cookie": value},
        "bare cookie with blanks": {"cookie": f" {value}\n"},
        "bare cookie with attributes": {"cookie": f"{value}; Path=/"},
        "bare cookies": {"cookies": value},
        "bare cookies list": {"cookies": [value]},
        "bare token": {"token": value},
        "null before the token": {"cookies": None, "cookie": "", "token": value},
        "others before the token": {"cookies": "__cf_bm=BM", "token": value},
        "Cookie": {"Cookie": pair},
    }


@pytest.mark.parametrize("shape", shapes("", ""))
@pytest.mark.parametrize("one", CLEARANCES, ids=lambda one: one.name)
def test_a_cookie_in_any_shape(one: ClearanceFamily, shape: str) -> None:
    grant = one.grant({**shapes(one.cookie, VALUE)[shape], "userAgent": CHROME})
    assert (grant.cookies, grant.user_agent) == ({one.cookie: VALUE}, CHROME)
    assert VALUE not in repr(grant)


@pytest.mark.parametrize(
    "solution",
    [
        {"cookie": "other=abc"},
        {"cookie": "x-datadome=abc; mydatadome=abc"},
        {"cookies": {"other": "abc"}},
        {"cookies": [{"name": "other", "value": "abc"}, 7, None, [["datadome=abc"]]]},
        {"cookie": "datadome="},
        {"cookie": {"datadome": {"val": "abc"}}},
        {"cookies": {"datadome": 7}, "token": True},
        {"url": "abc", "userAgent": "abc"},
        {},
    ],
)
def test_a_cookie_that_is_not_there(solution: dict[str, Any]) -> None:
    with pytest.raises(UnsolvableCaptchaError, match=r'no value for a cookie "datadome"'):
        family("datadome").grant(solution)


@pytest.mark.parametrize(
    ("solution", "seconds"),
    [
        ({"cookie": "datadome=a; Max-Age=60"}, 60),
        ({"cookie": "datadome=a; Path=/; max-age=60; Expires=Thu, 01 Jan 2099 00:00:00 GMT"}, 60),
        ({"cookie": "datadome=a; other=b; Max-Age=60"}, None),
        ({"cookie": "other=b; Max-Age=60; datadome=a"}, None),
        ({"cookies": [{"name": "datadome", "value": "a", "maxAge": 60}]}, 60),
        ({"cookies": {"datadome": {"value": "a", "expires": 4e9}}}, 400 * 86400),
        ({"cookies": {"datadome": {"value": "a", "expirationDate": 1}}}, None),
        ({"cookies": {"datadome": {"value": "a", "expires": float("nan"), "maxAge": 10**400}}}, None),
        ({"cookies": {"datadome": {"value": "a", "expires": "Thu, 01 Jan 2099 00:00:00 GMT"}}}, 400 * 86400),
        ({"cookies": {"datadome": {"value": "a", "maxAge": -5, "expires": 1e300}}}, 400 * 86400),
        ({"cookies": {"datadome": {"value": "a", "maxAge": True}}}, None),
    ],
)
def test_when_a_cookie_ends(solution: dict[str, Any], seconds: float | None) -> None:
    expires = family("datadome").grant(solution).expires
    assert expires is None if seconds is None else expires == pytest.approx(time.time() + seconds, abs=60)


def test_a_long_text_is_searched_once() -> None:
    """Not again from each of its blanks."""
    started = time.process_time()
    assert read_cookie({"cookies": [" " * 16_000] * 50, "cookie": ";" * 16_000}, "datadome") is None
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("solution", "agent"),
    [
        ({"userAgent": CHROME}, CHROME),
        ({"user_agent": CHROME}, CHROME),
        ({"user-agent": CHROME}, CHROME),
        ({"User-Agent": CHROME}, CHROME),
        ({"useragent": f" {CHROME}\t"}, None),
        ({"useragent": f" {CHROME} "}, CHROME),
        ({"userAgent": None, "headers": {"USER-AGENT": CHROME}}, CHROME),
        ({"userAgent": {"x": 1}, "headers": [1]}, "of the task"),
        ({"userAgent": "x\r\ny"}, "of the task"),
        ({"userAgent": "a" * (MAX_USER_AGENT + 1)}, "of the task"),
        ({}, "of the task"),
    ],
)
def test_user_agents(solution: dict[str, Any], agent: str | None) -> None:
    """The task's own is that for which it was solved, if the solution names none."""
    agent = agent if agent is not None else "of the task"
    assert read_agent(solution, {"userAgent": "of the task"}) == agent
    assert read_agent(solution) == (None if agent == "of the task" else agent)
    for one in (family("cloudflare_challenge"), family("turnstile")):
        full = one.complete({"token": "t", **solution}, {"userAgent": "of the task"})
        assert full["userAgent"] == agent
    assert (
        family("datadome")
        .grant(family("datadome").complete({"cookie": "a", **solution}, {"userAgent": "of the task"}))
        .user_agent
        == agent
    )


TOKEN = "03AGdBq25-Tok3n"
TOKEN_SHAPES: dict[str, Any] = {
    "its own": None,
    "gRecaptchaResponse": {"gRecaptchaResponse": TOKEN},
    "g_recaptcha_response": {"g_recaptcha_response": TOKEN},
    "g-recaptcha-response": {"g-recaptcha-response": TOKEN},
    "grecaptcharesponse": {"grecaptcharesponse": TOKEN},
    "cf-turnstile-response": {"cf-turnstile-response": TOKEN},
    "token": {"token": TOKEN},
    "Token": {"Token": TOKEN},
    "beside null": {"gRecaptchaResponse": None, "text": "", "token": TOKEN},
    "an object": {"token": {"value": TOKEN}},
    "with blanks": {"token": f" {TOKEN}\r\n"},
}


@pytest.mark.parametrize("shape", TOKEN_SHAPES)
@pytest.mark.parametrize("name", ["recaptcha_v2", "recaptcha_v3", "turnstile", "mtcaptcha", "botdeflector"])
def test_a_token_in_any_shape(name: str, shape: str) -> None:
    one = family(name)
    assert isinstance(one, TokenFamily)
    solution = TOKEN_SHAPES[shape] or {one.solution_key: TOKEN, "other": "x"}
    assert one.value(solution) == TOKEN
    assert one.complete(solution, {})[one.solution_key] == TOKEN
    sent = one.apply(Request(URL), Challenge(name, "T", URL), solution, Inject(header="X-Token"))
    assert sent.headers["X-Token"] == TOKEN.encode()


def test_the_documented_name_of_a_token_comes_first() -> None:
    both = {"token": "other", "gRecaptchaResponse": TOKEN}
    assert family("recaptcha_v2").value(both) == TOKEN
    assert family("turnstile").value(both) == "other"
    assert family("raw").value({"cookie": "c", "token": TOKEN}) == TOKEN


@pytest.mark.parametrize(
    ("solution", "text"),
    [
        ({"text": "k7xp2"}, "k7xp2"),
        ({"text": " k7xp2 "}, "k7xp2"),
        ({"text": 4479, "confidence": 0.98}, "4479"),
        ({"text": 0}, "0"),
        ({"text": 44.5}, "44.5"),
        ({"answers": ["4479"]}, "4479"),
        ({"text": "", "answers": ["a", "b"]}, "a,b"),
        ({"answers": [1, 2]}, "1,2"),
        ({"answer": "x"}, "x"),
        ({"token": "x"}, "x"),
    ],
)
def test_the_answer_to_a_picture(solution: dict[str, Any], text: str) -> None:
    one = family("image_to_text")
    assert one.value(solution) == text
    assert one.complete(solution, {})["text"] == text


V4 = {"lot_number": "LOT", "captcha_output": "OUT", "pass_token": "PASS", "gen_time": "1735689600"}
V4_TASK = {"type": "GeeTestTaskProxyLess", "captchaId": "a" * 32}
V3_TASK = {"type": "GeeTestTaskProxyLess", "gt": "b" * 32, "challenge": "c" * 32}


@pytest.mark.parametrize(
    ("solution", "task", "values"),
    [
        ({**V4, "captcha_id": "x"}, V4_TASK, {**V4, "captcha_id": "x"}),
        (V4, V4_TASK, {**V4, "captcha_id": "a" * 32}),
        ({**V4, "captcha_id": None, "gen_time": 1735689600}, V4_TASK, {**V4, "captcha_id": "a" * 32}),
        ({"lotNumber": "LOT\n", "captchaOutput": "OUT", "passToken": "PASS", "genTime": "1735689600"}, V4_TASK, V4),
        ({"validate": "VAL"}, V3_TASK, {"validate": "VAL", "challenge": "c" * 32, "seccode": "VAL|jordan"}),
        ({"validate": "VAL", "challenge": "d"}, V3_TASK, {"challenge": "d"}),
        ({"geetest_validate": "VAL", "geetest_challenge": "d", "geetest_seccode": "S"}, V3_TASK, {"validate": "VAL", "challenge": "d", "seccode": "S"}),
        ({"geetestValidate": "VAL"}, V3_TASK, {"validate": "VAL", "challenge": "c" * 32}),
    ],
)  # fmt: skip
def test_geetest(solution: dict[str, Any], task: dict[str, Any], values: dict[str, str]) -> None:
    """What the task had completes what the solution leaves out."""
    one = family("geetest")
    found = one.values(one.complete(solution, task))
    assert {key: found.get(key) for key in values} == values


def test_the_session_cookies_of_recaptcha() -> None:
    one = family("recaptcha_v2")
    challenge = Challenge("recaptcha_v2", "ReCaptchaV2TaskProxyLess", URL)
    for solution in (
        {"recaptcha-ca-t": "A"},
        {"cookies": {"recaptcha-ca-t": "A"}},
        {"cookies": "recaptcha-ca-t=A; x=y"},
    ):
        sent = one.apply(Request(URL), challenge, {"gRecaptchaResponse": TOKEN, **solution}, Inject(header="X"))
        assert sent.cookies == [{"name": "recaptcha-ca-t", "value": "A"}]
    bare = {"gRecaptchaResponse": TOKEN, "token": "T", "cookie": "C"}
    assert not one.apply(Request(URL), challenge, bare, Inject(header="X")).cookies


def test_members_by_other_spellings() -> None:
    assert member({"a_b": 1, "aB": 2}, "aB") == 2
    assert member({"A-b": 1}, "aB") == 1
    assert member({"ab" * 99: 1}, "a") is None
    assert member({str(n): n for n in range(10**5)} | {"a_b": 1}, "aB") is None  # far behind


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(10**400)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["cookie", "cookies", "token", "text", "answers", "userAgent", "headers", "gRecaptchaResponse", "datadome", "validate",
     "aws-waf-token", "cf_clearance", "lot_number", "createTime", "geetest_challenge", "Set-Cookie", "recaptcha-ca-t"]
)  # fmt: skip
PAIRS = st.builds(
    "{}={}{}".format, NAMES, st.text(max_size=20), st.sampled_from(["", "; Max-Age=9", "; Expires=x", "\r\nA: b"])
)
SOLUTIONS = st.dictionaries(
    NAMES | st.text(max_size=8),
    JSON | PAIRS | st.lists(PAIRS, max_size=3) | st.dictionaries(NAMES, JSON | PAIRS),
    max_size=5,
)


@settings(max_examples=500, deadline=None)
@given(st.sampled_from([*CLEARANCES, *TOKENS]), SOLUTIONS, st.dictionaries(NAMES, JSON))
def test_any_solution_is_completed_and_read_or_refused(one: Any, solution: Any, task: Any) -> None:
    """Whatever is in it: no other error, and nothing that could not be sent."""
    full = one.complete(solution, task)
    assert solution.keys() <= full.keys()
    assert one.complete(full, task) == full or json.dumps(full) == json.dumps(one.complete(full, task))
    try:
        if isinstance(one, ClearanceFamily):
            grant = one.grant(full)
            assert cookie_value(grant.cookies[one.cookie]) is not None
            assert grant.user_agent is None or (grant.user_agent.isascii() and grant.user_agent.isprintable())
            assert grant.expires is None or time.time() <= grant.expires
        else:
            value = one.value(full)
            assert value == value.strip()
            assert 0 < len(value) <= MAX_VALUE
            one.apply(Request(URL), Challenge(one.name, "T", URL), full, Inject(header="X", form="f"))
    except CaptchaError as error:
        assert error.message.isprintable()
