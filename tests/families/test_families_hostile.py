"""Pages that were made to be slow, or to break what reads them. Time is not measured here: what is read is counted."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scrapy.http import HtmlResponse, JsonResponse, Response, TextResponse

from benchmarks.detection import hostile
from scrapy_capsolver.errors import CaptchaError
from scrapy_capsolver.families import FAMILIES, Page, detect, family
from scrapy_capsolver.families._page import verdict as gate_module
from scrapy_capsolver.families._page.attributes import MAX_ATTRIBUTES
from scrapy_capsolver.families._page.elements import is_inert, is_inside
from scrapy_capsolver.families._page.entries import MAX_CONTROLS
from scrapy_capsolver.families._page.javascript import MAX_TOKENS, Allowance, Script
from scrapy_capsolver.families._page.markup import MAX_TAGS
from scrapy_capsolver.families._page.resources import MAX_RESOURCES
from scrapy_capsolver.families._page.scripts import MAX_CALLS, MAX_SCRIPTS

from .corpus import CORPUS, response_of

V2 = "6LeIxAcTAAAAAJcZVRqyHh71UMIEGNQ_MXjiZKhI"
WIDGET = f'<div class="g-recaptcha" data-sitekey="{V2}"></div>'
URL = "https://shop.example/list"
HOSTILE = hostile()


def html(body, status=200):
    return HtmlResponse(URL, status=status, headers={"Content-Type": "text/html"}, body=body.encode())


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("status", [200, 403])
def test_hostile_pages_are_read_without_error(name, status):
    for challenge in detect(html(HOSTILE[name], status)):
        assert family(challenge.family).task(challenge, (), "")["type"] == challenge.type
        assert all(len(reason) < 250 and reason.isprintable() for reason in challenge.reasons)


# Bounds


def test_tokens_of_a_page_are_counted():
    source = "a = 'b'; /* c */ " * 100
    allowance = Allowance(250)
    assert Script(source, allowance).bare.count("a =") == 100
    assert allowance.tokens == 50
    second = Script(source, allowance)
    assert second.code.count("'b'") == 25  # 50 tokens of it, and the code before each
    assert allowance.tokens == 0
    assert Script(source, allowance).code == ""


def test_the_scripts_of_a_page_share_their_tokens():
    call = f"<script>grecaptcha.render('a', {{sitekey: '{V2}'}})</script>"
    noise = "<script>/* grecaptcha.render( */" + "'';" * (MAX_TOKENS // 2) + "</script>"
    assert detect(html(noise + call))
    assert not detect(html(noise * 2 + call))
    page = Page(html(noise * 4))
    assert page.calls("grecaptcha.render") == ()
    assert len({script._allowance for script in page.scripts}) == 1
    assert next(iter(page.scripts))._allowance.tokens == 0
    assert any("strings" in note for note in page.unread)


@pytest.mark.parametrize("count", [1, 2])
def test_what_is_read_of_a_page_does_not_grow_with_it(count):
    pieces = {
        "scripts": "<script>a</script>",
        "resources": "<script src=/a></script>",
        "key_attributes": f"<p key={'x' * 20} key2={'y' * 20}>{'word ' * 20}",
    }
    limits = {
        "scripts": MAX_SCRIPTS,
        "resources": MAX_RESOURCES,
        "key_attributes": MAX_ATTRIBUTES,
    }
    for name, piece in pieces.items():
        assert len(getattr(Page(html(piece * 400 * count)), name)) == limits[name]


def test_so_many_keys_are_read():
    key = f"<p key={'x' * 20}>"
    assert len(Page(html(key * 900)).key_attributes) == MAX_ATTRIBUTES
    page = Page(html(key * 25_000))
    assert page.key_attributes == ()
    assert any("key" in note for note in page.unread)
    assert detect(html("<tr data-key=1><td>a row that says something</td></tr>" * 2000 + WIDGET))


def test_calls_and_names_are_looked_for_so_many_times():
    page = Page(html("<script>" + "f('a');" * 100 + "</script>"))
    assert len(page.calls("f")) == MAX_CALLS
    assert page.calls("f") is page.calls("f")
    page = Page(html("<script>" + f"f('{'a' * 4000}');" * 20 + "</script>"))
    assert len(page.calls("f")) == 5
    page = Page(html("".join(f"<p id=i{n}><script>k{n}='v'</script>" for n in range(20))))
    assert [page.by_id(f"i{n}") is not None for n in range(20)] == [True] * 8 + [False] * 12
    assert [page.resolve(f"k{n}") for n in range(20)] == ["v"] * 8 + [None] * 12
    assert page.by_id("i3") is not None


def test_a_page_of_tags_alone_is_read_in_parts():
    page = Page(html("<b></b>" * 20_000 + WIDGET))
    assert detect(page)
    assert len(page.root.xpath("//b")) <= MAX_TAGS
    assert not page.is_whole
    whole = Page(html("<li><a href=/list/item>A text of an item</a></li>" * 2000 + WIDGET))
    assert detect(whole)
    assert whole.is_whole
    assert whole.unread == ()


def test_content_is_counted_to_a_limit(monkeypatch):
    measured = []
    monkeypatch.setattr(gate_module, "_measure", lambda text: measured.append(text) or 0)
    assert not gate_module.is_sparse(Page(html("<p>a" * 1500)))
    assert len(measured) <= 2 * gate_module._MAX_ELEMENTS
    measured.clear()
    assert not gate_module.is_sparse(Page(html("<p>a" * 5000)))
    assert measured == []


def test_ways_up_are_gone_once():
    depth = 300
    page = Page(html("<div>" * depth + "<script>a</script>" * 200))
    steps = []
    known = {}
    for element in page.root.iter("script"):
        assert not is_inside(element, lambda one: steps.append(1) or is_inert(one), known)
    assert len(steps) <= depth + 3


def test_ids_are_found_as_a_browser_finds_them():
    page = Page(html("<a name=x></a><p id=x>1</p><p id=x>2</p><div id='a b'>3</div><i id=A>4</i>"))
    found = {name: page.by_id(name) for name in ("x", "#x", "a b", "A", "a", "", "y", "\0")}
    assert {name: element is not None and element.text for name, element in found.items()} == {
        "x": "1", "#x": "1", "a b": "3", "A": "4", "a": False, "": False, "y": False, "\0": False,
    }  # fmt: skip


def test_forms_with_too_many_fields_are_not_read():
    form = "<form action=/a>{}" + WIDGET + "</form>"
    most = MAX_CONTROLS
    assert detect(html(form.format("<input type=hidden name=a value=some>" * most)))[0].form is not None
    assert detect(html(form.format("<input type=hidden name=a value=some>" * (most + 1))))[0].form is None
    selected = "<option selected>some text</option>"
    assert detect(html(form.format(f"<select name=a multiple>{selected * (most + 1)}</select>")))[0].form is None
    usual = f"<select name=a>{'<option>some text</option>' * most}</select>"
    assert detect(html(form.format(usual)))[0].form is not None


def test_objects_of_scripts():
    def objects(script):
        return list(Page(html(f"<script>{script}</script>")).objects("dd"))

    assert objects("var dd={'a':1}; dd = {b: 'c'}, x = 1; window.dd={}") == [{"a": 1}, {"b": "c"}, {}]
    assert objects("dd={'a':'}'};") == [{"a": "}"}]
    assert objects("add={'a':1}; dd=[1]; dd={'a':1") == []
    assert objects("'dd={}' /* dd={} */") == []
    assert len(objects("dd={};" * 100)) == MAX_CALLS
    assert objects("dd={a:" + "[" * 300 + "]" * 300 + "}") == []


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("a = x.replace(/'/g, 1); b('c')", "b('c')"),
        ("a = b / c; d = 'e'; f / g", "d = 'e'"),
        ('if (x) return /"/.test(y)', "return"),
        ("a(/[/'\"]/, 'b')", "'b'"),
        ("a = /'unfinished", "a ="),
        ("a<!--b'\nc('d')", "c('d')"),
        ("a = `${b}'`; c('d')", "c('d')"),
        ("'it\\'s'; c('d')", "c('d')"),
    ],
)
def test_tokens(script, code):
    assert code in Script(script).code
    assert len(Script(script).code) == len(Script(script).bare) == len(script)
    assert "'" not in Script(script).bare or "return" in script


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="a'\"`/*\\\n <!-()[]{}=,.$", max_size=80))
def test_any_script_keeps_its_length(source):
    script = Script(source)
    assert len(script.code) == len(script.bare) == len(source)
    assert not set(script.bare) & set("'\"`")


# Anything at all

FRAGMENTS = [
    WIDGET,
    '<div class="cf-turnstile" data-sitekey="0x4AAAAAAADnPIDROrmt1Wwj">',
    "<script>window._cf_chl_opt={cvId: '3'}; a.src='/cdn-cgi/challenge-platform/h/b/orchestrate/chl_page/v1'",
    '<script src="/cdn-cgi/challenge-platform/h/g/orchestrate/jsch/v1"></script>',
    '<div id="cf-error-details"><span class="cf-error-code">1020</span>',
    "<script>var dd={'rt':'c','cid':'A','hsh':'B','t':'fe','s':1,'host':'geo.captcha-delivery.com','cookie':'",
    "<script src='https://ct.captcha-delivery.com/c.js'>",
    '<iframe src="https://geo.captcha-delivery.com/captcha/?initialCid=A&t=bv">',
    '{"url":"https://geo.captcha-delivery.com/captcha/?initialCid=A&t=fe"}',
    '<script>window.gokuProps = {"key":"a","iv":"b","context":"c"',
    '<script src="https://a.b.us-east-1.token.awswaf.com/a/challenge.js"></script>',
    '<script src="https://a.edge.captcha-sdk.awswaf.com/a/jsapi.js"></script>',
    "<script>AwsWafCaptcha.renderCaptcha(c, {apiKey: 'k'",
    "<script>AwsWafIntegration.getToken(); location.reload(); 'https://a.captcha.awswaf.com/a/problem?api_key=",
    "<script>initGeetest4({captchaId: 'a'}, ",
    "<script>initGeetest({gt: 'a', challenge: 'b'",
    "<script>var mtcaptchaConfig = {sitekey: 'MTPublic-a'",
    "dd={",
    "gokuProps={",
    "});",
    "}",
    "</script>",
    "'",
    '"',
    "`",
    "/*",
    "\\",
    "\0",
    "\r\n",
    "<form>",
    "<title>",
    "<template>",
]
HEADERS = st.dictionaries(
    st.sampled_from(["cf-mitigated", "x-amzn-waf-action", "x-datadome", "x-dd-b", "Set-Cookie", "Content-Type"]),
    st.sampled_from(
        ["challenge", "captcha", "datadome=\xff;", "aws-waf-token=a", "text/html", "text/html; charset=utf-16", "\xff", ""]
    ),
    max_size=4,
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(
    st.lists(st.one_of(st.sampled_from(FRAGMENTS).map(str.encode), st.binary(max_size=8)), max_size=12).map(b"".join),
    st.sampled_from([200, 202, 301, 401, 403, 404, 405, 429, 500, 503, 999]),
    HEADERS,
    st.sampled_from([HtmlResponse, JsonResponse, TextResponse, Response]),
)
def test_anything_is_read_without_another_error_than_ours(body, status, headers, kind):
    response = kind(URL, status=status, headers=headers, body=body)
    for one in FAMILIES:
        with suppress(CaptchaError):
            for challenge in detect(response, only=one.name):
                one.task(challenge, (), "captcha render unexpect status code")
                assert challenge.refusal.isprintable()
                assert all(len(reason) < 250 and reason.isprintable() for reason in challenge.reasons)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(CORPUS), st.integers(0, 2000), st.binary(max_size=6), st.integers(0, 40))
def test_pages_of_the_corpus_with_faults_in_them(name, place, noise, cut):
    response = response_of(name)
    broken = response.body[:place] + noise + response.body[place + cut :]
    with suppress(CaptchaError):
        for challenge in detect(response.replace(body=broken)):
            family(challenge.family).task(challenge, (), "")


@pytest.mark.parametrize(
    "key", ["6L" + "a" * 10_000, V2 + '\\"', V2 + "\x07", V2 + "'><script>", "0x4" + "A" * 10_000, "\0"]
)
def test_site_keys_that_are_none(key):
    for template in (
        "<div class=g-recaptcha data-sitekey='{}'></div>",
        "<div class=cf-turnstile data-sitekey='{}'></div>",
        "<script>grecaptcha.render('a',{{sitekey:\"{}\"}})</script>",
        "<script>turnstile.render('a',{{sitekey:`{}`}})</script>",
    ):
        assert detect(html(template.format(key.replace("'", "&#39;")))) == []
