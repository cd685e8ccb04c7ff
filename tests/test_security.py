"""What nobody on the way may do: read the key, be sent a solution, or choose what is paid for."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

import pytest
import trustme
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scrapy import Request
from scrapy.http import HtmlResponse, JsonResponse, Response
from scrapy.settings import Settings
from scrapy.utils.defer import deferred_f_from_coro_f, maybe_deferred_to_future
from treq.client import HTTPClient
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IHostnameResolver
from twisted.web.client import URI
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface import implementer

from scrapy_capsolver._request.detection import detect_challenge
from scrapy_capsolver._request.flag import Flag, parse_flag
from scrapy_capsolver._request.proxy import Proxy
from scrapy_capsolver._request.task_builder import TaskMaker, choose_type
from scrapy_capsolver._utils.urls import same_site
from scrapy_capsolver.api.transport import Transport
from scrapy_capsolver.errors import CapSolverUnavailableError, CaptchaError, UnsupportedCaptchaError
from scrapy_capsolver.families import FAMILIES, family
from scrapy_capsolver.settings import SettingError, is_loopback, read_settings
from tests.crawls import bought, crawl, simulator
from tests.proxies import proxy
from tests.tls import tls_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

GATE = "/recaptcha-v2/7"


# The API's certificate

API_HOST = "api.capsolver.example"
CA = trustme.CA()
NOW = datetime.now(timezone.utc)
OTHER = "attacker.example"

CERTIFICATES = {
    "of another name": lambda: CA.issue_cert(OTHER),
    "of another name, with ours as its common name": lambda: CA.issue_cert(OTHER, common_name=API_HOST),
    "of a name that ours is a part of": lambda: CA.issue_cert(f"{API_HOST}.{OTHER}", f"x.{API_HOST}"),
    "of an address": lambda: CA.issue_cert("127.0.0.1"),
    "expired": lambda: CA.issue_cert(API_HOST, not_after=NOW - timedelta(days=1)),
    "not valid yet": lambda: CA.issue_cert(API_HOST, not_before=NOW + timedelta(days=1)),
    "of an authority that nobody trusts": lambda: trustme.CA().issue_cert(API_HOST),
    "of an authority below one that nobody trusts": lambda: trustme.CA().create_child_ca().issue_cert(API_HOST),
}


@implementer(IHostnameResolver)
class _Poisoned:
    """Somebody has taken over the name service: every name leads here."""

    def resolveHostName(self, receiver: Any, hostName: str, portNumber: int = 0, *more: Any) -> Any:  # noqa: N803
        receiver.resolutionBegan(self)
        receiver.addressResolved(IPv4Address("TCP", "127.0.0.1", portNumber))
        receiver.resolutionComplete()
        return self


@pytest.fixture
def poisoned_names() -> Iterator[None]:
    from twisted.internet import reactor

    install: Any = reactor.installNameResolver
    before = install(_Poisoned())
    yield
    install(before)


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine trusts what ``CA`` issues: OpenSSL looks into the environment for each connection."""
    CA.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)


@pytest.mark.usefixtures("poisoned_names", "trusted")
@pytest.mark.parametrize("which", CERTIFICATES)
@deferred_f_from_coro_f
async def test_a_server_without_a_certificate_of_the_apis_name_gets_no_byte(which: str) -> None:
    async with simulator() as capsolver:
        with tls_server(CERTIFICATES[which](), API_HOST) as (url, received):
            done = await crawl(capsolver, [GATE], CAPSOLVER_API_URL=url)
        assert received == []
        assert type(done.error) is CapSolverUnavailableError
        assert "TLS" in str(done.error)
        assert (done.error.possibly_paid, done.ours().get("possibly_paid")) == (0, None)


@pytest.mark.usefixtures("poisoned_names", "trusted")
@deferred_f_from_coro_f
async def test_a_server_with_the_apis_own_certificate_gets_the_request() -> None:
    """Or the tests above would pass where nothing is ever sent."""
    async with simulator() as capsolver:
        with tls_server(CA.issue_cert(API_HOST), API_HOST) as (url, received):
            done = await crawl(capsolver, [GATE], CAPSOLVER_API_URL=url, CAPSOLVER_RETRY_TIMES=0)
        assert type(done.error) is CapSolverUnavailableError
        assert received
        assert received[0].startswith(b"POST /getBalance HTTP/1.1\r\n")


