from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from scrapy.utils.defer import deferred_f_from_coro_f

from .visitor import Answer, Caller, Visitor, is_product

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.task import Clock

    from scrapy_capsolver.simulator import Simulator

TYPE = "GeeTestTaskProxyLess"


async def register(visitor: Visitor, page: Answer) -> dict[str, str]:
    """Fetch what the page's script fetches."""
    match = re.search(r"fetch\('([^']+\?t=)' \+ \(new Date\(\)\)\.getTime\(\)\)", page.text)
    assert match is not None
    answer = (await visitor.go(match[1] + "1700000000000")).json
    assert (answer["success"], answer["new_captcha"]) == (1, True)
    return {"gt": answer["gt"], "challenge": answer["challenge"]}


async def v3(visitor: Visitor, fields: dict[str, str], **changes: str) -> dict[str, str]:
    """Have a challenge solved; return the fields of the form."""
    solution = await visitor.solution(TYPE, websiteURL=visitor.url("/geetest-v3/7"), **fields, **changes)
    assert solution["challenge"][:-2] == fields["challenge"]
    assert re.fullmatch("[0-9a-f]{32}", solution["validate"])
    return {
        "geetest_challenge": solution["challenge"],
        "geetest_validate": solution["validate"],
        "geetest_seccode": solution["validate"] + "|jordan",
    }


async def failed(visitor: Visitor, **fields: str) -> bool:
    ended = await visitor.task(TYPE, websiteURL=visitor.url("/geetest-v3/7"), **fields)
    if ended["status"] == "failed":
        assert ended["errorCode"] == "ERROR_CAPTCHA_SOLVE_FAILED"
    return bool(ended["status"] == "failed")


@deferred_f_from_coro_f
async def test_version_3(visitor: Visitor) -> None:
    page = await visitor.go("/geetest-v3/7")
    assert page.status == 403
    assert 'src="https://static.geetest.com/static/tools/gt.js"' in page.text
    assert (
        "initGeetest({gt: data.gt, challenge: data.challenge, offline: !data.success, new_captcha: data.new_captcha, "
        'product: "popup"}, handler);'
    ) in page.text
    fields = await register(visitor, page)
    assert fields["gt"] == visitor.simulator.site_keys["geetest-v3"]
    assert fields["gt"] not in page.text
    answers = await v3(visitor, fields)
    assert is_product(await visitor.submit(page, **answers))
    assert (await visitor.submit(page, **answers)).reason == "used"


@deferred_f_from_coro_f
async def test_version_3_in_the_page(visitor: Visitor) -> None:
    page = await visitor.go("/geetest-v3/7?style=inline,widget")
    match = re.search(r"gt: '([0-9a-f]{32})',\s+challenge: '([0-9a-f]{32})'", page.text)
    assert match is not None
    assert "/register" not in page.text
    answers = await v3(visitor, {"gt": match[1], "challenge": match[2]})
    assert is_product(await visitor.submit(page, q="shoes", **answers))


@deferred_f_from_coro_f
async def test_what_version_3_refuses(visitor: Visitor, simulator: Simulator, clock: Clock) -> None:
    page = await visitor.go("/geetest-v3/7")
    good = await v3(visitor, await register(visitor, page))

    async def reason(**changes: str) -> str | None:
        return (await visitor.submit(page, **{**good, **changes})).reason

    assert (await visitor.submit(page)).reason == "missing"
    assert await reason(geetest_seccode="") == "incomplete"
    assert await reason(geetest_seccode=good["geetest_validate"]) == "wrong-seccode"
    # The challenge without what the solver added to it.
    assert await reason(geetest_challenge=good["geetest_challenge"][:-2]) == "unknown"
    assert await reason(geetest_validate="x", geetest_seccode="x|jordan") == "unknown"
    stranger = Visitor(simulator)
    his = await v3(stranger, await register(stranger, await stranger.go("/geetest-v3/7")))
    assert await reason(**his) == "wrong-session"
    clock.advance(60)
    assert await reason() == "expired"


@deferred_f_from_coro_f
async def test_a_challenge_is_good_for_one_attempt(visitor: Visitor, clock: Clock) -> None:
    page = await visitor.go("/geetest-v3/7")
    fields = await register(visitor, page)
    assert not await failed(visitor, **fields)
    assert await failed(visitor, **fields)
    assert await failed(visitor, **{**fields, "challenge": "0" * 32})
    assert await failed(visitor, **{**await register(visitor, page), "gt": "0" * 32})
    late = await register(visitor, page)
    clock.advance(60)
    assert await failed(visitor, **late)


