"""The request's own proxy, in the task."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
import scrapy
from hypothesis import given
from hypothesis import strategies as st
from scrapy import Request
from scrapy.downloadermiddlewares.httpproxy import HttpProxyMiddleware
from scrapy.utils.defer import deferred_f_from_coro_f

from scrapy_capsolver._request.flag import Flag, parse_flag
from scrapy_capsolver._request.identity import ClientIdentity
from scrapy_capsolver._request.proxy import Proxy, proxy_of
from scrapy_capsolver._request.source_address import machine
from scrapy_capsolver._request.task_builder import choose_type
from scrapy_capsolver.errors import CaptchaConfigurationError, CaptchaProxyError
from scrapy_capsolver.families import Challenge, family, family_of
from scrapy_capsolver.settings import CapSolverSettings
from tests.crawls import crawl, simulator
from tests.proxies import Running, proxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


# Scrapy 2.13 wants it, and later ones warn about it.
SPIDER: dict[str, Any] = {"spider": None} if scrapy.version_info < (2, 14) else {}


class Crawler:
    """As much of one as is asked for here."""

    def __init__(self, middleware: HttpProxyMiddleware | None = None, encoding: str = "latin-1") -> None:
        self.middleware = middleware
        self.settings = {"HTTPPROXY_AUTH_ENCODING": encoding}

    def get_downloader_middleware(self, cls: type) -> Any:
        return self.middleware


def read(url: str | None, *, passed: bool = False, encoding: str = "latin-1", **headers: str) -> Any:
    """The proxy of a request with this in its meta, before or after HttpProxyMiddleware."""
    request = Request("https://shop.example/", meta={"proxy": url}, headers=headers)
    if passed:
        HttpProxyMiddleware(encoding).process_request(request, **SPIDER)
        assert "@" not in str(request.meta["proxy"])
    return proxy_of(Crawler(encoding=encoding), request)  # type: ignore[arg-type]


@pytest.mark.parametrize("passed", [False, True])
@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("http://10.1.2.3:3128", {"proxyType": "http", "proxyAddress": "10.1.2.3", "proxyPort": 3128}),
        ("p.example:8080", {"proxyType": "http", "proxyAddress": "p.example", "proxyPort": 8080}),
        ("https://p.example", {"proxyType": "https", "proxyAddress": "p.example", "proxyPort": 443}),
        ("socks5://p.example:1080", {"proxyType": "socks5", "proxyAddress": "p.example", "proxyPort": 1080}),
        ("socks5h://p.example", {"proxyType": "socks5", "proxyAddress": "p.example", "proxyPort": 1080}),
        ("http://[2001:db8::7]:3128", {"proxyType": "http", "proxyAddress": "2001:db8::7", "proxyPort": 3128}),
        (
            "http://us%40er:p%3Ass%40w@p.example:1",
            {
                "proxyType": "http",
                "proxyAddress": "p.example",
                "proxyPort": 1,
                "proxyLogin": "us@er",
                "proxyPassword": "p:ss@w",
            },
        ),
        (
            "http://token:@p.example:1",
            {
                "proxyType": "http",
                "proxyAddress": "p.example",
                "proxyPort": 1,
                "proxyLogin": "token",
                "proxyPassword": "",
            },
        ),
        ("", None),
        (None, None),
    ],
)
def test_fields(url: str | None, wanted: dict[str, Any] | None, passed: bool) -> None:
    if passed and not url:
        url = None
    found = read(url, passed=passed)
    assert (None if found is None else found.fields()) == wanted


user = st.text(st.characters(codec="latin-1", exclude_characters=":\0\r\n"), min_size=1)
password = st.text(st.characters(codec="latin-1", exclude_characters="\0\r\n"))


@given(user, password)
def test_credentials_of_any_kind_arrive(name: str, secret: str) -> None:
    from urllib.parse import quote

    url = f"http://{quote(name, safe='')}:{quote(secret, safe='')}@p.example:1"
    for passed in (False, True):
        found = read(url, passed=passed)
        assert (found.user, found.password) == (name, secret)


def test_the_encoding_of_credentials_is_scrapys_setting() -> None:
    found = read("http://%C5%82:%C5%82@p.example:1", passed=True, encoding="utf-8")
    assert (found.user, found.password) == ("ł", "ł")


@pytest.mark.parametrize("url", ["http://", "http://p.example:99999", "http://[", "http://:80"])
def test_what_cannot_be_read_is_an_error_that_does_not_show_it(url: str) -> None:
    with pytest.raises(CaptchaProxyError, match="no address that can be read"):
        read(url)


def test_the_credentials_in_the_address_go_before_those_of_a_proxy_before() -> None:
    """A middleware that gives a retried request another proxy leaves the header as it was; Scrapy's replaces it."""
    header = {"Proxy-Authorization": "Basic " + base64.b64encode(b"old:one").decode()}
    found = read("http://new:two@p.example:1", **header)
    assert (found.user, found.password) == ("new", "two")


