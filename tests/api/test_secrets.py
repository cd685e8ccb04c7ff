"""What CapSolver's replies may quote, and what is shown of it."""

from __future__ import annotations

import json
import time
from base64 import b64encode, urlsafe_b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scrapy_capsolver.api.replies import MAX_DESCRIPTION, Balance, read_balance, read_reply
from scrapy_capsolver.api.secrets import GRAM, MAX_TEXT, Secrets

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = "CAP-0123456789ABCDEF0123456789abcdef"
USER, PASSWORD = "customer-zone1-session-Xy7", "Sup3r Secret/Pass%20w0rd+9f8e\\7d6c"
TOKEN = "0.Tok3n_of-the.solution~" + "qwErTy12" * 40

FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "upper case": str.upper,
    "percent-encoded": lambda secret: quote(secret, safe=""),
    "percent-encoded twice": lambda secret: quote(quote(secret, safe=""), safe=""),
    "each byte percent-encoded": lambda secret: "".join(f"%{byte:02x}" for byte in secret.encode()),
    "as in a form": quote_plus,
    "in JSON": lambda secret: json.dumps(json.dumps(secret)),
    "escaped for JSON": lambda secret: "".join(f"\\u{ord(letter):04x}" for letter in secret),
    "in HTML": lambda secret: "".join(f"&#{ord(letter)};" for letter in secret),
    "percent-encoded JSON": lambda secret: quote("".join(f"\\u{ord(letter):04X}" for letter in secret)),
    "base64": lambda secret: b64encode(secret.encode()).decode(),
    "base64 with a user": lambda secret: b64encode(f"u:{secret}".encode()).decode(),
    "base64 for addresses": lambda secret: urlsafe_b64encode(f"user:{secret}".encode()).decode().rstrip("="),
    "base64, percent-encoded": lambda secret: quote(b64encode(secret.encode()).decode(), safe=""),
    "split by zeros": "\0".join,
    "split by escapes": "\x1b".join,
    "on several lines": lambda secret: "\r\n".join(secret[at : at + 3] for at in range(0, len(secret), 3)),
}
SECRETS = {"key": KEY, "user": USER, "password": PASSWORD, "login": f"{USER}:{PASSWORD}", "token": TOKEN}


def knowing(**task: Any) -> Secrets:
    secrets = Secrets(KEY)
    secrets.learn_task(task or {"proxyLogin": USER, "proxyPassword": PASSWORD})
    secrets.learn_solution({"token": TOKEN, "userAgent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"})
    return secrets


def parts(text: str, length: int = GRAM) -> set[str]:
    return {text[at : at + length] for at in range(len(text) - length + 1)}


def assert_hidden(secret: str, quoted: str, shown: str) -> None:
    """Nothing of six characters is left of the secret, nor of what stands for it."""
    assert not parts(secret) & parts(shown)
    assert not parts(secret.casefold()) & parts(shown.casefold())
    assert not parts(quoted, 12) & parts(shown, 12), shown


@pytest.mark.parametrize("where", [0, 1, 150, 186, 194, 199, 200, MAX_TEXT - 70, MAX_TEXT - 20, MAX_TEXT - 3])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", SECRETS)
def test_a_quoted_secret_is_hidden_wherever_it_stands(name: str, form: str, where: int) -> None:
    """Also if the text is cut in its midst."""
    if name == "token" and form.startswith("base64"):
        pytest.skip("tokens are quoted as they are")
    quoted = FORMS[form](SECRETS[name])
    for filler in (" ", "x ", "."):
        text = (filler * where)[:where] + quoted + " and more"
        body = {"errorId": 1, "errorCode": "ERROR_PROXY_BANNED", "errorDescription": text, "message": text}
        reply = read_reply(400, json.dumps(body).encode(), knowing())
        assert reply.fault is not None
        assert len(reply.fault.description) <= MAX_DESCRIPTION
        assert_hidden(SECRETS[name], quoted, str(reply.fault))


@pytest.mark.parametrize("form", FORMS)
def test_no_member_of_a_reply_carries_one_on(form: str) -> None:
    """Codes become names of stats, task ids go into files, names of a solution's members into messages."""
    quoted = FORMS[form](PASSWORD)
    error = {"errorId": 1, "errorCode": f"pw {quoted}", "errorDescription": ""}
    fault = read_reply(400, json.dumps(error).encode(), knowing()).fault
    assert fault is not None
    assert_hidden(PASSWORD, quoted, fault.code)
    assert fault.stat == "unknown"
    solution = {quoted: "a", "gRecaptchaResponse": TOKEN, TOKEN[:60]: "b", "x" * 500: "c", "x-y": "d"}
    reply = read_reply(200, json.dumps({"status": "ready", "solution": solution}).encode(), knowing())
    assert reply.solution is not None
    assert list(reply.solution) == ["gRecaptchaResponse", "x-y"]
    package = {"balance": 1, "packages": [{"title": f"for {quoted}"}]}
    balance = read_balance(200, json.dumps(package).encode(), knowing())
    assert isinstance(balance, Balance)
    assert_hidden(PASSWORD, quoted, balance.packages[0].title)


