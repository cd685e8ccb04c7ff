"""Cloudflare's challenge, DataDome and AWS WAF: what is seen, what is asked of CapSolver, what a solution grants."""

from __future__ import annotations

import time
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scrapy import Request
from scrapy.http import HtmlResponse, JsonResponse, Response

from scrapy_capsolver.errors import CaptchaConfigurationError, CaptchaProxyError, UnsolvableCaptchaError
from scrapy_capsolver.families import FAMILIES, Challenge, Inject, SolutionKind, check_fields, check_type, detect
from scrapy_capsolver.families.aws_waf import AwsWaf
from scrapy_capsolver.families.clearance import ClearanceFamily
from scrapy_capsolver.families.cloudflare_challenge import MAX_HTML, CloudflareChallenge
from scrapy_capsolver.families.datadome import USER_AGENTS, DataDome

from .corpus import response_of

URL = "https://shop.example/list?page=2"
CHROME = USER_AGENTS[0]
CLOUDFLARE, DATADOME, AWS = CloudflareChallenge(), DataDome(), AwsWaf()
CLEARANCES = [family for family in FAMILIES if isinstance(family, ClearanceFamily)]


def one(response, **kwargs):
    challenges = detect(response, **kwargs)
    assert len(challenges) == 1, challenges
    return challenges[0]


