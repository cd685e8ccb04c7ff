"""What a spider, its log and its stats see where something fails."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from scrapy import Request
from scrapy.exceptions import IgnoreRequest
from scrapy.http import HtmlResponse
from scrapy.utils.defer import deferred_f_from_coro_f
from twisted.internet.error import ConnectError

from scrapy_capsolver.errors import (
    CapSolverAccountError,
    CapSolverUnavailableError,
    CaptchaProxyError,
    CaptchaTimeoutError,
    UnsolvableCaptchaError,
    UnsupportedCaptchaError,
)
from tests.crawls import Crawl, bought, crawl, simulator
from tests.tls import unverifiable_server

GATE = "/recaptcha-v2/7"


def ours(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name.startswith("scrapy_capsolver")]


def wasted(done: Crawl) -> int:
    """Tasks that were paid in vain, or may have been."""
    return int(sum(value for name, value in done.ours().items() if name.startswith("wasted/")))


def unknown(done: Crawl) -> int:
    """Tasks of which nobody knows whether they were charged."""
    stats = done.ours()
    return int(stats.get("wasted/possibly_paid", 0) + stats.get("wasted/abandoned", 0))


@pytest.mark.parametrize(
    ("quirk", "error", "created", "paid"),
    [
        # createTask: what is ambiguous is not sent again, and counted as possibly paid
        ("create-reply-lost", CapSolverUnavailableError, 1, 1),
        ("create-html-504", CapSolverUnavailableError, 1, 1),
        ("create-html-200", CapSolverUnavailableError, 1, 1),
        ("create-truncated-json", CapSolverUnavailableError, 1, 1),
        ("create-short-body", CapSolverUnavailableError, 1, 1),
        ("create-empty-body", CapSolverUnavailableError, 1, 1),
        ("create-json-list", CapSolverUnavailableError, 1, 1),
        ("create-json-null", CapSolverUnavailableError, 1, 1),
        ("create-not-utf8", CapSolverUnavailableError, 1, 1),
        ("create-huge-body", CapSolverUnavailableError, 1, 1),
        ("create-silence", CapSolverUnavailableError, 1, 1),
        ("create-html-502", CapSolverUnavailableError, 0, 1),
        ("create-redirect", CapSolverUnavailableError, 0, 0),
        ("create-redirect-307", CapSolverUnavailableError, 0, 0),
        ("create-html-403", CapSolverUnavailableError, 0, 0),
        # what CapSolver itself says
        ("create-zero-balance", CapSolverAccountError, 0, 0),
        ("create-maintenance", UnsolvableCaptchaError, 0, 0),
        ("create-bad-request", UnsolvableCaptchaError, 0, 0),
        ("create-unknown-error", UnsolvableCaptchaError, 0, 0),
        ("create-service-unavailable", CapSolverUnavailableError, 0, 0),
        ("invalid-site-key-late", UnsolvableCaptchaError, 1, 0),
        ("unsolvable", UnsolvableCaptchaError, 3, 0),
        ("failed-over-200", UnsolvableCaptchaError, 3, 0),
        ("failed-over-400", UnsolvableCaptchaError, 3, 0),
        ("proxy-banned", CaptchaProxyError, 1, 0),
        ("ready-without-token", UnsolvableCaptchaError, 1, 0),
        ("ready-empty-token", UnsolvableCaptchaError, 1, 0),
        ("ready-without-solution", UnsolvableCaptchaError, 1, 0),
        ("solution-string", UnsolvableCaptchaError, 1, 0),
        # polls that bring nothing until the deadline
        ("poll-html-502", CaptchaTimeoutError, 1, 1),
        ("poll-reply-lost", CaptchaTimeoutError, 1, 1),
    ],
)
@deferred_f_from_coro_f
async def test_every_failure_is_one_typed_error(
    quirk: str, error: type, created: int, paid: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with simulator(quirks=[quirk], solve_seconds=(1, 2)) as capsolver:
        done = await crawl(capsolver, [GATE], CAPSOLVER_TIMEOUT=20 if quirk.startswith("poll-") else 150)
        assert type(done.error) is error
        assert capsolver.state()["tasks"]["created"] == created
        assert unknown(done) == paid
        assert done.error.possibly_paid == wasted(done) >= paid
        assert done.error.attempts == created if created else done.error.attempts > 0
        warnings = [record for record in ours(caplog) if record.levelno >= logging.WARNING]
        assert any(str(done.error) in record.getMessage() for record in warnings)
        assert "recaptcha_v2 at 127.0.0.1" in str(done.error)
        assert "CAP-" not in caplog.text
        assert capsolver.state()["site"]["redirected_api_calls"] == 0


@pytest.mark.parametrize(
    ("quirks", "path", "settings"),
    [
        ((), "/reject/turnstile/{}", {}),
        (("solve-failed/2",), "/reject/recaptcha-v2/{}", {}),
        (("create-reply-lost/3",), "/reject/turnstile/{}", {}),
        (("unknown-token",), "/turnstile/{}", {"CAPSOLVER_RETRY_TIMES": 1}),
        (("unknown-token", "solve-failed/3"), "/aws-waf/{}", {}),
        (("ready-without-token",), "/aws-waf/{}", {}),
        (("ready-without-token",), "/turnstile/{}", {"CAPSOLVER_MAX_SOLVES": 2}),
        ((), "/reject/turnstile/{}", {"CAPSOLVER_MAX_SOLVES": 4}),
    ],
)
@deferred_f_from_coro_f
async def test_errors_say_what_was_created_and_what_was_charged(
    quirks: tuple[str, ...], path: str, settings: dict[str, Any]
) -> None:
    """Over all requests: each task in the error of one of them, and each that was paid in vain."""
    async with simulator(quirks=quirks, solve_seconds=(1, 2)) as capsolver:
        pages = [path.format(number) for number in range(5)]
        done = await crawl(capsolver, pages, CAPSOLVER_MAX_REJECTIONS=0, **settings)
        errors: list[Any] = done.errors
        assert len(errors) == 5
        assert sum(error.possibly_paid for error in errors) == wasted(done) > 0
        assert sum(error.attempts for error in errors) == capsolver.state()["tasks"]["created"]


@pytest.mark.parametrize(
    "quirk",
    [
        "poll-html-502:3",
        "poll-reply-lost:2",
        "poll-html-503/2",
        "poll-service-unavailable:1",
        "poll-rate-limit-429:1",
        "poll-html-429:2",
        "poll-truncated-json:2",
        "poll-json-list:2",
        "poll-empty-body:1",
        "poll-request-lost:2",
        "poll-huge-body:1",
        "create-service-unavailable:1",
        "create-rate-limit:1",
        "create-bad-request:1",
        "solve-failed:2",
        "status-missing",
        "status-null",
        "status-processing",
        "error-fields-missing",
        "error-fields-null",
    ],
)
@deferred_f_from_coro_f
async def test_what_passes_costs_time_and_no_task(quirk: str) -> None:
    async with simulator(quirks=[quirk], solve_seconds=(1, 2)) as capsolver:
        done = await crawl(capsolver, [GATE])
        assert done.response.css(".product::text").get() == "Product 7"
        assert capsolver.state()["tasks"]["paid"] == 1
        assert capsolver.state()["tasks"]["created"] == (3 if quirk == "solve-failed:2" else 1)
        assert unknown(done) == 0


@deferred_f_from_coro_f
async def test_a_wrong_key_stops_all_solving_by_one_line_and_the_crawl_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with simulator() as capsolver:
        urls: list[Any] = [f"/recaptcha-v2/{n}" for n in range(20)]
        urls += [Request(f"{capsolver.site_url}/free/{n}") for n in range(20)]
        done = await crawl(capsolver, urls, CAPSOLVER_API_KEY="CAP-WRONG-SECRET", CAPSOLVER_CONCURRENCY=2)
        assert [type(error) for error in done.errors] == [CapSolverAccountError] * 20
        assert len(done.responses) == 20
        assert bought(capsolver) == {}
        (line,) = [record for record in ours(caplog) if record.levelno == logging.ERROR]
        assert "the API key is wrong: check CAPSOLVER_API_KEY" in line.getMessage()
        assert "SECRET" not in caplog.text


@deferred_f_from_coro_f
async def test_no_connection_is_tried_again_and_is_never_possibly_paid() -> None:
    async with simulator() as capsolver:
        done = await crawl(capsolver, [GATE], CAPSOLVER_API_URL="http://127.0.0.1:9")
        assert type(done.error) is CapSolverUnavailableError
        assert "no connection" in str(done.error)
        assert done.error.possibly_paid == 0
        assert unknown(done) == 0


@deferred_f_from_coro_f
async def test_an_unverified_certificate_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    async with simulator() as capsolver:
        with unverifiable_server() as (url, requests):
            done = await crawl(capsolver, [GATE], CAPSOLVER_API_URL=url)
        assert requests == []
        assert type(done.error) is CapSolverUnavailableError
        assert "TLS" in str(done.error)
        assert done.error.possibly_paid == 0


@deferred_f_from_coro_f
async def test_on_error_pass_hands_the_captcha_page_to_the_callback_marked() -> None:
    async with simulator(quirks=["unsolvable"]) as capsolver:
        done = await crawl(capsolver, [GATE], CAPSOLVER_ON_ERROR="pass", RETRY_ENABLED=True)
        assert done.response.status == 403
        assert done.response.flags == ["capsolver_failed"]
        assert "not recognised" in done.response.meta["capsolver_error"]
        assert capsolver.state()["tasks"]["created"] == 3


@deferred_f_from_coro_f
async def test_on_error_pass_sends_a_before_request_unsolved() -> None:
    async with simulator(quirks=["unsolvable"]) as capsolver:
        flag = {"type": "ReCaptchaV2TaskProxyLess", "websiteKey": capsolver.site_keys["recaptcha-v2"], "when": "before"}
        request = Request(capsolver.site_url + GATE, meta={"capsolver": flag})
        done = await crawl(capsolver, [request], CAPSOLVER_ON_ERROR="pass")
        assert done.response.flags == ["capsolver_failed"]
        assert capsolver.state()["tasks"]["created"] == 3


class GateForImage:
    """A site that answers requests for its captcha's image by a page with a captcha."""

    status = 200

    def process_response(self, request: Request, response: Any, spider: Any = None) -> Any:
        if "captcha.png" in request.url:
            headers = {"Location": "/free/1"} if GateForImage.status == 302 else {}
            page = b'<div class="g-recaptcha" data-sitekey="6LeIxAcTAAAAAJcZVRqyHh71UMIEGNQ_MXjiZKhI"></div>'
            return HtmlResponse(response.url, status=GateForImage.status, headers=headers, body=page)
        return response


