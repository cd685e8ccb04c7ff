"""Other reactors than asyncio's, and none at all."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING

import pytest
import scrapy

from tests.processes import running, simulator_process

if TYPE_CHECKING:
    from pathlib import Path

SPIDER = """
    import json, sys, scrapy, tldextract
    from scrapy.crawler import {process}
    from scrapy.downloadermiddlewares import cookies

    cookies._split_domain = tldextract.TLDExtract(suffix_list_urls=())

    class S(scrapy.Spider):
        name = "s"
        start_urls = [sys.argv[2] + "/free/1", sys.argv[2] + "/recaptcha-v2/2", sys.argv[2] + "/image/3"]
        image = {{"type": "ImageToTextTask", "selector": "img#captcha", "inject": {{"form": "answer"}}}}

        async def start(self):
            for url in self.start_urls:
                yield scrapy.Request(url, meta={{"capsolver": self.image if "image" in url else True}})

        def parse(self, response):
            print(json.dumps(response.css(".product::text").get()), flush=True)

    process = {process}({{
        "ADDONS": {{"scrapy_capsolver.Addon": 500}}, "CAPSOLVER_API_URL": sys.argv[1], "TELNETCONSOLE_ENABLED": False,
        "REMOTE_CONTROL_ENABLED": False, "LOG_LEVEL": "INFO", **{settings!r},
    }})
    process.crawl(S)
    process.start()
"""


def crawl(tmp_path: Path, process: str, settings: dict[str, object]) -> tuple[list[str], str]:
    """The products that came, and the log."""
    script = tmp_path / "spider.py"
    script.write_text(textwrap.dedent(SPIDER).format(process=process, settings=settings))
    with (
        simulator_process("--solve-seconds", "0.1") as where,
        running("-W", "error", str(script), where["api"], where["site"], CAPSOLVER_API_KEY=where["key"]) as spider,
    ):
        output, log = spider.communicate(timeout=60)
    return sorted(json.loads(line) for line in output.splitlines()), log


@pytest.mark.parametrize("reactor", ["selectreactor.SelectReactor", "asyncioreactor.AsyncioSelectorReactor"])
def test_any_reactor(reactor: str, tmp_path: Path) -> None:
    products, log = crawl(tmp_path, "CrawlerProcess", {"TWISTED_REACTOR": f"twisted.internet.{reactor}"})
    assert products == ["Product 1", "Product 2", "Product 3"], log
    assert "Traceback" not in log
    assert log.count(" [scrapy_capsolver._crawl.stats] INFO: Solved ") == 2


@pytest.mark.skipif(
    scrapy.version_info < (2, 19), reason="Scrapy brings a way to download without a reactor from 2.19 on"
)
def test_no_reactor_is_one_clear_line_and_the_crawl_goes_on(tmp_path: Path) -> None:
    settings = {"TWISTED_REACTOR_ENABLED": False, "RETRY_ENABLED": False}
    products, log = crawl(tmp_path, "AsyncCrawlerProcess", settings)
    assert products == ["Product 1"], log
    assert "Traceback" not in log
    (line,) = [line for line in log.splitlines() if "capsolver" in line.lower() and "WARNING" in line]
    assert "scrapy-capsolver needs Twisted's reactor: set TWISTED_REACTOR_ENABLED to True" in line
