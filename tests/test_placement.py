"""Where the middleware stands: a place where it cannot work ends the crawl before anything is bought."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from scrapy import Request, Spider
from scrapy.downloadermiddlewares.cookies import CookiesMiddleware
from scrapy.utils.defer import deferred_f_from_coro_f, maybe_deferred_to_future
from scrapy.utils.test import get_crawler

from scrapy_capsolver import CapSolver, CaptchaCancelledError, CaptchaError
from tests.crawls import crawl, run, settings_for, simulator

if TYPE_CHECKING:
    from pathlib import Path

NAME = "scrapy_capsolver.CapSolverMiddleware"


def lines(caplog: pytest.LogCaptureFixture, word: str) -> list[str]:
    return [r.getMessage() for r in caplog.records if word in r.getMessage() and r.levelname in {"WARNING", "ERROR"}]


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (540, ["before RetryMiddleware", "before MetaRefreshMiddleware"]),
        (560, ["before MetaRefreshMiddleware"]),
        (585, []),
    ],
)
@deferred_f_from_coro_f
async def test_a_place_that_costs_some_gates_is_a_warning(
    order: int, said: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    async with simulator() as capsolver:
        done = await crawl(capsolver, ["/turnstile/1"], DOWNLOADER_MIDDLEWARES={NAME: order}, RETRY_ENABLED=True)
        assert done.response.css(".product::text").get() == "Product 1"
        warnings = lines(caplog, "CapSolverMiddleware")
        assert len(warnings) == len(said)
        for warning, words in zip(warnings, said, strict=True):
            assert words in warning
            assert warning.endswith("its order number should be 585")


COOKIES = "scrapy.downloadermiddlewares.cookies.CookiesMiddleware"
PROXY = "scrapy.downloadermiddlewares.httpproxy.HttpProxyMiddleware"
COMPRESSION = "scrapy.downloadermiddlewares.httpcompression.HttpCompressionMiddleware"


class OwnCookies(CookiesMiddleware):
    """A project's own, which it put where it pleased."""


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"DOWNLOADER_MIDDLEWARES": {NAME: 595}}, "after HttpCompressionMiddleware (pages would arrive compressed):"),
        (
            {"DOWNLOADER_MIDDLEWARES": {NAME: 900}},
            "after HttpCompressionMiddleware (pages would arrive compressed) and after CookiesMiddleware",
        ),
        ({"DOWNLOADER_MIDDLEWARES": {COOKIES: 100}}, "after CookiesMiddleware"),
        ({"DOWNLOADER_MIDDLEWARES": {COOKIES: None, OwnCookies: 100}}, "after CookiesMiddleware"),
        ({"DOWNLOADER_MIDDLEWARES": {NAME: 900}, "COMPRESSION_ENABLED": False}, "stands after CookiesMiddleware"),
    ],
    ids=["595", "900", "cookies first", "own cookies first", "without compression"],
)
@pytest.mark.parametrize("jobdir", [False, True])
@deferred_f_from_coro_f
async def test_a_place_where_nothing_works_ends_the_crawl(
    settings: dict[str, Any], said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, *, jobdir: bool
) -> None:
    """Before a request is sent, with one line, and nothing is bought or asked."""
    if jobdir:
        settings = {**settings, "JOBDIR": str(tmp_path), "CAPSOLVER_STORE": str(tmp_path / "store.sqlite")}
    async with simulator() as capsolver:
        done = await crawl(capsolver, [f"/turnstile/{n}" for n in range(5)], **settings)
        (line,) = lines(caplog, "CapSolverMiddleware")
        assert said in line
        assert "Its order number should be 585. The crawl is stopped" in line
        assert done.stats["finish_reason"] == "capsolver_misplaced"
        assert (done.responses, done.errors) == ([], [])
        state = capsolver.state()
        assert (state["site"]["requests"], state["api"]["calls"]) == (0, {})


