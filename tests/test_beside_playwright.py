"""Beside the real scrapy-playwright, with a real Chromium: the documentation's examples, on a gated site."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from scrapy_capsolver.testing import RunningSimulator, running_simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DOCS = (Path(__file__).parent.parent / "docs" / "spiders.rst").read_text("utf-8")
EXAMPLES = {
    block.split("# ", 1)[1].split("\n", 1)[0]: textwrap.dedent(block)
    for block in re.findall(r"^\.\. code-block:: python\n\n((?:(?: {4}.*)?\n)+)", DOCS, re.MULTILINE)
    if block.lstrip().startswith("# ")
}
OFFLINE = """
import tldextract
from scrapy.downloadermiddlewares import cookies

cookies._split_domain = tldextract.TLDExtract(suffix_list_urls=())
"""
FLAGGED = """
import scrapy

class FlaggedSpider(scrapy.Spider):
    name = "flagged"
    custom_settings = {
        "DOWNLOAD_HANDLERS": {"http": "scrapy_playwright.handler.ScrapyPlaywrightDownloadHandler"},
        "PLAYWRIGHT_MAX_PAGES_PER_CONTEXT": 1,  # a page that nobody closes stops everything
    }

    async def start(self):
        for number, url in enumerate(self.url.split()):
            meta = {"playwright": True, "capsolver": True}
            if hasattr(self, "init"):
                meta["playwright_page_init_callback"] = self.init
            meta |= {**({"playwright_include_page": True} if number else {})}
            yield scrapy.Request(url, meta=meta, errback=self.failed)

    async def parse(self, response):
        solution = response.meta["capsolver_solution"]
        yield {"title": response.css("h1::text").get(), "keys": sorted(solution), "flags": response.flags}
        if "playwright_page" in response.meta:
            await response.meta["playwright_page"].close()

    async def failed(self, failure):
        yield {"error": type(failure.value).__name__, "message": str(failure.value)}
        if "playwright_page" in failure.request.meta:
            await failure.request.meta["playwright_page"].close()
"""

pytest.importorskip("scrapy_playwright", reason="scrapy-playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")


@pytest.fixture(scope="module")
def process() -> Iterator[RunningSimulator]:
    with running_simulator() as running:
        yield running


@pytest.fixture
def simulator(process: RunningSimulator) -> RunningSimulator:
    process.restore()
    return process


def crawl(
    tmp_path: Path, simulator: RunningSimulator, spider: str, *paths: str, options: tuple[str, ...] = ()
) -> tuple[list[Any], str]:
    (tmp_path / "spider.py").write_text(OFFLINE + spider)
    launch = {"executable_path": CHROMIUM, "args": ["--no-sandbox"]}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "scrapy", "runspider", "spider.py", "-O", "items.json"),
            *("-a", "url=" + " ".join(simulator.site_url + path for path in paths)),
            *("-s", f"PLAYWRIGHT_LAUNCH_OPTIONS={json.dumps(launch)}", "-s", "CLOSESPIDER_TIMEOUT=90"),
            *(*simulator.arguments, *options),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    items = (tmp_path / "items.json").read_text()
    assert items, done.stderr
    return json.loads(items), done.stderr


TAKE = ("-a", "init=scrapy_capsolver.integrations.playwright.take_cookies")


@pytest.mark.parametrize(
    ("path", "keys", "options"),
    [("/turnstile/7", ["token", "type", "userAgent"], ()), ("/aws-waf/7", ["cookies"], TAKE)],
)
def test_a_flag_is_enough(
    tmp_path: Path, simulator: RunningSimulator, path: str, keys: list[str], options: tuple[str, ...]
) -> None:
    items, log = crawl(tmp_path, simulator, FLAGGED, path, path.replace("7", "8"), options=options)
    assert not [item for item in items if "error" in item], log
    assert sorted(item["title"] for item in items) == ["Product 7", "Product 8"], log
    assert all(item["keys"] == keys and "capsolver" in item["flags"] for item in items)
    assert simulator.state()["site"]["refused"] == {}
    assert simulator.state()["tasks"]["paid"] == (1 if options else 2)
    assert "Traceback" not in log


def test_a_clearance_that_the_browser_would_leave_out_is_not_paid(tmp_path: Path, simulator: RunningSimulator) -> None:
    items, log = crawl(tmp_path, simulator, FLAGGED, "/aws-waf/7")
    assert [item["error"] for item in items] == ["UnsupportedCaptchaError"], log
    assert (
        "meta['playwright_page_init_callback'] = 'scrapy_capsolver.integrations.playwright.take_cookies'"
        in items[0]["message"]
    )
    assert simulator.state()["tasks"]["paid"] == 0


def test_the_pages_that_were_kept_open_are_closed_where_it_fails(tmp_path: Path, simulator: RunningSimulator) -> None:
    simulator.configure(balance=0)
    items, log = crawl(tmp_path, simulator, FLAGGED, "/free/1?", "/turnstile/7", "/turnstile/8")
    assert [item["error"] for item in items if "error" in item] == ["CapSolverAccountError"] * 2, log


def test_the_token_in_the_page(tmp_path: Path, simulator: RunningSimulator) -> None:
    items, log = crawl(tmp_path, simulator, EXAMPLES["in_page.py"], "/turnstile/7")
    assert items == [{"title": "Product 7"}], log
    assert simulator.state()["money"]["spent"] == 0.0012


def test_the_clearance_in_the_browsers_context(tmp_path: Path, simulator: RunningSimulator) -> None:
    items, log = crawl(tmp_path, simulator, EXAMPLES["in_context.py"], "/aws-waf/7")
    assert items == [{"title": "Product 7"}], log
    assert simulator.state()["tasks"]["paid"] == 1
    assert simulator.state()["site"]["gates_shown"] == {"aws-waf": 1}


def test_without_a_browser_the_example_by_hand(tmp_path: Path, simulator: RunningSimulator) -> None:
    items, log = crawl(tmp_path, simulator, EXAMPLES["login.py"], "/turnstile/7")
    assert items == [{"title": "Product 7", "cost": 0.0012}], log
    assert simulator.state()["feedback"]
