"""The cookies of the visit in which a challenge was shown: they go where a browser would send them, in one header."""

from __future__ import annotations

import json
from http.cookiejar import CookieJar
from inspect import signature
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.request import Request as UrllibRequest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scrapy import Request
from scrapy.downloadermiddlewares.cookies import CookiesMiddleware
from scrapy.http import Response
from scrapy.utils.defer import deferred_f_from_coro_f

from scrapy_capsolver._request.cookies import restore_session, session_of
from tests.crawls import Crawl, crawl, simulator
from tests.origins import OTHER, PARENT, SIBLING, WWW, Answer, Asked, world
from tests.test_origins import OPEN, PLACES, gate

if TYPE_CHECKING:
    from collections.abc import Callable

# Scrapy 2.13 calls Twisted in this way for https.
pytestmark = pytest.mark.filterwarnings("ignore:Passing method to twisted:DeprecationWarning")

# In a crawl


class Handed:
    """What a download handler is handed: for each request its cookies, and its ``Cookie`` headers."""

    requests: ClassVar[list[tuple[str, Any, list[bytes]]]] = []

    def process_request(self, request: Request, spider: Any = None) -> None:
        Handed.requests.append((request.method, request.cookies, request.headers.getlist("Cookie")))


COOKIES = {
    "host": "host=1; Path=/",
    "path": "path=1; Path=/verify",
    "elsewhere": "elsewhere=1; Path=/other",
    "secure": "secure=1; Path=/; Secure",
    "domain": "domain=1; Path=/; Domain=shop-one.com",
    "both": "both=1; Path=/verify; Domain=.shop-one.com; Secure; HttpOnly; SameSite=Lax; Max-Age=1000",
}


@pytest.mark.parametrize(
    ("scheme", "verify"),
    [("http", {"host", "path", "domain"}), ("https", {"host", "path", "domain", "secure", "both"})],
)
@deferred_f_from_coro_f
async def test_each_cookie_keeps_its_domain_its_path_and_what_it_is_for(scheme: str, verify: set[str]) -> None:
    """On the solution's request, and in the jar from then on."""
    async with simulator() as capsolver, world(lambda asked: OPEN) as here:
        key = capsolver.site_keys["recaptcha-v2"]
        shown = gate(key)[0], {"Set-Cookie": list(COOKIES.values())}, gate(key)[2]
        here.answer = lambda asked: shown if asked.path == "/page" else OPEN
        paths = ["/verify/a", "/other", "/x"]

        def parse(done: Crawl, spider: Any, response: Any) -> list[Request]:
            if response.meta["depth"]:
                return []
            urls = [here.url(path, host, scheme=scheme) for host in (WWW, SIBLING, PARENT, OTHER) for path in paths]
            return [Request(url) for url in urls]

        Handed.requests = []
        request = Request(here.url("/page", scheme=scheme), cookies={"own": "1"}, meta={"capsolver": True})
        done = await crawl(capsolver, [request], parse=parse, DOWNLOADER_MIDDLEWARES={Handed: 999})
        assert not done.errors
        sent = {(one.origin, one.path): set((one.header("cookie") or "").split("; ")) - {""} for one in here.asked}

        def at(host: str, path: str) -> set[str]:
            return {pair.partition("=")[0] for pair in sent[here.url("", host, scheme=scheme), path]}

        assert at(WWW, "/verify") == at(WWW, "/verify/a") == verify | {"own"}
        everywhere = {"host", "own"} | ({"secure"} if scheme == "https" else set())
        assert at(WWW, "/other") == everywhere | {"domain", "elsewhere"}
        assert at(WWW, "/x") == everywhere | {"domain"}
        for host in (SIBLING, PARENT):
            assert at(host, "/verify/a") == {"domain"} | ({"both"} if scheme == "https" else set())
            assert at(host, "/x") == at(host, "/other") == {"domain"}
        assert not any(at(OTHER, path) for path in paths)
        # One header, each cookie once; and nothing that a handler with its own cookies would send again.
        assert all(len(headers) <= 1 for _, _, headers in Handed.requests)
        for one in here.asked:
            names = [pair.partition("=")[0] for pair in (one.header("cookie") or "").split("; ")]
            assert len(names) == len(set(names))
        assert [cookies for method, cookies, _ in Handed.requests if method == "POST"] == [{}]


