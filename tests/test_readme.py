"""What the README says is what the code does."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

from scrapy import Request
from scrapy.utils.defer import deferred_f_from_coro_f, maybe_deferred_to_future
from scrapy.utils.test import get_crawler

import scrapy_capsolver
from scrapy_capsolver import CapSolver, CaptchaError, captcha
from scrapy_capsolver.families import FAMILIES
from scrapy_capsolver.flag import OWN_KEYS
from scrapy_capsolver.settings import CapSolverSettings
from tests.crawls import Crawl, crawl, run, settings_for, simulator

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def first_column(title: str) -> list[str]:
    """The code in the first cell of each row."""
    rows = [line.split("|")[1] for line in section(title).splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


def test_settings_and_their_defaults() -> None:
    rows = {
        cells[1].strip(" `"): cells[2].strip(" `")
        for cells in (line.split("|") for line in section("Settings").splitlines() if line.startswith("| `"))
    }
    defaults: Any = CapSolverSettings(api_key="k")
    assert rows.keys() == {f"CAPSOLVER_{name.upper()}" for name in CapSolverSettings.__dataclass_fields__} | {
        "CAPSOLVER_ENABLED"
    }
    for name in ("api_url", "auto", "concurrency", "max_pending", "retry_times", "on_error", "priority_adjust"):
        assert rows[f"CAPSOLVER_{name.upper()}"] == str(getattr(defaults, name))
    assert rows["CAPSOLVER_TIMEOUT"] == f"{defaults.timeout:g}"


def test_errors() -> None:
    errors = {name for name in scrapy_capsolver.__all__ if name.endswith("Error") and name != CaptchaError.__name__}
    assert set(first_column("Errors")) == errors


def test_stats() -> None:
    paths = [
        path for path in (ROOT / "scrapy_capsolver").rglob("*.py") if not {"simulator", "families"} & {*path.parts}
    ]
    code = "".join(path.read_text("utf-8") for path in paths)
    counted = set(re.findall(r'count\(\s*f?"([^"]+)"', code))
    counted = {re.sub(r"{[^}]*}", "<>", name) for name in counted}
    documented = {re.sub(r"<[^>]*>", "<>", name) for name in first_column("Stats")} | {"unpriced"}
    reasons = set(re.findall(r'(?:wasted|unknown)\([^()]*(?:\(.*?\))*[^()]*"([a-z_]+)"\)', code)) | {
        "already_sent",
        "possibly_paid",
    }
    assert reasons >= {"rejected", "expired", "abandoned", "unusable", "no_solution", "undelivered"}
    assert all(f"`{reason}`" in section("Stats") for reason in reasons)
    assert counted == documented


def test_families_and_flags() -> None:
    assert all(f"`{family.name}`" in section("Stats") for family in FAMILIES)
    keys = first_column("Flags")
    assert all(f'"{key}"' in keys for key in OWN_KEYS)


@deferred_f_from_coro_f
async def test_the_lines_about_your_own_code_work() -> None:
    flag, by_hand = re.findall(r"```python\n(.*?)```", section("In your own code"), re.DOTALL)
    scope: dict[str, Any] = {"captcha": captcha, "CapSolver": CapSolver}
    exec(flag, scope)
    assert scope["meta"]["capsolver"]["when"] == "before"
    exec("async def solve(self, response):\n" + textwrap.indent(by_hand, "    "), scope)

    async def parse(done: Crawl, spider: Any, response: Any) -> None:
        await scope["solve"](spider, response)

    async with simulator() as capsolver:
        request = Request(f"{capsolver.site_url}/turnstile/7", meta={"handle_httpstatus_all": True, "dont_retry": True})
        done = await crawl(capsolver, [request], parse=parse)
        assert done.ours()["accepted/turnstile"] == 1


@deferred_f_from_coro_f
async def test_the_first_spider_works() -> None:
    (source,) = re.findall(r"```python\n(import scrapy\n.*?)```", README, re.DOTALL)
    async with simulator() as capsolver:
        scope: dict[str, Any] = {}
        exec(source.replace("https://shop.example/products", f"{capsolver.site_url}/recaptcha-v2/7"), scope)
        items: list[Any] = []

        class Keep:
            def process_item(self, item: Any, spider: Any = None) -> Any:
                items.append(item)
                return item

        (setup,) = re.findall(r"```python\n(ADDONS.*?)```", README, re.DOTALL)
        exec(setup, scope)
        settings = settings_for(capsolver, ITEM_PIPELINES={Keep: 1}, ADDONS=scope["ADDONS"])
        await maybe_deferred_to_future(run(get_crawler(scope["ShopSpider"], settings)))
        assert items == [{"title": "Product 7", "captcha": True}]


@deferred_f_from_coro_f
async def test_without_the_addon_as_the_readme_says() -> None:
    (line,) = re.findall(r"`(DOWNLOADER_MIDDLEWARES = .*?)`", README)
    scope: dict[str, Any] = {}
    exec(line, scope)
    async with simulator() as capsolver:
        request = Request(f"{capsolver.site_url}/turnstile/7", meta={"capsolver": True})
        done = await crawl(capsolver, [request], ADDONS={}, DOWNLOADER_MIDDLEWARES=scope["DOWNLOADER_MIDDLEWARES"])
        assert done.response.css(".product::text").get() == "Product 7"