# The API's address


class _Answering(Resource):
    """A server that answers each path as it was told, and keeps what it was asked."""

    isLeaf = True  # noqa: N815

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.asked: list[str] = []

    def render(self, request: Any) -> bytes:
        path = request.path.decode()
        self.asked.append(f"{request.method.decode()} {path}")
        status, headers, body = self.answers.get(path, (404, {}, b""))
        request.setResponseCode(status)
        for name, value in headers.items():
            request.setHeader(name, value)
        return body


@asynccontextmanager
async def serving(*resources: Resource) -> AsyncIterator[list[int]]:
    """A server for each of them; gives their ports."""
    from twisted.internet import reactor

    listen: Any = reactor.listenTCP
    ports: list[Any] = []
    for resource in resources:
        site: Any = Site(resource)
        site.timeOut = None  # or each connection leaves a timer behind
        ports.append(listen(0, site, interface="127.0.0.1"))
    try:
        yield [port.getHost().port for port in ports]
    finally:
        await maybe_deferred_to_future(DeferredList([port.stopListening() for port in ports]))


REDIRECTS = [(status, "http://localhost:{}/x") for status in (301, 302, 303, 307, 308)]
REDIRECTS += [(307, "https://127.0.0.1:{}/x"), (307, "//127.0.0.1:{}/x"), (307, "/x"), (302, "/x")]


@pytest.mark.parametrize("path", ["/createTask", "/getTaskResult"])
@pytest.mark.parametrize(("status", "target"), REDIRECTS)
@deferred_f_from_coro_f
async def test_a_redirect_of_the_api_is_not_followed(status: int, target: str, path: str) -> None:
    api, elsewhere = _Answering(), _Answering()
    async with simulator() as capsolver, serving(api, elsewhere) as (port, other):
        created = json.dumps({"errorId": 0, "taskId": "37223a89-06ed-442c-a0b8-22067b79c5b4"}).encode()
        api.answers = {"/createTask": (200, {}, created), path: (status, {"Location": target.format(other)}, b"")}
        url = f"http://127.0.0.1:{port}"
        done = await crawl(capsolver, [GATE], CAPSOLVER_API_URL=url, CAPSOLVER_RETRY_TIMES=0, CAPSOLVER_TIMEOUT=5)
        assert isinstance(done.error, CaptchaError)
        assert elsewhere.asked == []
        assert api.asked[-1] == f"POST {path}"
        assert set(api.asked) <= {"POST /getBalance", "POST /createTask", f"POST {path}"}


NOT_HERE = [
    "http://api.capsolver.com",
    "HTTP://api.capsolver.com",
    "hTTp://evil.example/127.0.0.1",
    "http://localhost.evil.example",
    "http://127.0.0.1.evil.example",
    "http://127.0.0.1@evil.example",
    "http://localhost:80@evil.example",
    "https://127.0.0.1@evil.example",
    "http://evil.example#@127.0.0.1",
    "http://evil.example?@127.0.0.1",
    "http://evil.example\\@127.0.0.1",
    "http://127.0.0.1\\.evil.example",
    "http://127.0.0.1\t.evil.example",
    "http://evil.example%2f@127.0.0.1",
    "http://[::1].evil.example",
    "http://evil.example[::1]",
    "http://[::1]@evil.example",
    "http://0.0.0.0",
    "http://0",
    "http://2130706433.evil.example",
    "http:evil.example",
    "http:///evil.example",
    "http:\\\\evil.example",
    "ws://127.0.0.1",
    "\u200bhttps://api.capsolver.com",
]


