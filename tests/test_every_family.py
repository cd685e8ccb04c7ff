"""Every task type of CapSolver's menu, from the flag to the page."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from form2request import form2request
from scrapy import FormRequest, Request
from scrapy.utils.defer import deferred_f_from_coro_f

from scrapy_capsolver.errors import (
    CaptchaConfigurationError,
    CaptchaError,
    UnsolvableCaptchaError,
    UnsupportedCaptchaError,
)
from scrapy_capsolver.families import FAMILIES, RETIRED
from tests.crawls import Crawl, bought, crawl, simulator

V3 = {"type": "GeeTestTaskProxyLess", "challengeUrl": "1/register"}
BOT = {"type": "AntiBotdeflectorTaskProxyLess", "inject": {"form": "botdeflector-token"}}
SLIDER = {
    "type": "VisionEngine",
    "module": "slider_1",
    "selector": "img#piece",
    "backgroundSelector": "img#background",
    "inject": {"form": {"distance": "distance"}},
}
GRID = {
    "type": "ReCaptchaV2Classification",
    "selector": "img#grid",
    "questionSelector": "#grid::attr(data-question)",
    "inject": {"form": {"cells": "objects"}},
}
AWS_GRID = {
    "type": "AwsWafClassification",
    "selector": "img.cell",
    "questionSelector": "#cells::attr(data-question)",
    "inject": {"form": {"cells": "objects"}},
}
NUMBERS = {
    "type": "ImageToTextTask",
    "module": "number",
    "selector": "img.number",
    "inject": {"form": {"answers": "answers"}},
}
IMAGE = {"type": "ImageToTextTask", "selector": "img#captcha", "inject": {"form": "answer"}}

SOLVED: list[tuple[str, Any, str]] = [
    ("/recaptcha-v2/1", True, "ReCaptchaV2TaskProxyLess"),
    ("/recaptcha-v2-enterprise/1", True, "ReCaptchaV2EnterpriseTaskProxyLess"),
    ("/recaptcha-v3/1", True, "ReCaptchaV3TaskProxyLess"),
    ("/recaptcha-v3-enterprise/1", True, "ReCaptchaV3EnterpriseTaskProxyLess"),
    ("/recaptcha-v3/1", {"type": "ReCaptchaV3M1TaskProxyLess"}, "ReCaptchaV3M1TaskProxyLess"),
    (
        "/recaptcha-v3-enterprise/1",
        {"type": "ReCaptchaV3EnterpriseM1TaskProxyLess"},
        "ReCaptchaV3EnterpriseM1TaskProxyLess",
    ),
    ("/turnstile/1", True, "AntiTurnstileTaskProxyLess"),
    ("/aws-waf/1", True, "AntiAwsWafTaskProxyLess"),
    ("/geetest-v3/1", V3, "GeeTestTaskProxyLess"),
    ("/geetest-v3/1?style=inline", True, "GeeTestTaskProxyLess"),
    ("/geetest-v4/1", True, "GeeTestTaskProxyLess"),
    ("/geetest-v4/1?style=multipart", True, "GeeTestTaskProxyLess"),
    ("/mtcaptcha/1", True, "MtCaptchaTaskProxyLess"),
    ("/mtcaptcha/1?style=ok", True, "MtCaptchaTaskProxyLess"),
    ("/botdeflector/1", BOT, "AntiBotdeflectorTaskProxyLess"),
    ("/image/1", IMAGE, "ImageToTextTask"),
    ("/image-numbers/1", NUMBERS, "ImageToTextTask"),
    ("/recaptcha-grid/1", GRID, "ReCaptchaV2Classification"),
    ("/aws-grid/1", AWS_GRID, "AwsWafClassification"),
    ("/vision-slider/1", SLIDER, "VisionEngine"),
    ("/vision-slider/1?style=data-uri", SLIDER, "VisionEngine"),
]


@pytest.mark.parametrize(("path", "flag", "task_type"), SOLVED, ids=[path for path, _, _ in SOLVED])
@deferred_f_from_coro_f
async def test_from_the_flag_to_the_page(path: str, flag: Any, task_type: str) -> None:
    async with simulator() as capsolver:
        done = await crawl(capsolver, [Request(capsolver.site_url + path, meta={"capsolver": flag})])
        assert done.response.css(".product::text").get() == "Product 1"
        assert "capsolver" in done.response.flags
        state = capsolver.state()
        assert state["tasks"]["by_type"] == {task_type: 1}
        assert state["tasks"]["paid"] == 1
        assert state["site"]["refused"] == {}


@deferred_f_from_coro_f
async def test_answers_reach_the_spiders_own_code() -> None:
    """Without ``inject`` the callback gets the page and the answer, and sends it by itself."""
    async with simulator() as capsolver:
        flag = {name: value for name, value in SLIDER.items() if name != "inject"}

        def parse(done: Crawl, spider: Any, response: Any) -> Any:
            if len(done.responses) > 1:
                return None
            distance = str(response.meta["capsolver_solution"]["distance"])
            form = form2request(response.css("form"), {"distance": distance})
            request = form.to_scrapy(callback=spider.parse, meta={"capsolver": False})
            return [request]

        done = await crawl(
            capsolver, [Request(f"{capsolver.site_url}/vision-slider/1", meta={"capsolver": flag})], parse=parse
        )
        assert [response.status for response in done.responses] == [403, 200]
        assert done.responses[1].css(".product::text").get() == "Product 1"
        assert "capsolver" in done.responses[0].flags
        assert done.ours()["delivered"] == 1
        assert "wasted/undelivered" not in done.ours()


@deferred_f_from_coro_f
async def test_an_answer_before_the_request_is_in_its_responses_meta() -> None:
    """For an image that the spider holds already."""
    async with simulator() as capsolver:

        def parse(done: Crawl, spider: Any, response: Any) -> Any:
            if response.status == 403:
                return [response.follow(response.css("img#captcha::attr(src)").get(), spider.parse)]
            if response.headers["Content-Type"].startswith(b"image/"):
                body = base64.b64encode(response.body).decode()
                flag = {"type": "ImageToTextTask", "body": body, "when": "before"}
                return [Request(f"{capsolver.site_url}/free/1", spider.parse, meta={"capsolver": flag})]
            return None

        done = await crawl(capsolver, [Request(f"{capsolver.site_url}/image/1")], parse=parse, HTTPERROR_ALLOW_ALL=True)
        assert not done.errors, done.errors
        assert set(done.responses[-1].meta["capsolver_solution"]) >= {"text"}
        assert done.responses[-1].css(".product::text").get() == "Product 1"


@pytest.mark.parametrize("path", ["/hcaptcha/1", "/funcaptcha/1", "/perimeterx/1"])
@deferred_f_from_coro_f
async def test_what_capsolver_does_not_solve_is_told_and_never_paid_for(path: str) -> None:
    async with simulator() as capsolver:
        done = await crawl(capsolver, [path])
        assert type(done.error) is UnsupportedCaptchaError
        assert "not solvable by CapSolver" in str(done.error)
        assert bought(capsolver) == {}


@pytest.mark.parametrize("name", sorted(RETIRED))
@deferred_f_from_coro_f
async def test_retired_types_are_refused_at_once(name: str) -> None:
    async with simulator() as capsolver:
        flag = {"type": name, "websiteKey": "k", "inject": {"form": "f"}}
        done = await crawl(capsolver, [Request(f"{capsolver.site_url}/free/1", meta={"capsolver": flag})])
        assert type(done.error) is UnsupportedCaptchaError
        assert name in str(done.error)
        state = capsolver.state()
        assert (bought(capsolver), state["site"]["free"]) == ({}, 0)


# A type that this version does not know


@deferred_f_from_coro_f
async def test_a_type_of_tomorrow_is_passed_on_as_it_is() -> None:
    async with simulator() as capsolver:
        flag = {
            "type": "AntiTomorrowTask",
            "websiteKey": "k",
            "anything": [1, {"a": None}],
            "when": "before",
            "inject": {"form": "answer"},
        }
        request = FormRequest(f"{capsolver.site_url}/free/1", formdata={"q": "1"}, meta={"capsolver": flag})
        done = await crawl(capsolver, [request])
        assert type(done.error) is UnsupportedCaptchaError  # says CapSolver, not the plugin
        assert done.error.code == "ERROR_TASK_NOT_SUPPORTED"  # type: ignore[attr-defined]
        assert capsolver.state()["api"]["calls"]["createTask"] == 1


@deferred_f_from_coro_f
async def test_a_raw_type_s_solution_goes_where_the_flag_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that the service has and this version does not: Turnstile's, forgotten here."""
    from scrapy_capsolver.families import registry

    for table in (registry._SPELLINGS, registry._BY_TYPE):
        for name in ("antiturnstiletaskproxyless", "AntiTurnstileTaskProxyLess"):
            monkeypatch.delitem(table, name, raising=False)  # type: ignore[arg-type]
    async with simulator() as capsolver:
        key = capsolver.site_keys["turnstile"]
        fields = {"type": "AntiTurnstileTaskProxyLess", "websiteKey": key}
        flags: list[dict[str, Any]] = [
            {**fields, "when": "before", "inject": {"form": "cf-turnstile-response"}},
            {**fields, "inject": {"form": {"cf-turnstile-response": "token"}}},
        ]
        requests = [
            FormRequest(f"{capsolver.site_url}/post/turnstile/{n}", formdata={"q": "1"}, meta={"capsolver": flag})
            for n, flag in enumerate(flags)
        ]
        done = await crawl(capsolver, requests)
        assert len(done.responses) == 2, done.errors
        assert capsolver.state()["tasks"]["paid"] == 2