@pytest.mark.parametrize("status", [200, 403, 302, 500])
@deferred_f_from_coro_f
async def test_an_image_that_cannot_be_fetched_is_an_error_before_anything_is_paid(status: int) -> None:
    GateForImage.status = status
    async with simulator() as capsolver:
        flag = {"type": "ImageToTextTask", "selector": "img#captcha", "inject": {"form": "answer"}}
        request = Request(f"{capsolver.site_url}/image/1", meta={"capsolver": flag})
        done = await crawl(capsolver, [request], DOWNLOADER_MIDDLEWARES={GateForImage: 900}, CAPSOLVER_RETRY_TIMES=0)
        if status == 200:  # whatever came, CapSolver says that it is no image
            assert done.error.code == "ERROR_INVALID_IMAGE"
        else:
            assert type(done.error) is UnsupportedCaptchaError
            assert f"status {status}" in str(done.error)
            assert capsolver.state()["api"]["calls"].get("createTask", 0) == 0
        assert done.stats["downloader/request_count"] == 2


@pytest.mark.parametrize("problem", [IgnoreRequest("Forbidden by robots.txt"), ConnectError("no route")])
@deferred_f_from_coro_f
async def test_an_image_that_robots_or_the_network_forbid_is_an_error(problem: Exception) -> None:
    class Forbidding:
        def process_request(self, request: Request, spider: Any = None) -> None:
            if "captcha.png" in request.url:
                raise problem

    async with simulator() as capsolver:
        flag = {"type": "ImageToTextTask", "selector": "img#captcha", "inject": {"form": "answer"}}
        request = Request(f"{capsolver.site_url}/image/1", meta={"capsolver": flag})
        done = await crawl(capsolver, [request], DOWNLOADER_MIDDLEWARES={Forbidding: 100})
        assert type(done.error) is UnsupportedCaptchaError
        assert ("robots.txt" if isinstance(problem, IgnoreRequest) else "ConnectError") in str(done.error)