@pytest.mark.parametrize("url", NOT_HERE)
@deferred_f_from_coro_f
async def test_plain_http_to_another_machine_is_refused_at_start_by_one_line(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with simulator() as capsolver:
        request = Request(f"{capsolver.site_url}{GATE}?style=ok", meta={"capsolver": True})
        done = await crawl(capsolver, [request], CAPSOLVER_API_URL=url)
        (line,) = [r.getMessage() for r in caplog.records if "CAPSOLVER_API_URL" in r.getMessage()]
        assert "it takes an https:// address, or http:// on this machine" in line
        assert done.ours() == {}
        assert bought(capsolver) == {}


_PARTS = ["http", "https", "HTTP", ":", "/", "//", "\\", "@", "#", "?", "[", "]", "%", ".", "\t", "\n", " ", "\0", "80"]
_PARTS += ["127.0.0.1", "localhost", "::1", "evil.example", "2130706433", "x", "\u3002", "\uff0f", "\u00ad", "\u2100"]
_URLS = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["http://", "HTTP://", "http:", "https://", ""]),
        st.lists(st.sampled_from(_PARTS), max_size=7).map("".join),
    ),
)


class _Noting:
    """In place of the agent below treq: where does a request go?"""

    def __init__(self) -> None:
        self.asked: list[URI] = []

    def request(self, method: bytes, url: bytes, *args: Any, **kwargs: Any) -> Deferred[Any]:
        self.asked.append(URI.fromBytes(url))
        return Deferred()


@example("http://[::1].evil.example")
@example("http://evil.example[::1]")
@settings(max_examples=1000)
@given(_URLS)
def test_what_is_taken_for_this_machine_is_this_machine_to_the_client_too(url: str) -> None:
    """One library checks the setting, another reads it for the connection: they must not read it differently."""
    from twisted.internet import reactor

    try:
        read = read_settings(Settings({"CAPSOLVER_API_KEY": "CAP-1", "CAPSOLVER_API_URL": url}))
    except SettingError:
        return
    agent: Any = _Noting()
    transport = Transport(read.api_url, reactor, reactor)
    transport._client = HTTPClient(agent)
    sending = transport.post_json("/createTask", {"clientKey": "CAP-1"}, 1)
    sending.addErrback(lambda _: None)
    sending.cancel()
    for asked in agent.asked:
        host = asked.host.decode("ascii")
        assert asked.scheme == b"https" or (asked.scheme == b"http" and is_loopback(host.strip("[]"))), (url, asked)


# The API and the crawl's proxies


@pytest.mark.parametrize("name", ["http_proxy", "all_proxy", "HTTP_PROXY"])
@deferred_f_from_coro_f
async def test_the_api_is_not_called_by_the_environments_proxy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    by = _Answering()
    async with simulator() as capsolver, serving(by) as (port,):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
        direct = Request(capsolver.site_url + GATE, meta={"capsolver": True, "proxy": None})
        done = await crawl(capsolver, [direct])
        assert done.response.css(".product::text").get() == "Product 7"
        assert by.asked == []


@deferred_f_from_coro_f
async def test_the_api_is_not_called_by_the_requests_proxy() -> None:
    """The proxy leaves from an address of its own."""
    with proxy(source="127.0.0.23") as by:
        async with simulator() as capsolver:
            callers: set[str] = set()
            render = capsolver._api_resource.render

            def noting(request: Any) -> int:
                callers.add(request.getClientAddress().host)
                return render(request)

            capsolver._api_resource.render = noting  # type: ignore[method-assign]
            request = Request(f"{capsolver.site_url}/cloudflare/1", meta={"capsolver": True, "proxy": by.url})
            done = await crawl(capsolver, [request])
            assert done.response.css(".product::text").get() == "Product 1"
            assert callers == {"127.0.0.1"}


# Pages that try to choose the task

EVIL = "evil.example"
PLANTED: dict[str, str] = {
    "websiteURL": f"https://{EVIL}/url",
    "websiteurl": f"https://{EVIL}/url",
    "url": f"https://{EVIL}/url",
    "proxy": f"http:{EVIL}:1:user:pass",
    "proxyType": "socks5",
    "proxyAddress": EVIL,
    "proxyPort": "1",
    "proxyLogin": f"login@{EVIL}",
    "proxyPassword": f"secret@{EVIL}",
    "userAgent": f"Agent of {EVIL}",
    "apiDomain": f"https://{EVIL}/",
    "apiUrl": f"https://{EVIL}/",
    "api_url": f"https://{EVIL}/",
    "clientKey": f"CAP-{EVIL}",
    "appId": f"APP-{EVIL}",
    "type": "AntiAwsWafTask",
    "taskType": "AntiAwsWafTask",
    "callbackUrl": f"https://{EVIL}/callback",
    "captchaUrl": f"https://{EVIL}/captcha/",
    "challengeUrl": f"https://{EVIL}/register",
    "cookies": f"a=b; domain={EVIL}",
    "html": f"<p>{EVIL}</p>",
    "awsChallengeJS": f"https://{EVIL}/challenge.js",
    "awsApiJs": f"https://{EVIL}/jsapi.js",
    "awsProblemUrl": f"https://{EVIL}/problem?kind=visual",
    "awsExistingToken": f"token-of-{EVIL}",
    "referer": f"https://{EVIL}/",
    "host": EVIL,
    "capsolver": f'{{"type": "AntiAwsWafTask", "websiteURL": "https://{EVIL}/"}}',
}
"""Names that a task, a flag or the API has, with what a page would like to see there."""

