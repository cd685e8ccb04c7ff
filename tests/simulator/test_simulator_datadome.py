from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from scrapy.utils.defer import deferred_f_from_coro_f

from .visitor import Answer, Caller, Visitor, is_product

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.task import Clock

    from scrapy_capsolver.simulator import Simulator
    from tests.proxies import Running

TYPE = "DatadomeSliderTask"
AGENT = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/146.0.0.0 Safari/537.36"
)


@pytest.fixture
def visitor(simulator: Simulator, proxy: Running) -> Visitor:
    return Visitor(simulator, agent=AGENT, proxy=proxy)


def captcha_url(page: Answer) -> str:
    """What the page's script makes of its values."""
    match = re.search(r"var dd={(.*?)}</script>", page.text)
    assert match is not None
    dd = {name: value.strip("'") for name, value in re.findall(r"'(\w+)':('[^']*'|\d+)", match[1])}
    query = {"initialCid": dd["cid"], "hash": dd["hsh"], "cid": dd["cookie"], "t": dd["t"], "referer": "http://x/"}
    query |= {"s": dd["s"], "e": dd["e"], "dm": "cd"}
    if dd["rt"] == "i":
        return f"https://{dd['host']}/interstitial/?{urlencode({**query, 'b': dd['b']})}"
    return f"https://{dd['host']}/captcha/?{urlencode(query)}"


async def result(visitor: Visitor, url: str, **changes: Any) -> dict[str, Any]:
    assert visitor.proxy is not None
    task = {"captchaUrl": url, "userAgent": visitor.agent, "proxy": visitor.proxy.url, **changes}
    return await visitor.task(TYPE, **task)


async def solve(visitor: Visitor, page: Answer) -> str:
    """Solve the page's captcha, and keep the cookie; return how it is to be set."""
    ended = await result(visitor, captcha_url(page))
    assert ended["status"] == "ready", ended
    assert ended["solution"]["userAgent"] == visitor.agent
    pair: str = ended["solution"]["cookie"]
    visitor.cookies["datadome"] = pair.partition(";")[0].removeprefix("datadome=")
    return pair


@deferred_f_from_coro_f
async def test_the_page(visitor: Visitor) -> None:
    page = await visitor.go("/datadome/7")
    assert (page.status, page.reason) == (403, "missing")
    assert (page.headers["x-datadome"], page.headers["x-dd-b"]) == ("protected", "1")
    assert re.search(r"datadome=[^;]+; Max-Age=31536000; Path=/", page.headers["set-cookie"])
    assert 'src="https://ct.captcha-delivery.com/c.js"' in page.text
    assert re.search(
        r"var dd={'rt':'c','cid':'AHrl\w+','hsh':'\w+','t':'fe','qp':'','s':\d+,'e':'\w+',"
        r"'host':'geo.captcha-delivery.com','cookie':'[\w~]+'}</script>",
        page.text,
    )
    # The cookie that comes with the page is none that opens.
    assert (await visitor.go("/datadome/7")).reason == "missing"
    check = await visitor.go("/datadome/7?style=interstitial", method="POST", body=b"x")
    assert check.status == 403
    assert re.search(r"'rt':'i'.*'b':\d+", check.text)
    assert "ct.captcha-delivery.com/i.js" in check.text
    assert "'t':'bv'" in (await visitor.go("/datadome/7?style=banned")).text
    answer = await visitor.go("/datadome/7?style=json")
    assert (answer.status, answer.headers["content-type"]) == (403, "application/json")
    query = dict(parse_qsl(urlsplit(answer.json["url"]).query))
    assert query["referer"] == visitor.url("/datadome/7")
    assert {"initialCid", "hash", "cid", "t", "s", "e", "dm"} <= query.keys()
    assert (await visitor.go("/datadome/7?style=widget")).status == 400