@given(
    st.sampled_from(sorted(FORMS)),
    st.text(st.characters(codec="utf-8"), min_size=GRAM, max_size=40),
    st.text(max_size=MAX_DESCRIPTION),
    st.text(max_size=30),
)
@settings(max_examples=400, deadline=None)
def test_any_password_in_any_text(form: str, password: str, before: str, after: str) -> None:
    assume(sum(letter.isprintable() and not letter.isspace() for letter in password) >= GRAM)
    secrets = Secrets(KEY)
    secrets.learn_task({"proxyLogin": "", "proxyPassword": password})

    def shown(quoted: str) -> str:
        body = {"errorId": 1, "errorCode": "E", "errorDescription": f"{before} {quoted} {after}"}
        fault = read_reply(400, json.dumps(body).encode(), secrets).fault
        assert fault is not None
        return fault.description

    assert not (parts(password) & parts(shown(FORMS[form](password)))) - parts(shown("[proxy login]"))


@pytest.mark.parametrize(
    "proxy",
    [
        f"http://{quote(USER)}:{quote(PASSWORD, safe='')}@1.2.3.4:80",
        f"{USER}:{PASSWORD}@1.2.3.4:80",
        f"http:1.2.3.4:80:{USER}:{PASSWORD}",
        f"1.2.3.4:80:{USER}:{PASSWORD}",
        f"socks5:proxy.example:1080:{USER}:{PASSWORD}",
        f"[2001:db8::1]:80:{USER}:{PASSWORD}",
    ],
)
def test_logins_in_every_way_to_write_a_proxy(proxy: str) -> None:
    secrets = knowing(proxy=proxy)
    assert secrets.scrub(f"{USER} at 1.2.3.4") == "[proxy login] at 1.2.3.4"
    assert_hidden(PASSWORD, PASSWORD, secrets.scrub(f"the proxy {PASSWORD}"))


@pytest.mark.parametrize(
    "task", [{}, {"proxy": "http://1.2.3.4:80"}, {"proxy": "1.2.3.4:80"}, {"proxy": 7}, {"proxyLogin": 7}]
)
def test_proxies_without_a_login(task: dict[str, Any]) -> None:
    assert (
        knowing(**task, type="T").scrub("the proxy http://1.2.3.4:80 is banned")
        == "the proxy http://1.2.3.4:80 is banned"
    )


def test_tokens_of_the_same_reply_are_hidden_in_part_too() -> None:
    body = {"errorId": 1, "errorDescription": f"bad {TOKEN[30:50]} !", "solution": {"cookies": {"a": TOKEN}}}
    fault = read_reply(400, json.dumps(body).encode()).fault
    assert fault is not None
    assert fault.description == "bad [token] !"


def test_what_holds_no_secret_stays_as_it_is() -> None:
    for text in (
        "ERROR_PROXY_BANNED: the proxy 1.2.3.4:80 is banned",
        "Task ID 37223a89-06ed-442c-a0b8-22067b79c5b4 does not exist",
        "100% of it; see https://docs.capsolver.com/guide/?a=%41 &amp; C:\\new",
        "é ü 漢字",
        "",
    ):
        assert knowing().scrub(text) == text
    assert Secrets().scrub("CAP-") == "CAP-"
    assert repr(knowing()) == "<Secrets>"


def test_short_secrets_are_hidden_whole_and_very_short_ones_not_looked_for() -> None:
    assert knowing(proxyLogin="bob", proxyPassword="pass1").scrub("bob:pass1, a pass") == "[proxy login], a pass"
    assert knowing(proxyLogin="", proxyPassword="ab").scrub("abab") == "abab"


def test_the_latest_logins_and_tokens_are_kept() -> None:
    secrets = Secrets(KEY)
    for number in range(1200):
        secrets.learn_task({"proxyLogin": f"session-{number:06d}", "proxyPassword": PASSWORD})
        secrets.learn_solution({"token": f"token-{number:06d}-and-so-on"})
    assert secrets.scrub(f"session-001199:{PASSWORD}") == "[proxy login]"
    assert secrets.scrub("a token-001199-and-so-on") == "a [token]"
    assert secrets.scrub("xyz 000001") == "xyz 000001"
    assert len(secrets._logins) == 1000
    assert len(secrets._tokens) == 1000


@pytest.mark.parametrize(
    "text", ["a" * 2**20, "%2541" * 2**18, "\\u0041" * 2**17, f"{PASSWORD} " * 2**15, "A/" * 2**19, "&#65;" * 2**18]
)
def test_the_time_for_a_large_text_does_not_grow_with_it(text: str) -> None:
    secrets = knowing()

    def seconds(length: int) -> float:
        times = []
        for _ in range(5):
            start = time.process_time()
            secrets.scrub(text[:length])
            times.append(time.process_time() - start)
        return min(times)

    assert seconds(2**20) < 5 * seconds(2 * MAX_TEXT) + 0.01
