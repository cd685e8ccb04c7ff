"""The way of a request: what a spider sees of it. Real crawls against the simulator."""

from __future__ import annotations

import json
from typing import Any

import pytest
from scrapy import FormRequest, Request
from scrapy.utils.defer import deferred_f_from_coro_f

from scrapy_capsolver.errors import UnsolvableCaptchaError, UnsupportedCaptchaError
from tests.crawls import Crawl, crawl, simulator

GATES = [
    "recaptcha-v2",
    "recaptcha-v2-invisible",
    "recaptcha-v2-enterprise",
    "recaptcha-v3",
    "recaptcha-v3-enterprise",
    "turnstile",
]
V2 = "ReCaptchaV2TaskProxyLess"
IMAGE = {"type": "ImageToTextTask", "selector": "img#captcha", "inject": {"form": "answer"}}


def product(done: Crawl) -> str | None:
    return done.response.css(".product::text").get()  # type: ignore[no-any-return]


def flagged(url: str, flag: Any = True, **kwargs: Any) -> Request:
    return Request(url, meta={"capsolver": flag}, **kwargs)


# Every family, every way in which its page may be written


STYLES = ["", "?style=ok", "?style=rendered", "?style=get-form", "?style=multipart"]


@pytest.mark.parametrize(
    ("gate", "style"),
    [(gate, style) for gate in GATES for style in STYLES if "-v3" not in gate or style != "?style=rendered"],
)
@deferred_f_from_coro_f
async def test_a_flagged_request_reaches_its_callback_with_the_page(gate: str, style: str) -> None:
    async with simulator() as capsolver:
        done = await crawl(capsolver, [f"/{gate}/7{style}"])
        assert product(done) == "Product 7"
        assert "capsolver" in done.response.flags
        state = capsolver.state()
        assert (state["tasks"]["paid"], state["tokens"]["accepted"], state["tokens"]["refused"]) == (1, 1, {})


@pytest.mark.parametrize("gate", GATES)
@deferred_f_from_coro_f
async def test_a_page_without_a_form_costs_nothing(gate: str) -> None:
    """A script of such a page sends the token. With ``inject`` the plugin does; without, it says so and buys nothing."""
    async with simulator() as capsolver:
        url = f"{capsolver.site_url}/{gate}/7?style=no-form"
        done = await crawl(capsolver, [flagged(url)])
        assert "nothing was bought" in str(done.errors[0])
        assert capsolver.state()["tasks"]["paid"] == 0
        field = "cf-turnstile-response" if gate == "turnstile" else "g-recaptcha-response"
        done = await crawl(capsolver, [flagged(url, {"inject": {"query": field}})])
        assert product(done) == "Product 7"


@pytest.mark.parametrize("gate", ["recaptcha-v2", "turnstile"])
@deferred_f_from_coro_f
async def test_a_widget_is_solved_where_the_flag_names_the_type_and_not_otherwise(gate: str) -> None:
    task_type = {"recaptcha-v2": V2, "turnstile": "AntiTurnstileTaskProxyLess"}[gate]
    async with simulator() as capsolver:
        url = f"{capsolver.site_url}/{gate}/7?style=widget"
        plain = await crawl(capsolver, [flagged(url)])
        assert plain.response.flags == []
        assert capsolver.state()["tasks"]["created"] == 0
        # Its form has a field that nobody filled in: the token comes with the page, and nothing is submitted.
        named = await crawl(capsolver, [flagged(url, {"type": task_type})])
        assert (named.response.url, named.response.flags) == (url, ["capsolver"])
        assert named.response.meta["capsolver_solution"]
        state = capsolver.state()
        assert (state["tasks"]["paid"], state["tokens"]["accepted"]) == (1, 0)


@pytest.mark.parametrize("style", ["", "?style=data-uri", "?style=ok"])
@deferred_f_from_coro_f
async def test_image_captchas(style: str) -> None:
    async with simulator() as capsolver:
        done = await crawl(capsolver, [flagged(f"{capsolver.site_url}/image/3{style}", IMAGE)])
        assert product(done) == "Product 3"
        assert done.response.meta["capsolver_solution"]["text"]
        assert done.ours().get("polls", 0) == 0