@pytest.mark.parametrize("style", ["", "?style=interstitial", "?style=rolling-strict"])
@deferred_f_from_coro_f
async def test_a_solution_opens(visitor: Visitor, style: str) -> None:
    page = await visitor.go(f"/datadome/7{style}")
    pair = await solve(visitor, page)
    assert re.fullmatch("datadome=[^;]+; Max-Age=31536000; Path=/; SameSite=Lax", pair)
    for number in (7, 8, 9):
        before = visitor.cookies["datadome"]
        product = await visitor.go(f"/datadome/{number}{style}")
        assert is_product(product, number)
        assert "datadome=" in product.headers["set-cookie"]
        assert visitor.cookies["datadome"] != before
    assert is_product(await visitor.post("/post/datadome/7", {"q": "shoes"}))
    assert visitor.simulator.state()["site"]["clearances"] == {
        "issued": {"datadome": 1},
        "renewed": {"datadome": 4},
        "passed": {"datadome": 4},
        "refused": {},
    }


@deferred_f_from_coro_f
async def test_an_answer_in_json_names_the_captcha(visitor: Visitor) -> None:
    answer = await visitor.go("/datadome/7?style=json")
    ended = await result(visitor, answer.json["url"], websiteURL=visitor.url("/datadome/7"), html="<html>")
    visitor.cookies["datadome"] = ended["solution"]["cookie"].partition(";")[0].partition("=")[2]
    assert is_product(await visitor.go("/datadome/7"))


@deferred_f_from_coro_f
async def test_a_cookie_that_was_replaced_grows_stale(visitor: Visitor, clock: Clock) -> None:
    await solve(visitor, await visitor.go("/datadome/7"))
    first = visitor.cookies["datadome"]
    await visitor.go("/datadome/7")
    newest = visitor.cookies["datadome"]

    async def reason(cookie: str, path: str = "/datadome/7") -> str | None:
        visitor.cookies["datadome"] = cookie
        return (await visitor.go(path)).reason

    assert await reason(first, "/datadome/7?style=rolling-strict") == "stale"
    clock.advance(29)
    assert await reason(first) is None
    # That it was used again does not make it last longer.
    clock.advance(1)
    assert await reason(first) == "stale"
    clock.advance(10_000)
    assert await reason(newest) is None
    assert visitor.simulator.state()["site"]["clearances"]["refused"] == {"stale": 2}


@deferred_f_from_coro_f
async def test_what_a_cookie_is_bound_to(simulator: Simulator, proxy: Running) -> None:
    port = simulator.site_url.rpartition(":")[2]
    here = Visitor(simulator, f"a.shop.test:{port}", agent=AGENT, proxy=proxy)
    pair = await solve(here, await here.go("/datadome/7"))
    assert "; Domain=.shop.test; Path=/" in pair
    value = here.cookies["datadome"]
    for other, reason in (
        (Visitor(simulator, f"a.shop.test:{port}", agent=AGENT), "wrong-address"),
        (Visitor(simulator, f"a.shop.test:{port}", agent="Mozilla/5.0", proxy=proxy), "wrong-agent"),
        (Visitor(simulator, agent=AGENT, proxy=proxy), "wrong-host"),
        (Visitor(simulator, f"b.shop.test:{port}", agent=AGENT, proxy=proxy), None),
    ):
        other.cookies["datadome"] = value
        assert (await other.go("/datadome/7")).reason == reason
    # Nor is it one of another vendor, or the reverse.
    here.cookies = {"cf_clearance": value, "aws-waf-token": value, "datadome": "made-up"}
    for path in ("/datadome/7", "/cloudflare/7", "/aws-waf/7"):
        assert (await here.go(path)).reason == "unknown"


def changed(url: str, **parameters: str) -> str:
    whole, _, query = url.partition("?")
    return f"{whole}?{urlencode({**dict(parse_qsl(query)), **parameters})}"


