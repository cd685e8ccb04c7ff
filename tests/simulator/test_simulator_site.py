from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import pytest
from scrapy.utils.defer import deferred_f_from_coro_f

from .families import TASKS, field
from .visitor import Answer, Caller, Visitor, is_product

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.task import Clock

    from scrapy_capsolver.simulator import Simulator

FAMILIES = list(TASKS)


def sent(family: str, token: str) -> dict[str, str]:
    return {field(family).replace("-", "__"): token}


@deferred_f_from_coro_f
async def test_the_free_pages(visitor: Visitor) -> None:
    index = await visitor.go("/")
    assert index.status == 200
    for path in ("/free/1", "/turnstile/1", "/recaptcha-v3-enterprise/1", "/image/1"):
        assert f'href="{path}"' in index.text
    assert is_product(await visitor.go("/free/7"))
    assert "Allow: /" in (await visitor.go("/robots.txt")).text
    assert (await visitor.go("/status/503")).status == 503
    for path in (
        "/nothing",
        "/free/x",
        "/free/1234567890",
        "/turnstile",
        "/turnstile/x",
        "/turnstile/7/x",
        "/post/x/7",
    ):
        assert (await visitor.go(path)).status == 404
    assert (await visitor.go("/turnstile/7?style=nonsense")).status == 400
    assert visitor.simulator.state()["site"]["robots"] == 1
    assert visitor.simulator.state()["site"]["free"] == 1


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "style", ["", "widget", "get-form", "multipart", "ok", "rendered", "button", "widget,multipart"]
)
@deferred_f_from_coro_f
async def test_every_form_opens_to_its_token_once(visitor: Visitor, family: str, style: str) -> None:
    path = f"/{family}/7?style={style}"
    gate = await visitor.go(path)
    if gate.status == 400:
        assert style in {"rendered", "button"}
        return
    assert gate.status == (200 if style.startswith("widget") or style == "ok" else 403)
    assert gate.reason == "missing"
    assert visitor.simulator.site_keys[family] in gate.text
    token = await visitor.token(family)
    assert is_product(await visitor.submit(gate, **sent(family, token)))
    again = await visitor.submit(gate, **sent(family, token))
    assert again.reason == "used"
    assert not is_product(again)
    site = visitor.simulator.state()["site"]
    assert site["gated"] == {family: 1}
    assert site["refused"] == {"used": 1}
    assert site["presented_twice"] == 1


@pytest.mark.parametrize("family", FAMILIES)
@deferred_f_from_coro_f
async def test_what_a_token_is_bound_to(visitor: Visitor, clock: Clock, family: str) -> None:
    gate = await visitor.go(f"/{family}/7")

    async def reason(token: str) -> str | None:
        answer = await visitor.submit(gate, **sent(family, token))
        assert answer.status == 403
        return answer.reason

    assert await reason("") == "missing"
    assert await reason("03A-made-up") == "unknown"
    assert await reason(await visitor.token(family, websiteURL="https://other.example/")) == "wrong-host"
    assert await reason(await visitor.token(family, websiteKey="6Lother")) == "wrong-site-key"
    if family == "turnstile":
        assert await reason(await visitor.token(family, metadata={"action": "other"})) == "wrong-action"
        assert await reason(await visitor.token(family, metadata={"cdata": "other"})) == "wrong-cdata"
    elif "v3" in family:
        assert await reason(await visitor.token(family, pageAction="other")) == "wrong-action"
        # Without an action, a solver asks for "verify".
        assert await reason(await visitor.token(family, pageAction=None)) == "wrong-action"
    late = await visitor.token(family)
    clock.advance(300 if family == "turnstile" else 120)
    assert await reason(late) == "expired"


@deferred_f_from_coro_f
async def test_the_kind_of_the_captcha_matters(visitor: Visitor) -> None:
    for family, changes in (
        ("recaptcha-v2-invisible", {"isInvisible": False}),
        ("recaptcha-v2", {"isInvisible": True}),
        ("recaptcha-v2", {"type": "ReCaptchaV2EnterpriseTaskProxyLess"}),
        ("recaptcha-v3-enterprise", {"type": "ReCaptchaV3TaskProxyLess"}),
    ):
        gate = await visitor.go(f"/{family}/7")
        token = await visitor.token(family, **changes)
        assert (await visitor.submit(gate, **sent(family, token))).reason == "wrong-kind"


@deferred_f_from_coro_f
async def test_turnstile_takes_the_right_cdata(visitor: Visitor) -> None:
    gate = await visitor.go("/turnstile/7")
    match = re.search('data-cdata="([^"]+)"', gate.text)
    assert match is not None
    token = await visitor.token("turnstile", metadata={"action": "view", "cdata": match[1]})
    assert is_product(await visitor.submit(gate, **sent("turnstile", token)))