def test_a_proxy_that_cannot_be_read_is_another_identity_than_none() -> None:
    who = ClientIdentity(Crawler(), "secret", "")  # type: ignore[arg-type]
    keys = [
        who.key_of(Request("https://shop.example/", meta={"proxy": url}))
        for url in (None, "http://user:pass@[", "http://:80")
    ]
    assert len({key.proxy for key in keys}) == 3
    assert not any("pass" in key.proxy for key in keys)


def address(meta: dict[str, Any] | None = None, egress: str = "", secret: str = "secret", **settings: Any) -> str:
    crawler = Crawler()
    crawler.settings |= settings
    return ClientIdentity(crawler, secret, egress).address_of(Request("https://shop.example/", meta=meta))  # type: ignore[arg-type]


def test_without_a_proxy_it_is_the_address_that_a_request_leaves_from() -> None:
    """This machine's, or the one that it shares with others by name; and the local address that it is bound to."""
    bound = address({"bindaddress": "127.0.0.2"})
    assert bound == address({"bindaddress": ("127.0.0.2", 0)}) == address(DOWNLOAD_BIND_ADDRESS="127.0.0.2")
    assert bound == address({"bindaddress": ["127.0.0.2", 4000]}, DOWNLOAD_BIND_ADDRESS=("127.0.0.3", 0))
    apart = {bound, address(), address({"bindaddress": "127.0.0.3"}), address(egress="office"), address(secret="other")}
    assert len(apart) == 5
    assert address(egress="office") == address(egress="office")
    assert not any("127" in one or "office" in one for one in apart)


def test_behind_a_proxy_the_local_address_is_not_seen() -> None:
    proxied = {"proxy": "http://p.example:1"}
    assert address(proxied) == address({**proxied, "bindaddress": "127.0.0.2"}) == address(proxied, egress="office")


def test_a_machine_is_known_by_more_than_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known = tmp_path / "machine-id"
    known.write_text("0123\n")
    monkeypatch.setattr("scrapy_capsolver._request.source_address._MACHINE_IDS", (str(tmp_path / "none"), str(known)))

    def named(host: str, hardware: int) -> str:
        machine.cache_clear()
        monkeypatch.setattr("socket.gethostname", lambda: host)
        monkeypatch.setattr("uuid.getnode", lambda: hardware)
        found: str = machine()
        machine.cache_clear()
        return found

    assert named("web", 0x0242AC110002) == "web 0242ac110002 0123"
    # A number that was made up for this process alone would make each process a machine of its own.
    assert named("web", 0x0342AC110002) == named("web", 0x0142AC110003) == "web 0123"
    monkeypatch.setattr("scrapy_capsolver._request.source_address._MACHINE_IDS", ())
    assert named("web", 0x0142AC110002) == "web"


def test_another_kind_of_authorization_is_an_error() -> None:
    header = {"Proxy-Authorization": "Digest username=secret-name"}
    with pytest.raises(CaptchaProxyError, match="is no Basic one") as caught:
        read("http://p.example:1", **header)
    assert "secret-name" not in str(caught.value)