@deferred_f_from_coro_f
async def test_captchas_that_are_not_solved(visitor: Visitor, clock: Clock) -> None:
    async def failed(url: str, **changes: Any) -> bool:
        ended = await result(visitor, url, **changes)
        if ended["status"] == "failed":
            assert ended["errorCode"] == "ERROR_CAPTCHA_SOLVE_FAILED"
        return bool(ended["status"] == "failed")

    async def shown() -> str:
        return captcha_url(await visitor.go("/datadome/7"))

    solved = await shown()
    assert not await failed(solved)
    assert await failed(solved)
    assert await failed(changed(await shown(), initialCid="AHrl-made-up"))
    assert await failed(changed(await shown(), cid="another"))
    assert await failed(changed(await shown(), hash="another"))
    assert await failed((await shown()).replace("/captcha/", "/interstitial/"))
    check = captcha_url(await visitor.go("/datadome/7?style=interstitial"))
    assert await failed(changed(check, b="1"))
    assert await failed(await shown(), userAgent=AGENT.replace("146", "145"))
    assert await failed(captcha_url(await Visitor(visitor.simulator, agent=AGENT).go("/datadome/7")))
    late = await shown()
    clock.advance(120)
    assert await failed(late)


@deferred_f_from_coro_f
async def test_a_failed_attempt_uses_a_captcha_up(
    simulate: Callable[..., Simulator], clock: Clock, proxy: Running
) -> None:
    visitor = Visitor(simulate(timer=clock, quirks=["solve-failed:1"]), agent=AGENT, proxy=proxy)
    url = captcha_url(await visitor.go("/datadome/7"))
    assert (await result(visitor, url))["status"] == "failed"
    assert (await result(visitor, url))["status"] == "failed"
    assert (await result(visitor, captcha_url(await visitor.go("/datadome/7"))))["status"] == "ready"


@deferred_f_from_coro_f
async def test_a_banned_address(visitor: Visitor) -> None:
    ended = await result(visitor, captcha_url(await visitor.go("/datadome/7?style=banned")))
    assert (ended["status"], ended["errorCode"]) == ("failed", "ERROR_PROXY_BANNED")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"captchaUrl": None}, "captchaUrl is required"),
        ({"captchaUrl": "https://evil.example/captcha/?initialCid=A&t=fe"}, "captchaUrl is invalid"),
        ({"captchaUrl": "http://geo.captcha-delivery.com/captcha/?initialCid=A&t=fe"}, "captchaUrl is invalid"),
        ({"captchaUrl": "https://geo.captcha-delivery.com/captcha/?t=fe"}, "captchaUrl is invalid"),
        ({"captchaUrl": "https://geo.captcha-delivery.com/captcha/?initialCid=A&t=it"}, "t=fe"),
        ({"captchaUrl": "https://geo.captcha-delivery.com/captcha/?initialCid=A"}, "t=fe"),
        ({"userAgent": None}, "userAgent is required"),
        ({"userAgent": AGENT.replace("146", "147")}, "userAgent is not supported"),
        ({"userAgent": AGENT.replace("146", "136")}, "userAgent is not supported"),
        ({"userAgent": AGENT.replace("Win64; x64", "WOW64")}, "userAgent is not supported"),
        ({"proxy": None}, "Missing proxy params."),
    ],
)
@deferred_f_from_coro_f
async def test_refused_tasks(simulator: Simulator, changes: dict[str, Any], says: str) -> None:
    task = {
        "captchaUrl": "https://geo.captcha-delivery.com/captcha/?initialCid=A&t=fe",
        "userAgent": AGENT,
        "proxy": "127.0.0.1:1",
    }
    refused = await Caller(simulator).create(TYPE, **{**task, **changes})
    assert (refused.status, refused.json["errorCode"]) == (400, "ERROR_INVALID_TASK_DATA")
    assert says in refused.json["errorDescription"]


@deferred_f_from_coro_f
async def test_a_spoilt_cookie_keeps_its_name(simulate: Callable[..., Simulator], clock: Clock, proxy: Running) -> None:
    visitor = Visitor(simulate(timer=clock, quirks=["unknown-token"]), agent=AGENT, proxy=proxy)
    assert (await solve(visitor, await visitor.go("/datadome/7"))).endswith("; Max-Age=31536000; Path=/; SameSite=Lax")
    assert (await visitor.go("/datadome/7")).reason == "unknown"
