"""The task of each attempt, and what is fetched for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scrapy import Request
from scrapy.exceptions import IgnoreRequest
from scrapy.http import HtmlResponse
from scrapy.utils.defer import deferred_f_from_coro_f, maybe_deferred_to_future

from scrapy_capsolver._request.detection import detect_challenge
from scrapy_capsolver._request.downloads import fetch_part
from scrapy_capsolver._request.flag import Flag, parse_flag
from scrapy_capsolver._request.proxy import Proxy
from scrapy_capsolver._request.task_builder import NotGatedError, TaskMaker, choose_type
from scrapy_capsolver.errors import CaptchaProxyError, UnsupportedCaptchaError
from scrapy_capsolver.families import Challenge, family
from scrapy_capsolver.settings import CapSolverSettings

URL = "https://www.example.com/1"
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
)
OTHER_CHROME = CHROME.replace("140", "141")
PROXY = Proxy("http", "p.example.com", 3128, "u", "p")
PAGES = Path(__file__).parent / "pages"


def page(name: str, status: int = 403, *, host: str = "geo.captcha") -> HtmlResponse:
    body = (PAGES / f"{name}.html").read_text().replace("geo.captcha", host)
    return HtmlResponse(URL, status, {"Content-Type": "text/html"}, body.encode(), encoding="utf-8")


class Crawler:
    """As much of one as is asked for here: what it downloads are the answers, one after the other."""

    def __init__(self, *answers: Any) -> None:
        self.engine = self
        self.answers = list(answers)
        self.requests: list[Request] = []

    async def download_async(self, request: Request) -> Any:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def maker(
    shown: HtmlResponse,
    *answers: Any,
    agent: str = CHROME,
    flag: Any = True,
    proxy: Proxy | None = PROXY,
    refused: dict[str, str] | None = None,
    **settings: Any,
) -> tuple[TaskMaker, Crawler]:
    """For the challenge that ``shown`` poses; ``answers`` are what is fetched afterwards."""
    crawler = Crawler(*answers)
    ours = CapSolverSettings(api_key="k", **settings)
    parsed = parse_flag(flag, "flag")
    assert isinstance(parsed, Flag)
    found = detect_challenge(shown, parsed, tried=False)
    assert isinstance(found, Challenge)
    solver = family(found.family)
    challenge = choose_type(found, solver, parsed, proxy, ours)
    request = Request(URL, headers={"User-Agent": agent})
    kwargs: dict[str, Any] = {"proxy": proxy, "seen_by": agent, "session": [], "refused": refused}
    return TaskMaker(crawler, ours, solver, challenge, parsed, request, **kwargs), crawler  # type: ignore[arg-type]


async def made(make: TaskMaker) -> Any:
    """The task of the next attempt."""
    return await maybe_deferred_to_future(make(""))


@deferred_f_from_coro_f
async def test_a_page_that_perishes_is_looked_at_anew_for_the_next_attempt() -> None:
    shown = page("datadome_gate")
    make, crawler = maker(shown, page("datadome_gate", host="anew.captcha"))
    first = await made(make)
    assert crawler.requests == []
    second = await made(make)
    (looked,) = crawler.requests
    assert (looked.url, looked.headers["User-Agent"]) == (URL, CHROME.encode())
    assert first["captchaUrl"].replace("geo.captcha", "anew.captcha") == second["captchaUrl"] != first["captchaUrl"]
    for task in (first, second):
        assert (task["type"], task["userAgent"]) == ("DatadomeSliderTask", CHROME)
        assert {name: task[name] for name in PROXY.fields()} == PROXY.fields()


@pytest.mark.parametrize(
    ("settings", "flag", "agent"),
    [
        ({"user_agents": (OTHER_CHROME, CHROME.replace("140", "142"))}, True, OTHER_CHROME),
        ({}, {"type": "DatadomeSliderTask", "userAgent": "given"}, "given"),
    ],
    ids=["setting", "flag"],
)
@deferred_f_from_coro_f
async def test_a_page_that_was_shown_to_another_user_agent_is_looked_at_with_the_right_one(
    settings: dict[str, Any], flag: Any, agent: str
) -> None:
    make, crawler = maker(page("datadome_gate"), page("datadome_gate"), agent="ours", flag=flag, **settings)
    assert (await made(make))["userAgent"] == agent
    assert [looked.headers["User-Agent"] for looked in crawler.requests] == [agent.encode()]


@deferred_f_from_coro_f
async def test_cloudflare_is_told_the_user_agent_of_a_chrome_and_of_nothing_else() -> None:
    shown = page("cloudflare_challenge_gate")
    assert (await made(maker(shown)[0]))["userAgent"] == CHROME
    assert "userAgent" not in (await made(maker(shown, agent="ours")[0]))


@pytest.mark.parametrize("status", [200, 403], ids=["opened", "another captcha"])
@deferred_f_from_coro_f
async def test_a_page_that_is_no_longer_gated_by_this_is_asked_for_again(status: int) -> None:
    anew = page("none_article_samples", 200) if status == 200 else page("cloudflare_challenge_gate")
    make, _ = maker(page("datadome_gate"), anew)
    await made(make)
    with pytest.raises(NotGatedError):
        await made(make)


@deferred_f_from_coro_f
async def test_a_page_that_is_banned_by_then_is_an_error() -> None:
    make, _ = maker(page("datadome_gate"), page("datadome_banned"))
    await made(make)
    with pytest.raises(CaptchaProxyError, match="banned"):
        await made(make)


@deferred_f_from_coro_f
async def test_aws_is_told_of_the_token_that_was_refused_each_time() -> None:
    """The page does not show it: it was on the request while that was on the wire."""
    shown = page("aws_waf_api", 405)
    make, _ = maker(shown, shown, refused={"aws-waf-token": "refused"})
    tasks = [await made(make), await made(make)]
    assert [task["awsExistingToken"] for task in tasks] == ["refused"] * 2
    assert [task["type"] for task in tasks] == ["AntiAwsWafTask"] * 2  # for the request's proxy
    assert all(task["proxyAddress"] == PROXY.host for task in tasks)
    assert "awsExistingToken" not in (await made(maker(shown)[0]))


@deferred_f_from_coro_f
async def test_a_proxy_in_the_flag_is_the_only_one() -> None:
    flag = {"type": "AntiAwsWafTask", "proxy": "http:other.example.com:1:u:p"}
    task = await made(maker(page("aws_waf_gate", 405), flag=flag)[0])
    assert task["proxy"] == flag["proxy"]
    assert not PROXY.fields().keys() & task.keys()


# What a captcha is made of


SESSION: list[dict[str, Any]] = [{"name": "session", "value": "2"}]


def fetched(url: str, answer: Any = None, *, session: list[dict[str, Any]] = SESSION, **kwargs: Any) -> Request:
    """The request that fetches ``url`` for a captcha on a page that a POST with credentials brought."""
    headers = {"Authorization": "a", "Cookie": "b=1", "Content-Type": "text/plain", "Accept": "c", "X-Api-Key": "d"}
    headers |= {"Proxy-Authorization": "e", "User-Agent": "f"}
    request = Request(URL, method="POST", body=b"q=1", cookies={"session": "1"}, headers=headers, **kwargs)
    crawler: Any = Crawler(HtmlResponse(url, body=b"x") if answer is None else answer)
    with pytest.raises(StopIteration):
        fetch_part(crawler, url, "https://user:pass@www.example.com/page?a=b#part", request, session).send(None)
    (fetch,) = crawler.requests
    assert isinstance(fetch, Request)
    return fetch


def test_it_is_fetched_in_the_session_of_its_page() -> None:
    meta = {"_capsolver": {"allow_clearances": True, "attempts": 1}, "proxy": "p"}
    fetch = fetched("https://www.example.com/a.png", meta=meta)
    assert (fetch.method, fetch.body, fetch.cookies) == ("GET", b"", {})
    names = {name.decode() for name in fetch.headers}
    assert names == {
        "Authorization",
        "Cookie",
        "Accept",
        "Referer",
        "X-Api-Key",
        "Proxy-Authorization",
        "User-Agent",
    }
    assert fetch.headers["Referer"] == b"https://www.example.com/page?a=b"
    assert fetch.meta.pop("download_maxsize") == 4 << 20
    assert fetch.meta == {
        "proxy": "p",
        "capsolver": False,
        "_capsolver": {"allow_clearances": True, "session": SESSION},
        "dont_cache": True,
        "dont_redirect": True,
        "dont_retry": True,
        "handle_httpstatus_all": True,
        "allow_offsite": True,
    }


def test_what_is_fetched_before_any_page_takes_the_requests_own_cookies() -> None:
    assert fetched("https://www.example.com/a", session=[]).cookies == {"session": "1"}


@pytest.mark.parametrize(
    "url",
    ["https://img.example.com/a.png", "https://www.example.com:8443/a.png", "https://elsewhere.example.net/a.png"],
)
def test_another_origin_gets_nothing_of_the_crawls_own(url: str) -> None:
    meta = {"_capsolver": {"allow_clearances": True}}
    fetch = fetched(url, meta=meta)
    assert not fetch.cookies
    assert {name.decode() for name in fetch.headers} == {"Accept", "Referer", "User-Agent"}
    assert fetch.headers["Referer"] == b"https://www.example.com/"
    assert fetch.meta["_capsolver"] == {"foreign": True}
    assert fetch.meta["dont_merge_cookies"]
    # The proxy's own stays, as long as there is a proxy to read it.
    assert b"Proxy-Authorization" in fetched(url, meta={"proxy": "http://p"}).headers


def test_the_environments_proxy_is_chosen_again_for_another_scheme() -> None:
    meta = {"proxy": "http://p", "_scheme_proxy": True, "_auth_proxy": "http://p"}
    assert fetched("https://img.example.com/", meta=meta).meta["proxy"] == "http://p"
    fetch = fetched("http://www.example.com/a", meta=meta)
    assert not fetch.meta.keys() & {"proxy", "_scheme_proxy", "_auth_proxy"}
    assert {name.decode() for name in fetch.headers} == {"Accept", "User-Agent"}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (HtmlResponse(URL, 404, body=b"x"), r"could not be fetched \(status 404, 1 bytes\)"),
        (HtmlResponse(URL), r"could not be fetched \(status 200, 0 bytes\)"),
        (IgnoreRequest("robots"), "may not be fetched: robots"),
        (OSError("down"), r"could not be fetched \(OSError\)"),
    ],
)
def test_what_cannot_be_fetched(answer: Any, words: str) -> None:
    with pytest.raises(UnsupportedCaptchaError, match=words):
        fetched(URL, answer)