def test_proxies_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://me:pass@env.example:3128")
    monkeypatch.setenv("no_proxy", "inside.example")
    middleware = HttpProxyMiddleware("latin-1")
    crawler: Any = Crawler(middleware)
    found = proxy_of(crawler, Request("https://shop.example/"))
    assert found == Proxy("http", "env.example", 3128, "me", "pass")
    assert proxy_of(crawler, Request("https://inside.example/")) is None
    assert proxy_of(crawler, Request("http://shop.example/")) is None
    assert proxy_of(crawler, Request("https://shop.example/", meta={"proxy": None})) is None
    passed = Request("https://shop.example/")
    middleware.process_request(passed, **SPIDER)
    assert proxy_of(crawler, passed) == found


def test_a_proxy_shows_neither_user_nor_password() -> None:
    found = Proxy("http", "p.example", 1, "sesame", "open")
    assert "sesame" not in repr(found)
    assert "open" not in repr(found)
    digest = found.digest("key")
    others = [Proxy("http", "p.example", 1, "sesame", "shut"), Proxy("http", "p.example", 1, "sesame2", "open")]
    assert digest not in {one.digest("key") for one in others} | {found.digest("other key")}
    assert digest == Proxy("http", "p.example", 1, "sesame", "open").digest("key")


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1", False),
        ("::1", False),
        ("localhost", False),
        ("a.localhost", False),
        ("10.0.0.1", False),
        ("192.168.1.1", False),
        ("169.254.1.1", False),
        ("fd00::1", False),
        ("0.0.0.0", False),
        ("squid", False),
        ("proxy.local", False),
        ("proxy.corp.internal", False),
        ("8.8.8.8", True),
        ("2606:4700:4700::1111", True),
        ("proxy.example.com", True),
    ],
)
def test_private_proxies_are_refused_unless_the_api_is_here_too(host: str, allowed: bool) -> None:
    found = Proxy("http", host, 3128, "u", "p")
    found.check(api_on_loopback=True)
    if allowed:
        found.check(api_on_loopback=False)
    else:
        with pytest.raises(CaptchaProxyError, match="CapSolver reaches a proxy from its own network"):
            found.check(api_on_loopback=False)


def test_a_kind_that_capsolver_does_not_speak() -> None:
    with pytest.raises(CaptchaProxyError, match=r"'socks4'.*http, https, socks5"):
        Proxy("socks4", "p.example", 1).check(api_on_loopback=True)


PUBLIC = Proxy("http", "p.example.com", 1)


def chosen(type_name: str, by: Proxy | None, flag: Any = True, proxied: str = "auto") -> str:
    name = family_of(type_name).name
    settings = CapSolverSettings(api_key="k", proxied=proxied)
    parsed = parse_flag(flag, "flag")
    assert isinstance(parsed, Flag)
    challenge = Challenge(name, parsed.type or type_name, "https://shop.example/", params=dict(parsed.fields))
    return choose_type(challenge, family(name), parsed, by, settings).type


AWS, V2, MT = "AntiAwsWafTaskProxyLess", "ReCaptchaV2TaskProxyLess", "MtCaptchaTaskProxyLess"


@pytest.mark.parametrize(
    ("type_name", "by", "flag", "setting", "wanted"),
    [
        # A clearance is bound to the address that earned it, a token is not.
        (AWS, None, True, "auto", AWS),
        (AWS, PUBLIC, True, "auto", "AntiAwsWafTask"),
        (V2, PUBLIC, True, "auto", V2),
        (MT, PUBLIC, True, "auto", MT),
        # The setting and the flag decide otherwise, where there is a proxy.
        (AWS, PUBLIC, True, "never", AWS),
        (V2, PUBLIC, True, "always", "ReCaptchaV2Task"),
        (V2, None, True, "always", V2),
        (MT, PUBLIC, {"proxied": True}, "never", "MtCaptchaTask"),
        (AWS, PUBLIC, {"proxied": False}, "always", AWS),
        # Where there is no such type, it is as it is.
        ("GeeTestTaskProxyLess", PUBLIC, {"proxied": True}, "auto", "GeeTestTaskProxyLess"),
        ("AntiCloudflareTask", PUBLIC, {"proxied": False}, "never", "AntiCloudflareTask"),
        # A type that the flag names stays.
        (V2, PUBLIC, {"type": V2}, "always", V2),
        (V2, PUBLIC, {"type": "ReCaptchaV2Task"}, "never", "ReCaptchaV2Task"),
        (V2, None, {"type": "ReCaptchaV2Task", "proxy": "http:p.example:1:u:p"}, "auto", "ReCaptchaV2Task"),
    ],
)
def test_which_type(type_name: str, by: Proxy | None, flag: Any, setting: str, wanted: str) -> None:
    assert chosen(type_name, by, flag, setting) == wanted


