"""Installing the middleware: the add-on, its place, and what makes it refuse."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from scrapy import Request
from scrapy.exceptions import NotConfigured
from scrapy.settings import Settings
from scrapy.utils.defer import deferred_f_from_coro_f
from scrapy.utils.test import get_crawler

from scrapy_capsolver import Addon, CapSolverMiddleware
from tests.crawls import crawl, simulator

NAME = "scrapy_capsolver.CapSolverMiddleware"


def lines(caplog: pytest.LogCaptureFixture, word: str) -> list[str]:
    return [r.getMessage() for r in caplog.records if word in r.getMessage() and r.levelname in {"WARNING", "ERROR"}]


def test_the_addon_puts_the_middleware_in_its_place() -> None:
    settings = Settings()
    Addon().update_settings(settings)
    Addon().update_settings(settings)
    assert dict(settings["DOWNLOADER_MIDDLEWARES"]) == {CapSolverMiddleware: 585}


@pytest.mark.parametrize("value", [None, 600])
@pytest.mark.parametrize("key", [NAME, CapSolverMiddleware])
def test_the_addon_keeps_the_users_own_entry(key: Any, value: Any) -> None:
    settings = Settings({"DOWNLOADER_MIDDLEWARES": {key: value}})
    Addon().update_settings(settings)
    assert dict(settings["DOWNLOADER_MIDDLEWARES"]) == {key: value}


@deferred_f_from_coro_f
async def test_without_the_addon() -> None:
    async with simulator() as capsolver:
        done = await crawl(capsolver, ["/turnstile/1"], ADDONS={}, DOWNLOADER_MIDDLEWARES={NAME: 585})
        assert done.response.css(".product::text").get() == "Product 1"


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"CAPSOLVER_API_KEY": None}, "CAPSOLVER_API_KEY is missing"),
        ({"CAPSOLVER_API_KEY": "  "}, "CAPSOLVER_API_KEY is blank"),
        ({"CAPSOLVER_CONCURRENCY": "lots"}, "CAPSOLVER_CONCURRENCY is 'lots': it takes a whole number of 1 or more"),
        (
            {"CAPSOLVER_API_URL": "http://api.capsolver.com"},
            "CAPSOLVER_API_URL is 'http://api.capsolver.com': it takes",
        ),
        ({"CAPSOLVER_ENABLED": "perhaps"}, "CAPSOLVER_ENABLED is 'perhaps': it takes True or False"),
        ({"TWISTED_REACTOR_ENABLED": False}, "set TWISTED_REACTOR_ENABLED to True"),
    ],
)
@deferred_f_from_coro_f
async def test_a_wrong_setup_is_one_line_and_the_crawl_goes_on(
    settings: dict[str, Any], line: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with simulator() as capsolver:
        request = Request(f"{capsolver.site_url}/free/1")
        if (
            "TWISTED_REACTOR_ENABLED" in settings
        ):  # a crawl cannot be without reactor here, the middleware can be told so
            crawler = get_crawler(settings_dict={"CAPSOLVER_API_KEY": "CAP-1"})
            crawler.settings = Settings(settings)
            with pytest.raises(NotConfigured, match=line):
                CapSolverMiddleware.from_crawler(crawler)
            return
        done = await crawl(capsolver, [request], **settings)
        assert len(done.responses) == 1
        (warning,) = lines(caplog, "CAPSOLVER_")
        assert line in warning


@deferred_f_from_coro_f
async def test_switched_off_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    async with simulator() as capsolver:
        done = await crawl(capsolver, ["/turnstile/1?style=ok"], CAPSOLVER_ENABLED="False", CAPSOLVER_API_KEY=None)
        assert done.ours() == {}
        assert not lines(caplog, "apsolver")
        assert not lines(caplog, "CAPSOLVER")


@deferred_f_from_coro_f
async def test_a_misspelt_setting_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    async with simulator() as capsolver:
        await crawl(capsolver, [Request(f"{capsolver.site_url}/free/1")], CAPSOLVER_RETRYTIMES=1)
        (warning,) = lines(caplog, "CAPSOLVER_RETRYTIMES")
        assert "did you mean CAPSOLVER_RETRY_TIMES?" in warning


def test_importing_the_package_is_light_and_installs_no_reactor() -> None:
    code = (
        "import sys, scrapy_capsolver, scrapy_capsolver.addon\n"
        "assert 'treq' not in sys.modules and 'twisted.internet.reactor' not in sys.modules\n"
        "import scrapy_capsolver.middleware\n"
        "assert 'twisted.internet.reactor' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