@deferred_f_from_coro_f
async def test_data_s_is_demanded_back(visitor: Visitor) -> None:
    for family in ("recaptcha-v2", "recaptcha-v2-enterprise"):
        gate = await visitor.go(f"/{family}/7?style=data-s")
        match = re.search('data-s="([^"]+)"', gate.text)
        assert match is not None
        refused = await visitor.submit(gate, **sent(family, await visitor.token(family)))
        assert refused.reason == "wrong-data-s"
        changes = {"enterprisePayload": {"s": match[1]}} if "ent" in family else {"recaptchaDataSValue": match[1]}
        assert is_product(await visitor.submit(gate, **sent(family, await visitor.token(family, **changes))))


@deferred_f_from_coro_f
async def test_a_form_belongs_to_its_session_and_page(visitor: Visitor, simulator: Simulator) -> None:
    gate = await visitor.go("/turnstile/7")
    token = await visitor.token("turnstile")
    stranger = Visitor(simulator)
    assert (await stranger.submit(gate, **sent("turnstile", token))).reason == "bad-form"
    forger = Visitor(simulator)
    forger.cookies["sid"] = "1-forged"
    assert (await forger.submit(gate, **sent("turnstile", token))).reason == "bad-form"
    other_page = await visitor.go("/turnstile/8")
    form_id = re.search('name="gate_id" value="([^"]+)"', other_page.text)
    assert form_id is not None
    values = {"cf-turnstile-response": token, "gate_id": form_id[1]}
    assert (await visitor.post("/turnstile/7", values)).reason == "bad-form"
    # None of this used the token up.
    assert is_product(await visitor.submit(gate, **sent("turnstile", token)))


@deferred_f_from_coro_f
async def test_pages_go_by_their_host_name(simulator: Simulator) -> None:
    port = simulator.site_url.rpartition(":")[2]
    for host in (f"localhost:{port}", "Shop.Example", f"[::1]:{port}"):
        visitor = Visitor(simulator, host)
        gate = await visitor.go("/recaptcha-v2/7")
        token = await visitor.token("recaptcha-v2")
        assert is_product(await visitor.submit(gate, **sent("recaptcha-v2", token)))


@deferred_f_from_coro_f
async def test_the_search_of_a_page_with_a_widget(visitor: Visitor) -> None:
    page = await visitor.go("/recaptcha-v2/7?style=widget")
    assert len(re.sub("<[^>]+>", "", page.text)) > 500
    results = await visitor.submit(page, q="<shoes>", **sent("recaptcha-v2", await visitor.token("recaptcha-v2")))
    assert "&lt;shoes&gt;" in results.text
    assert is_product(results)


@pytest.mark.parametrize("family", FAMILIES)
@deferred_f_from_coro_f
async def test_every_other_place_for_a_token(visitor: Visitor, family: str) -> None:
    async def reasons(*answers: Answer) -> list[str | None]:
        for answer in answers:
            assert "<form" not in answer.text
        return [answer.reason for answer in answers]

    async def token() -> str:
        return await visitor.token(family)

    page = await visitor.go(f"/{family}/7?style=no-form")
    assert await reasons(page) == ["missing"]
    assert is_product(await visitor.go(f"/{family}/7?" + urlencode({"style": "no-form", field(family): await token()})))

    assert await reasons(await visitor.go(f"/query/{family}/7")) == ["missing"]
    assert is_product(await visitor.go(f"/query/{family}/7?captcha={await token()}"))

    wrong = await visitor.go(f"/header/{family}/7", headers={"X-Captcha-Token": "x"})
    assert await reasons(wrong, await visitor.go(f"/header/{family}/7")) == ["unknown", "missing"]
    assert is_product(await visitor.go(f"/header/{family}/7", headers={"X-Captcha-Token": await token()}))

    for multipart in (False, True):
        own = {"q": "shoes & <socks>", "size": "42"}
        assert await reasons(await visitor.post(f"/post/{family}/7", own, multipart=multipart)) == ["missing"]
        answer = await visitor.post(f"/post/{family}/7", {**own, field(family): await token()}, multipart=multipart)
        assert is_product(answer)
        assert "<dt>q</dt><dd>shoes &amp; &lt;socks&gt;</dd><dt>size</dt><dd>42</dd>" in answer.text

    async def post_json(value: object, style: str = "") -> Answer:
        body = json.dumps(value).encode()
        return await visitor.go(f"/json/{family}/7{style}", method="POST", body=body)

    for value in ({}, [], {"captcha": None}, {"captcha": {"token": 7}}, {"captcha": {"token": ""}}):
        assert await reasons(await post_json(value)) == ["missing"]
    refusal = await post_json({}, "?style=json")
    assert (refusal.status, refusal.json["captcha"]["kind"]) == (403, family)
    accepted = await post_json({"q": "shoes", "captcha": {"token": await token()}})
    assert accepted.json["product"]["name"] == "Product 7"
    assert accepted.json["fields"] == {"q": "shoes"}