@pytest.mark.parametrize("flag", [{"type": "ReCaptchaV2Task"}, {"proxied": True}])
def test_a_type_that_needs_a_proxy_without_one(flag: Any) -> None:
    with pytest.raises(CaptchaProxyError, match="ReCaptchaV2Task needs a proxy, and the request goes by none"):
        chosen(V2, None, flag)


def test_a_private_proxy_is_refused_before_there_is_a_task() -> None:
    with pytest.raises(CaptchaProxyError, match="is this machine itself"):
        chosen(AWS, Proxy("http", "127.0.0.1", 3128))
    assert chosen(V2, Proxy("http", "127.0.0.1", 3128)) == V2  # which needs none


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ({"proxied": "yes"}, "takes True or False"),
        ({"proxied": True, "type": V2}, "name the type that you mean"),
        ({"proxied": False, "type": "ReCaptchaV2Task"}, "name the type that you mean"),
        ({"proxied": True, "type": "GeeTestTaskProxyLess"}, "name the type that you mean"),
    ],
)
def test_wrong_flags(flag: Any, words: str) -> None:
    with pytest.raises(CaptchaConfigurationError, match=words):
        parse_flag(flag, "flag")


# In crawls


@pytest.fixture(scope="module")
def by() -> Iterator[Running]:
    with proxy(source="127.0.0.22", user="us@er", password="p@ss:w0rd") as running:
        yield running


@pytest.mark.parametrize(
    ("path", "flag"),
    [
        ("/recaptcha-v2/1", {"proxied": True}),
        ("/recaptcha-v2-enterprise/1", {"proxied": True}),
        ("/recaptcha-v3/1", {"proxied": True}),
        ("/recaptcha-v3-enterprise/1", {"proxied": True}),
        ("/recaptcha-v3/1", {"type": "ReCaptchaV3M1Task"}),
        ("/recaptcha-v3-enterprise/1", {"type": "ReCaptchaV3EnterpriseM1Task"}),
        ("/turnstile/1", {"type": "AntiTurnstileTask"}),
        ("/mtcaptcha/1", {"proxied": True}),
    ],
)
@deferred_f_from_coro_f
async def test_tokens_by_the_requests_proxy(by: Running, path: str, flag: Any) -> None:
    async with simulator() as capsolver:
        request = Request(capsolver.site_url + path, meta={"capsolver": flag, "proxy": by.url})
        done = await crawl(capsolver, [request])
        assert done.response.css(".product::text").get() == "Product 1"
        (task,) = capsolver.tasks.values()
        assert not task.type.name.endswith("ProxyLess")
        assert {name: task.fields.get(name) for name in by.fields} == by.fields


@deferred_f_from_coro_f
async def test_the_environments_proxy_is_the_requests_own(by: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", by.url)
    async with simulator() as capsolver:
        port = capsolver.site_url.rpartition(":")[2]
        requests = [
            Request(f"http://www.example.com:{port}/cloudflare/{n}", meta={"capsolver": True}) for n in range(3)
        ]
        done = await crawl(capsolver, requests)
        assert len(done.responses) == 3, done.errors
        assert capsolver.state()["tasks"]["paid"] == 1


@deferred_f_from_coro_f
async def test_passwords_are_in_no_log_and_no_error(by: Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with simulator(quirks=["unsolvable"]) as capsolver:
        request = Request(f"{capsolver.site_url}/cloudflare/1", meta={"capsolver": True, "proxy": by.url})
        done = await crawl(capsolver, [request], CAPSOLVER_RETRY_TIMES=0)
        secrets = (by.password, base64.b64encode(f"{by.user}:{by.password}".encode()).decode())
        for text in (caplog.text, str(done.error), repr(done.error), repr(done.stats)):
            assert not any(secret in text for secret in secrets)