@deferred_f_from_coro_f
async def test_an_image_that_is_not_there_means_that_the_page_is_not_gated() -> None:
    async with simulator() as capsolver:
        done = await crawl(capsolver, [flagged(f"{capsolver.site_url}/free/3", IMAGE)])
        assert product(done) == "Product 3"
        assert capsolver.state()["tasks"]["created"] == 0


@deferred_f_from_coro_f
async def test_an_image_that_is_still_there_means_that_the_answer_was_rejected() -> None:
    async with simulator() as capsolver:
        request = flagged(f"{capsolver.site_url}/reject/image/3?style=widget", IMAGE)
        done = await crawl(capsolver, [request], CAPSOLVER_RETRY_TIMES=1)
        assert isinstance(done.error, UnsolvableCaptchaError)
        assert done.error.attempts == 2


@deferred_f_from_coro_f
async def test_the_flags_own_fields_go_before_those_of_the_page() -> None:
    async with simulator() as capsolver:
        flag = {"type": "ReCaptchaV3TaskProxyLess", "pageAction": "view", "websiteURL": capsolver.site_url + "/"}
        request = flagged(f"{capsolver.site_url}/recaptcha-v3/7", {**flag, "pageAction": "mine"})
        await crawl(capsolver, [request], CAPSOLVER_RETRY_TIMES=0)
        (task,) = capsolver.tasks.values()
        assert (task.fields["pageAction"], task.fields["websiteURL"]) == ("mine", capsolver.site_url + "/")
        assert task.fields["websiteKey"] == capsolver.site_keys["recaptcha-v3"]


# Where the solution goes


@pytest.mark.parametrize("gate", ["recaptcha-v2", "turnstile"])
@deferred_f_from_coro_f
async def test_inject_json(gate: str) -> None:
    async with simulator() as capsolver:
        request = flagged(
            f"{capsolver.site_url}/json/{gate}/5",
            {"type": "AntiTurnstileTaskProxyLess" if gate == "turnstile" else V2, "inject": {"json": "captcha.token"}},
            method="POST",
            body=json.dumps({"q": "shoes", "captcha": {"kind": "x"}}),
            headers={"Content-Type": "application/json"},
        )
        done = await crawl(capsolver, [request])
        assert "Product 5" in done.response.text
        assert json.loads(done.response.request.body)["captcha"].keys() == {"kind", "token"}


@deferred_f_from_coro_f
async def test_inject_header_and_query() -> None:
    async with simulator() as capsolver:
        done = await crawl(
            capsolver,
            [
                flagged(f"{capsolver.site_url}/header/recaptcha-v2/5", {"inject": {"header": "X-Captcha-Token"}}),
                flagged(f"{capsolver.site_url}/query/recaptcha-v2/6", {"inject": {"query": "captcha"}}),
            ],
        )
        assert sorted(r.css(".product::text").get() for r in done.responses) == ["Product 5", "Product 6"]


@deferred_f_from_coro_f
async def test_a_form_request_keeps_its_own_fields() -> None:
    async with simulator() as capsolver:
        url = f"{capsolver.site_url}/post/recaptcha-v2/5"
        done = await crawl(capsolver, [FormRequest(url, formdata={"q": "red shoes"}, meta={"capsolver": True})])
        assert "Product 5" in done.response.text
        assert "red shoes" in done.response.text
        assert done.response.request.method == "POST"


@deferred_f_from_coro_f
async def test_before_solves_without_asking_the_page_first() -> None:
    async with simulator() as capsolver:
        flag = {"type": V2, "websiteKey": capsolver.site_keys["recaptcha-v2"], "when": "before"}
        request = FormRequest(
            f"{capsolver.site_url}/post/recaptcha-v2/5", formdata={"q": "shoes"}, meta={"capsolver": flag}
        )
        done = await crawl(capsolver, [request])
        assert "Product 5" in done.response.text
        assert done.stats["downloader/request_count"] == 1
        assert capsolver.state()["tasks"]["paid"] == 1


