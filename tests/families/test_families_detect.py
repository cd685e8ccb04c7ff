"""What the corpus in tests/pages shows, and what it does not."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scrapy.http import HtmlResponse, JsonResponse, Response, TextResponse

from scrapy_capsolver.errors import CaptchaConfigurationError, CaptchaError
from scrapy_capsolver.families import FAMILIES, Page, detect
from scrapy_capsolver.families._page.markup import parse

V2 = "6LeIxAcTAAAAAJcZVRqyHh71UMIEGNQ_MXjiZKhI"
V3 = "6Lc_aX0UAAAAABx-PlWqKcGpzzxq2S5a1fKzXf9Y"
TURNSTILE = "0x4AAAAAAADnPIDROrmt1Wwj"
POST = "application/x-www-form-urlencoded"


def one(response, **kwargs):
    challenges = detect(response, **kwargs)
    assert len(challenges) == 1, challenges
    return challenges[0]


GATED = [
    (
        "v2_gate",
        "recaptcha_v2",
        "ReCaptchaV2TaskProxyLess",
        {"websiteKey": V2, "recaptchaDataSValue": "WqB8-s_value.1"},
    ),
    (
        "v2_invisible_render",
        "recaptcha_v2",
        "ReCaptchaV2TaskProxyLess",
        {"websiteKey": V2, "isInvisible": True, "apiDomain": "http://www.recaptcha.net/"},
    ),
    ("v2_invisible_button", "recaptcha_v2", "ReCaptchaV2TaskProxyLess", {"websiteKey": V2, "isInvisible": True}),
    (
        "v2_enterprise",
        "recaptcha_v2",
        "ReCaptchaV2EnterpriseTaskProxyLess",
        {"websiteKey": V2, "pageAction": "LOGIN", "enterprisePayload": {"s": "payload-1"}},
    ),
    (
        "v2_anchor_frame",
        "recaptcha_v2",
        "ReCaptchaV2TaskProxyLess",
        {"websiteKey": V2, "isInvisible": True, "pageAction": "checkout", "recaptchaDataSValue": "abc_1"},
    ),
    ("v2_fallback_frame", "recaptcha_v2", "ReCaptchaV2TaskProxyLess", {"websiteKey": V2}),
    ("v2_odd_attribute", "recaptcha_v2", "ReCaptchaV2TaskProxyLess", {"websiteKey": V2}),
    ("v3_gate", "recaptcha_v3", "ReCaptchaV3TaskProxyLess", {"websiteKey": V3, "pageAction": "homepage/list"}),
    ("v3_identifier", "recaptcha_v3", "ReCaptchaV3EnterpriseTaskProxyLess", {"websiteKey": V3, "pageAction": "LOGIN"}),
    ("v3_button", "recaptcha_v3", "ReCaptchaV3TaskProxyLess", {"websiteKey": V3, "pageAction": "submit"}),
    (
        "turnstile_gate",
        "turnstile",
        "AntiTurnstileTaskProxyLess",
        {"websiteKey": TURNSTILE, "metadata": {"action": "gate", "cdata": "session-12"}},
    ),
    (
        "turnstile_render",
        "turnstile",
        "AntiTurnstileTaskProxyLess",
        {"websiteKey": TURNSTILE, "metadata": {"action": "enter", "cdata": "c-1"}},
    ),
    ("turnstile_frame", "turnstile", "AntiTurnstileTaskProxyLess", {"websiteKey": TURNSTILE}),
    ("turnstile_attribute", "turnstile", "AntiTurnstileTaskProxyLess", {"websiteKey": TURNSTILE}),
]


@pytest.mark.parametrize(("name", "family", "task_type", "params"), GATED, ids=[row[0] for row in GATED])
def test_gated_pages(response, name, family, task_type, params):
    challenge = one(response(name))
    assert (challenge.family, challenge.type, challenge.params) == (family, task_type, params)
    assert challenge.blocked
    assert challenge.url == "https://shop.example/list?page=2"
    assert challenge.form is not None


@pytest.mark.parametrize(
    "name", ["v2_login", "v2_comments", "v2_article_button", "v2_newsletter", "v2_search", "v3_everywhere"]
)
def test_widgets_on_pages_that_are_there(response, name):
    challenge = one(response(name))
    assert not challenge.blocked
    assert challenge.family == name.replace("_", "/").split("/")[0].replace("v", "recaptcha_v")


@pytest.mark.parametrize(
    "name",
    [
        "none_article_samples",
        "none_script_only",
        "none_forbidden",
        "none_commented",
        "none_lookalike_hosts",
        "none_inert",
        "none_ethereum",
    ],
)
@pytest.mark.parametrize("status", [200, 403])
def test_pages_without_a_captcha_of_ours(response, name, status):
    assert detect(response(name, status=status)) == []


def test_each_version_of_recaptcha_sees_its_own_key(response):
    v2, v3 = detect(response("v2_and_v3"))
    assert (v2.family, v2.params["websiteKey"]) == ("recaptcha_v2", V2)
    assert (v3.family, v3.params["websiteKey"]) == ("recaptcha_v3", V3)
    assert "pageAction" not in v2.params
    assert v3.params["pageAction"] == "enter"


def test_a_v3_key_in_a_widget_is_still_v3(response):
    html = f'<script src="https://www.google.com/recaptcha/api.js?render={V3}"></script><div data-sitekey="{V3}"></div>'
    assert one(response(html=html)).family == "recaptcha_v3"


def test_only_looks_for_one_family(response):
    assert one(response("v2_and_v3"), only="recaptcha_v3").family == "recaptcha_v3"
    assert detect(response("v2_and_v3"), only="turnstile") == []


def test_the_flag_chooses_among_several_keys(response):
    other = V2[:-1] + "x"
    html = f'<div class="g-recaptcha" data-sitekey="{V2}"></div><div class="g-recaptcha" data-sitekey="{other}"></div>'
    assert one(response(html=html)).params["websiteKey"] == V2
    assert one(response(html=html), fields={"websiteKey": other}).params["websiteKey"] == other
    ts = [TURNSTILE, TURNSTILE[:-1] + "x"]
    html = "".join(f'<p class="cf-turnstile" data-sitekey="{key}"></p>' for key in ts)
    assert one(response(html=html), fields={"websiteKey": ts[1]}).params["websiteKey"] == ts[1]


def test_a_script_is_enough_where_the_flag_brings_the_key(response):
    assert {c.family for c in detect(response("none_script_only"), fields={"websiteKey": V2})} >= {"recaptcha_v2"}
    challenge = one(response("none_script_only"), fields={"websiteKey": TURNSTILE}, only="turnstile")
    assert challenge.params["websiteKey"] == TURNSTILE
    assert "flag" in challenge.reasons[0]
    assert detect(response("none_forbidden"), fields={"websiteKey": TURNSTILE}) == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("v2_gate", 'element <div class="g-recaptcha"> has data-sitekey'),
        ("v2_invisible_render", "grecaptcha.render(...) with sitekey"),
        ("v3_gate", f"script https://www.google.com/recaptcha/api.js?render={V3}"),
        ("v3_gate", "grecaptcha.execute(...) with a site key"),
        ("turnstile_render", "turnstile.render(...) with sitekey"),
        ("v2_gate", "the page holds nothing but the captcha"),
        ("v2_login", "the form asks for a password"),
        ("v2_newsletter", "the form asks for more (email)"),
        ("v2_article_button", "the page has content of its own"),
        ("v3_everywhere", "only a script of the captcha is here"),
    ],
)
def test_reasons(response, name, reason):
    assert reason in one(response(name)).reasons


STATUSES = [200, 202, 400, 401, 403, 404, 405, 410, 412, 418, 429, 451, 500, 503, 521, 999]


@pytest.mark.parametrize("status", STATUSES)
def test_a_page_with_content_is_no_gate(response, status):
    """The content decides, at any status: a widget in an article blocks nothing, and a refusal of the site is its own."""
    challenge = one(response("v2_article_button", status=status))
    assert not challenge.blocked
    assert "the page has content of its own" in challenge.reasons


@pytest.mark.parametrize("status", STATUSES)
def test_a_sparse_page_is_a_gate(response, status):
    """A page that holds nothing but the captcha and its form is a gate, whatever its status."""
    assert one(response("v2_gate", status=status)).blocked


@pytest.mark.parametrize("status", STATUSES)
def test_a_newsletter_form_is_no_gate(response, status):
    assert not one(response("v2_newsletter", status=status)).blocked


def test_a_redirect_is_no_gate(response):
    assert not one(response("v2_gate", status=301)).blocked


def test_a_refusal_that_merely_loads_a_script_is_no_gate(response):
    assert not one(response("v3_everywhere", status=403)).blocked


def test_a_login_form_is_no_gate_even_when_refused(response):
    assert not one(response("v2_login", status=403)).blocked


def test_pictures_are_content(response):
    gate = f'<form><div class="g-recaptcha" data-sitekey="{V2}"></div></form>'
    assert one(response(html=gate + "<img src=a.png>")).blocked
    assert not one(response(html=gate + "<img src=a.png>" * 6)).blocked


def test_text_of_the_captchas_own_form_and_of_scripts_is_not_content(response):
    filler = "word " * 600
    html = (
        f'<style>{filler}</style><script>"{filler}"</script><!-- {filler} -->'
        f'<form>{filler}<div class="g-recaptcha" data-sitekey="{V2}"></div></form>'
    )
    assert one(response(html=html)).blocked
    assert not one(response(html=html + filler)).blocked


@pytest.mark.parametrize(
    "trap", ["<input name=email style='display: none'>", "<p hidden><input name=email></p>", "<input name=a disabled>"]
)
def test_inputs_that_nobody_sees_ask_nothing(response, trap):
    html = f'<form>{trap}<div class="g-recaptcha" data-sitekey="{V2}"></div></form>'
    assert one(response(html=html)).blocked


def test_blocked_comes_first():
    body = f'<script src="https://www.google.com/recaptcha/api.js?render={V3}"></script>'
    body += f'<div class="cf-turnstile" data-sitekey="{TURNSTILE}"></div>'
    found = detect(HtmlResponse("https://shop.example/", body=body.encode()))
    assert [challenge.blocked for challenge in found] == [True, False]


def test_values_from_the_page_are_bounded_and_printable(response):
    html = f'<div class="g-recaptcha" data-sitekey="{V2}" data-action="{"a" * 5000}" data-s="a\u0007b"></div>'
    html += f'<p class="{"x" * 5000}\u202e" data-site-key="{V2}"></p>'
    challenge = one(response(html=html))
    assert challenge.params == {"websiteKey": V2}
    assert all(len(reason) < 250 and reason.isprintable() for reason in challenge.reasons)
    html = f'<div class="cf-turnstile" data-sitekey="{TURNSTILE}" data-action="é" data-cdata="{"c" * 300}"></div>'
    assert one(response(html=html)).params == {"websiteKey": TURNSTILE}


def test_turnstile_names_its_field(response):
    assert one(response("turnstile_render")).field == "token"
    html = f'<div class="cf-turnstile" data-sitekey="{TURNSTILE}" data-response-field-name="cf"></div>'
    assert one(response(html=html)).field == "cf"
    assert one(response("turnstile_gate")).field == ""


def test_v3_uses_the_pages_own_field(response):
    assert one(response("v3_identifier")).field == "recaptcha_token"
    assert one(response("v3_gate")).field == ""


@pytest.mark.parametrize(
    "script",
    [
        f"window.grecaptcha.render(document.getElementById('a'), {{sitekey: `{V2}`}})",
        f'grecaptcha . render (\'a\', {{"sitekey":"{V2}", cb: function () {{ return {{a: [1]}}; }} }})',
        f"grecaptcha.enterprise?.render('a', {{...rest, 'sitekey': '{V2}'}})",
        f"x = a.replace(/https?:\\/\\//g, ''); grecaptcha.render('a', {{sitekey: '{V2}'}})",
        f"x = '\\'/*'; grecaptcha.render('a', {{sitekey: '{V2}'}})",
        f"grecaptcha.render('a', {{sitekey: KEY}}); const KEY = '{V2}'",
        f"grecaptcha.render('a', {{sitekey: '{V2}', theme: dark ? 'x' : 'y'}})",
    ],
)
def test_ways_to_write_a_call(response, script):
    assert one(response(html=f"<script>{script}</script>")).params["websiteKey"] == V2


@pytest.mark.parametrize(
    "script",
    [
        f"mygrecaptcha.render('a', {{sitekey: '{V2}'}})",
        f"grecaptcha.renderer('a', {{sitekey: '{V2}'}})",
        f"var s = \"grecaptcha.render('a', {{sitekey: '{V2}'}})\"",
        f"var s = `grecaptcha.render('a', {{sitekey: '{V2}'}})`",
        f"grecaptcha.render('a', {{sitekey: '{V2}z'}})",
        f"grecaptcha.render('a', {{other: '{V2}'}})",
        f"grecaptcha.render(); a({{sitekey: '{V2}'}})",
    ],
)
def test_what_is_no_such_call(response, script):
    assert detect(response(html=f"<script>{script}</script>")) == []


def test_a_form_may_be_the_element_and_inputs_are_counted_to_a_limit(response):
    html = f'<form data-sitekey="{V2}" action=/a>' + "<input name=a>" * 300 + "</form>"
    challenge = one(response(html=html))
    assert challenge.form.url.startswith("https://shop.example/a?a=")
    assert not challenge.blocked


def test_a_call_that_never_ends_is_read_as_far_as_it_goes(response):
    html = f"<script>grecaptcha.render('a', {{sitekey: '{V2}', x: [{'1,' * 9000}"
    assert one(response(html=html)).params["websiteKey"] == V2
    assert detect(response(html=f"<script>grecaptcha.render('{V2}', 1, ")) == []


def test_turnstile_by_a_variable(response):
    html = (
        f"<script>var k = '{TURNSTILE}'; turnstile.render('#a', {{sitekey: k}}); turnstile.render('#b', {{}})</script>"
    )
    assert one(response(html=html)).params["websiteKey"] == TURNSTILE


def test_huge_scripts_are_not_read(response):
    call = f"grecaptcha.render('a', {{sitekey: '{V2}'}});"
    assert detect(response(html=f"<script>{call}{'x' * 300_000}</script>")) == []
    assert len(detect(response(html=f"<script>{'x' * 300_000}</script><script>{call}</script>"))) == 1


def test_what_is_looked_at_is_bounded(response):
    tag = f'<div class="g-recaptcha" data-sitekey="{V2}"></div>'
    assert len(detect(response(html="x" * (2 * 2**20) + tag))) == 1  # of a large page the end is read as well
    loader = f'<script src="https://www.google.com/recaptcha/api.js?render={V3}"></script>'
    assert detect(response(html="<script src=a.js></script>" * 500 + loader)) == []
    assert detect(response(html=loader.replace("render=", f"{'x' * 9000}&render="))) == []
    assert detect(response(html=f"<iframe src='http://['></iframe>{loader}")) != []


def test_selectors_of_the_flags_author(response):
    page = Page(response("v2_gate"))
    assert page.has("form#captcha-form")
    assert not page.has("table")
    assert not Page(Response("https://shop.example/", body=b"<p>")).has("p")
    with pytest.raises(CaptchaConfigurationError, match="selector"):
        page.has("p[")


# Responses of every kind


def test_what_is_no_markup_is_no_page():
    body = f'<div class="g-recaptcha" data-sitekey="{V2}"></div>'.encode()
    url = "https://shop.example/"
    assert detect(Response(url, body=body)) == []
    assert detect(JsonResponse(url, body=body)) == []
    assert detect(TextResponse(url, body=body, headers={"Content-Type": "text/plain"})) == []
    assert len(detect(TextResponse(url, body=body))) == 1
    assert detect(HtmlResponse(url)) == []


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8", "cp1251", "shift_jis", "utf-8-sig"])
def test_encodings(encoding):
    body = f'<div class="g-recaptcha" data-sitekey="{V2}"></div>'.encode(encoding)
    headers = {"Content-Type": f"text/html; charset={encoding}"}
    assert one(HtmlResponse("https://shop.example/", body=body, headers=headers)).params["websiteKey"] == V2


@pytest.mark.parametrize(
    "charset", ["base64", "punycode", "idna", "utf-7", "unicode_escape", "undefined", "nope", "\x00"]
)
def test_charsets_that_are_none(charset):
    body = f'<div class="g-recaptcha" data-sitekey="{V2}">\\d \xff</div>'.encode("latin-1")
    headers = {"Content-Type": f"text/html; charset={charset}"}
    assert one(HtmlResponse("https://shop.example/", body=body, headers=headers)).params["websiteKey"] == V2


def test_the_encoding_that_the_response_was_given_counts():
    response = HtmlResponse("https://shop.example/", body="<p>жук</p>", encoding="cp1251")
    assert "жук" in Page(response).text


def test_nothing_is_left_on_the_response(response):
    gate = response("v2_gate")
    before = {name: getattr(gate, name, None) for name in dir(gate) if name.startswith("_cached")}
    assert detect(gate)
    assert {name: getattr(gate, name, None) for name in before} == before
    assert before["_cached_selector"] is None
    assert before["_cached_ubody"] is None


def test_a_page_without_captcha_words_is_never_parsed(response, monkeypatch):
    monkeypatch.setattr(Page, "root", property(lambda self: pytest.fail("parsed")))
    assert detect(response("none_forbidden")) == []


def test_a_page_is_parsed_once_for_all_families(response, monkeypatch):
    parsed = []
    monkeypatch.setattr(
        "scrapy_capsolver.families._page.page.parse", lambda parts, skip: parsed.append(1) or parse(parts, skip)
    )
    detect(response("v2_and_v3"))
    assert parsed == [1]


V2_TAG = f'<div class="g-recaptcha" data-sitekey="{V2}">'
PIECES = [
    V2_TAG,
    f'<div class="cf-turnstile" data-sitekey="{TURNSTILE}">',
    f'<script src="https://www.google.com/recaptcha/api.js?render={V3}"></script>',
    f"<script>grecaptcha.render('a',{{sitekey:'{V2}',",
    f"grecaptcha.execute('{V3}',{{action:",
    "<form method=dialog>",
    "<form action='http://[' enctype=multipart/form-data method=post>",
    "</form>",
    "<input name=a form=f>",
    "<select name=s multiple><option selected>",
    "<fieldset disabled>",
    "<base href='http://['>",
    "<base href='//x'>",
    "<!--",
    "-->",
    "<svg><script>",
    "<template>",
    "</script>",
    "\0",
    "'\"`/*\\",
    "<meta charset=utf-16>",
    "<textarea name=t><input type=radio checked name=r>",
    "<iframe src='https://challenges.cloudflare.com/0x4AAAAAAADnPIDROrmt1Wwj'>",
    "<iframe src='http://[::'>",
    "<?xml version='1.0' encoding='x'?><!DOCTYPE html>",
    "<p a:key=1 xmlns:a=b :key='6L' key>",
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5)), max_size=20).map("".join))
def test_any_markup_is_read_without_error(html):
    for encoding in ("utf-8", "utf-16"):
        body = html.encode(encoding, "replace")
        for challenge in detect(HtmlResponse("https://shop.example/x", body=body)):
            family = next(family for family in FAMILIES if family.name == challenge.family)
            assert family.task(challenge, (), "")["type"] == challenge.type


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["", "text/html", "text/html; charset=utf-16", "text/html; charset=x"]))
def test_any_bytes_are_read_without_error(noise, content_type):
    body = noise + V2_TAG.encode() + noise
    response = HtmlResponse("https://shop.example/", body=body, headers={"Content-Type": content_type}, status=403)
    with suppress(CaptchaError):
        detect(response, fields={"selector": "img", "websiteKey": V2})


@pytest.mark.parametrize(
    "noise",
    [
        '"',
        "/*",
        "* *",
        "(/[a",
        "`\\a",
        "grecaptcha.render({",
        "<div>",
        "<form>",
        "<a ",
        "<!--",
        "&amp;",
        "<select name=a>",
    ],
)
def test_large_noise_is_read_without_error(response, noise):
    html = f"{V2_TAG}<script>grecaptcha.render('a',{{sitekey:'{V2}'}});{noise * (50_000 // len(noise))}"
    assert detect(response(html=html))