@pytest.mark.parametrize("merged", [True, False])
@pytest.mark.parametrize("enabled", [True, False])
@deferred_f_from_coro_f
async def test_a_solution_that_travels_as_a_cookie_is_in_one_header(merged: bool, enabled: bool) -> None:
    """Whatever Scrapy does with cookies; and in no cookie jar, no callback's request and no later one."""
    async with simulator() as capsolver, world(lambda asked: OPEN) as here:
        key = capsolver.site_keys["recaptcha-v2"]
        here.answer = lambda asked: OPEN if "captcha=0" in asked.text or asked.path != "/page" else gate(key)
        meta = {"capsolver": PLACES["cookie"]} | ({} if merged else {"dont_merge_cookies": True})
        own: dict[str, Any] = {"cookies": {"mine": "1"}} if merged else {"headers": {"Cookie": "mine=1; captcha=old"}}

        def parse(done: Crawl, spider: Any, response: Any) -> list[Request]:
            return [] if response.meta["depth"] else [Request(here.url("/later"))]

        Handed.requests = []
        done = await crawl(
            capsolver,
            [Request(here.url("/page"), meta=meta, **own)],
            parse=parse,
            COOKIES_ENABLED=enabled,
            DOWNLOADER_MIDDLEWARES={Handed: 999},
        )
        assert not done.errors
        _, carrier, later = here.asked
        (task,) = capsolver.tasks.values()
        assert isinstance(task.solution, dict)
        token = task.solution["gRecaptchaResponse"]
        names = dict(pair.split("=", 1) for pair in (carrier.header("cookie") or "").split("; "))
        assert names.pop("captcha") == token
        session = {"sess": "HOSTONLY", "wide": "SITE"}
        assert names == ({"mine": "1"} if enabled or not merged else {}) | (session if enabled and merged else {})
        assert token not in later.text
        assert token not in str(done.responses[0].request)
        assert token not in f"{done.responses[0].request.headers} {done.responses[0].request.cookies}"  # type: ignore[union-attr]
        assert token not in f"{Handed.requests}"  # it is put on after that


@deferred_f_from_coro_f
async def test_a_session_that_changed_when_the_page_was_looked_at_again_is_the_one() -> None:
    """The second look at a page that is good for one task is answered with a new session, to which its form is bound."""
    challenge = "0123456789abcdef0123456789abcdef"
    async with simulator() as capsolver, world(lambda asked: OPEN) as here:
        looks: list[str] = []

        def answer(asked: Asked) -> Answer:
            if asked.path == "/createTask":
                return 200, {}, json.dumps({"errorId": 0, "taskId": "37223a89-06ed-442c-a0b8-22067b79c5b4"})
            if asked.path == "/getTaskResult":
                solved = {"challenge": "c", "validate": "v"}
                failed = {"errorId": 1, "errorCode": "ERROR_CAPTCHA_SOLVE_FAILED", "errorDescription": "x"}
                ready = {"errorId": 0, "status": "ready", "solution": solved}
                return 200, {}, json.dumps(failed if len(looks) == 1 else ready)
            if asked.path != "/page":
                return OPEN
            looks.append(asked.header("cookie") or "")
            body = f"<script>initGeetest({{gt: '{challenge}', challenge: '{challenge}'}}, f)</script>"
            script = "<script src=https://static.geetest.com/static/tools/gt.js></script>"
            cookie = {"Set-Cookie": f"session={len(looks)}"}
            return 403, cookie, f"<form method=post action=/verify>{script}{body}</form>"

        here.answer = answer
        api = here.url("", "127.0.0.1").rstrip("/")
        request = Request(here.url("/page"), meta={"capsolver": True, "cookiejar": 1})
        done = await crawl(capsolver, [request], CAPSOLVER_API_URL=api)
        assert done.response.css(".product")
        assert looks == ["", "session=1"]
        (sent,) = [one for one in here.asked if one.path == "/verify"]
        assert sent.header("cookie") == "session=2"


# Any cookies


AGES = st.sampled_from(["", "; Max-Age=1000", "; Max-Age=0"])
SET_COOKIE = st.builds(
    lambda name, path, domain, secure, age: f"{name}={{}}{path and f'; Path={path}'}{domain}{secure}{age}",
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["", "/", "/a", "/a/", "/a/b", "/b"]),
    st.sampled_from(["", *(f"; Domain={name}" for name in (WWW, f".{PARENT}", PARENT, OTHER, "com"))]),
    st.sampled_from(["", "; Secure"]),
    AGES,
)
"""A ``Set-Cookie`` header without its value."""
URLS = st.builds(
    "{}://{}{}".format,
    st.sampled_from(["http", "https"]),
    st.sampled_from(
        ["www.shop-one.com", "shop-one.com", "img.shop-one.com", "www.shop-one.com:8443", "www.shop-two.com"]
    ),
    st.sampled_from(["/", "/a", "/a/b", "/a/b/c", "/ab"]),
)


