"""The README is the documentation's front door: what it says in short is what the code does. Its code runs in test_docs_code."""

from __future__ import annotations

import re
from typing import Any

from scrapy import Request
from scrapy.utils.defer import deferred_f_from_coro_f

from scrapy_capsolver._request.flag import parse_flag
from scrapy_capsolver.settings import CapSolverSettings
from tests.crawls import crawl, simulator
from tests.documents import DOCS, PAGES, README, blocks


def rows(head: str) -> list[list[str]]:
    """The cells of a table's rows."""
    table = PAGES[README].split(f"\n| {head} |")[1].split("\n\n")[0]
    return [[cell.strip(" `") for cell in line.strip("|").split(" | ")] for line in table.splitlines()[2:]]


def test_defaults_of_the_settings_that_it_names() -> None:
    named = rows("Setting")
    assert len(named) >= 5
    defaults: Any = CapSolverSettings(api_key="k")
    for name, default, _ in named:
        value = getattr(defaults, name.removeprefix("CAPSOLVER_").lower())
        words = {"none": None, "all": (), "the environment's": "k"}
        assert value == words[default] if default in words else str(value) == default, name


def test_the_flags_that_it_names_are_some() -> None:
    for shown, _ in rows("Flag"):
        flag = eval(shown, {}, {})
        if isinstance(flag, dict):
            flag = {
                key: {"type": "ReCaptchaV2TaskProxyLess", "websiteKey": "k"}[key] if value is ... else value
                for key, value in flag.items()
            }
        assert (parse_flag(flag, "README") is None) == (flag is False)


def test_every_page_of_the_documentation_can_be_reached() -> None:
    linked = set(re.findall(r"\]\(docs/([^)#]+)\)", PAGES[README]))
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.glob("*.rst")} - {"index.rst"}
    assert not pages - linked, f"pages that the README does not name: {sorted(pages - linked)}"


@deferred_f_from_coro_f
async def test_its_set_up_is_enough() -> None:
    (setup,) = [source for _, source in blocks(README, "python") if "ADDONS" in source]
    scope: dict[str, Any] = {}
    exec(setup, scope)
    async with simulator() as capsolver:
        request = Request(f"{capsolver.site_url}/recaptcha-v2/7", meta={"capsolver": True})
        done = await crawl(capsolver, [request], ADDONS=scope["ADDONS"])
        assert done.response.css(".product::text").get() == "Product 7"


@deferred_f_from_coro_f
async def test_without_the_addon_as_the_settings_page_says() -> None:
    (line,) = [source for _, source in blocks("docs/settings.rst", "python") if "DOWNLOADER_MIDDLEWARES" in source]
    scope: dict[str, Any] = {}
    exec(line, scope)
    async with simulator() as capsolver:
        request = Request(f"{capsolver.site_url}/turnstile/7", meta={"capsolver": True})
        done = await crawl(capsolver, [request], ADDONS={}, DOWNLOADER_MIDDLEWARES=scope["DOWNLOADER_MIDDLEWARES"])
        assert done.response.css(".product::text").get() == "Product 7"
