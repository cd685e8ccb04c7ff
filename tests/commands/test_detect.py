"""``scrapy capsolver detect``"""

from __future__ import annotations

import ast
import json
import shutil
import unicodedata
from contextlib import redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scrapy.http import HtmlResponse

from scrapy_capsolver._request.detection import detect_challenge
from scrapy_capsolver._request.flag import parse_flag
from scrapy_capsolver.commands._console import say_json
from scrapy_capsolver.commands.detect import _describe, _show
from scrapy_capsolver.families import detect
from tests.commands.served import served
from tests.families.corpus import CORPUS, PAGES, SENT, expected_family, response_of

if TYPE_CHECKING:
    from tests.commands.shell import Project

HOSTILE = (
    b"<title>\x1b]0;owned\x07</title>"
    b"<form><div class='g-recaptcha \x1b[2J\xc2\x9b31m\xe2\x80\xae' data-sitekey='6LShLVePamrYuScMSXgJkX1eWccTfeEdfxVLVrDW'"
    b" data-action='a\x1b[31m\x7f' data-s='\x1b]8;;https://evil.example\x07'></div></form>"
)


def meta_lines(out: str) -> list[Any]:
    """The flags of the lines to be pasted."""
    return [ast.literal_eval(line.partition("meta=")[2])["capsolver"] for line in out.splitlines() if " meta=" in line]


def test_a_blocked_page_by_its_address(project: Project) -> None:
    project.calls()
    url = f"{project.where['site']}/recaptcha-v2/7"
    done = project.capsolver("detect", url)
    assert (done.code, done.err) == (0, ""), done
    as_json = project.capsolver("detect", url, "--json").json
    assert project.calls() == {}, "CapSolver was asked"

    (found,) = as_json["captchas"]
    assert (as_json["url"], as_json["status"]) == (url, 403)
    assert (found["family"], found["blocked"], found["type"]) == ("recaptcha_v2", True, "ReCaptchaV2TaskProxyLess")
    assert found["price_usd_per_1000"] == 0.8
    key = found["parameters"]["websiteKey"]
    assert found["flag"] is True

    lines = done.out.splitlines()
    assert lines[0] == f"{url} (status 403)"
    assert lines[2] == "recaptcha_v2, which blocks the page"
    assert "  because    the page holds nothing but the captcha" in lines
    assert "  task       ReCaptchaV2TaskProxyLess, 0.80 USD per 1000" in lines
    assert f"  parameter  websiteKey: {key}" in lines
    assert meta_lines(done.out) == [True]


def test_a_widget_from_standard_input_and_a_file(project: Project) -> None:
    name = next(one for one in CORPUS if expected_family(one) and not detect(response_of(one))[0].blocked)
    page = PAGES / f"{name}.html"
    shutil.copy(page, project.path / "page.html")
    by_file = project.capsolver("detect", "page.html", "--url", "https://shop.example/list", "--json")
    by_pipe = project.capsolver("detect", "-", "--url", "https://shop.example/list", "--json", stdin=page.read_bytes())
    assert by_file.json == by_pipe.json
    assert (by_file.json["url"], by_file.json["status"]) == ("https://shop.example/list", 200)
    (found,) = by_file.json["captchas"]
    assert not found["blocked"]
    assert found["flag"] == {"type": found["type"]}
    out = project.capsolver("detect", "page.html").out
    assert out.startswith("the file (status 200)\n")
    assert "a widget of the page" in out


@pytest.mark.parametrize("name", [name for name in CORPUS if (PAGES / f"{name}.html").exists()])
def test_every_flag_that_is_shown_has_its_captcha_solved(name: str) -> None:
    """Of a page as a file: without its headers."""
    status, _ = SENT.get(name, (200, {}))
    response = HtmlResponse("https://shop.example/list", status=status, body=(PAGES / f"{name}.html").read_bytes())
    found = [_describe(challenge, response) for challenge in detect(response)]
    assert {one["family"] for one in found} == expected_family(name)
    for one in found:
        if one["flag"] is None:
            assert one["notes"]
            continue
        flag = parse_flag(one["flag"], "flag")
        assert flag is not None
        challenge = detect_challenge(response, flag, tried=False)
        assert challenge is not None
        assert (challenge.family, dict(challenge.params)) == (one["family"], one["parameters"])