@deferred_f_from_coro_f
async def test_a_place_where_nothing_works_and_solving_by_hand() -> None:
    """What ``start()`` asks for before the crawl has ended is not bought either."""
    async with simulator() as capsolver:

        class Asking(Spider):
            name = "asking"
            error: Any = None

            async def start(self) -> Any:
                flag = {
                    "type": "ReCaptchaV2TaskProxyLess",
                    "websiteURL": capsolver.site_url,
                    "websiteKey": capsolver.site_keys["recaptcha-v2"],
                }
                try:
                    await CapSolver.from_crawler(self.crawler).solve(flag)
                except CaptchaError as error:
                    self.error = error
                yield Request(f"{capsolver.site_url}/free/1")

        crawler = get_crawler(Asking, settings_for(capsolver, DOWNLOADER_MIDDLEWARES={NAME: 900}))
        await maybe_deferred_to_future(run(crawler))
        assert isinstance(crawler.spider.error, CaptchaCancelledError)  # type: ignore[union-attr]
        assert capsolver.state()["api"]["calls"] == {}


@pytest.mark.parametrize(
    "settings",
    [
        {"COMPRESSION_ENABLED": False, "COOKIES_ENABLED": False, "DOWNLOADER_MIDDLEWARES": {NAME: 900}},
        {"DOWNLOADER_MIDDLEWARES": {PROXY: 110}},
        {"DOWNLOADER_MIDDLEWARES": {COOKIES: None, COMPRESSION: None, NAME: 900}},
    ],
    ids=["switched off", "proxies first", "taken out"],
)
@deferred_f_from_coro_f
async def test_an_unusual_place_where_solutions_work(
    settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with simulator() as capsolver:
        done = await crawl(capsolver, ["/aws-waf/1"], **settings)
        assert done.response.css(".product::text").get() == "Product 1"
        assert lines(caplog, "CapSolverMiddleware") == []


ADDON = "scrapy_capsolver.Addon"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ADDONS": {NAME: 585}}, "ADDONS names CapSolverMiddleware, which is no add-on"),
        ({"ADDONS": {}, "SPIDER_MIDDLEWARES": {NAME: 585}}, "CapSolverMiddleware is in the wrong setting"),
        ({"ADDONS": {}, "EXTENSIONS": {NAME: 585}}, "CapSolverMiddleware is in the wrong setting"),
        ({"ADDONS": {}, "ITEM_PIPELINES": {NAME: 585}}, "CapSolverMiddleware is in the wrong setting"),
        ({"ADDONS": {}, "DOWNLOADER_MIDDLEWARES": {ADDON: 585}}, "scrapy_capsolver.Addon is an add-on"),
        ({"ADDONS": {}, "EXTENSIONS": {ADDON: 585}}, "scrapy_capsolver.Addon is an add-on"),
    ],
    ids=["ADDONS", "SPIDER_MIDDLEWARES", "EXTENSIONS", "ITEM_PIPELINES", "add-on as middleware", "add-on as extension"],
)
@deferred_f_from_coro_f
async def test_the_wrong_setting_ends_the_crawl(
    settings: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with simulator() as capsolver:
        done = await crawl(capsolver, ["/turnstile/1"], **settings)
        warned = [r.getMessage() for r in caplog.records if r.levelno >= 30]
        assert len(warned) == 1
        assert warned[0].startswith(said)
        assert 'set ADDONS = {"scrapy_capsolver.Addon": 500}. The crawl is stopped' in warned[0]
        assert done.stats["finish_reason"] == "capsolver_misplaced"
        assert capsolver.state()["api"]["calls"] == {}


@deferred_f_from_coro_f
async def test_the_wrong_setting_beside_the_right_one(caplog: pytest.LogCaptureFixture) -> None:
    """One line; what is in its place solves."""
    async with simulator() as capsolver:
        done = await crawl(capsolver, ["/turnstile/1"], SPIDER_MIDDLEWARES={NAME: 585})
        assert done.response.css(".product::text").get() == "Product 1"
        (line,) = lines(caplog, "CapSolverMiddleware")
        assert line.endswith("it is elsewhere as well: take it out of there")
        assert capsolver.state()["api"]["calls"]["getBalance"] == 1