@deferred_f_from_coro_f
async def test_what_the_page_makes_impossible_is_an_error_before_anything_is_paid() -> None:
    async with simulator() as capsolver:
        request = flagged(
            f"{capsolver.site_url}/recaptcha-v2/5", {"inject": {"json": "captcha.token"}}, method="POST", body="a=b"
        )
        done = await crawl(capsolver, [request])
        assert isinstance(done.error, UnsupportedCaptchaError)
        assert capsolver.state()["api"]["calls"].get("createTask", 0) == 0


@deferred_f_from_coro_f
async def test_a_gate_without_a_page_is_solved_where_the_flag_says_all_that_is_needed() -> None:
    async with simulator() as capsolver:
        flag = {"type": V2, "inject": {"json": "captcha.token"}}

        def request(flag: dict[str, Any]) -> Request:
            url = f"{capsolver.site_url}/json/recaptcha-v2/5?style=json"
            return flagged(url, flag, method="POST", body="{}", headers={"Content-Type": "application/json"})

        done = await crawl(capsolver, [request({**flag, "websiteKey": capsolver.site_keys["recaptcha-v2"]})])
        assert "Product 5" in done.response.text
        done = await crawl(capsolver, [request(flag)])
        assert done.error.response.status == 403  # type: ignore[attr-defined]


@deferred_f_from_coro_f
async def test_expect_is_for_pages_not_for_json() -> None:
    async with simulator() as capsolver:
        request = flagged(f"{capsolver.api_url}/_simulator/state", {"expect": ".product"})
        done = await crawl(capsolver, [request])
        assert done.response.json()["api"]
        assert not [name for name in done.ours() if name.startswith("failed")]


# What the retried request keeps


@deferred_f_from_coro_f
async def test_the_retried_request_keeps_what_the_author_gave_it() -> None:
    seen: dict[str, Any] = {}

    def special(self: Any, response: Any, colour: str) -> None:
        seen.update(colour=colour, meta=dict(response.meta), response=response)

    async with simulator() as capsolver:
        url = f"{capsolver.site_url}/recaptcha-v2/7"

        class Callbacks:
            pass

        def parse(done: Crawl, spider: Any, response: Any) -> list[Request]:
            if response.url.endswith("/free/1"):
                return [
                    Request(
                        url,
                        callback=lambda r, colour: special(spider, r, colour),
                        cb_kwargs={"colour": "red"},
                        cookies={"session": "mine"},
                        headers={"X-Own": "1"},
                        priority=3,
                        meta={"capsolver": True, "mine": [1, 2], "dont_merge_cookies": False},
                    )
                ]
            return []

        done = await crawl(capsolver, [Request(f"{capsolver.site_url}/free/1")], parse=parse)
        assert not done.errors
        response = seen["response"]
        assert response.css(".product::text").get() == "Product 7"
        assert seen["colour"] == "red"
        assert seen["meta"]["mine"] == [1, 2]
        assert response.request.headers["X-Own"] == b"1"
        assert b"session=mine" in response.request.headers["Cookie"]
        assert response.request.priority == 103
        private = [key for key in seen["meta"] if key.startswith("_capsolver")]
        assert not private
        assert "dont_cache" not in seen["meta"]
        assert "is_start_request" not in response.request.meta


@deferred_f_from_coro_f
async def test_a_start_request_does_not_queue_behind_the_other_start_requests_again() -> None:
    async with simulator() as capsolver:
        done = await crawl(capsolver, ["/recaptcha-v2/1", "/free/1"])
        gated, free = sorted(done.responses, key=lambda response: response.url.endswith("/free/1"))
        assert free.meta["is_start_request"]
        assert "is_start_request" not in gated.meta