def test_what_cannot_be_solved_is_told(project: Project) -> None:
    done = project.capsolver("detect", f"{project.where['site']}/hcaptcha/7")
    assert done.code == 0
    assert "  note       hCaptcha is not solvable by CapSolver" in done.out
    assert "meta=" not in done.out
    assert "proxy      needed" in project.capsolver("detect", f"{project.where['site']}/datadome/7").out


def test_no_captcha(project: Project) -> None:
    done = project.capsolver("detect", f"{project.where['site']}/free/7")
    assert (done.code, done.out.splitlines()[1]) == (0, "no captcha found")
    assert project.capsolver("detect", "--json", f"{project.where['site']}/free/7").json["captchas"] == []


def test_the_page_is_what_the_plugin_would_see(project: Project) -> None:
    """A gate is neither retried, nor is its refresh followed."""
    gate = b'<meta http-equiv="refresh" content="0; url=/other">' + HOSTILE
    asked: list[str] = []
    with served({"/": (503, "text/html", gate), "/other": (200, "text/html", b"other")}, asked) as url:
        done = project.capsolver("detect", f"{url}/", "--json")
    assert asked == ["/"]
    assert (done.json["url"], done.json["status"]) == (f"{url}/", 503)
    assert done.json["captchas"][0]["blocked"]


@pytest.mark.parametrize("option", [(), ("--json",)])
def test_a_hostile_page_cannot_write_to_the_terminal(project: Project, option: tuple[str, ...]) -> None:
    done = project.capsolver("detect", "-", *option, stdin=HOSTILE)  # which looks for control characters
    assert done.code == 0
    assert "recaptcha_v2" in done.out


@given(st.text(st.characters(exclude_characters="'<>&"), max_size=30))
def test_nothing_that_a_page_says_writes_to_the_terminal(text: str) -> None:
    body = (
        f"<title>{text}</title><form action='{text}'><div class='g-recaptcha {text}' id='{text}' data-action='{text}'"
        f" data-s='{text}' data-sitekey='6LShLVePamrYuScMSXgJkX1eWccTfeEdfxVLVrDW'></div><input name='{text}'></form>"
        f"<div class='cf-turnstile {text}' data-sitekey='0x4AAAAAAADotqznNl_RxiN0' data-cdata='{text}'></div>"
    )
    response = HtmlResponse("https://shop.example/", body=body.encode("utf-8", "replace"))
    found = [_describe(challenge, response) for challenge in detect(response)]
    assert len(found) == 2
    out = StringIO()
    with redirect_stdout(out):
        for one in found:
            _show(one)
        say_json(found)
    assert not [a for a in out.getvalue() if a != "\n" and unicodedata.category(a) in {"Cc", "Cf", "Zl", "Zp"}]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nothing.html",), 1, "nothing.html: No such file or directory; an address begins with http"),
        ((".",), 1, "Is a directory"),
        (("http://127.0.0.1:1/",), 1, "the page did not come: "),
        (("http://[/",), 1, ""),
        (("-", "--url", "shop.example"), 2, "--url takes an http(s) address"),
        (("-", "--status", "99"), 2, "--status a number from 100 to 599"),
    ],
)
def test_errors(project: Project, arguments: tuple[str, ...], code: int, said: str) -> None:
    done = project.capsolver("detect", *arguments, "--json")
    assert done.code == code, done
    assert said in done.err
    assert done.err
    if code == 1:
        assert json.loads(done.out)["error"]["message"] == done.err.rstrip("\n")


def test_a_proxys_password_is_not_shown(project: Project) -> None:
    done = project.capsolver("detect", "http://shop.example/", "--proxy", "http://me:hunter2@127.0.0.1:1")
    assert done.code == 1
    assert "hunter2" not in done.out + done.err
