"""MTCaptcha and BotDeflector, and the captchas that nobody solves."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode
from typing import TYPE_CHECKING

import pytest
from scrapy.utils.defer import deferred_f_from_coro_f

from .visitor import Answer, Caller, Visitor, is_product

if TYPE_CHECKING:
    from twisted.internet.task import Clock

    from scrapy_capsolver.simulator import Simulator


@deferred_f_from_coro_f
async def test_mtcaptcha(visitor: Visitor, clock: Clock) -> None:
    page = await visitor.go("/mtcaptcha/7")
    key = visitor.simulator.site_keys["mtcaptcha"]
    assert re.fullmatch(r"MTPublic-\w{9}", key)
    assert f'var mtcaptchaConfig = {{"sitekey": "{key}"}};' in page.text
    assert 'src="https://service.mtcaptcha.com/mtcv1/client/mtcaptcha.min.js"' in page.text
    assert '<div class="mtcaptcha"></div>' in page.text

    async def token(type_: str = "MtCaptchaTaskProxyLess", **changes: str) -> str:
        task = {"websiteURL": visitor.url("/mtcaptcha/7"), "websiteKey": key, **changes}
        token: str = (await visitor.solution(type_, **task))["token"]
        assert re.fullmatch(r"v1\([\w,-]+\)", token)
        return token

    async def reason(token: str) -> str | None:
        return (await visitor.submit(page, mtcaptcha__verifiedtoken=token)).reason

    good = await token()
    assert await reason(good) is None
    assert await reason(good) == "used"
    # This type needs a proxy, but nothing is bound to it, and nobody dials it.
    assert await reason(await token("MtCaptchaTask", proxy="127.0.0.1:1")) is None
    assert await reason(await token(websiteURL="https://other.example/")) == "wrong-host"
    assert await reason(await token(websiteKey="MTPublic-another")) == "wrong-site-key"
    late = await token()
    clock.advance(120)
    assert await reason(late) == "expired"
    other = visitor.simulator.site_keys["turnstile"]
    ended = await visitor.task("MtCaptchaTaskProxyLess", websiteURL="https://shop.example/", websiteKey=other)
    assert ended["errorCode"] == "ERROR_CAPTCHA_SOLVE_FAILED"
    refused = await Caller(visitor.simulator).create("MtCaptchaTask", websiteURL="https://a.example/", websiteKey=key)
    assert refused.json["errorDescription"] == "Missing proxy params."


def flow_of(page: Answer) -> dict[str, str]:
    token = re.search(r'window\.botDeflectorJwtToken = "([\w.-]+)";', page.text)
    domain = re.search('src="https://([^/]+)/pow/get', page.text)
    assert token is not None
    assert domain is not None
    assert f"https://{domain[1]}/icon/get" in page.text
    return {"flowToken": token[1], "domain": domain[1]}


@deferred_f_from_coro_f
async def test_botdeflector(visitor: Visitor, simulator: Simulator, clock: Clock) -> None:
    type_, home = "AntiBotdeflectorTaskProxyLess", visitor.url("/")
    page = await visitor.go("/botdeflector/7")
    header, payload, signature = (
        urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in flow_of(page)["flowToken"].split(".")
    )
    assert json.loads(header) == {"alg": "HS256", "typ": "JWT"}
    assert json.loads(payload)["sub"] == visitor.cookies["sid"]
    assert signature

    async def token(**changes: str) -> str:
        fields = flow_of(await visitor.go("/botdeflector/7"))
        token: str = (await visitor.solution(type_, websiteURL=home, **{**fields, **changes}))["token"]
        return token

    async def reason(token: str) -> str | None:
        return (await visitor.submit(page, botdeflector__token=token)).reason

    good = await token()
    assert await reason(good) is None
    assert await reason(good) == "used"
    assert await reason("made-up") == "unknown"
    stranger = Visitor(simulator)
    his = await token(**flow_of(await stranger.go("/botdeflector/7")))
    assert await reason(his) == "wrong-session"
    late = await token()
    clock.advance(120)
    assert await reason(late) == "expired"


@deferred_f_from_coro_f
async def test_flows_that_are_not_solved(visitor: Visitor, clock: Clock) -> None:
    async def failed(url: str = "", **fields: str) -> bool:
        url = url or visitor.url("/")
        ended = await visitor.task("AntiBotdeflectorTaskProxyLess", websiteURL=url, **fields)
        return bool(ended["status"] == "failed" and ended["errorCode"] == "ERROR_CAPTCHA_SOLVE_FAILED")

    async def flow() -> dict[str, str]:
        return flow_of(await visitor.go("/botdeflector/7"))

    used = await flow()
    assert not await failed(**used)
    assert await failed(**used)
    assert await failed(**{**await flow(), "domain": "127.0.0.1"})
    assert await failed(**{**used, "flowToken": "a.b.c"})
    assert await failed("https://other.example/", **await flow())
    late = await flow()
    clock.advance(120)
    assert await failed(**late)
    for name in ("domain", "flowToken"):
        fields = {"websiteURL": visitor.url("/"), **await flow(), name: ""}
        refused = await Caller(visitor.simulator).create("AntiBotdeflectorTaskProxyLess", **fields)
        assert f"{name} is required" in refused.json["errorDescription"]


@pytest.mark.parametrize(
    ("family", "field", "shows"),
    [
        ("hcaptcha", "h__captcha__response", 'class="h-captcha" data-sitekey="[0-9a-f-]{36}"'),
        ("hcaptcha", "h__captcha__response", 'src="https://js.hcaptcha.com/1/api.js"'),
        ("funcaptcha", "fc__token", 'src="https://client-api.arkoselabs.com/v2/[0-9A-F-]{36}/api.js" data-callback='),
        ("funcaptcha", "fc__token", 'data-pkey="[0-9A-F-]{36}"'),
    ],
)
@deferred_f_from_coro_f
async def test_forms_that_never_open(visitor: Visitor, family: str, field: str, shows: str) -> None:
    page = await visitor.go(f"/{family}/7")
    assert (page.status, page.reason) == (403, "missing")
    assert re.search(shows, page.text)
    assert visitor.simulator.site_keys[family] in page.text
    stolen = await visitor.token("turnstile")
    for answer in ("x", stolen):
        refused = await visitor.submit(page, **{field: answer})
        assert not is_product(refused)
        assert refused.reason == "unknown"
    assert "gated" not in visitor.simulator.state()["site"] or not visitor.simulator.state()["site"]["gated"]


@deferred_f_from_coro_f
async def test_perimeterx_never_opens(visitor: Visitor) -> None:
    page = await visitor.go("/perimeterx/7")
    assert (page.status, page.reason) == (403, "missing")
    for shows in (
        r"window\._pxAppId = 'PX\w{8}'",
        r"window\._pxUuid = '[0-9a-f-]{36}'",
        r"window\._pxVid = '[0-9a-f-]{36}'",
        r"window\._pxHostUrl = '/\w{8}/xhr'",
        "https://captcha.px-cdn.net/",
        '<div id="px-captcha"></div>',
        "Press &amp; Hold",
    ):
        assert re.search(shows, page.text), shows
    visitor.cookies["_px3"] = "x"
    assert (await visitor.go("/perimeterx/7")).reason == "unknown"
    assert (await visitor.go("/post/perimeterx/7", method="POST", body=b"x")).status == 403
    assert (await visitor.go("/perimeterx/7?style=json")).status == 400


@deferred_f_from_coro_f
async def test_a_site_key_of_hcaptcha_is_nothing_for_recaptcha(visitor: Visitor) -> None:
    key = visitor.simulator.site_keys["hcaptcha"]
    task = {"websiteURL": visitor.url("/hcaptcha/7"), "websiteKey": key}
    assert (await visitor.task("ReCaptchaV2TaskProxyLess", **task))["errorCode"] == "ERROR_CAPTCHA_SOLVE_FAILED"
    refused = await Caller(visitor.simulator).create("HCaptchaTaskProxyLess", **task)
    assert "Not found HCaptchaTaskProxyLess access" in refused.json["errorDescription"]