V2, V3 = "6LeIxAcTAAAAAJcZVRqyHh71UMIEGNQ_MXjiZKhI", "6Lc_aX0UAAAAABx-PlWqKcGpzzxq2S5a1fKzXf9Y"
HEX = "0123456789abcdef0123456789abcdef"

# By family: what shows its captcha, with the planted names as attributes and as options of a call beside those it needs.
SHOWN = {
    "recaptcha_v2": f'<div class="g-recaptcha" data-sitekey="{V2}" ATTRIBUTES></div>',
    "recaptcha_v3": f"<script>grecaptcha.execute('{V3}', {{action: 'login', OPTIONS}});</script>"
    f'<script src="https://www.google.com/recaptcha/api.js?render={V3}&QUERY"></script>',
    "turnstile": '<div class="cf-turnstile" data-sitekey="0x4AAAAAAADnPIDROrmt1Wwj" ATTRIBUTES></div>'
    "<script>turnstile.render('#x', {sitekey: '0x4AAAAAAADnPIDROrmt1Wwj', OPTIONS});</script>",
    "geetest": '<script src="https://static.geetest.com/v4/gt4.js"></script>'
    f"<script>initGeetest4({{captchaId: '{HEX}', OPTIONS}}, function (c) {{ c.appendTo('#captcha'); }});</script>",
    "datadome": "<script>var dd={'rt':'c','cid':'A','hsh':'B','t':'fe','s':1,OPTIONS,"
    "'host':'geo.captcha-delivery.com','cookie':'C'}</script><script src='https://ct.captcha-delivery.com/c.js'></script>",
    "aws_waf": f'<script src="https://{EVIL}/a/challenge.js"></script><script src="https://{EVIL}/a/jsapi.js"></script>'
    '<script>window.gokuProps = {"key":"a","iv":"b","context":"c",OPTIONS};</script>'
    '<script src="https://a.b.us-east-1.token.awswaf.com/a/challenge.js?QUERY"></script>'
    f"<script>var p = 'https://{EVIL}/x.captcha.awswaf.com/a/problem?kind=visual';</script>",
    "mtcaptcha": "<script>var mtcaptchaConfig = {sitekey: 'MTPublic-KzqLY1cKH', OPTIONS};</script>"
    '<script src="https://service.mtcaptcha.com/mtcv1/client/mtcaptcha.min.js"></script><div class="mtcaptcha" ATTRIBUTES></div>',
}  # fmt: skip
# Fields that a page does choose, and may: which captcha it is, and what its site wants to hear of the visitor.
ITS_OWN = {
    "websiteKey", "pageAction", "isInvisible", "enterprisePayload", "recaptchaDataSValue", "metadata", "captchaId", "gt",
    "challenge", "riskType", "captchaUrl", "awsKey", "awsIv", "awsContext", "awsChallengeJS", "awsApiJs", "awsApiKey",
    "awsProblemUrl",
}  # fmt: skip
# Those of them that are addresses: the captcha's own vendor, and nobody else.
VENDORS = {
    "captchaUrl": "captcha-delivery.com",
    "awsChallengeJS": "awswaf.com",
    "awsApiJs": "awswaf.com",
    "awsProblemUrl": "awswaf.com",
}