@deferred_f_from_coro_f
async def test_the_solution_is_in_the_responses_meta_and_a_copy_of_it_is_not_carried_on() -> None:
    def parse(done: Crawl, spider: Any, response: Any) -> list[Request]:
        if "recaptcha" in response.url:
            assert response.meta["capsolver_solution"]["gRecaptchaResponse"]
            return [response.follow("/free/2", meta=response.meta)]
        return []

    async with simulator() as capsolver:
        done = await crawl(capsolver, ["/recaptcha-v2/1"], parse=parse)
        assert [r.css(".product::text").get() for r in done.responses] == ["Product 1", "Product 2"]
        assert "capsolver_solution" not in done.responses[1].meta
        assert capsolver.state()["tasks"]["created"] == 1


# Redirects


@pytest.mark.parametrize("style", ["", "?style=thanks"])
@deferred_f_from_coro_f
async def test_a_redirect_to_a_gate_goes_back_to_the_page_first_asked_for(style: str) -> None:
    async with simulator() as capsolver:
        done = await crawl(capsolver, [f"/redirect/recaptcha-v2/7{style}"])
        assert product(done) == "Product 7"
        assert done.response.url == f"{capsolver.site_url}/redirect/recaptcha-v2/7{style}"
        assert "capsolver" in done.response.flags
        assert capsolver.state()["tasks"]["paid"] == 1


@deferred_f_from_coro_f
async def test_the_way_back_from_a_gate_repeats_the_form_that_was_first_sent() -> None:
    async with simulator() as capsolver:
        request = FormRequest(
            f"{capsolver.site_url}/redirect/recaptcha-v2/7?style=thanks", formdata={"q": "x"}, meta={"capsolver": True}
        )
        done = await crawl(capsolver, [request])
        assert product(done) == "Product 7"
        assert (done.response.request.method, done.response.request.body) == ("POST", b"q=x")
        assert done.response.request.headers["Content-Type"] == b"application/x-www-form-urlencoded"


class Moving:
    """Answers /old/<status> by a redirect to a gated page."""

    def process_response(self, request: Request, response: Any, spider: Any = None) -> Any:
        if "/old/" in response.url:
            status = int(response.url.rsplit("/", 1)[1])
            return response.replace(status=status, headers={"Location": "/recaptcha-v2/7"})
        return response


@pytest.mark.parametrize(
    ("status", "flag", "solves"),
    [
        (301, True, 1),
        (308, True, 1),
        # It might be a gate: no redirect leads back from there. The way back leads there again, so it is the page itself.
        (302, True, 2),
        (302, {"expect": ".product"}, 1),
    ],
)
@deferred_f_from_coro_f
async def test_a_page_that_moved_is_no_gate(status: int, flag: Any, solves: int) -> None:
    async with simulator() as capsolver:
        request = flagged(f"{capsolver.site_url}/old/{status}", flag)
        done = await crawl(capsolver, [request], DOWNLOADER_MIDDLEWARES={Moving: 900})
        assert product(done) == "Product 7"
        assert capsolver.state()["tasks"]["paid"] == solves


@deferred_f_from_coro_f
async def test_expect_leads_back_from_a_gate_that_says_thank_you() -> None:
    async with simulator() as capsolver:
        url = f"{capsolver.site_url}/redirect/recaptcha-v2/7?style=thanks"
        done = await crawl(capsolver, [flagged(url, {"expect": ".product"})])
        assert product(done) == "Product 7"
        assert capsolver.state()["tasks"]["paid"] == 1


@pytest.mark.parametrize(("host", "kept"), [("127.0.0.1", True), ("localhost", False)])
@deferred_f_from_coro_f
async def test_a_solution_in_a_header_is_not_taken_along_to_another_site(host: str, kept: bool) -> None:
    class Leading:
        def process_response(self, request: Request, response: Any, spider: Any = None) -> Any:
            if response.status == 200 and "/header/" in response.url:
                port = response.url.split(":")[2].split("/")[0]
                return response.replace(status=302, headers={"Location": f"http://{host}:{port}/free/1"})
            return response

    async with simulator() as capsolver:
        request = flagged(f"{capsolver.site_url}/header/recaptcha-v2/5", {"inject": {"header": "X-Captcha-Token"}})
        done = await crawl(capsolver, [request], DOWNLOADER_MIDDLEWARES={Leading: 900})
        assert product(done) == "Product 1"
        assert ("X-Captcha-Token" in done.response.request.headers) is kept


