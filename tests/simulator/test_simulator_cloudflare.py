from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from scrapy.utils.defer import deferred_f_from_coro_f

from .visitor import Caller, Visitor, is_product

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.task import Clock

    from scrapy_capsolver.simulator import Simulator
    from tests.proxies import Running

TYPE = "AntiCloudflareTask"
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Safari/537.36"


@pytest.fixture
def visitor(simulator: Simulator, proxy: Running) -> Visitor:
    return Visitor(simulator, agent=AGENT, proxy=proxy)


async def clearance(visitor: Visitor, path: str = "/cloudflare/7", **changes: Any) -> str:
    assert visitor.proxy is not None
    task = {"websiteURL": visitor.url(path), "proxy": visitor.proxy.url, "userAgent": visitor.agent, **changes}
    value: str = (await visitor.solution(TYPE, **task))["cookies"]["cf_clearance"]
    return value


@deferred_f_from_coro_f
async def test_the_page(visitor: Visitor) -> None:
    page = await visitor.go("/cloudflare/7")
    assert (page.status, page.reason) == (403, "missing")
    assert page.headers["cf-mitigated"] == "challenge"
    assert page.headers["server"] == "cloudflare"
    assert "<title>Just a moment...</title>" in page.text
    ray = re.search(
        r"window\._cf_chl_opt = {cvId: '3',cZone: '127\.0\.0\.1',cType: 'managed',cRay: '(\w{16})',cH: '", page.text
    )
    assert ray is not None
    assert f"/cdn-cgi/challenge-platform/h/b/orchestrate/chl_page/v1?ray={ray[1]}" in page.text
    assert "cUPMDTk: " in page.text
    assert "<noscript>" in page.text
    older = await visitor.go("/cloudflare/7?style=iuam", method="POST", body=b"x")
    assert (older.status, older.reason) == (503, "missing")
    assert "cf-mitigated" not in older.headers
    assert "Just a moment..." in older.text
    for style in ("widget", "json", "get-form"):
        assert (await visitor.go(f"/cloudflare/7?style={style}")).status == 400
    assert visitor.simulator.state()["site"]["gates_shown"] == {"cloudflare": 2}


@deferred_f_from_coro_f
async def test_a_clearance_opens_many_pages(visitor: Visitor, clock: Clock) -> None:
    assert visitor.proxy is not None
    solution = await visitor.solution(
        TYPE, websiteURL=visitor.url("/cloudflare/7"), proxy=visitor.proxy.url, userAgent=AGENT
    )
    value = solution["token"]
    assert solution == {"cookies": {"cf_clearance": value}, "token": value, "userAgent": AGENT}
    visitor.cookies["cf_clearance"] = value
    assert is_product(await visitor.go("/cloudflare/7"))
    assert is_product(await visitor.go("/cloudflare/8?style=iuam"), 8)
    posted = await visitor.post("/post/cloudflare/7", {"q": "shoes"})
    assert is_product(posted)
    assert "<dt>q</dt><dd>shoes</dd>" in posted.text
    assert (await visitor.go("/json/cloudflare/7", method="POST", body=b"{}")).json["product"]["id"] == 7
    away = await visitor.go("/redirect/cloudflare/7")
    back = await visitor.go(away.headers["location"])
    assert (back.status, back.headers["location"]) == (302, "/redirect/cloudflare/7")
    assert is_product(await visitor.go("/redirect/cloudflare/7"))
    assert (await visitor.go("/reject/cloudflare/7")).reason == "rejected"
    clock.advance(1799)
    assert is_product(await visitor.go("/cloudflare/7"))
    clock.advance(1)
    assert (await visitor.go("/cloudflare/7")).reason == "expired"
    assert visitor.simulator.state()["site"]["clearances"] == {
        "issued": {"cloudflare": 1},
        "renewed": {},
        "passed": {"cloudflare": 7},
        "refused": {"expired": 1},
    }