def hostile_page(shown: str, action: str = "", names: list[str] | None = None) -> str:
    """A page with this captcha, and the planted names wherever a page can say anything."""
    planted = PLANTED if names is None else {name: PLANTED[name] for name in names}
    quoted = {name: value.replace('"', "&quot;") for name, value in planted.items()}
    as_json = json.dumps(planted)
    attributes = " ".join(f'{name}="{value}" data-{name}="{value}"' for name, value in quoted.items())
    options = ", ".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in planted.items()) or "x: 1"
    query = "&amp;".join(f"{name}={value}" for name, value in quoted.items())
    hidden = "".join(f'<input type="hidden" name="{name}" value="{value}">' for name, value in quoted.items())
    shown = shown.replace("ATTRIBUTES", attributes).replace("OPTIONS", options).replace("QUERY", query)
    return (
        f'<html {attributes}><head><base href="https://{EVIL}/base/"><link rel="canonical" href="https://{EVIL}/c">'
        f'<meta http-equiv="refresh" content="1;url=https://{EVIL}/r"><meta property="og:url" content="https://{EVIL}/o">'
        f'<script type="application/json" id="capsolver">{as_json}</script>'
        f"<script>window.capsolver = {as_json}; var websiteURL = 'https://{EVIL}/'; Object.assign(dd, {as_json});</script>"
        f'</head><body {attributes}><form method="post" action="{action}">{shown}{hidden}</form></body></html>'
    )


def check_task(task: dict[str, Any], url: str, name: str, by: dict[str, Any]) -> None:
    """Is this the task that the page's family makes, for this page, and no other?"""
    assert task["websiteURL"] == url
    assert task["type"] in family(name).types
    for field, value in task.items():
        if field in VENDORS:
            host = urlsplit(value).hostname or ""
            assert host == VENDORS[field] or host.endswith(f".{VENDORS[field]}"), (field, value)
            assert value.startswith("https://")
        elif field == "userAgent":
            assert EVIL not in value
        elif field.startswith("proxy"):
            assert value == by[field]
        else:
            assert field in ITS_OWN | {"websiteURL", "type"}, field
            assert EVIL not in json.dumps(value), (field, value)


class Hostile:
    """All sites of a crawl: answers every request, keeps what was sent, and connects to nothing. Only what is posted opens."""

    page = ""
    headers: ClassVar[dict[str, str]] = {}
    asked: ClassVar[list[Request]] = []

    @classmethod
    def set(cls, page: str, headers: dict[str, str] | None = None) -> None:
        Hostile.page, Hostile.headers, Hostile.asked = page, headers or {}, []

    def process_request(self, request: Request, spider: Any = None) -> Response:
        Hostile.asked.append(request)
        if request.method == "GET":
            return HtmlResponse(request.url, status=403, headers=Hostile.headers, body=Hostile.page.encode())
        return HtmlResponse(request.url, body=b"<p class='product'>open</p>")


def hosts() -> set[str | None]:
    return {urlsplit(request.url).hostname for request in Hostile.asked}


WITH_HOSTILE: dict[str, Any] = {"DOWNLOADER_MIDDLEWARES": {Hostile: 900}, "CAPSOLVER_RETRY_TIMES": 0}
HEADERS = {
    "Content-Location": f"https://{EVIL}/h",
    "Link": f'<https://{EVIL}/h>; rel="canonical"',
    "Refresh": f"1; url=https://{EVIL}/h",
    **{f"X-{name}": value for name, value in PLANTED.items()},
}


@pytest.mark.parametrize("name", SHOWN)
@deferred_f_from_coro_f
async def test_a_page_chooses_neither_website_nor_host_nor_proxy_nor_price(name: str) -> None:
    url = "https://shop.example/list?page=2"
    by = Proxy("http", "127.0.0.1", 9, "user", "pass")  # nobody is there: what is asked for counts, not what came of it
    meta = {"capsolver": True, "proxy": "http://user:pass@127.0.0.1:9"}
    async with simulator() as capsolver:
        Hostile.set(hostile_page(SHOWN[name], action=url), HEADERS)
        done = await crawl(capsolver, [Request(url, meta=meta)], **WITH_HOSTILE)
        assert len(capsolver.tasks) == 1, done.errors
        (task,) = capsolver.tasks.values()
        check_task(task.fields, url, name, by.fields())
        assert hosts() == {"shop.example"}
        assert capsolver.state()["api"]["unknown_paths"] == 0
        assert EVIL not in json.dumps(capsolver.state()["api"])


