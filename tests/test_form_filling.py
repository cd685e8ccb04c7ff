"""What is taken from the author's own request for a gate's form, and what is refused or handed over before anything is bought."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scrapy import Request
from scrapy.http import HtmlResponse, TextResponse

from scrapy_capsolver._request.detection import detect_challenge
from scrapy_capsolver._request.flag import parse_flag
from scrapy_capsolver._request.form_filling import check_filled, fields_of, fill
from scrapy_capsolver.errors import UnsupportedCaptchaError
from scrapy_capsolver.families import Challenge, family

KEY = "6LdTEST0" + "a" * 32
LOGIN = "<input name=user><input type=password name=pw>"
PAGE = f"<form method=post action=/login><input type=hidden name=csrf value=c>{LOGIN}<div class=g-recaptcha data-sitekey={KEY}></div></form>"


def challenge_of(flag: object, body: str = PAGE) -> Challenge:
    response = HtmlResponse("https://shop.example/login", body=f"<html><body>{body}</body></html>".encode())
    parsed = parse_flag(flag, "the flag")
    assert parsed is not None
    found = detect_challenge(response, parsed, tried=False)
    assert found is not None
    return found


def post(body: str) -> Request:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return Request("https://shop.example/login", method="POST", headers=headers, body=body)


TYPED = {"type": "ReCaptchaV2TaskProxyLess"}


def test_fields_come_from_the_request_s_own_body() -> None:
    challenge = fill(challenge_of(TYPED), post("user=ann&pw=s+3&more=1"), None)
    assert challenge.form is not None
    assert challenge.form.body == b"csrf=c&user=ann&pw=s+3"
    assert challenge.form.asked == ()


def test_fields_come_from_the_request_first_made() -> None:
    """A redirect after the POST made a GET of it: its body is in what the request's state remembers."""
    origin = {
        "url": "https://shop.example/login",
        "method": "POST",
        "body": base64.b64encode(b"user=ann&pw=x").decode(),
        "headers": {"Content-Type": ["application/x-www-form-urlencoded"]},
    }
    challenge = fill(challenge_of(TYPED), Request("https://shop.example/login?error=captcha"), origin)
    assert challenge.form is not None
    assert challenge.form.body == b"csrf=c&user=ann&pw=x"


@pytest.mark.parametrize("url", ["https://login.example/", "https://shop.example:8443/", "http://shop.example/"])
def test_fields_go_to_no_other_origin(url: str) -> None:
    """A redirect may lead to a gate elsewhere, whose form asks for the same names."""
    origin = {
        "url": url,
        "method": "POST",
        "body": base64.b64encode(b"user=ann&pw=x").decode(),
        "headers": {"Content-Type": ["application/x-www-form-urlencoded"]},
    }
    challenge = challenge_of(TYPED)
    assert fill(challenge, Request("https://shop.example/login"), origin) == challenge


def test_what_the_page_has_filled_in_stays() -> None:
    page = PAGE.replace("<input name=user>", "<input name=user value=bob>")
    challenge = fill(challenge_of(TYPED, page), post("user=ann&pw=x&csrf=mine"), None)
    assert challenge.form is not None
    assert challenge.form.body == b"csrf=c&user=bob&pw=x"


def test_a_named_type_hands_the_token_over() -> None:
    """A login page that nobody filled in is not submitted: its callback gets the token."""
    recaptcha = family("recaptcha_v2")
    challenge = challenge_of(TYPED)
    assert recaptcha.hands_over(challenge, None)  # type: ignore[attr-defined]
    filled = fill(challenge, post("user=ann&pw=x"), None)
    assert not recaptcha.hands_over(filled, None)  # type: ignore[attr-defined]


def test_a_bare_true_names_the_field() -> None:
    page = f"<form method=post>{'<input type=checkbox name=terms required>'}<div class=g-recaptcha data-sitekey={KEY}></div></form>"
    flag = parse_flag(True, "the flag")
    assert flag is not None
    with pytest.raises(UnsupportedCaptchaError, match=r"asks for 'terms'.*nothing was bought"):
        check_filled(family("recaptcha_v2"), challenge_of(True, page), flag)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_no_form_and_no_inject_is_refused(method: str) -> None:
    page = f"<div class=g-recaptcha data-sitekey={KEY} data-callback=done></div>"
    request = Request("https://shop.example/p", method=method)
    with pytest.raises(UnsupportedCaptchaError, match=r'the page has no form.*nothing was bought.*"inject"'):
        family("recaptcha_v2").rehearse(request, challenge_of(True, page), None)


MULTIPART = b'--B\r\nContent-Disposition: form-data; name="user"\r\n\r\nann\r\n--B\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\nz\r\n--B--\r\n'


@pytest.mark.parametrize(
    ("content_type", "body", "fields"),
    [
        ("application/x-www-form-urlencoded", b"a=1&a=2&b=&c=x+y", {"a": "1", "b": "", "c": "x y"}),
        ("application/x-www-form-urlencoded; charset=utf-8", b"a=%C3%A4", {"a": "ä"}),
        ("multipart/form-data; boundary=B", MULTIPART, {"user": "ann"}),
        ("application/json", b'{"a": 1}', {}),
        ("", b"", {}),
    ],
)
def test_fields_of_a_body(content_type: str, body: bytes, fields: dict[str, str]) -> None:
    assert fields_of(content_type, body) == fields


@given(
    st.sampled_from(
        ["", "application/x-www-form-urlencoded", "multipart/form-data; boundary=B", "multipart/form-data"]
    ),
    st.binary(),
)
def test_any_body_is_read(content_type: str, body: bytes) -> None:
    fields_of(content_type, body)


COMPLETE = {**TYPED, "websiteKey": KEY, "websiteURL": "https://shop.example/", "inject": {"json": "token"}}


@pytest.mark.parametrize("status", [200, 400, 401, 422, 428])
@pytest.mark.parametrize("body", ['{"error": "captcha_required"}', f'{{"sitekey": "{KEY}"}}', "Captcha needed"])
def test_an_answer_of_an_api_that_names_a_captcha(status: int, body: str) -> None:
    """Under a complete flag a short JSON or text answer is a gate, whatever its status."""
    flag = parse_flag(COMPLETE, "the flag")
    assert flag is not None
    response = TextResponse(
        "https://shop.example/api", status=status, body=body.encode(), headers={"Content-Type": "text/plain"}
    )
    assert detect_challenge(response, flag, tried=False) is not None
    assert detect_challenge(response.replace(body=b'{"items": []}'), flag, tried=False) is None
    assert detect_challenge(response.replace(body=body.encode() + b" " * 5000), flag, tried=False) is None