# Attempts


@deferred_f_from_coro_f
async def test_attempts_are_bounded_where_the_site_rejects_every_solution() -> None:
    async with simulator() as capsolver:
        done = await crawl(capsolver, ["/reject/recaptcha-v2/7"], CAPSOLVER_RETRY_TIMES=1)
        assert isinstance(done.error, UnsolvableCaptchaError)
        assert done.error.attempts == 2
        assert capsolver.state()["tasks"]["paid"] == 2
        assert done.ours()["wasted/rejected"] == 2


@deferred_f_from_coro_f
async def test_failed_solves_are_tried_again_and_count_as_attempts() -> None:
    async with simulator(quirks=["solve-failed:1"]) as capsolver:
        done = await crawl(capsolver, ["/recaptcha-v2/7"])
        assert product(done) == "Product 7"
        assert (capsolver.state()["tasks"]["created"], capsolver.state()["tasks"]["paid"]) == (2, 1)
    async with simulator(quirks=["solve-failed"]) as capsolver:
        done = await crawl(capsolver, ["/recaptcha-v2/7"], CAPSOLVER_RETRY_TIMES=1)
        assert isinstance(done.error, UnsolvableCaptchaError)
        assert (done.error.code, done.error.attempts) == ("ERROR_CAPTCHA_SOLVE_FAILED", 2)
        assert capsolver.state()["tasks"]["created"] == 2


@pytest.mark.parametrize("style", ["", "?style=get-form"])
@deferred_f_from_coro_f
async def test_after_a_rejection_the_page_is_solved_anew(style: str) -> None:
    async with simulator(quirks=["unknown-token:1"]) as capsolver:
        done = await crawl(capsolver, [f"/recaptcha-v2/7{style}"])
        assert product(done) == "Product 7"
        assert (done.ours()["wasted/rejected"], capsolver.state()["tasks"]["paid"]) == (1, 2)


# Expect


@deferred_f_from_coro_f
async def test_expect_settles_what_is_gated() -> None:
    async with simulator() as capsolver:
        site = capsolver.site_url
        done = await crawl(capsolver, [flagged(f"{site}/recaptcha-v2/7?style=ok", {"expect": ".product"})])
        assert "Product 7" in done.response.text
        assert capsolver.state()["tasks"]["created"] == 1
        done = await crawl(capsolver, [flagged(f"{site}/recaptcha-v2/7?style=widget", {"expect": ".product"})])
        assert "asks for 'q'" in str(done.error)
        assert capsolver.state()["tasks"]["created"] == 1
        done = await crawl(capsolver, [flagged(f"{site}/recaptcha-v2/7?style=widget", {"expect": "article, main, p"})])
        assert capsolver.state()["tasks"]["created"] == 1
        done = await crawl(capsolver, [flagged(f"{site}/free/7", {"expect": ".nowhere"})])
        assert isinstance(done.error, UnsupportedCaptchaError)
        assert ".nowhere" in str(done.error)


@deferred_f_from_coro_f
async def test_errors_of_the_site_stay_the_sites() -> None:
    async with simulator() as capsolver:
        site = capsolver.site_url
        done = await crawl(
            capsolver,
            [
                flagged(f"{site}/status/404", {"expect": ".x"}),
                flagged(f"{site}/status/403"),
                flagged(f"{site}/status/500"),
            ],
        )
        assert sorted(error.response.status for error in done.errors) == [403, 404, 500]  # type: ignore[attr-defined]
        assert capsolver.state()["api"]["calls"].get("createTask", 0) == 0