FLAG = parse_flag(True, "flag")
assert isinstance(FLAG, Flag)


@settings(max_examples=150)
@given(
    st.lists(st.sampled_from(sorted(SHOWN)), min_size=1, max_size=3, unique=True),
    st.lists(st.sampled_from(sorted(PLANTED)), max_size=8, unique=True),
    st.sampled_from(["", "/send", "https://shop.example/send", f"https://{EVIL}/", f"//{EVIL}/"]),
    st.sampled_from([200, 202, 403, 405]),
    st.booleans(),
)
def test_no_page_of_such_parts_chooses_its_task(
    shown: list[str], names: list[str], action: str, status: int, proxied: bool
) -> None:
    url = "https://shop.example/list"
    page = hostile_page("".join(SHOWN[name] for name in shown), action, names)
    response = HtmlResponse(url, status=status, headers={"Content-Type": "text/html"}, body=page.encode())
    challenge = detect_challenge(response, FLAG, tried=False)  # type: ignore[arg-type]
    if challenge is None:
        return
    by = Proxy("http", "proxy.example", 3128, "user", "pass")
    mine = family(challenge.family)
    read = read_settings(Settings({"CAPSOLVER_API_KEY": "CAP-1"}))
    assert challenge.url == url
    assert challenge.family in SHOWN
    chosen = choose_type(challenge, mine, FLAG, by if proxied or "datadome" in challenge.family else None, read)  # type: ignore[arg-type]
    maker: Any = TaskMaker(
        None,  # type: ignore[arg-type]
        read,
        mine,
        chosen,
        FLAG,  # type: ignore[arg-type]
        Request(url),
        proxy=by,
        seen_by="Agent",
        session=[],
    )
    assert chosen.fetch == ()  # a page makes the crawler ask for nothing
    for said in ("", "captcha render unexpect status code", "your parameters have expired"):
        check_task(maker._task((), None, said), url, challenge.family, by.fields())


def test_every_family_that_reads_a_page_is_looked_at_here() -> None:
    by_flag = {"image_to_text", "recaptcha_v2_classification", "aws_waf_classification", "vision_engine", "raw"}
    refused = {one.name for one in FAMILIES if not one.types}
    elsewhere = {"cloudflare_challenge", "botdeflector"}
    assert {one.name for one in FAMILIES} - by_flag - refused - elsewhere == set(SHOWN)


@deferred_f_from_coro_f
async def test_an_answer_in_json_chooses_neither() -> None:
    class Data(Hostile):
        def process_request(self, request: Request, spider: Any = None) -> Response:
            Hostile.asked.append(request)
            body = {**PLANTED, "url": "https://geo.captcha-delivery.com/captcha/?initialCid=A&t=fe"}
            return JsonResponse(
                request.url,
                status=403,
                headers={"Content-Type": "application/json", **HEADERS},
                body=json.dumps(body).encode(),
            )

    Hostile.set("")
    url = "https://shop.example/data"
    by = Proxy("http", "127.0.0.1", 9, "user", "pass")
    async with simulator() as capsolver:
        request = Request(url, meta={"capsolver": True, "proxy": "http://user:pass@127.0.0.1:9"})
        await crawl(capsolver, [request], DOWNLOADER_MIDDLEWARES={Data: 900}, CAPSOLVER_RETRY_TIMES=0)
        (task,) = capsolver.tasks.values()
        check_task(task.fields, url, "datadome", by.fields())
        assert hosts() == {"shop.example"}


# Where a solution goes


ACTIONS = {
    "another site": f'<form method="post" action="https://{EVIL}/collect">',
    "no scheme": f'<form method="post" action="//{EVIL}/collect">',
    "a name before it": f'<form method="post" action="https://shop.example@{EVIL}/">',
    "a longer name": f'<form method="post" action="https://shop.example.{EVIL}/">',
    "by GET": f'<form action="https://{EVIL}/collect">',
    "without TLS": '<form method="post" action="http://shop.example/collect">',
    "base": f'<base href="https://{EVIL}/"><form method="post" action="collect">',
    "its button": f'<form method="post"><button type="submit" formaction="https://{EVIL}/b">Go</button>',
    "blanks": f'<form method="post" action=" \thttps:\n//{EVIL}/collect ">',
}