class Visitor:
    """A crawl's cookie jar, beside one of Python's own that sees one visit only."""

    def __init__(self) -> None:
        self.middleware = CookiesMiddleware()
        self.crawler: Any = SimpleNamespace(get_downloader_middleware=lambda cls: self.middleware)

    def call(self, hook: Callable[..., Any], *args: Any) -> None:
        """Scrapy 2.13 wants the spider, later ones warn about it."""
        spider = signature(hook).parameters["spider"]
        hook(*args, *([None] if spider.default is spider.empty else []))

    def visit(self, url: str, cookies: list[str], meanwhile: list[str] | None = None) -> tuple[Request, Response]:
        """``meanwhile``: what another page has set before the answer comes."""
        request, response = Request(url), Response(url, headers={"Set-Cookie": cookies} if cookies else None)
        self.call(self.middleware.process_request, request)
        if meanwhile is not None:
            self.visit(url, meanwhile)
        self.call(self.middleware.process_response, request, response)
        return request, response

    def sent(self, url: str, session: list[dict[str, Any]]) -> str:
        request = Request(url)
        restore_session(self.crawler, request, session)
        assert request.cookies == {}
        self.call(self.middleware.process_request, request)
        headers = request.headers.getlist("Cookie")
        assert len(headers) <= 1
        return b"".join(headers).decode()


def browser(visits: list[tuple[str, list[str]]], url: str) -> str:
    """What Python's own jar sends to ``url`` after these visits. As Scrapy's, it keeps no cookie of a public suffix."""
    jar = CookieJar()
    for at, cookies in visits:
        message = SimpleNamespace(
            get_all=lambda name, default=None, cookies=cookies: cookies if name == "Set-Cookie" else default
        )
        answer: Any = SimpleNamespace(info=lambda message=message: message)
        asked = UrllibRequest(at)
        for cookie in jar.make_cookies(answer, asked):
            if cookie.domain.lstrip(".") != "com":
                jar.set_cookie_if_ok(cookie, asked)
    request = UrllibRequest(url)
    jar.add_cookie_header(request)
    return request.get_header("Cookie") or ""


@settings(max_examples=300)
@given(
    st.lists(SET_COOKIE, max_size=4),
    st.lists(SET_COOKIE, max_size=4),
    st.sampled_from(["http://www.shop-one.com/a/b", "https://www.shop-one.com/a/b"]),
    URLS,
)
def test_what_goes_out_is_what_a_cookie_jar_sends(first: list[str], second: list[str], page: str, target: str) -> None:
    """Whatever another visit has left in the jar meanwhile, under the same names and at the same places."""
    visitor = Visitor()
    before = [cookie.format(number) for number, cookie in enumerate(first)]
    shown = [cookie.format(10 + number) for number, cookie in enumerate(second)]
    visitor.visit(page, before)
    session = session_of(visitor.crawler, *visitor.visit(page, shown))
    visitor.visit(page, [cookie.format("another") for cookie in (*first, *second) if "Max-Age=0" not in cookie])
    sent = pairs(visitor.sent(target, json.loads(json.dumps(session))))
    # A cookie that neither went to the page nor was set by it is no part of that visit.
    visit = pairs(browser([(page, before)], page)) | {cookie.partition(";")[0] for cookie in shown}
    assert {pair for pair in sent if "another" not in pair} == visit & pairs(
        browser([(page, before), (page, shown)], target)
    )


@settings(max_examples=200)
@given(
    st.lists(
        SET_COOKIE.filter(lambda cookie: "Max-Age=0" not in cookie), max_size=4, unique_by=lambda cookie: cookie[0]
    ),
    st.lists(SET_COOKIE, max_size=3),
    URLS,
)
def test_what_another_page_sets_before_the_answer_changes_nothing(
    first: list[str], second: list[str], target: str
) -> None:
    """The visit is what was sent, and not what is in the jar when its answer comes."""
    page, visitor = "https://www.shop-one.com/a/b", Visitor()
    before = [cookie.format(number) for number, cookie in enumerate(first)]
    shown = [cookie.format(10 + number) for number, cookie in enumerate(second)]
    visitor.visit(page, before)
    meanwhile = [cookie.format("another") for cookie in first]
    session = session_of(visitor.crawler, *visitor.visit(page, shown, meanwhile))
    visit = pairs(browser([(page, before)], page)) | {cookie.partition(";")[0] for cookie in shown}
    sent = {pair for pair in pairs(visitor.sent(target, session)) if "another" not in pair}
    assert sent == visit & pairs(browser([(page, before), (page, shown)], target))


def pairs(header: str) -> set[str]:
    return set(header.split("; ")) - {""}