@deferred_f_from_coro_f
async def test_what_a_clearance_is_bound_to(visitor: Visitor, simulator: Simulator, proxy: Running) -> None:
    port = simulator.site_url.rpartition(":")[2]
    here = Visitor(simulator, f"a.shop.test:{port}", agent=AGENT, proxy=proxy)
    value = await clearance(here)
    for other, reason in (
        (here, None),
        (Visitor(simulator, f"b.shop.test:{port}", agent=AGENT, proxy=proxy), None),
        (Visitor(simulator, f"shop.test:{port}", agent=AGENT, proxy=proxy), None),
        (Visitor(simulator, f"a.shop.test:{port}", agent=AGENT), "wrong-address"),
        (Visitor(simulator, f"a.shop.test:{port}", agent="Mozilla/5.0", proxy=proxy), "wrong-agent"),
        (Visitor(simulator, f"a.other.test:{port}", agent=AGENT, proxy=proxy), "wrong-host"),
        (Visitor(simulator, "localhost", agent=AGENT, proxy=proxy), "wrong-host"),
        (visitor, "wrong-host"),
    ):
        other.cookies["cf_clearance"] = value
        assert (await other.go("/cloudflare/7")).reason == reason
    visitor.cookies["cf_clearance"] = "made-up"
    assert (await visitor.go("/cloudflare/7")).reason == "unknown"
    assert simulator.state()["site"]["clearances"]["refused"] == {
        "wrong-address": 1,
        "wrong-agent": 1,
        "wrong-host": 3,
        "unknown": 1,
    }


@deferred_f_from_coro_f
async def test_the_user_agent_of_a_task(visitor: Visitor, proxy: Running) -> None:
    solution = await visitor.solution(TYPE, websiteURL=visitor.url("/cloudflare/7"), proxy=proxy.url)
    assert "Chrome/144" in solution["userAgent"]
    visitor.cookies["cf_clearance"] = solution["token"]
    assert (await visitor.go("/cloudflare/7")).reason == "wrong-agent"
    visitor.agent = solution["userAgent"]
    assert is_product(await visitor.go("/cloudflare/7"))
    for agent in (
        "Scrapy/2.13",
        "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
        AGENT + " Edg/143",
    ):
        refused = await Caller(visitor.simulator).create(
            TYPE, websiteURL=visitor.url("/cloudflare/7"), proxy=proxy.url, userAgent=agent
        )
        assert refused.json["errorCode"] == "ERROR_INVALID_TASK_DATA"
        assert "Chrome" in refused.json["errorDescription"]


@deferred_f_from_coro_f
async def test_a_page_that_the_solver_has_to_be_given(visitor: Visitor, proxy: Running, clock: Clock) -> None:
    path = "/cloudflare/7?style=needs-html"
    task = {"websiteURL": visitor.url(path), "proxy": proxy.url, "userAgent": AGENT}

    async def status(**changes: Any) -> str:
        result = await visitor.task(TYPE, **{**task, **changes})
        if result["status"] == "failed":
            assert result["errorCode"] == "ERROR_CAPTCHA_SOLVE_FAILED"
        status: str = result["status"]
        return status

    assert await status() == "failed"
    assert await status(html="<html></html>") == "failed"
    shown_elsewhere = await Visitor(visitor.simulator).go(path)
    assert await status(html=shown_elsewhere.text) == "failed"
    page = await visitor.go(path)
    assert await status(html=page.text) == "ready"
    page = await visitor.go(path)
    clock.advance(60)
    assert await status(html=page.text) == "failed"
    visitor.cookies["cf_clearance"] = await clearance(visitor, path, html=(await visitor.go(path)).text)
    assert is_product(await visitor.go(path))


@deferred_f_from_coro_f
async def test_pages_without_a_challenge(visitor: Visitor, proxy: Running) -> None:
    for path in ("", "/", "/free/7", "/datadome/7"):
        result = await visitor.task(TYPE, websiteURL=visitor.url(path), proxy=proxy.url)
        assert (result["status"], result["errorCode"]) == ("failed", "ERROR_CAPTCHA_SOLVE_FAILED")


@deferred_f_from_coro_f
async def test_spoilt_solutions(simulate: Callable[..., Simulator], clock: Clock, proxy: Running) -> None:
    async def solution(quirk: str) -> dict[str, Any]:
        visitor = Visitor(simulate(timer=clock, quirks=[quirk]))
        return await visitor.solution(TYPE, websiteURL=visitor.url("/cloudflare/7"), proxy=proxy.url, userAgent=AGENT)

    older = await solution("cookies-string")
    assert older == {
        "cookies": f"cf_clearance={older['token']}",
        "token": older["token"],
        "headers": {"User-Agent": AGENT},
    }
    assert await solution("ready-without-token") == {"userAgent": AGENT}
    empty = await solution("ready-empty-token")
    assert (empty["cookies"], empty["token"]) == ({"cf_clearance": ""}, "")
    unknown = await solution("unknown-token")
    assert unknown["cookies"]["cf_clearance"] != unknown["token"]
    visitor = Visitor(simulate(timer=clock, quirks=["expired-token"]), agent=AGENT, proxy=proxy)
    visitor.cookies["cf_clearance"] = await clearance(visitor)
    assert (await visitor.go("/cloudflare/7")).reason == "expired"