@deferred_f_from_coro_f
async def test_a_failed_attempt_uses_a_challenge_up(simulate: Callable[..., Simulator], clock: Clock) -> None:
    visitor = Visitor(simulate(timer=clock, quirks=["solve-failed:1"]))
    page = await visitor.go("/geetest-v3/7")
    fields = await register(visitor, page)
    assert await failed(visitor, **fields)
    assert await failed(visitor, **fields)
    assert not await failed(visitor, **await register(visitor, page))


V4 = ("lot_number", "captcha_output", "pass_token", "gen_time")


async def v4(visitor: Visitor, **changes: str) -> dict[str, Any]:
    key = visitor.simulator.site_keys["geetest-v4"]
    return await visitor.solution(TYPE, **{"websiteURL": visitor.url("/geetest-v4/7"), "captchaId": key, **changes})


@deferred_f_from_coro_f
async def test_version_4(visitor: Visitor) -> None:
    page = await visitor.go("/geetest-v4/7")
    key = visitor.simulator.site_keys["geetest-v4"]
    assert re.fullmatch("[0-9a-f]{32}", key)
    assert 'src="https://static.geetest.com/v4/gt4.js"' in page.text
    assert f"initGeetest4({{captchaId: '{key}', product: 'bind', riskType: 'slide'}}, handler);" in page.text
    solution = await v4(visitor)
    assert solution.keys() == {*V4, "captcha_id", "risk_type"}
    assert (solution["captcha_id"], solution["risk_type"]) == (key, "slide")
    answers = {name: solution[name] for name in V4}
    for wrong in V4:
        assert (await visitor.submit(page, **{**answers, wrong: "x"})).reason == "unknown"
        assert (await visitor.submit(page, **{**answers, wrong: ""})).reason == "incomplete"
    assert (await visitor.submit(page, **answers, captcha_id="x")).reason == "wrong-site-key"
    assert is_product(await visitor.submit(page, **answers, captcha_id=key))
    assert (await visitor.submit(page, **answers)).reason == "used"
    assert visitor.simulator.state()["site"]["presented_twice"] == 1


@deferred_f_from_coro_f
async def test_version_4_in_other_places(visitor: Visitor, clock: Clock) -> None:
    async def answers(**changes: str) -> dict[str, str]:
        solution = await v4(visitor, **changes)
        return {name: solution[name] for name in V4}

    posted = await visitor.post("/post/geetest-v4/7", {"q": "shoes", **await answers()})
    assert is_product(posted)
    assert posted.text.count("<dt>") == 1
    headers = {f"X-Captcha-{name.replace('_', '-')}": value for name, value in (await answers()).items()}
    assert is_product(await visitor.go("/header/geetest-v4/7", headers=headers))
    query = "&".join(f"{name}={value}" for name, value in (await answers()).items())
    assert is_product(await visitor.go(f"/query/geetest-v4/7?{query}"))
    body = json.dumps({"q": "shoes", "captcha": await answers()}).encode()
    accepted = await visitor.go("/json/geetest-v4/7", method="POST", body=body)
    assert accepted.json["fields"] == {"q": "shoes"}
    page = await visitor.go("/geetest-v4/7")
    assert (await visitor.submit(page, **await answers(websiteURL="https://other.example/"))).reason == "wrong-host"
    assert (await visitor.submit(page, **await answers(captchaId="0" * 32))).reason == "wrong-site-key"
    late = await answers()
    clock.advance(60)
    assert (await visitor.submit(page, **late)).reason == "expired"
    # The id of a captcha of another vendor.
    other = visitor.simulator.site_keys["recaptcha-v2"]
    assert (await visitor.task(TYPE, websiteURL="https://shop.example/", captchaId=other))["status"] == "failed"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "captchaId is required"),
        ({"gt": "0" * 32}, "challenge is required"),
        ({"challenge": "0" * 32}, "gt is required"),
        ({"captchaId": 7}, "captchaId is invalid"),
    ],
)
@deferred_f_from_coro_f
async def test_refused_tasks(caller: Caller, fields: dict[str, Any], says: str) -> None:
    refused = await caller.create(TYPE, websiteURL="https://shop.example/", **fields)
    assert (refused.status, refused.json["errorCode"]) == (400, "ERROR_INVALID_TASK_DATA")
    assert says in refused.json["errorDescription"]