def page(html="", status=403, url=URL, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HtmlResponse(url, status=status, headers={"Content-Type": "text/html", **named}, body=html.encode())


# All of them


def test_the_families():
    assert [(one.name, one.cookie, one.per_host) for one in CLEARANCES] == [
        ("cloudflare_challenge", "cf_clearance", False),
        ("datadome", "datadome", False),
        ("aws_waf", "aws-waf-token", True),
    ]
    assert {one.kind for one in CLEARANCES} == {SolutionKind.CLEARANCE}
    assert check_type("DataDomeSliderTask") == "DatadomeSliderTask"
    assert AWS.types["AntiAwsWafTask"].price == 2.0
    assert CLOUDFLARE.types["AntiCloudflareTask"].price is None


@pytest.mark.parametrize(
    ("type_name", "fields", "missing"),
    [
        ("AntiCloudflareTask", {}, ""),  # the proxy is the request's
        ("DatadomeSliderTask", {}, "captchaUrl"),
        ("DatadomeSliderTask", {"captchaUrl": "https://x"}, ""),
        ("AntiAwsWafTask", {}, ""),
        ("AntiAwsWafTaskProxyLess", {}, ""),
    ],
)
def test_fields_that_are_required(type_name, fields, missing):
    if not missing:
        check_fields(type_name, fields, complete=True)
        return
    with pytest.raises(CaptchaConfigurationError, match=f"^{missing}: {type_name} needs"):
        check_fields(type_name, fields, complete=True)


@pytest.mark.parametrize("name", ["cloudflare_challenge_gate", "datadome_gate", "aws_waf_gate"])
def test_what_is_read_is_good_for_one_task_and_goes_into_no_form(name):
    challenge = one(response_of(name))
    assert challenge.blocked
    assert challenge.perishable
    assert challenge.form is None
    assert challenge.url == URL
    family = next(family for family in FAMILIES if family.name == challenge.family)
    family.rehearse(Request(URL), challenge, None)
    with pytest.raises(CaptchaConfigurationError, match=r"inject: .* takes none"):
        family.rehearse(Request(URL), challenge, Inject(form="x"))


def test_a_gate_before_the_site_comes_before_what_else_the_page_shows():
    widget = '<div class="cf-turnstile" data-sitekey="0x4AAAAAAADnPIDROrmt1Wwj"></div>'
    both = response_of("aws_waf_gate")
    found = detect(both.replace(body=both.body.replace(b"</body>", widget.encode() + b"</body>")))
    assert [challenge.family for challenge in found] == ["aws_waf", "turnstile"]


# Cloudflare


@pytest.mark.parametrize("status", [200, 202, 403, 404, 500, 503])
def test_cloudflares_header_is_enough(status):
    challenge = one(page("<p>", status, cf_mitigated=" Challenge "))
    assert challenge.family == "cloudflare_challenge"
    assert challenge.blocked
    assert challenge.reasons[0] == "header cf-mitigated: challenge"
    assert detect(page("<p>", status, cf_mitigated="block")) == []
    empty = one(Response(URL, status=403, headers={"cf-mitigated": "challenge"}))
    assert empty.params == {}


@pytest.mark.parametrize("status", [403, 429, 503])
@pytest.mark.parametrize("name", ["cloudflare_challenge_page", "cloudflare_challenge_legacy"])
def test_without_the_header_a_refusal_with_the_script_is_needed(name, status):
    assert one(response_of(name, status=status)).blocked
    for other in (200, 202, 401, 404, 405, 500):
        assert detect(response_of(name, status=other)) == []


def test_cloudflares_reasons():
    assert one(response_of("cloudflare_challenge_gate")).reasons == (
        "header cf-mitigated: challenge",
        "a script sets _cf_chl_opt",
        "a script loads Cloudflare's challenge",
        'title "Just a moment..."',
    )


@pytest.mark.parametrize(
    ("script", "seen"),
    [
        ("window._cf_chl_opt={cvId: '3'}", True),
        ("window._cf_chl_opt = {}", True),
        ("a.src='/cdn-cgi/challenge-platform/h/b/orchestrate/managed/v1'", True),
        ("a.src='/cdn-cgi/challenge-platform/h/g/orchestrate/jsch/v1'", True),
        ("a.src='/cdn-cgi/challenge-platform/scripts/jsd/main.js'", False),
        ("var text = 'window._cf_chl_opt={}'", False),
        ("/* window._cf_chl_opt={} */", False),
        ("if (window._cf_chl_opt) go()", False),
        ("// '/cdn-cgi/challenge-platform/h/b/orchestrate/chl_page/v1'", False),
    ],
)
def test_what_says_that_it_is_cloudflares(script, seen):
    assert bool(detect(page(f"<script>{script}</script>"))) == seen


def test_the_page_goes_to_capsolver_whole_or_not_at_all():
    gate = response_of("cloudflare_challenge_gate")
    challenge = one(gate)
    assert challenge.params == {"html": gate.text}
    task = CLOUDFLARE.task(challenge, (), "")
    assert task == {"type": "AntiCloudflareTask", "websiteURL": URL, "html": gate.text}
    large = gate.replace(body=gate.body + b" " * MAX_HTML)
    assert one(large).params == {}


@pytest.mark.parametrize(
    ("html", "words"),
    [
        ('<h1 data-translate="block_headline">Sorry, you have been blocked</h1>', "Sorry, you have been blocked"),
        ('<span class="a cf-error-code">1020</span>', "error 1020"),
        ('<span class="cf-error-code"> 1006 </span>', "error 1006"),
        ('<span class="cf-error-code">1015</span>', None),
        ('<span class="cf-error-code">521</span>', None),
        ("<h1>One more step</h1>", None),
    ],
)
def test_a_block_of_cloudflares_is_refused(html, words):
    details = f'<div id="cf-error-details">{html}</div>'
    if words is None:
        assert detect(page(details)) == []
        return
    challenge = one(page(details))
    assert words in challenge.refusal
    assert challenge.error is CaptchaProxyError
    assert detect(page(details, 429)) == []
    assert detect(page(html)) == []


@pytest.mark.parametrize(
    ("asked", "taken"),
    [
        (CHROME, True),
        ("Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/144.0.0.0 Mobile Safari/537.36", True),
        (f"{CHROME} Edg/144.0.0.0", False),
        (f"{CHROME} OPR/110.0.0.0", False),
        (CHROME.replace("Chrome/", "HeadlessChrome/"), False),
        (CHROME.replace("; x64", "; wv"), False),
        ("Scrapy/2.13 (+https://scrapy.org)", False),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", False),
        (CHROME + "\n", False),
        ("", False),
    ],
)  # fmt: skip
def test_cloudflare_takes_chrome_only(asked, taken):
    assert CLOUDFLARE.user_agent(asked, ()) == (asked if taken else None)


@pytest.mark.parametrize(
    ("solution", "agent"),
    [
        ({"cookies": {"cf_clearance": "abc-1.2"}, "token": "no", "userAgent": CHROME}, CHROME),
        ({"cookies": "cf_clearance=abc-1.2; __cf_bm=x", "headers": {"user-AGENT": "B"}}, "B"),
        ({"cookies": "__cf_bm=x; cf_clearance=abc-1.2", "userAgent": " A ", "headers": {"User-Agent": "B"}}, "A"),
        ({"token": "abc-1.2"}, None),
        ({"token": "abc-1.2", "cookies": {}, "headers": []}, None),
        ({"token": "abc-1.2", "cookies": "a=b", "userAgent": "é", "headers": {"User-Agent": "x\r\ny"}}, None),
    ],
)
def test_what_cloudflares_solution_grants(solution, agent):
    grant = CLOUDFLARE.grant(solution)
    assert (grant.cookies, grant.user_agent, grant.expires) == ({"cf_clearance": "abc-1.2"}, agent, None)
    assert "abc" not in repr(grant)


# DataDome


def captcha_url(name, **changes):
    return one(response_of(name, **changes)).params["captchaUrl"]


def test_datadomes_address_is_built_as_its_script_builds_it():
    assert captcha_url("datadome_gate") == (
        "https://geo.captcha-delivery.com/captcha/?initialCid=AHrlqAAAAAMAexample-1_g%3D%3D"
        "&hash=2211F522B61E269B869FA6EAFFB5E1&cid=abc~_1.XYZ&t=fe"
        "&referer=https%3A%2F%2Fshop.example%2Flist%3Fpage%3D2&s=17434&e=0a1b2c3d&dm=cd"
    )
    interstitial = captcha_url("datadome_interstitial", headers={"Set-Cookie": ["a=1", "datadome=new~1; Path=/"]})
    assert interstitial.startswith("https://geo.captcha-delivery.com/interstitial/?initialCid=")
    query = dict(parse_qsl(urlsplit(interstitial).query))
    assert (query["cid"], query["b"], query["s"]) == ("new~1", "1374360", "44330")
    assert "t" not in query
    assert "b" not in dict(parse_qsl(urlsplit(captcha_url("datadome_gate")).query))
    assert "secret" not in captcha_url("datadome_gate", url="https://user:secret@shop.example/")


def test_datadomes_frame_and_its_json():
    assert captcha_url("datadome_frame").endswith(
        "&t=fe&referer=https%3A%2F%2Fshop.example%2Flist&s=17434&e=0a1b&dm=cd"
    )
    assert captcha_url("datadome_xhr").endswith("&s=17434&e=0a1b")
    for status in (200, 404, 500):
        assert detect(response_of("datadome_xhr", status=status)) == []
    assert one(response_of("datadome_xhr", status=401)).blocked


def test_datadomes_task():
    challenge = one(response_of("datadome_gate"))
    assert DATADOME.task(challenge, (), "") == {
        "type": "DatadomeSliderTask",
        "websiteURL": URL,
        "captchaUrl": challenge.params["captchaUrl"],
    }
    assert challenge.reasons == ("a script sets dd", "header x-datadome", "header x-dd-b", "status 403")


@pytest.mark.parametrize("status", [200, 401, 403, 405])
def test_datadomes_page_with_any_status(status):
    assert one(response_of("datadome_gate", status=status)).blocked


def test_datadome_on_a_page_with_content_is_none():
    gate = response_of("datadome_gate", status=200)
    assert detect(gate.replace(body=gate.body.replace(b"</body>", b"<p>" + b"word " * 300))) == []
    assert [one.blocked for one in detect(gate.replace(status=404))] == [True]


@pytest.mark.parametrize("name", ["datadome_banned", "datadome_xhr"])
def test_a_banned_proxy_is_never_paid_for(name):
    response = response_of(name)
    challenge = one(response.replace(body=response.body.replace(b"t=fe", b"t=bv")))
    assert challenge.refusal == "DataDome says t=bv: the proxy is banned; use another one"
    assert challenge.error is CaptchaProxyError


@pytest.mark.parametrize(
    "url",
    [
        "https://geo.captcha-delivery.com.evil.example/captcha/?cid=1",
        "https://evil.example/?x=captcha-delivery.com/captcha/",
        "https://evilcaptcha-delivery.com/captcha/?cid=1",
        "http://geo.captcha-delivery.com/captcha/?cid=1",
        "https://geo.captcha-delivery.com:8443/captcha/?cid=1",
        "https://user@geo.captcha-delivery.com/captcha/?cid=1",
        "https://geo.captcha-delivery.com/other/?cid=1",
        "https://[captcha-delivery.com/captcha/",
        "https://geo.captcha-delivery.com/captcha/?cid=\n1",
        "https://geo.captcha-delivery.com/captcha/?cid=é",
        "https://geo.captcha-delivery.com/captcha/?" + "a" * 9000,
        ["https://geo.captcha-delivery.com/captcha/?cid=1"],
        None,
        7,
    ],
)
def test_addresses_that_are_not_datadomes(url):
    import json

    assert detect(JsonResponse(URL, status=403, body=json.dumps({"url": url}).encode())) == []


def test_json_that_is_none_or_large():
    good = b'{"url":"https://geo.captcha-delivery.com/captcha/?cid=1"%s}'
    assert detect(JsonResponse(URL, status=403, body=good % b""))
    for body in (b"", b"{", b"[1]", b"\xff\xfe", b"[" * 9000, good % (b" " * 20_000)):
        assert detect(JsonResponse(URL, status=403, body=body)) == []


@pytest.mark.parametrize(
    "dd",
    [
        "{'cid':'A','hsh':'B','host':'evil.example'}",
        "{'cid':'A','hsh':'B','host':'captcha-delivery.com.evil.example'}",
        "{'cid':'A','hsh':'B','host':'evil.example/captcha-delivery.com'}",
        "{'cid':'A','hsh':'B','host':'evil.example#.captcha-delivery.com'}",
        "{'cid':'A','host':'geo.captcha-delivery.com'}",
        "{'hsh':'A','host':'geo.captcha-delivery.com'}",
        "{'cid':'\\n','hsh':'B'}",
        "{'cid':['A'],'hsh':{}}",
        "{",
        "[]",
    ],
)
def test_objects_that_are_not_datadomes(dd):
    assert (
        detect(page(f"<script>var dd={dd}</script><script src='https://ct.captcha-delivery.com/c.js'></script>")) == []
    )


def test_values_of_dd_cannot_add_parameters():
    dd = "{'cid':'A&t=fe#','hsh':'B c','t':'fe&x=1','s':'1%00','host':'geo.captcha-delivery.com'}"
    url = one(page(f"<script>var dd={dd}</script>")).params["captchaUrl"]
    assert dict(parse_qsl(urlsplit(url).query)) == {
        "initialCid": "A&t=fe#", "hash": "B c", "t": "fe&x=1", "referer": URL, "s": "1%00", "dm": "cd",
    }  # fmt: skip


def test_datadomes_user_agent_is_one_of_the_list():
    assert "Chrome/144.0.0.0" in USER_AGENTS[0]  # some copies of CapSolver's list begin there
    assert len(set(USER_AGENTS)) == 10
    assert DATADOME.user_agent(USER_AGENTS[3], ()) == USER_AGENTS[3]
    assert DATADOME.user_agent("Scrapy", ()) == USER_AGENTS[0]
    assert DATADOME.user_agent(USER_AGENTS[3], ["A", "B"]) == "A"
    assert DATADOME.user_agent("B", ["A", "B"]) == "B"


@pytest.mark.parametrize(
    ("cookie", "value", "seconds"),
    [
        ("datadome=yz_BK~1==", "yz_BK~1==", None),
        ("datadome=v; Max-Age=3600; Domain=.shop.example; Path=/; Secure; SameSite=Lax", "v", 3600),
        (" datadome = v ;max-age=60", "v", 60),
        ("datadome=v; Expires=Thu, 01 Jan 2099 00:00:00 GMT", "v", 400 * 86400),
        ("datadome=v; Expires=Thu, 01 Jan 1998 00:00:00 GMT", "v", None),
        ("datadome=v; Expires=Thu, 01 Jan 2099 00:00:00 GMT; Max-Age=60", "v", 60),
        ("datadome=v; Max-Age=0", "v", None),
        ("datadome=v; Max-Age=99999999999999999999", "v", 400 * 86400),
        ("datadome=v; Max-Age=-1; Expires=nonsense", "v", None),
        ("datadome=v; Expires=1 Jan 99999999 00:00:00", "v", None),
        ("bare~value", "bare~value", None),
    ],
)
def test_what_datadomes_solution_grants(cookie, value, seconds):
    grant = DATADOME.grant({"cookie": cookie, "userAgent": CHROME})
    assert (grant.cookies, grant.user_agent) == ({"datadome": value}, CHROME)
    if seconds is None:
        assert grant.expires is None
    else:
        assert grant.expires == pytest.approx(time.time() + seconds, abs=5)


# AWS WAF

GOKU = ("awsKey", "awsIv", "awsContext")


def aws_task(challenge, after="", **given):
    merged = AWS.prepare(replace(challenge, params={**challenge.params, **given}))
    task = AWS.task(merged, (), after)
    assert (task.pop("type"), task.pop("websiteURL")) == (challenge.type, URL)
    return task


@pytest.mark.parametrize("status", [200, 202, 403, 405, 500])
@pytest.mark.parametrize("action", ["captcha", "challenge"])
def test_aws_header_is_enough(action, status):
    challenge = one(page("", status, x_amzn_waf_action=action))
    assert challenge.reasons == (f"header x-amzn-waf-action: {action}",)
    assert aws_task(challenge) == {}
    assert one(Response(URL, status=202, headers={"x-amzn-waf-action": action})).blocked
    assert detect(page("", status, x_amzn_waf_action="count")) == []


@pytest.mark.parametrize("status", [200, 202, 403, 405, 503])
def test_aws_properties_are_enough_where_the_page_has_nothing_else(status):
    gate = response_of("aws_waf_gate", headers={}, status=status)
    assert one(gate).blocked
    full = gate.replace(body=gate.body.replace(b"</body>", b"<p>" + b"word " * 300))
    assert bool(detect(full)) == (status != 200)
    assert [one.blocked for one in detect(gate.replace(status=404))] == [True]


def test_situation_1_the_address_alone():
    challenge = one(response_of("aws_waf_gate"))
    assert set(challenge.seen) == {*GOKU, "awsChallengeJS"}
    assert aws_task(challenge) == {}


@pytest.mark.parametrize(
    "after",
    [
        "invalid task data: captcha render unexpect status code 200",
        "timeout metering, your parameters have expired",
    ],
)
def test_situation_2_all_of_the_page(after):
    challenge = one(response_of("aws_waf_gate"))
    assert aws_task(challenge, after) == challenge.seen
    assert aws_task(challenge, "some other error") == {}


def test_situation_3_scripts():
    challenge = one(response_of("aws_waf_challenge_only"))
    assert aws_task(challenge) == {
        "awsChallengeJS": "https://de5282c3ca0c.edge.sdk.awswaf.com/de5282c3ca0c/526cf06acb0d/challenge.js"
    }
    assert aws_task(one(response_of("aws_waf_api"))) == {
        "awsApiJs": "https://de5282c3ca0c.edge.captcha-sdk.awswaf.com/de5282c3ca0c/jsapi.js"
    }


def test_situation_4_the_problem():
    challenge = one(response_of("aws_waf_problem"))
    assert challenge.seen["awsApiKey"] == "problem-key-1"
    assert aws_task(challenge) == {"awsProblemUrl": challenge.seen["awsProblemUrl"]}
    assert challenge.seen["awsProblemUrl"].startswith(
        "https://ait.2608283a.us-east-1.captcha.awswaf.com/ait/ait/ait/problem?"
    )


def test_situation_5_a_visitor_who_has_a_token():
    challenge = one(response_of("aws_waf_api"))
    wanted = {
        "awsApiKey": "sdk-key/1+x==",
        "awsApiJs": challenge.seen["awsApiJs"],
        "awsExistingToken": "a:b:c==",
    }
    assert aws_task(AWS.having(challenge, {"aws-waf-token": "a:b:c=="})) == wanted
    assert aws_task(challenge, awsExistingToken="a:b:c==") == wanted
    assert AWS.having(challenge, {"aws-waf-token": "a;b"}) is challenge
    assert AWS.having(challenge, {"other": "a"}) is challenge
    set_by_page = one(response_of("aws_waf_api", headers={"Set-Cookie": "aws-waf-token=a:b:c==; Path=/"}))
    assert aws_task(set_by_page) == wanted


def test_what_the_author_gives_always_goes_along():
    challenge = one(response_of("aws_waf_gate"))
    assert aws_task(challenge, awsChallengeJS="mine") == {"awsChallengeJS": "mine"}
    assert aws_task(challenge, "captcha render unexpect status code", awsIv="mine")["awsIv"] == "mine"
    assert aws_task(Challenge("aws_waf", "AntiAwsWafTaskProxyLess", URL), awsApiJs="x") == {"awsApiJs": "x"}


def test_aws_widgets():
    challenge = one(response_of("aws_waf_login"))
    assert not challenge.blocked
    assert "the form asks for a password" in challenge.reasons
    assert one(response_of("aws_waf_api", status=403)).blocked


def test_aws_scripts_of_lookalike_hosts_are_none():
    gate = response_of("aws_waf_challenge_only")
    for host in (b"evil.example/x.awswaf.com", b"x.awswaf.com.evil.example", b"awswaf.com.evil.example"):
        assert detect(gate.replace(body=gate.body.replace(b"de5282c3ca0c.edge.sdk.awswaf.com", host))) == []


def test_the_interstitial_needs_to_load_the_page_anew():
    gate = response_of("aws_waf_challenge_only")
    assert detect(gate.replace(body=gate.body.replace(b"location.reload", b"location.other"))) == []
    assert one(gate.replace(status=403)).blocked
    assert detect(gate.replace(status=200)) == []


def test_values_from_aws_pages_are_bounded_and_printable():
    values = '{"key":"a\\u0007","iv":"b","context":"c"}'
    assert one(page(f"<script>gokuProps={values}</script>", 405, x_amzn_waf_action="captcha")).seen == {}
    values = f'{{"key":"{"k" * 3000}","iv":"b","context":"c"}}'
    assert one(page(f"<script>gokuProps={values}</script>", 405, x_amzn_waf_action="captcha")).seen == {}
    long = "https://a.awswaf.com/" + "x" * 3000 + "/challenge.js"
    assert one(page(f"<script src={long}></script>", 405, x_amzn_waf_action="captcha")).seen == {}


@pytest.mark.parametrize(
    "solution",
    [
        {"cookie": "a-1:B+/x:z=="},
        {"cookie": " a-1:B+/x:z== "},
        {"cookie": "aws-waf-token=a-1:B+/x:z==; Path=/"},
        {"cookie": "", "cookies": "aws-waf-token=a-1:B+/x:z=="},
        {"cookies": {"aws-waf-token": "a-1:B+/x:z=="}},
        {"cookie": 7, "cookies": "a-1:B+/x:z=="},
    ],
)
def test_what_awss_solution_grants(solution):
    assert AWS.grant(solution).cookies == {"aws-waf-token": "a-1:B+/x:z=="}
    assert AWS.grant({**solution, "userAgent": CHROME}).user_agent == CHROME
    assert AWS.user_agent(CHROME, [CHROME]) is None


# Solutions that are none, or worse

BAD = [
    "",
    " ",
    None,
    7,
    [],
    {},
    "a b",
    'a"b',
    "a,b",
    "a\\b",
    "a\r\nSet-Cookie: x=y",
    "a\0",
    "é",
    "a" * 5000,
    "b" * 20_000,
]


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("family", CLEARANCES, ids=lambda family: family.name)
def test_values_that_no_cookie_has(family, value):
    pair = f"{family.cookie}={value}" if isinstance(value, str) else value
    for found in (value, pair, {family.cookie: value}):
        with pytest.raises(UnsolvableCaptchaError, match="no value for a cookie") as caught:
            family.grant({"cookie": found, "cookies": found, "token": value})
        assert caught.value.message.isprintable()
        assert "Set-Cookie" not in caught.value.message


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)
VALUES = st.one_of(
    JSON,
    st.text(max_size=30).map(lambda text: f"cf_clearance={text}"),
    st.text(max_size=30).map(lambda text: f"datadome={text}"),
    st.text(max_size=30).map(lambda text: f"datadome=v; Expires={text}; Max-Age={text}"),
    st.text(max_size=30).map(lambda text: f"aws-waf-token={text}"),
    st.dictionaries(st.sampled_from(["cf_clearance", "datadome", "aws-waf-token", "User-Agent", "user-agent"]), JSON),
    st.sampled_from(["a\r\nb", "a\0b", "ok", "ok;", "\u2028", "é"]),
)


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from(CLEARANCES),
    st.dictionaries(st.sampled_from(["cookie", "cookies", "token", "userAgent", "headers", "url"]), VALUES),
)
def test_any_solution_grants_what_can_be_sent_or_is_refused(family, solution):
    try:
        grant = family.grant(solution)
    except UnsolvableCaptchaError as error:
        assert error.message.isprintable()
        return
    assert list(grant.cookies) == [family.cookie]
    value = grant.cookies[family.cookie]
    assert 0 < len(value) <= 4096
    assert not set(value) - {chr(code) for code in range(0x21, 0x7F) if chr(code) not in '",;\\'}
    if grant.user_agent is not None:
        assert grant.user_agent.isascii()
        assert grant.user_agent.isprintable()
        assert grant.user_agent == grant.user_agent.strip()
    assert grant.expires is None or time.time() <= grant.expires <= time.time() + 400 * 86400


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=80), st.lists(st.text(max_size=20), max_size=3))
def test_any_user_agent(asked, listed):
    for family in CLEARANCES:
        assert family.user_agent(asked, listed) in {None, asked, *listed, USER_AGENTS[0]}
