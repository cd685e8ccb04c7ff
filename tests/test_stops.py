"""When a crawl stops, it stops soon, and nothing is left hanging."""

from __future__ import annotations

import asyncio
import json
import signal
import textwrap
import time
from typing import TYPE_CHECKING, Any

import pytest
from scrapy import Request
from scrapy.exceptions import CloseSpider
from scrapy.utils.defer import deferred_f_from_coro_f
from twisted.internet.defer import fail

from scrapy_capsolver.errors import CaptchaCancelledError
from scrapy_capsolver.service import CapSolver
from tests.crawls import Crawl, crawl, download, simulator
from tests.processes import ask, running, simulator_process

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path


def close_on_free_page(done: Crawl, spider: Any, response: Any) -> None:
    if "/free/" in response.url:
        raise CloseSpider("enough")


@deferred_f_from_coro_f
async def test_close_spider_ends_open_solves_by_a_typed_error() -> None:
    async with simulator(solve_seconds=(100, 100)) as capsolver:
        urls: list[Any] = [f"/turnstile/{n}" for n in range(20)]
        urls.append(Request(f"{capsolver.site_url}/free/1", priority=-1))
        began = time.monotonic()
        done = await crawl(capsolver, urls, parse=close_on_free_page)
        assert time.monotonic() - began < 5  # 100 s at this speed: none was waited for
        assert [type(error) for error in done.errors] == [CaptchaCancelledError] * 20
        assert done.stats["finish_reason"] == "enough"


# Scrapy 2.13 does not close the empty queues that it looks for on disk.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@deferred_f_from_coro_f
async def test_with_a_jobdir_waiting_requests_go_back_to_the_scheduler(tmp_path: Path) -> None:
    async with simulator(solve_seconds=(100, 100)) as capsolver:
        urls: list[Any] = [f"/turnstile/{n}" for n in range(5)]
        urls.append(Request(f"{capsolver.site_url}/free/1", priority=-1))
        first = await crawl(capsolver, urls, parse=close_on_free_page, JOBDIR=str(tmp_path))
        assert not first.errors
        assert first.ours()["stopped"] == 5
        capsolver.configure(solve_seconds=(1, 1))
        second = await crawl(capsolver, [], JOBDIR=str(tmp_path))
        products = sorted(response.css(".product::text").get() for response in second.responses)
        assert products == [f"Product {n}" for n in range(5)]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@deferred_f_from_coro_f
async def test_an_inline_download_does_not_spin_while_the_crawl_stops(tmp_path: Path) -> None:
    async with simulator(solve_seconds=(100, 100)) as capsolver:

        async def parse(done: Crawl, spider: Any, response: Any) -> None:
            if response.url.endswith("/free/1"):
                inner = Request(f"{capsolver.site_url}/turnstile/1", meta={"capsolver": True})
                try:
                    await download(spider.crawler, inner)
                except CaptchaCancelledError as error:
                    done.extra.append(error)
            else:
                raise CloseSpider("enough")

        urls = [Request(f"{capsolver.site_url}/free/{n}", priority=-n) for n in (1, 2)]
        done = await crawl(capsolver, urls, parse=parse, JOBDIR=str(tmp_path), CONCURRENT_REQUESTS=1)
        assert len(done.extra) == 1


@deferred_f_from_coro_f
async def test_no_cancelled_error_leaves_a_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scrapy's engine would wait for ever for a request whose hook raised one."""

    def cancelled(self: CapSolver, *args: Any) -> Any:
        return fail(asyncio.CancelledError())

    monkeypatch.setattr(CapSolver, "solve", cancelled)
    async with simulator() as capsolver:
        done = await crawl(capsolver, ["/turnstile/1"])
        assert type(done.error) is CaptchaCancelledError


SPIDER = """
    import json, sys, scrapy, tldextract
    from scrapy.crawler import CrawlerProcess
    from scrapy.downloadermiddlewares import cookies

    cookies._split_domain = tldextract.TLDExtract(suffix_list_urls=())  # or it asks the network for the list

    api, site, jobdir, requests = sys.argv[1:]

    class S(scrapy.Spider):
        name = "s"

        async def start(self):
            for n in range(int(requests)):
                yield scrapy.Request(f"{site}/recaptcha-v2/{n}", errback=self.failed, meta={"capsolver": True})

        def parse(self, response):
            print(json.dumps(["page", response.css(".product::text").get()]), flush=True)

        def failed(self, failure):
            print(json.dumps(["error", type(failure.value).__name__]), flush=True)

    process = CrawlerProcess({
        "ADDONS": {"scrapy_capsolver.Addon": 500}, "CAPSOLVER_API_URL": api, "JOBDIR": jobdir or None,
        "TELNETCONSOLE_ENABLED": False, "REMOTE_CONTROL_ENABLED": False, "CONCURRENT_REQUESTS_PER_DOMAIN": 16,
        "DOWNLOAD_DELAY": 0, "LOG_LEVEL": "INFO", "CAPSOLVER_CONCURRENCY": 200,
    })
    process.crawl(S)
    process.start()
"""


def interrupt(process: subprocess.Popen[str], api: str, solves: int) -> tuple[float, list[list[str]], str]:
    """SIGINT once so many solves are open. Seconds until the process ended, what it printed, its log."""
    while ask(f"{api}/_simulator/state")["tasks"]["open"] < solves:
        assert process.poll() is None
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    output, log = process.communicate(timeout=60)
    return time.monotonic() - began, [json.loads(line) for line in output.splitlines()], log


@pytest.mark.parametrize("with_jobdir", [False, True])
def test_sigint_with_open_solves(with_jobdir: bool, tmp_path: Path) -> None:
    script = tmp_path / "spider.py"
    script.write_text(textwrap.dedent(SPIDER))
    jobdir = str(tmp_path / "job") if with_jobdir else ""
    with simulator_process("--solve-seconds", "15") as where:
        arguments = (str(script), where["api"], where["site"], jobdir, "200")
        with running(*arguments, CAPSOLVER_API_KEY=where["key"]) as spider:
            seconds, printed, log = interrupt(spider, where["api"], 200)
        assert seconds < 10  # solves take 15: none was waited for
        assert printed == ([] if with_jobdir else [["error", "CaptchaCancelledError"]] * 200)
        assert "Spider closed (shutdown)" in log
        assert "Traceback" not in log
        assert f"'capsolver/{'tasks/carried_over' if with_jobdir else 'wasted/abandoned'}': 200" in log
        print(f"200 open solves, SIGINT: the process ended after {seconds:.2f} s")
        if with_jobdir:
            with running(*arguments[:-1], "0", CAPSOLVER_API_KEY=where["key"]) as spider:
                output, log = spider.communicate(timeout=60)
            pages = sorted(json.loads(line)[1] for line in output.splitlines())
            assert pages == sorted(f"Product {n}" for n in range(200))
            assert "'capsolver/tasks/resumed': 200" in log
            assert "capsolver/wasted" not in log
            tasks = ask(f"{where['api']}/_simulator/state")["tasks"]
            assert (tasks["created"], tasks["paid"]) == (200, 200)