@pytest.mark.parametrize("family", FAMILIES)
@deferred_f_from_coro_f
async def test_the_gate_that_is_a_page_of_its_own(visitor: Visitor, simulator: Simulator, family: str) -> None:
    for style, status in (("", 200), ("?style=forbidden", 403), ("?style=thanks", 200)):
        visitor = Visitor(simulator)
        away = await visitor.go(f"/redirect/{family}/7{style}")
        assert away.status == 302
        assert away.headers["location"].startswith(f"/gate/{family}?next=")
        gate = await visitor.go(away.headers["location"])
        assert (gate.status, gate.reason) == (status, "missing")
        assert (await visitor.submit(gate, **sent(family, "x"))).reason == "unknown"
        back = await visitor.submit(gate, **sent(family, await visitor.token(family)))
        if "thanks" in style:
            assert "Thank you" in back.text
        else:
            assert (back.status, back.headers["location"]) == (302, f"/redirect/{family}/7")
        assert is_product(await visitor.go(f"/redirect/{family}/7"))
        assert is_product(await visitor.go(f"/redirect/{family}/8"), 8)
        # The cookie is worth nothing in another session, nor at another gate.
        thief = Visitor(simulator)
        thief.cookies["verified"] = visitor.cookies["verified"]
        assert (await thief.go(f"/redirect/{family}/7")).status == 302


@deferred_f_from_coro_f
async def test_the_gate_leads_nowhere_else(visitor: Visitor) -> None:
    for target in ("https://evil.example/", "//evil.example/", "/\\evil.example/", ""):
        gate = await visitor.go(f"/gate/turnstile?next={quote(target)}")
        back = await visitor.submit(gate, **sent("turnstile", await visitor.token("turnstile")))
        assert back.headers["location"] == "/"
    gate = await visitor.go("/gate/turnstile?next=" + quote("/free/1\r\nX-Evil: 1"))
    back = await visitor.submit(gate, **sent("turnstile", await visitor.token("turnstile")))
    assert "x-evil" not in back.headers


@deferred_f_from_coro_f
async def test_a_gate_that_rejects_everything(visitor: Visitor) -> None:
    gate = await visitor.go("/reject/turnstile/7")
    token = await visitor.token("turnstile")
    assert (await visitor.submit(gate, **sent("turnstile", token))).reason == "rejected"
    assert (await visitor.submit(gate, **sent("turnstile", token))).reason == "used"


@deferred_f_from_coro_f
async def test_how_the_widgets_are_embedded(visitor: Visitor) -> None:
    keys = {family: visitor.simulator.site_keys[family] for family in FAMILIES}
    assert len(set(visitor.simulator.site_keys.values())) == len(visitor.simulator.site_keys) == 11
    for family, key in keys.items():
        assert re.fullmatch(r"0x4AAAAAAA[\w-]{14}" if family == "turnstile" else r"6L[\w-]{38}", key)
    text = {family: (await visitor.go(f"/{family}/7")).text for family in FAMILIES}
    assert f'<div class="g-recaptcha" data-sitekey="{keys["recaptcha-v2"]}"></div>' in text["recaptcha-v2"]
    assert 'src="https://www.google.com/recaptcha/api.js"' in text["recaptcha-v2"]
    assert 'data-size="invisible"' in text["recaptcha-v2-invisible"]
    assert 'src="https://www.google.com/recaptcha/enterprise.js"' in text["recaptcha-v2-enterprise"]
    assert f'api.js?render={keys["recaptcha-v3"]}"' in text["recaptcha-v3"]
    assert f"grecaptcha.execute('{keys['recaptcha-v3']}', {{action: 'view'}})" in text["recaptcha-v3"]
    assert "grecaptcha.enterprise.ready(" in text["recaptcha-v3-enterprise"]
    assert 'class="cf-turnstile"' in text["turnstile"]
    assert 'data-action="view"' in text["turnstile"]
    for family in ("recaptcha-v2", "turnstile"):
        rendered = (await visitor.go(f"/{family}/7?style=rendered")).text
        assert f"sitekey: '{keys[family]}'" in rendered
        assert "data-sitekey" not in rendered


@deferred_f_from_coro_f
async def test_bodies_that_are_no_forms(visitor: Visitor) -> None:
    for kind, body in (
        ("multipart/form-data; boundary=edge", b"--edge\r\nnonsense"),
        ("multipart/form-data", b"x"),
        ("application/x-www-form-urlencoded", b"%ff=%zz&" * 2000),
        ("application/json", b"[" * 100_000),
        ("", b"\xff"),
    ):
        for path in ("/turnstile/7", "/json/turnstile/7", "/post/turnstile/7"):
            answer = await visitor.go(path, method="POST", body=body, headers={"Content-Type": kind})
            assert answer.status in {400, 403}