@deferred_f_from_coro_f
async def test_an_unknown_type_without_a_place_is_taken_for_a_slip() -> None:
    async with simulator() as capsolver:
        flag = {"type": "ReCaptchaV2TaskProxyLes"}
        done = await crawl(capsolver, [Request(f"{capsolver.site_url}/free/1", meta={"capsolver": flag})])
        assert type(done.error) is CaptchaConfigurationError
        assert "did you mean ReCaptchaV2TaskProxyLess" in str(done.error)
        assert '"inject"' in str(done.error)


# GeeTest's fresh challenge


@pytest.mark.parametrize(("query", "flag"), [("", V3), ("?style=inline", True)])
@deferred_f_from_coro_f
async def test_each_attempt_has_a_fresh_challenge(query: str, flag: Any) -> None:
    async with simulator(quirks=["unsolvable:1"]) as capsolver:
        done = await crawl(capsolver, [Request(f"{capsolver.site_url}/geetest-v3/1{query}", meta={"capsolver": flag})])
        assert done.response.css(".product::text").get() == "Product 1"
        challenges = [task.fields["challenge"] for task in capsolver.tasks.values()]
        assert len(challenges) == len(set(challenges)) == 2


@deferred_f_from_coro_f
async def test_without_a_way_to_the_challenge_the_flag_is_asked_for_it() -> None:
    async with simulator() as capsolver:
        done = await crawl(capsolver, ["/geetest-v3/1"])
        assert isinstance(done.error, CaptchaError)
        assert "challengeUrl" in str(done.error)
        assert bought(capsolver) == {}


