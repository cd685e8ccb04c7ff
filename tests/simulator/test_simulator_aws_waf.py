from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from scrapy.utils.defer import deferred_f_from_coro_f

from .visitor import Answer, Visitor, is_product

if TYPE_CHECKING:
    from twisted.internet.task import Clock

    from scrapy_capsolver.simulator import Simulator
    from tests.proxies import Running

TYPE = "AntiAwsWafTaskProxyLess"
NO_CHALLENGE = "captcha render unexpect status code"
EXPIRED = "timeout metering, your parameters have expired"


def parameters(page: Answer) -> dict[str, str]:
    """Whatever the page has for a task."""
    found = {
        "awsKey": r'"key":"([^"]+)"',
        "awsIv": r'"iv":"([^"]+)"',
        "awsContext": r'"context":"([^"]+)"',
        "awsChallengeJS": r'src="(https://[^"]+/challenge\.js)"',
        "awsApiJs": r'src="(https://[^"]+/jsapi\.js)"',
        "awsApiKey": r"apiKey: '([^']+)'",
        "awsProblemUrl": r"fetch\('(https://[^']+/problem[^']+)'\)",
    }
    return {name: match[1] for name, pattern in found.items() if (match := re.search(pattern, page.text))}


GOKU = {"awsKey", "awsIv", "awsContext", "awsChallengeJS"}


async def failure(visitor: Visitor, path: str, **fields: str) -> str | None:
    """Return why a task fails, and nothing if it does not; keep its cookie."""
    ended = await visitor.task(TYPE, websiteURL=visitor.url(path), **fields)
    if ended["status"] == "ready":
        visitor.cookies["aws-waf-token"] = ended["solution"]["cookie"]
        return None
    assert ended["errorCode"] == "ERROR_CAPTCHA_SOLVE_FAILED"
    description: str = ended["errorDescription"]
    return description


@pytest.mark.parametrize(
    ("style", "status", "action", "has"),
    [
        ("", 405, "captcha", GOKU),
        ("needs-params", 405, "captcha", GOKU),
        ("challenge", 202, "challenge", GOKU),
        ("challenge-only", 202, "challenge", {"awsChallengeJS"}),
        ("jsapi", 403, "captcha", {"awsApiJs", "awsApiKey"}),
        ("problem", 405, "captcha", {"awsProblemUrl"}),
        ("again", 405, "captcha", GOKU),
    ],
)
@deferred_f_from_coro_f
async def test_the_pages(visitor: Visitor, style: str, status: int, action: str, has: set[str]) -> None:
    for method in ("GET", "POST"):
        page = await visitor.go(f"/aws-waf/7?style={style}", method=method)
        assert (page.status, page.reason, page.headers["x-amzn-waf-action"]) == (status, "missing", action)
        assert parameters(page).keys() == has
        assert ('id="captcha-container"' in page.text) is (status == 405 and "awsContext" in has)
        assert ("captcha.js" in page.text) is ('id="captcha-container"' in page.text)
        assert ("AwsWafCaptcha.renderCaptcha(container, {" in page.text) is (style == "jsapi")
    assert (await visitor.go("/aws-waf/7?style=widget")).status == 400


@pytest.mark.parametrize(
    ("style", "sent"),
    [
        ("", set()),
        ("", GOKU),
        ("needs-params", GOKU),
        ("challenge", set()),
        ("challenge", GOKU),
        ("challenge", {"awsChallengeJS"}),
        ("challenge-only", {"awsChallengeJS"}),
        ("jsapi", {"awsApiJs"}),
        ("problem", {"awsProblemUrl"}),
    ],
)
@deferred_f_from_coro_f
async def test_fields_that_fit_the_page(visitor: Visitor, clock: Clock, style: str, sent: set[str]) -> None:
    path = f"/aws-waf/7?style={style}"
    fields = parameters(await visitor.go(path))
    assert await failure(visitor, path, **{name: fields[name] for name in sent}) is None
    assert re.fullmatch(r"[0-9a-f-]{36}:[\w-]+:[\w-]+", visitor.cookies["aws-waf-token"])
    assert is_product(await visitor.go(path))
    assert is_product(await visitor.post("/post/aws-waf/7", {"q": "shoes"}))
    clock.advance(299)
    # The token belongs to the host, whoever has it.
    other = Visitor(visitor.simulator, agent="another")
    other.cookies["aws-waf-token"] = visitor.cookies["aws-waf-token"]
    assert is_product(await other.go(path))
    clock.advance(1)
    assert (await visitor.go(path)).reason == "expired"
    assert visitor.simulator.state()["site"]["clearances"]["passed"] == {"aws-waf": 3}