# Images


async def read_image(simulator: Simulator, image: bytes) -> str:
    answer = await Caller(simulator).create("ImageToTextTask", body=b64encode(image).decode())
    assert answer.json["status"] == "ready"
    text: str = answer.json["solution"]["text"]
    return text


def image_of(page: Answer) -> str:
    match = re.search('<img id="captcha" src="([^"]+)"', page.text)
    assert match is not None
    return match[1]


@deferred_f_from_coro_f
async def test_an_image_is_typed_off(visitor: Visitor, simulator: Simulator) -> None:
    page = await visitor.go("/image/7")
    assert (page.status, page.reason) == (403, "missing")
    image = await visitor.go(image_of(page))
    assert (image.status, image.headers["content-type"]) == (200, "image/png")
    # It is the session's, and nobody else's.
    assert (await Visitor(simulator).go(image_of(page))).status == 403
    answer = await read_image(simulator, image.body)
    assert re.fullmatch("[0-9]{6}", answer)
    assert is_product(await visitor.submit(page, answer=answer))
    assert (await visitor.submit(page, answer=answer)).reason == "used"
    assert simulator.state()["site"]["images_fetched"] == 2
    tasks = simulator.state()["tasks"]
    assert (tasks["created"], tasks["paid"], tasks["delivered"], tasks["open"]) == (1, 1, 1, 0)


@deferred_f_from_coro_f
async def test_a_wrong_answer_brings_a_new_image(visitor: Visitor, simulator: Simulator) -> None:
    page = await visitor.go("/image/7?style=data-uri,widget")
    refused = await visitor.submit(page, answer="none")
    assert refused.reason == "wrong-answer"
    assert image_of(refused) != image_of(page)
    kind, _, data = image_of(refused).partition(",")
    assert kind == "data:image/png;base64"
    answer = await read_image(simulator, b64decode(data))
    assert is_product(await visitor.submit(refused, answer=answer))


@deferred_f_from_coro_f
async def test_images_behind_a_redirect(visitor: Visitor, simulator: Simulator) -> None:
    away = await visitor.go("/redirect/image/7")
    gate = await visitor.go(away.headers["location"])
    answer = await read_image(simulator, (await visitor.go(image_of(gate))).body)
    back = await visitor.submit(gate, answer=answer)
    assert is_product(await visitor.go(back.headers["location"]))


@deferred_f_from_coro_f
async def test_image_tasks(simulator: Simulator) -> None:
    visitor, caller = Visitor(simulator), Caller(simulator)
    image = (await visitor.go(image_of(await visitor.go("/image/7")))).body
    good = b64encode(image).decode()
    for fields, code in (
        ({}, "ERROR_INVALID_TASK_DATA"),
        ({"body": ""}, "ERROR_INVALID_TASK_DATA"),
        ({"body": 7}, "ERROR_INVALID_TASK_DATA"),
        ({"images": [good]}, "ERROR_INVALID_TASK_DATA"),
        ({"images": [good] * 10, "module": "number"}, "ERROR_INVALID_TASK_DATA"),
        ({"body": "data:image/png;base64," + good}, "ERROR_PARSE_IMAGE_FAIL"),
        ({"body": good[:76] + "\n" + good[76:]}, "ERROR_PARSE_IMAGE_FAIL"),
        ({"body": "\u00e9"}, "ERROR_PARSE_IMAGE_FAIL"),
        ({"body": b64encode(b"GIF89a").decode()}, "ERROR_INVALID_IMAGE"),
        ({"body": b64encode(image[:-12]).decode()}, "ERROR_INVALID_IMAGE"),
        ({"body": b64encode(image.replace(b"Answer", b"answer")).decode()}, "ERROR_INVALID_IMAGE"),
    ):
        answer = await caller.create("ImageToTextTask", **fields)
        assert (answer.status, answer.json["errorCode"]) == (400, code), fields
    both = await caller.create("ImageToTextTask", images=[good, good], module="number")
    text = await read_image(simulator, image)
    assert both.json["solution"] == {"text": text, "answers": [text, text]}
    # The result came with the reply, and cannot be asked for.
    assert (await caller.poll(both.json["taskId"])).json["errorCode"] == "ERROR_TASKID_INVALID"


@deferred_f_from_coro_f
async def test_pages_take_their_latency(simulate: Callable[..., Simulator], clock: Clock) -> None:
    simulator = simulate(latency=0.01)
    assert is_product(await Visitor(simulator).go("/free/7"))
    assert simulator.state()["site"]["clients"] == {"127.0.0.1": 1}