@deferred_f_from_coro_f
async def test_botdeflectors_solution_needs_a_place() -> None:
    async with simulator() as capsolver:
        done = await crawl(capsolver, ["/botdeflector/1"])
        assert type(done.error) is CaptchaConfigurationError
        assert bought(capsolver) == {}


# Refused when it should be


@pytest.mark.parametrize(
    ("gate", "flag"),
    [(path.split("/")[1], flag) for path, flag, _ in SOLVED if "?" not in path and "aws-waf" not in path],
)
@deferred_f_from_coro_f
async def test_a_solution_that_the_site_refuses_is_counted_and_ends_in_one_error(gate: str, flag: Any) -> None:
    async with simulator() as capsolver:
        url = f"{capsolver.site_url}/reject/{gate}/1"
        done = await crawl(capsolver, [Request(url, meta={"capsolver": flag})], CAPSOLVER_RETRY_TIMES=1)
        assert type(done.error) is UnsolvableCaptchaError
        assert "still gated after 2 solves" in str(done.error)
        assert capsolver.state()["tasks"]["paid"] == done.ours()["wasted/rejected"] == 2


def test_every_type_is_here() -> None:
    """Those with a proxy are in test_proxies.py and test_clearances.py."""
    named = {task_type for _, _, task_type in SOLVED}
    types = {name for family in FAMILIES for name in family.types}
    with_proxy = {name for family in FAMILIES for name, kind in family.types.items() if "proxy" in kind.required}
    assert types - with_proxy == named