@pytest.mark.parametrize("shown", ["recaptcha_v2", "turnstile", "geetest", "mtcaptcha"])
@pytest.mark.parametrize("action", ACTIONS)
@deferred_f_from_coro_f
async def test_a_form_that_leads_elsewhere_is_refused_before_anything_is_paid(action: str, shown: str) -> None:
    async with simulator() as capsolver:
        Hostile.set(f"<html><body>{ACTIONS[action]}{SHOWN[shown]}</form></body></html>")
        request = Request("https://shop.example/list", meta={"capsolver": True})
        done = await crawl(capsolver, [request], **WITH_HOSTILE)
        assert type(done.error) is UnsupportedCaptchaError
        assert len(Hostile.asked) == 1
        assert bought(capsolver) == {}


@pytest.mark.parametrize(
    "action", [f"\\\\{EVIL}/x", f"/\\{EVIL}/x", f"https:{EVIL}/x", f"https:/{EVIL}/x", "?a=//evil"]
)
@deferred_f_from_coro_f
async def test_addresses_that_are_read_in_several_ways_lead_to_no_other_site(action: str) -> None:
    async with simulator() as capsolver:
        key = capsolver.site_keys["recaptcha-v2"]
        Hostile.set(f'<form method="post" action="{action}">{SHOWN["recaptcha_v2"].replace(V2, key)}</form>')
        request = Request("https://shop.example/list", meta={"capsolver": True})
        await crawl(capsolver, [request], **WITH_HOSTILE)
        assert all(same_site(request.url, one.url) for one in Hostile.asked), Hostile.asked


class Redirecting(Hostile):
    """Shows the captcha, and answers the request with the solution by a redirect."""

    status = 302
    target = ""

    def process_request(self, request: Request, spider: Any = None) -> Response:
        if len(Hostile.asked) != 1:
            return super().process_request(request)
        Hostile.asked.append(request)
        return Response(request.url, status=Redirecting.status, headers={"Location": Redirecting.target})


async def redirected(flag: Any, status: int, target: str) -> tuple[str, list[Request]]:
    """The solution, and all requests, of a crawl whose request with the solution was sent on."""
    async with simulator() as capsolver:
        Redirecting.status, Redirecting.target = status, target
        Hostile.set(
            f'<form method="post">{SHOWN["recaptcha_v2"].replace(V2, capsolver.site_keys["recaptcha-v2"])}</form>'
        )
        request = Request("https://shop.example/list", meta={"capsolver": flag})
        await crawl(capsolver, [request], DOWNLOADER_MIDDLEWARES={Redirecting: 900}, CAPSOLVER_RETRY_TIMES=0)
        (task,) = capsolver.tasks.values()
        assert isinstance(task.solution, dict)
        return task.solution["gRecaptchaResponse"], Hostile.asked


PLACES = {
    "form": True,
    "header": {"inject": {"header": "X-Response"}},
    "query": {"inject": {"query": "response"}},
}  # a cookie is put on when it reaches the downloader: see test_origins.py
TARGETS = {"another site": f"https://{EVIL}/x", "plain http": "http://shop.example/x"}


@pytest.mark.parametrize("status", [302, 307, 308])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("target", TARGETS)
@deferred_f_from_coro_f
async def test_a_redirect_takes_no_solution_elsewhere(place: str, status: int, target: str) -> None:
    """Nor one of those that a client repeats with the body."""
    token, asked = await redirected(PLACES[place], status, TARGETS[target])
    holding = [one for one in asked if token in f"{one.url} {one.headers} {one.cookies} {one.body!r}"]
    assert [one.url.partition("?")[0] for one in holding] == ["https://shop.example/list"]


@pytest.mark.parametrize("target", TARGETS)
@deferred_f_from_coro_f
async def test_a_redirect_names_no_address_with_a_solution_in_it(target: str) -> None:
    token, asked = await redirected(PLACES["query"], 302, TARGETS[target])
    assert not [one.url for one in asked if token in str(one.headers)]
