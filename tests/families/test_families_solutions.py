"""From a challenge to a task, and from a solution to the next request."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import replace
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scrapy import FormRequest, Request
from scrapy.http import HtmlResponse, JsonRequest

from scrapy_capsolver.errors import CaptchaConfigurationError, UnsolvableCaptchaError, UnsupportedCaptchaError
from scrapy_capsolver.families import Challenge, FormSubmission, Inject, SolutionKind, detect, family

V2 = "6LeIxAcTAAAAAJcZVRqyHh71UMIEGNQ_MXjiZKhI"
URL = "https://shop.example/list?page=2"
WIDGET = f'<div class="g-recaptcha" data-sitekey="{V2}"></div>'
FAMILY = family("recaptcha_v2")
TOKEN = {"gRecaptchaResponse": "03AGdBq25"}


def challenge_of(html, url=URL, **response):
    return detect(HtmlResponse(url, body=html.encode(response.pop("charset", "utf-8")), **response))[0]


def form_of(html, **kwargs):
    return challenge_of(html, **kwargs).form


def answered(challenge, request=None, solution=TOKEN, inject=None):
    request = request or Request(URL)
    family(challenge.family).rehearse(request, challenge, inject)
    return family(challenge.family).apply(request, challenge, solution, inject)


# Forms


def test_the_form_is_sent_as_a_browser_sends_it(response):
    challenge = detect(response("v2_gate"))[0]
    request = Request(
        URL, headers={"X-A": "1", "Content-Type": "x/y"}, cb_kwargs={"k": 1}, meta={"m": 1}, cookies={"c": "1"}
    )
    sent = answered(challenge, request)
    assert (sent.method, sent.url) == ("POST", "https://shop.example/verify?from=gate")
    assert parse_qsl(sent.body.decode()) == [
        ("return", "/catalogue?page=2&sort=price"),
        ("csrf", "b7c1"),
        ("go", "Continue"),
        ("g-recaptcha-response", "03AGdBq25"),
    ]
    assert sent.headers[b"Content-Type"] == b"application/x-www-form-urlencoded"
    assert sent.headers[b"Referer"] == URL.encode()
    assert sent.headers[b"Origin"] == b"https://shop.example"
    assert sent.headers[b"X-A"] == b"1"
    assert (sent.cb_kwargs, sent.meta, sent.cookies) == ({"k": 1}, {"m": 1}, {"c": "1"})
    assert (request.url, request.method, request.body) == (URL, "GET", b"")


def test_the_captchas_own_empty_field_is_filled_not_doubled(response):
    for name in ("v2_anchor_frame", "v3_gate"):
        sent = answered(detect(response(name))[0])
        assert sent.body.count(b"g-recaptcha-response") == 1
        assert b"g-recaptcha-response=03AGdBq25" in sent.body


def test_a_get_form_makes_a_get_request(response):
    challenge = detect(response("image_gate"), fields={"selector": "#captcha"})[0]
    sent = answered(challenge, solution={"text": "ab c"}, inject=Inject(form="answer"))
    assert (sent.method, sent.body) == ("GET", b"")
    assert sent.url == "https://shop.example/captcha?amzn=tok%3D%3D&answer=ab+c"
    assert b"Origin" not in sent.headers


def test_turnstile_and_v3_use_their_fields(response):
    for name, key, field in [
        ("turnstile_gate", "token", b"cf-turnstile-response"),
        ("turnstile_render", "token", b"token"),
        ("v3_identifier", "gRecaptchaResponse", b"recaptcha_token"),
    ]:
        assert field + b"=T0" in answered(detect(response(name))[0], solution={key: "T0"}).body


def test_the_form_of_the_container_is_the_one(response):
    challenge = detect(response("turnstile_render"))[0]
    assert challenge.form.url == "https://shop.example/enter"


@pytest.mark.parametrize(
    ("html", "url"),
    [
        (f"<form action=/a>{WIDGET}</form><form action=/b></form>", "/a"),
        (f"<form action=/a></form><form action=/b><p>{WIDGET}</p></form>", "/b"),
        (
            f"<form action=/a></form><form action=/b><textarea name=g-recaptcha-response></textarea></form>{WIDGET}",
            "/b",
        ),
        (f'<form action=/a id=f></form><form action=/b></form><button form=f data-sitekey="{V2}"></button>', "/a"),
        (f"<form action=/a></form>{WIDGET}", None),
        (f"<form action=/a></form><form action=/b></form>{WIDGET}", None),
        (f"<form action='javascript:void(0)'>{WIDGET}</form>", None),
        (f"<form action='mailto:a@b.example'>{WIDGET}</form>", None),
        (f"<form method=dialog>{WIDGET}</form>", None),
        (f"<form action='http://['>{WIDGET}</form>", None),
        (f"<form>{WIDGET}</form>", "/list"),
        (f"<base href=https://shop.example/x/><form action=go>{WIDGET}</form>", "/x/go"),
        (f"<base href=https://shop.example/x/><form action=' '>{WIDGET}</form>", "/list"),
        (f"<form action='go#part'>{WIDGET}</form>", "/go"),
    ],
)
def test_which_form(html, url):
    form = form_of(html)
    assert (form and form.url.partition("?")[0]) == (url and f"https://shop.example{url}")


def test_script_pages_use_their_only_form(response):
    html = f'<script src="https://www.google.com/recaptcha/api.js?render={V2}"></script>'
    assert form_of(f"{html}<form action=/a></form>").url == "https://shop.example/a"
    assert form_of(f"{html}<form action=/a></form><form action=/b></form>") is None


def test_what_belongs_to_a_form():
    form = form_of(
        f"""<form id=f method=post action=/a><input name=off value=1 disabled><fieldset disabled><input name=in value=1>
        <fieldset disabled><input name=deep></fieldset></fieldset>
        <input type=checkbox name=c1 value=1><input type=checkbox name=c2 checked value=1><select name=s><option>1<option
        selected>2</select>{WIDGET}<button name=b1 value=x>A</button><button name=b2>B</button></form>
        <input form=f name=far value=9><input form=g name=farther>"""
    )
    assert parse_qsl(form.body.decode()) == [("c2", "1"), ("s", "2"), ("b1", "x"), ("far", "9")]


def test_multipart_forms():
    form = form_of(
        f'<form method=post enctype="multipart/form-data" action=/a><input name=n value="1&amp;ü">'
        f"<input type=file name=f>{WIDGET}</form>"
    )
    kind, _, boundary = form.headers[0][1].partition("; boundary=")
    assert (form.headers[0][0], kind) == ("Content-Type", "multipart/form-data")
    assert form.body.count(b"--" + boundary.encode()) == 3
    assert 'name="n"\r\n\r\n1&ü\r\n'.encode() in form.body
    sent = answered(challenge_of(f'<form method=post enctype="multipart/form-data">{WIDGET}</form>'))
    assert b'name="g-recaptcha-response"\r\n\r\n03AGdBq25\r\n' in sent.body


def test_a_form_is_sent_in_the_pages_encoding():
    html = f"<form method=post><input name=n value=жë>{WIDGET}</form>"
    headers = {"Content-Type": "text/html; charset=windows-1251"}
    form = form_of(html.replace("ë", "&euml;"), charset="cp1251", headers=headers)
    assert form.body == b"n=%E6%26%23235%3B"
    get = form_of(html.replace("ë", "").replace("method=post", ""), charset="cp1251", headers=headers)
    assert get.url == "https://shop.example/list?n=%E6"
    utf8 = form_of(
        html.replace("ë", "").replace("<form", "<form accept-charset=utf-8"), charset="cp1251", headers=headers
    )
    assert utf8.body == b"n=%D0%B6"


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ("https://evil.example/x", "to another origin, https://evil.example"),
        ("//user:pass@evil.example/x", "to another origin, https://evil.example"),
        ("https://shop.example.evil.example/", "another origin, https://shop.example.evil.example"),
        ("https://id.shop.example/v", "another origin, https://id.shop.example"),
        ("https://shop.example:8443/v", "another origin, https://shop.example:8443"),
        ("http://shop.example/x", "another origin, http://shop.example"),
        ("https://203.0.113.9/", "another origin, https://203.0.113.9"),
    ],
)
def test_a_form_that_would_carry_the_solution_away(action, words):
    challenge = challenge_of(f'<form method=post action="{action}">{WIDGET}</form>')
    for use in (
        lambda: FAMILY.rehearse(Request(URL), challenge, None),
        lambda: FAMILY.apply(Request(URL), challenge, TOKEN, None),
    ):
        with pytest.raises(UnsupportedCaptchaError, match=words) as caught:
            use()
        assert "pass" not in str(caught.value)
    # With another place the form is not sent.
    assert answered(challenge, inject=Inject(header="X-T")).url == URL


def test_the_headers_of_a_form_name_its_page():
    challenge = challenge_of(f"<form method=post action=/v>{WIDGET}</form>", url="https://u:p@shop.example/a?b#frag")
    sent = answered(challenge)
    assert (sent.headers[b"Referer"], sent.headers[b"Origin"]) == (b"https://shop.example/a?b", b"https://shop.example")


def test_the_credentials_of_a_page_that_led_to_a_gate_stay_there():
    """A redirect from another origin led to the gate, whose form is sent with the headers of the request for that page."""
    headers = {"Authorization": "Bearer x", "Cookie": "a=1", "X-Own": "1"}
    challenge = challenge_of(f"<form method=post action=/v>{WIDGET}</form>", url="https://gate.example/")
    sent = answered(challenge, Request(URL, headers=headers))
    assert sent.url == "https://gate.example/v"
    assert sent.headers.keys() & {b"Authorization", b"Cookie", b"X-Own"} == {b"X-Own"}
    home = challenge_of(f"<form method=post action=/v>{WIDGET}</form>")
    assert answered(home, Request(URL, headers=headers)).headers.keys() >= {b"Authorization", b"Cookie", b"X-Own"}


def test_requests_that_are_no_get_stay_themselves(response):
    challenge = detect(response("v2_gate"))[0]
    sent = answered(challenge, FormRequest(URL, formdata={"q": "1"}))
    assert (sent.url, sent.method, sent.body) == (URL, "POST", b"q=1&g-recaptcha-response=03AGdBq25")
    assert b"Referer" not in sent.headers


IN_FORM = f"<form>{WIDGET}</form>"


def test_without_a_form_there_is_no_place():
    """A page whose script would send the token: nothing is put into the query, and nothing is bought."""
    with pytest.raises(UnsupportedCaptchaError, match="nothing was bought"):
        answered(challenge_of(WIDGET))
    assert answered(challenge_of(WIDGET), inject=Inject(query="t")).url == f"{URL}&t=03AGdBq25"


def test_a_json_get_request_becomes_a_plain_form():
    sent = answered(challenge_of(f"<form>{WIDGET}</form>"), JsonRequest(URL))
    assert b"Content-Type" not in sent.headers
    with pytest.raises(UnsupportedCaptchaError, match="inject"):
        answered(challenge_of(WIDGET), JsonRequest(URL, data={}))


def test_inject_comes_before_the_form():
    challenge = challenge_of(f"<form method=post action=/v>{WIDGET}</form>")
    assert answered(challenge, inject=Inject(query="t")).url == f"{URL}&t=03AGdBq25"
    both = answered(challenge, inject=Inject(form="x", header="X-T"))
    assert (both.url, both.body, both.headers[b"X-T"]) == ("https://shop.example/v", b"x=03AGdBq25", b"03AGdBq25")


# Solutions


@pytest.mark.parametrize("name", ["recaptcha_v2", "recaptcha_v3", "turnstile", "image_to_text"])
@pytest.mark.parametrize(
    "value", [None, "", "  ", 5, ["secret"], {"a": "secret"}, "secret" * 11_000, "secret\ud800"], ids=range(8)
)
def test_a_solution_without_its_value(name, value):
    key = {"turnstile": "token", "image_to_text": "text"}.get(name, "gRecaptchaResponse")
    if (name, value) == ("image_to_text", 5):
        value = True  # a picture of digits may be answered by a number
    for solution in ({key: value, "userAgent": "secret"}, {"other": "secret"}):
        with pytest.raises(UnsolvableCaptchaError, match=f'"{key}"') as caught:
            family(name).apply(Request(URL), Challenge(name, "T", URL), solution, Inject(form="f"))
        assert "secret" not in str(caught.value)


def test_the_user_agent_of_the_solution():
    challenge = challenge_of(IN_FORM)
    sent = answered(challenge, Request(URL, headers={"User-Agent": "mine"}), {**TOKEN, "userAgent": "Mozilla/5.0 x"})
    assert sent.headers[b"User-Agent"] == b"Mozilla/5.0 x"


@pytest.mark.parametrize("agent", [None, "", " ", 1, "a\r\nX: 1", "é", "x" * 513])
def test_user_agents_that_cannot_be_sent(agent):
    sent = answered(challenge_of(IN_FORM), Request(URL, headers={"User-Agent": "mine"}), {**TOKEN, "userAgent": agent})
    assert sent.headers[b"User-Agent"] == b"mine"


def test_cookies_of_the_session_come_along():
    session = {**TOKEN, "recaptcha-ca-t": "AbEg", "recaptcha-ca-e": "x; y=1\r\n", "other": "z"}
    ours = {"name": "recaptcha-ca-t", "value": "AbEg"}
    for cookies, kept in [
        ({"a": "1"}, [{"name": "a", "value": "1"}]),
        ([{"name": "a", "value": "1"}, {"name": "recaptcha-ca-t", "value": "old"}], [{"name": "a", "value": "1"}]),
        ({}, []),
    ]:
        request = Request(URL, cookies=cookies)
        assert answered(challenge_of(IN_FORM), request, session).cookies == [*kept, ours]
        assert request.cookies == cookies
    assert answered(challenge_of(IN_FORM), Request(URL, cookies={"a": "1"})).cookies == {"a": "1"}


def test_a_rehearsal_finds_what_is_impossible():
    challenge = challenge_of(IN_FORM)
    FAMILY.rehearse(Request(URL), challenge, None)
    with pytest.raises(UnsupportedCaptchaError):
        FAMILY.rehearse(Request(URL, method="POST", body=b"[1]"), challenge, Inject(json="a.b"))


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(["gRecaptchaResponse", "userAgent"]), st.one_of(st.text(), st.integers())))
def test_any_solution_is_used_or_refused(solution):
    try:
        sent = FAMILY.apply(Request(URL), Challenge("recaptcha_v2", "T", URL), solution, None)
    except UnsolvableCaptchaError:
        return
    assert sent.url.startswith(f"{URL}&g-recaptcha-response=")


# Tasks


def test_tasks(response):
    challenge = detect(response("v2_gate"))[0]
    assert FAMILY.task(challenge, (), "") == {
        "type": "ReCaptchaV2TaskProxyLess",
        "websiteURL": URL,
        "websiteKey": V2,
        "recaptchaDataSValue": "WqB8-s_value.1",
    }
    challenge = replace(challenge, params={**challenge.params, "websiteURL": "https://other.example/"})
    assert FAMILY.task(challenge, (), "")["websiteURL"] == "https://other.example/"


@pytest.mark.parametrize(
    ("name", "task_type", "given", "wanted"),
    [
        ("recaptcha_v2", "ReCaptchaV2Task", {"enterprisePayload": {"s": "1"}}, {"recaptchaDataSValue": "1"}),
        ("recaptcha_v2", "ReCaptchaV2TaskProxyLess", {"enterprisePayload": {}}, {}),
        (
            "recaptcha_v2",
            "ReCaptchaV2EnterpriseTask",
            {"recaptchaDataSValue": "1", "enterprisePayload": {"x": 1}},
            {"enterprisePayload": {"s": "1", "x": 1}},
        ),
        ("recaptcha_v2", "ReCaptchaV2EnterpriseTask", {"enterprisePayload": {"s": 1}}, {"enterprisePayload": {"s": 1}}),
        ("recaptcha_v3", "ReCaptchaV3TaskProxyLess", {"recaptchaDataSValue": "1"}, {"enterprisePayload": {"s": "1"}}),
        ("recaptcha_v3", "ReCaptchaV3TaskProxyLess", {"enterprisePayload": {"s": 1}}, {"enterprisePayload": {"s": 1}}),
    ],
)
def test_the_value_of_s_goes_where_the_type_has_it(name, task_type, given, wanted):
    challenge = Challenge(name, task_type, URL, params=given)
    assert family(name).task(challenge, (), "") == {"type": task_type, "websiteURL": URL, **wanted}
    assert challenge.params is given


# Images


def image(html, selector="img", url=URL, **fields):
    return detect(HtmlResponse(url, body=html.encode()), fields={"selector": selector, **fields})[0]


def test_an_image_is_fetched_and_sent(response):
    challenge = detect(response("image_gate"), fields={"selector": "img#captcha"}, only="image_to_text")[0]
    assert challenge.fetch == ("https://shop.example/static/img/c1.jpg?x=1",)
    assert challenge.blocked
    assert challenge.reasons[0] == 'element <img id="captcha"> matches img#captcha'
    task = family("image_to_text").task(challenge, (b"\x89PNG" * 60,), "")
    assert task == {"type": "ImageToTextTask", "websiteURL": URL, "body": b64encode(b"\x89PNG" * 60).decode()}
    assert "\n" not in task["body"]
    assert family("image_to_text").kind is SolutionKind.ANSWER


def test_the_selector_never_goes_to_capsolver():
    challenge = image("<img src=a.png>")
    challenge = replace(challenge, params={**challenge.params, "selector": "img", "module": "module_001"})
    task = family("image_to_text").task(challenge, (b"x",), "")
    assert task == {"type": "ImageToTextTask", "websiteURL": URL, "module": "module_001", "body": "eA=="}


@pytest.mark.parametrize(
    ("source", "content"),
    [
        ("data:image/png;base64,iVBORw0K", b"\x89PNG\r\n"),
        ("data:image/png;base64,iVBO Rw0K\n", b"\x89PNG\r\n"),
        ("DATA:image/png;BASE64,eA", b"x"),
        ("data:image/png;base64,eA%3D%3D", b"x"),
        ("data:image/svg+xml,%3Csvg/%3E", b"<svg/>"),
    ],
)
def test_an_image_in_the_page_is_not_fetched(source, content):
    challenge = image(f'<img src="{source}">')
    assert challenge.fetch == ()
    assert b64decode(family("image_to_text").task(challenge, (), "")["body"]) == content


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("https://evil.example/c.png", "another site, https://evil.example, which"),
        ("http://shop.example/c.png", "another site"),
        ("//169.254.169.254/latest", "another site"),
        ("file:///etc/passwd", "no image in its src"),
        ("", "no image in its src"),
        ("http://[", "no image in its src"),
        ("data:image/png;base64,", "empty"),
        ("data:image/png;base64,a", "empty"),
        ("data:", "empty"),
        ("/" + "x" * 9000, "no image in its src"),
    ],
)
def test_images_that_cannot_be_had(source, words):
    with pytest.raises(UnsupportedCaptchaError, match=words):
        image(f'<img src="{source}">')


@pytest.mark.parametrize(
    ("fetched", "words"), [(None, "empty"), (b"", "empty"), (b"x" * (2 * 2**20 + 1), "2097153 bytes")]
)
def test_fetched_images_that_are_none(fetched, words):
    with pytest.raises(UnsupportedCaptchaError, match=words):
        family("image_to_text").task(image("<img src=a.png>"), () if fetched is None else (fetched,), "")


def test_the_selector_may_name_an_attribute():
    html = '<form action=/a><p class=c data-image="/x.png"></p></form><form action=/b></form>'
    challenge = image(html, "p.c::attr(data-image)")
    assert challenge.fetch == ("https://shop.example/x.png",)
    assert challenge.form == FormSubmission("https://shop.example/a", "GET")
    assert challenge.reasons[0] == 'element <p class="c"> matches p.c::attr(data-image)'


def test_an_image_that_the_flag_brings_is_not_fetched():
    challenge = image("<img src=https://cdn.example/c.png>", body="eA==")
    assert (challenge.fetch, challenge.params) == ((), {"body": "eA=="})


def test_pages_without_the_image(response):
    assert detect(response("v2_login"), fields={"selector": "img"}, only="image_to_text") == []
    assert detect(response("image_gate"), only="image_to_text") == []
    assert detect(HtmlResponse(URL), fields={"selector": "img"}) == []


@pytest.mark.parametrize("selector", ["img[", "", " ", 5, "img:nope", "a::nope", "]"])
def test_selectors_that_are_none(response, selector):
    with pytest.raises(CaptchaConfigurationError, match=r"^selector:"):
        detect(response("image_gate"), fields={"selector": selector})


def test_an_answer_without_a_place_is_the_spiders():
    challenge = image("<form><img src=a.png><input name=answer></form>")
    family("image_to_text").rehearse(Request(URL), challenge, None)
    assert family("image_to_text").hands_over(challenge, None)
    assert not family("image_to_text").hands_over(challenge, Inject(form="answer"))
    assert not FAMILY.hands_over(challenge_of(WIDGET), None)
    sent = answered(challenge, solution={"text": "ab"}, inject=Inject(form="answer"))
    assert sent.url == f"{URL.partition('?')[0]}?answer=ab"


def test_the_field_of_the_answer_is_no_other_question():
    gate = "<form><img src=a.png><input name=answer></form>"
    assert image(gate).blocked
    assert not image(gate.replace("<input", "<input name=email><input")).blocked