@deferred_f_from_coro_f
async def test_one_line_per_solve(caplog: pytest.LogCaptureFixture) -> None:
    async with simulator() as capsolver:
        await crawl(capsolver, [GATE, "/turnstile/1"])
        lines = [record.getMessage() for record in ours(caplog) if record.levelno >= logging.INFO]
        assert sorted(line.split(" in ")[0] for line in lines) == [
            "CapSolver account: 100.0000 USD, 0 packages",
            "Solved recaptcha_v2 at 127.0.0.1",
            "Solved turnstile at 127.0.0.1",
        ]
        assert not [r for r in caplog.records if "factory" in r.getMessage()]


@deferred_f_from_coro_f
async def test_no_secret_is_in_the_log_at_any_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with simulator(quirks=["solve-failed:1", "poll-html-502:1", "create-bad-request:1"]) as capsolver:
        done = await crawl(capsolver, [GATE, "/turnstile/1"])
        tokens = [r.meta["capsolver_solution"] for r in done.responses]
        secrets = [capsolver.key, *(t.get("token") or t.get("gRecaptchaResponse") for t in tokens)]
        assert len(secrets) == 3
        for secret in secrets:
            assert secret[:24] not in caplog.text
            assert secret not in repr(done.stats)


@deferred_f_from_coro_f
async def test_an_unsupported_page_says_so() -> None:
    async with simulator() as capsolver:
        flag = {"type": "ReCaptchaV2TaskProxyLess", "inject": {"json": "a.b"}}
        request = Request(
            capsolver.site_url + "/post/recaptcha-v2/1", method="POST", body="q=1", meta={"capsolver": flag}
        )
        request.headers["Content-Type"] = "application/x-www-form-urlencoded"
        done = await crawl(capsolver, [request])
        assert type(done.error) is UnsupportedCaptchaError