@pytest.mark.parametrize(
    ("style", "sent"),
    [
        ("", {"awsChallengeJS"}),
        ("", {"awsKey", "awsIv", "awsContext"}),
        ("needs-params", set()),
        ("needs-params", {"awsKey", "awsIv", "awsContext"}),
        ("challenge-only", set()),
        ("challenge-only", GOKU),
        ("jsapi", set()),
        ("jsapi", {"awsChallengeJS"}),
        ("problem", set()),
        ("problem", {"awsApiJs"}),
    ],
)
@deferred_f_from_coro_f
async def test_fields_that_do_not(visitor: Visitor, style: str, sent: set[str]) -> None:
    path = f"/aws-waf/7?style={style}"
    fields: dict[str, str] = {}
    for each in ("", "jsapi"):
        fields |= parameters(await visitor.go(f"/aws-waf/7?style={each}"))
    assert await failure(visitor, path, **{name: fields[name] for name in sent}) == NO_CHALLENGE


@deferred_f_from_coro_f
async def test_addresses_that_the_page_does_not_name(visitor: Visitor) -> None:
    for style in ("challenge-only", "jsapi", "problem"):
        path = f"/aws-waf/7?style={style}"
        fields = {"challenge-only": "awsChallengeJS", "jsapi": "awsApiJs", "problem": "awsProblemUrl"}
        assert await failure(visitor, path, **{fields[style]: "https://evil.example/challenge.js"}) == NO_CHALLENGE
    for path in ("", "/free/7", "/cloudflare/7", "/aws-waf/7?style=jsapi,problem"):
        assert await failure(visitor, path) == NO_CHALLENGE


@deferred_f_from_coro_f
async def test_parameters_that_are_old_or_mixed_or_used(visitor: Visitor, clock: Clock) -> None:
    path = "/aws-waf/7?style=needs-params"

    async def fresh() -> dict[str, str]:
        visitor.cookies.clear()
        return parameters(await visitor.go(path))

    first, second = await fresh(), await fresh()
    assert first["awsKey"] == second["awsKey"]
    assert await failure(visitor, path, **{**first, "awsIv": second["awsIv"]}) == EXPIRED
    assert await failure(visitor, path, **{**await fresh(), "awsKey": "another"}) == EXPIRED
    assert await failure(visitor, path, **second) is None
    assert await failure(visitor, path, **second) == EXPIRED
    assert await failure(visitor, path, **{**second, "awsContext": "another"}) == EXPIRED
    late = await fresh()
    clock.advance(60)
    assert await failure(visitor, path, **late) == EXPIRED
    elsewhere = Visitor(visitor.simulator, "shop.test")
    assert await failure(visitor, path, **parameters(await elsewhere.go(path))) == EXPIRED


@deferred_f_from_coro_f
async def test_a_second_verification(visitor: Visitor, clock: Clock) -> None:
    path = "/aws-waf/7?style=again"
    assert await failure(visitor, path) is None
    page = await visitor.go(path)
    assert (page.status, page.reason) == (405, "insufficient")
    fields = parameters(page)
    assert fields.keys() == {"awsApiJs", "awsApiKey"}
    first = visitor.cookies["aws-waf-token"]
    assert await failure(visitor, path, **fields) == NO_CHALLENGE
    assert await failure(visitor, path, **fields, awsExistingToken="made-up") == NO_CHALLENGE
    assert await failure(visitor, path, **{**fields, "awsApiKey": "x"}, awsExistingToken=first) == NO_CHALLENGE
    assert await failure(visitor, path, **fields, awsExistingToken=first) is None
    assert is_product(await visitor.go(path))
    # A token that is over will do as well.
    clock.advance(300)
    page = await visitor.go(path)
    assert (page.reason, parameters(page)) == ("expired", fields)
    assert await failure(visitor, path, **fields, awsExistingToken=visitor.cookies["aws-waf-token"]) is None
    assert is_product(await visitor.go(path))


@deferred_f_from_coro_f
async def test_what_a_token_is_bound_to(visitor: Visitor, simulator: Simulator) -> None:
    assert await failure(visitor, "/aws-waf/7") is None
    for host in ("localhost", "shop.test"):
        other = Visitor(simulator, host)
        other.cookies["aws-waf-token"] = visitor.cookies["aws-waf-token"]
        assert (await other.go("/aws-waf/7")).reason == "wrong-host"
    visitor.cookies["aws-waf-token"] = "made-up"
    assert (await visitor.go("/aws-waf/7")).reason == "unknown"


@deferred_f_from_coro_f
async def test_through_a_proxy(visitor: Visitor, proxy: Running) -> None:
    solution = await visitor.solution("AntiAwsWafTask", websiteURL=visitor.url("/aws-waf/7"), proxy=proxy.url)
    assert solution.keys() == {"cookie"}
    visitor.cookies["aws-waf-token"] = solution["cookie"]
    assert is_product(await visitor.go("/aws-waf/7"))
