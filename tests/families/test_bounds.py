"""What is read of a page is bounded in every dimension of it. No time is measured: what is read is counted."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml.etree import fromstring
from lxml.html import HTMLParser
from scrapy import Request
from scrapy.http import HtmlResponse, JsonResponse

from benchmarks.hostile_pages import ENCODED, GENERATORS, V2, WIDGET, page_of
from scrapy_capsolver._request.detection import detect_challenge
from scrapy_capsolver._request.flag import Flag
from scrapy_capsolver.errors import CaptchaError
from scrapy_capsolver.families import Page, detect
from scrapy_capsolver.families._page import markup, tokens
from scrapy_capsolver.families._page.encoding import MAX_FAULTS, decode, known_encoding
from scrapy_capsolver.families._page.excerpt import excerpt
from scrapy_capsolver.families._page.page import MAX_BYTES
from scrapy_capsolver.families._page.scripts import MAX_ALL_SCRIPTS
from scrapy_capsolver.families._page.tokens import MAX_OF_TAG, measure, walk

URL = "https://shop.example/p"
SIZE = 400_000
ROW = '<li class="item"><a href="/item/1">Item 1</a> <span>A short text about it.</span></li>\n'
LOGIN = f'<form action="/login" method="post"><input name="user"><input type="password" name="pw">{WIDGET}</form>'


def html(body, content_type="text/html; charset=utf-8", status=200):
    body = body.encode() if isinstance(body, str) else body
    return HtmlResponse(URL, status=status, headers={"Content-Type": content_type}, body=body)


def attributes_of(element):
    return len(element.attrib) if isinstance(element.tag, str) else 0


def check(page):
    """Assert that the parser got no more than the bounds."""
    elements = list(page.root.iter())
    assert len(elements) <= markup.MAX_TAGS + 50
    assert max(map(attributes_of, elements)) <= MAX_OF_TAG
    assert sum(map(attributes_of, elements)) <= 4 * markup.MAX_TAGS
    assert len(page.body) <= 3 * MAX_BYTES  # characters of a wide encoding may have three bytes in UTF-8
    assert sum(len(script.source) for script in page.scripts) <= MAX_ALL_SCRIPTS


@pytest.mark.parametrize("name", [*GENERATORS, *ENCODED])
def test_no_more_of_a_hostile_page_is_read_than_the_bounds(name):
    body, content_type = page_of(name, SIZE)
    page = Page(html(body, content_type, 403))
    with suppress(CaptchaError):
        detect(page)
    check(page)


@pytest.mark.parametrize("name", ["attributes of one tag", "nested divs", "widgets", "calls", "words"])
def test_the_work_does_not_grow_with_the_page(name, monkeypatch):
    """Twice as large a page gives the parser no more than the bound."""
    parsed = []
    tree = markup._tree
    monkeypatch.setattr(markup, "_tree", lambda piece, skip: parsed.append(measure(piece)) or tree(piece, skip))
    for size in (SIZE, 2 * SIZE):
        parsed.clear()
        body, content_type = page_of(name, size)
        detect(Page(html(body, content_type)))
        assert sum(parsed) <= 4 * markup.MAX_TAGS  # with what only looks like tags, in scripts


# The tags, as the parser cuts them out

FRAGMENTS = [
    "<", "<br", ">", " ", "/", "a", "=", '"', "'", "\n", "-", "<!--", "-->", "--!>", "<!-->", "<!--->", "<script>", "</script>", "<script",
    "</script", "<style>", "</style>", "<textarea>", "</textarea>", "<title>", "</title>", "<iframe>", "</iframe>", "<xmp>", "</xmp>",
    "<template>", "<noscript>", "<plaintext>", "</", "</>", "<?", "<!", "<![CDATA[", "]]>", "&", '<p x="', "<p x='", "x=y z", "/>", "\x0b",
    "\x0c", "é", "<SCRIPT>", "</1", f"<br {' '.join(f'a{n}' for n in range(MAX_OF_TAG + 5))}>",
    f"<br {' '.join(f'a{n}=1' for n in range(MAX_OF_TAG + 5))}>",
    "<br " + " ".join(f'a{n}="x>"' for n in range(MAX_OF_TAG + 5)) + ">",
]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=25).map("".join))
def test_no_tag_with_more_attributes_reaches_the_parser(text):
    body = text.encode()
    end, _ = walk(body, measure(body), 10**6)
    root = fromstring(b"<body>" + body[:end], HTMLParser(encoding="utf-8", huge_tree=True))
    assert max(map(attributes_of, root.iter())) <= MAX_OF_TAG


def test_what_looks_like_attributes_is_counted_only_in_tags():
    code = "if (a<b) { " + "c d e f g h i j = k; " * 100 + "}"
    for text in (
        f"<script>{code}</script>",
        f"<!-- <br {code}> -->",
        f"<textarea><br {code}></textarea>",
        f'<p a="<br {code}>">',
    ):
        body = text.encode()
        assert walk(body, measure(body), 1000)[0] == len(body)


def test_odd_tags_are_counted():
    odd = b"<br a'b c>" * 500
    assert walk(odd, measure(odd), 10**6)[0] == len(odd)
    assert walk(odd, measure(odd), 100 * tokens.ODD)[0] < len(odd)


# Parts of large pages


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from([b"<b>", b"text ", b"captcha", b"sitekey", b"<script>", b"</script>", b"<!--", b"-->"]),
        max_size=200,
    ),
    st.integers(1, 30),
)
def test_parts_measure_no_more_than_is_allowed(pieces, most):
    page = b"".join(pieces)
    if measure(page) > most:
        parts = excerpt(page, most, measure, measure(page))
        assert sum(map(measure, parts)) <= most
        assert all(part in page for part in parts)


@pytest.mark.parametrize("megabytes", [1, 3, 10])
@pytest.mark.parametrize("place", [0.0, 0.4, 0.6, 1.0])
def test_a_captcha_of_a_large_page_is_found_with_its_form(megabytes, place):
    count = megabytes * 1024 * 1024 // len(ROW)
    before = int(count * place)
    page = Page(html(f"<html><body><ul>{ROW * before}</ul>{LOGIN}<ul>{ROW * (count - before)}</ul></body></html>"))
    (challenge,) = detect(page)
    assert challenge.params["websiteKey"] == V2
    assert challenge.form.url == "https://shop.example/login"
    assert not challenge.blocked
    check(page)


def test_parts_do_not_reach_into_one_another():
    count = 3 * 1024 * 1024 // len(ROW)
    body = f"<form action=/search><input name=q>{ROW * count}{WIDGET}{ROW * 1000}"
    (challenge,) = detect(html(body))
    assert challenge.form is None or "/search" not in challenge.form.url


def test_no_part_begins_within_a_script():
    text = f"'<div data-sitekey={V2}>' // captcha\n" * 4000
    assert detect(html(f"{ROW * 20_000}<script>{text}</script>{ROW * 20_000}")) == []


# Encodings


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=60),
    st.sampled_from(["utf-8", "cp1252", "gb18030", "cp932", "utf-16-le", "iso2022_jp", "big5hkscs"]),
)
def test_bytes_are_decoded_as_python_replaces_them(data, encoding):
    assert decode(data, encoding) == (data.decode(encoding, "replace"), True)


def test_so_many_faults_are_replaced_one_by_one():
    text, whole = decode(b"\x81" * 20_000, "cp1252")
    assert whole
    assert MAX_FAULTS < text.count("\ufffd") < 6 * MAX_FAULTS
    assert len(text) == 20_000
    text, whole = decode(b"\x00\xd8" * 20_000, "utf-16-le")
    assert not whole
    assert len(text) < 6 * MAX_FAULTS


@pytest.mark.parametrize("name", ["utf-7", "idna", "cp037", "base64", "x" * 100, "unicode_escape", ""])
def test_charsets_that_are_none_of_pages(name):
    assert known_encoding(name) is None


# What is said


@pytest.fixture
def lines(caplog):
    caplog.set_level("DEBUG", logger="scrapy_capsolver")
    return caplog


def test_what_is_not_read_is_logged_with_the_request(lines):
    flood = "<p " + " ".join(f"a{n}" for n in range(300)) + ">"
    request = Request(URL)
    detect_challenge(html(f"{WIDGET}{flood}"), Flag(), tried=False, request=request)
    (line,) = [record.getMessage() for record in lines.records if "Not all of" in record.getMessage()]
    assert f"<GET {URL}>" in line
    assert "attributes" in line
    lines.clear()
    detect_challenge(html(WIDGET), Flag(), tried=False, request=request)
    assert not lines.records


def test_a_page_that_is_not_read_whole_does_not_lack_what_is_expected():
    body = ROW * 40_000
    assert detect_challenge(html(body), Flag(expect="h1.ok"), tried=False) is None
    with pytest.raises(CaptchaError, match="lacks"):
        detect_challenge(html(ROW * 10), Flag(expect="h1.ok"), tried=False)


def test_what_of_json_is_not_read_is_noted():
    page = Page(JsonResponse(URL, body=b'{"a": "' + b"b" * 20_000 + b'"}'))
    assert page.json == {}
    assert any("JSON" in note for note in page.unread)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.one_of(st.sampled_from([*FRAGMENTS, WIDGET, "captcha", "{", "}"]).map(str.encode), st.binary(max_size=8))
    ).map(b"".join)
)
def test_any_bytes_are_read_within_the_bounds_or_refused_by_a_typed_error(body):
    page = Page(html(body, status=403))
    with suppress(CaptchaError):
        detect(page)
    check(page)
