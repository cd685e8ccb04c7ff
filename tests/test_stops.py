"""When a crawl stops, it stops soon, and nothing is left hanging."""

from __future__ import annotations

import asyncio
import json
import signal
import textwrap
import time
from typing import TYPE_CHECKING, Any

import pytest
from scrapy import Request, Spider, signals
from scrapy.exceptions import CloseSpider
from scrapy.utils.defer import deferred_f_from_coro_f, maybe_deferred_to_future
from scrapy.utils.test import get_crawler
from twisted.internet.defer import fail
from twisted.internet.task import deferLater

from scrapy_capsolver._compat.engine import close_spider
from scrapy_capsolver._crawl.service import Service
from scrapy_capsolver.errors import CaptchaCancelledError
from tests.crawls import Crawl, crawl, download, run, settings_for, simulator
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
        assert time.monotonic() - began < 2  # solves take 100: none was waited for
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

    def cancelled(self: Service, *args: Any) -> Any:
        return fail(asyncio.CancelledError())

    monkeypatch.setattr(Service, "solve", cancelled)
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
        "DOWNLOAD_DELAY": 0, "LOG_LEVEL": "INFO", "CAPSOLVER_CONCURRENCY": 200, "CAPSOLVER_MAX_REJECTIONS": 0,
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


@pytest.mark.process
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
        if with_jobdir:
            with running(*arguments[:-1], "0", CAPSOLVER_API_KEY=where["key"]) as spider:
                output, log = spider.communicate(timeout=60)
            pages = sorted(json.loads(line)[1] for line in output.splitlines())
            assert pages == sorted(f"Product {n}" for n in range(200))
            assert "'capsolver/tasks/resumed': 200" in log
            assert "capsolver/wasted" not in log
            tasks = ask(f"{where['api']}/_simulator/state")["tasks"]
            assert (tasks["created"], tasks["paid"]) == (200, 200)


STUCK = """
    import asyncio, json, sys, scrapy, tldextract
    from scrapy.crawler import CrawlerProcess
    from scrapy.downloadermiddlewares import cookies

    cookies._split_domain = tldextract.TLDExtract(suffix_list_urls=())

    api, site, jobdir = sys.argv[1:]

    class S(scrapy.Spider):
        name = "s"

        async def start(self):
            for n in range(20):
                yield scrapy.Request(f"{site}/recaptcha-v2/{n}", meta={"capsolver": True})
            yield scrapy.Request(f"{site}/free/1", self.stay, priority=-1)

        async def stay(self, response):
            while True:
                await asyncio.sleep(0.05)
                print(json.dumps(self.crawler.stats.get_value("capsolver/stopped", 0)), flush=True)

    process = CrawlerProcess({
        "ADDONS": {"scrapy_capsolver.Addon": 500}, "CAPSOLVER_API_URL": api, "JOBDIR": jobdir or None,
        "CAPSOLVER_MAX_REJECTIONS": 0, "TELNETCONSOLE_ENABLED": False, "REMOTE_CONTROL_ENABLED": False,
        "CONCURRENT_REQUESTS_PER_DOMAIN": 16, "DOWNLOAD_DELAY": 0,
    })
    crawler = process.create_crawler(S)
    process.crawl(crawler)
    process.start()
    print(json.dumps({k[10:]: v for k, v in crawler.stats.get_stats().items() if k.startswith("capsolver/")}))
"""


def test_a_second_sigint_loses_what_was_carried_over_and_says_so(tmp_path: Path) -> None:
    """Scrapy does not write its queue then, so the next run gets no open task."""
    script = tmp_path / "spider.py"
    script.write_text(textwrap.dedent(STUCK))
    with simulator_process("--solve-seconds", "60") as where:
        arguments = (str(script), where["api"], where["site"], str(tmp_path / "job"))
        with running(*arguments, CAPSOLVER_API_KEY=where["key"]) as spider:
            while ask(f"{where['api']}/_simulator/state")["tasks"]["open"] < 20:
                assert spider.poll() is None
            spider.send_signal(signal.SIGINT)
            assert spider.stdout is not None
            while json.loads(spider.stdout.readline()) < 20:
                assert spider.poll() is None
            spider.send_signal(signal.SIGINT)
            output, log = spider.communicate(timeout=60)
        stats = json.loads(output.splitlines()[-1])
        assert stats["tasks"] == stats["stopped"] == stats["wasted/abandoned"] == 20
        assert "tasks/carried_over" not in stats
        assert "Traceback" not in log


class TooMuchMemory:
    """What the memory extension does at its limit, when the free page comes."""

    @classmethod
    def from_crawler(cls, crawler: Any) -> TooMuchMemory:
        one = cls()
        one.crawler = crawler
        crawler.signals.connect(one.received, signal=signals.response_received)
        return one

    crawler: Any

    def received(self, response: Any) -> None:
        if "/free/" in response.url:
            close_spider(self.crawler, "memusage_exceeded")


def fail_on_free_page(done: Crawl, spider: Any, response: Any) -> None:
    if "/free/" in response.url:
        raise RuntimeError("a mistake in the spider")


def ignore(done: Crawl, spider: Any, response: Any) -> None:
    pass


WAYS: dict[str, tuple[Any, dict[str, Any]]] = {
    "closespider_pagecount": (ignore, {"CLOSESPIDER_PAGECOUNT": 1}),
    "closespider_errorcount": (fail_on_free_page, {"CLOSESPIDER_ERRORCOUNT": 1}),
    "memusage_exceeded": (ignore, {"EXTENSIONS": {TooMuchMemory: 0}}),
    "enough": (close_on_free_page, {}),
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("with_jobdir", [False, True])
@pytest.mark.parametrize("reason", WAYS)
@deferred_f_from_coro_f
async def test_every_way_to_stop(reason: str, with_jobdir: bool, tmp_path: Path) -> None:
    parse, settings = WAYS[reason]
    if with_jobdir:
        settings = {**settings, "JOBDIR": str(tmp_path)}
    async with simulator(solve_seconds=(100, 100)) as capsolver:
        urls: list[Any] = [f"/turnstile/{n}" for n in range(5)]
        urls.append(Request(f"{capsolver.site_url}/free/1", priority=-1))
        done = await crawl(capsolver, urls, parse=parse, **settings)
        assert done.stats["finish_reason"] == reason
        errors = [error for error in done.errors if not isinstance(error, RuntimeError)]
        assert [type(error) for error in errors] == ([] if with_jobdir else [CaptchaCancelledError] * 5)
        assert done.ours().get("stopped", 0) == (5 if with_jobdir else 0)
        created = capsolver.state()["tasks"]["created"]
        stat = "tasks/carried_over" if with_jobdir else "wasted/abandoned"
        assert done.ours().get(stat, 0) == created


def close_when_open(capsolver: Any) -> Any:
    """Stops the crawl once a task is open."""

    async def parse(done: Crawl, spider: Any, response: Any) -> None:
        from twisted.internet import reactor

        clock: Any = reactor
        while not capsolver.state()["tasks"]["open"]:
            await maybe_deferred_to_future(deferLater(clock, 0))
        raise CloseSpider("enough")

    return parse


async def stopped_and_resumed(
    capsolver: Any, urls: list[Any], folder: Path, between: Any = None, **settings: Any
) -> tuple[Crawl, Crawl]:
    """Stopped when solves are open, and run to its end then. Task ids of the first run are known to the second."""
    urls = [*urls, Request(f"{capsolver.site_url}/free/1", priority=-1)]
    settings = {"JOBDIR": str(folder), **settings}
    first = await crawl(capsolver, urls, parse=close_when_open(capsolver), **settings)
    if between is not None:
        between()
    return first, await crawl(capsolver, [], **settings)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@deferred_f_from_coro_f
async def test_all_who_wait_for_a_clearance_take_its_open_task_along_and_it_is_taken_up_once(tmp_path: Path) -> None:
    async with simulator(solve_seconds=(40, 40)) as capsolver:
        urls = [f"/aws-waf/{n}" for n in range(6)]
        first, second = await stopped_and_resumed(capsolver, urls, tmp_path)
        assert first.ours()["stopped"] == 6
        assert first.ours()["tasks/carried_over"] == second.ours()["tasks/resumed"] == 1
        assert len(second.responses) == 6
        assert (capsolver.state()["tasks"]["created"], capsolver.state()["tasks"]["paid"]) == (1, 1)
        assert not [name for stats in (first.ours(), second.ours()) for name in stats if name.startswith("wasted")]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@deferred_f_from_coro_f
async def test_what_was_good_for_one_visit_is_not_taken_up(tmp_path: Path) -> None:
    """GeeTest's challenge is of the page that was shown, and another one is shown now."""
    async with simulator(solve_seconds=(40, 40)) as capsolver:
        flag = {"type": "GeeTestTaskProxyLess", "challengeUrl": f"{capsolver.site_url}/geetest-v3/1/register"}
        request = Request(f"{capsolver.site_url}/geetest-v3/1", meta={"capsolver": flag})
        first, second = await stopped_and_resumed(capsolver, [request], tmp_path)
        assert first.ours()["tasks/carried_over"] == 1
        assert second.ours()["wasted/abandoned"] == 1
        assert "tasks/resumed" not in second.ours()
        assert second.response.css(".product::text").get() == "Product 1"
        assert capsolver.state()["tasks"]["created"] == 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@deferred_f_from_coro_f
async def test_a_task_that_capsolver_has_forgotten_is_solved_anew(tmp_path: Path) -> None:
    async with simulator(solve_seconds=(40, 40)) as capsolver:
        first, second = await stopped_and_resumed(capsolver, ["/recaptcha-v2/1"], tmp_path, between=capsolver.reset)
        assert first.ours()["tasks/carried_over"] == second.ours()["tasks/resumed"] == 1
        assert second.ours()["tasks/failed/ERROR_TASKID_INVALID"] == 1
        assert second.response.css(".product::text").get() == "Product 1"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@deferred_f_from_coro_f
async def test_after_two_stops_it_is_still_the_same_task(tmp_path: Path) -> None:
    async with simulator(solve_seconds=(90, 90)) as capsolver:
        free = [Request(f"{capsolver.site_url}/free/{n}", priority=-1) for n in (1, 2)]
        runs = []
        for todo in (["/recaptcha-v2/1", free[0]], free[1:], []):
            parse = close_when_open(capsolver) if todo else None
            runs.append(await crawl(capsolver, todo, parse=parse, JOBDIR=str(tmp_path)))
        assert [one.errors for one in runs] == [[], [], []]
        assert runs[0].ours()["tasks/carried_over"] == runs[1].ours()["tasks/carried_over"] == 1
        assert runs[2].ours()["delivered"] == 1
        assert capsolver.state()["tasks"]["created"] == 1


@pytest.mark.parametrize("hidden", [False, True])
@deferred_f_from_coro_f
async def test_what_is_solved_and_in_the_queue_gets_its_errback(hidden: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scrapy drops its queue in memory. What an errback yields is scraped, unless this Scrapy has another way for it."""
    if hidden:
        monkeypatch.setattr("scrapy_capsolver._crawl.resent.can_scrape_errors", lambda crawler: False)
    async with simulator(solve_seconds=(1, 1)) as capsolver:
        solved: list[Any] = []

        async def stop(done: Crawl, spider: Any, response: Any) -> None:
            from twisted.internet import reactor

            clock: Any = reactor
            stats = spider.crawler.stats
            while stats.get_value("capsolver/solved/turnstile", 0) < 6:  # all wait for this slot then
                await maybe_deferred_to_future(deferLater(clock, 0.01))
            solved.append(stats.get_value("capsolver/solved/turnstile"))
            raise CloseSpider("enough")

        class Catching(Spider):
            name = "catching"

            async def start(self) -> Any:
                for n in range(6):
                    url = f"{capsolver.site_url}/turnstile/{n}"
                    yield Request(url, self.parse, errback=self.failed, meta={"capsolver": True})
                yield Request(f"{capsolver.site_url}/free/1", self.stop, priority=-1)

            async def stop(self, response: Any) -> None:
                await stop(Crawl(), self, response)

            def parse(self, response: Any) -> Any:
                yield {"page": response.url}

            def failed(self, failure: Any) -> Any:
                ended.append(type(failure.value))
                yield {"error": failure.request.url}

        ended: list[type[BaseException]] = []
        crawler = get_crawler(
            Catching, settings_for(capsolver, CONCURRENT_REQUESTS=1, CONCURRENT_ITEMS=1, SCRAPER_SLOT_MAX_ACTIVE_SIZE=1)
        )
        await maybe_deferred_to_future(run(crawler))
        assert solved == [6]
        stats = crawler.stats.get_stats()  # type: ignore[union-attr]
        pages = stats.get("capsolver/delivered", 0)
        assert pages + len(ended) == 6
        assert set(ended) == {CaptchaCancelledError}
        assert stats.get("item_scraped_count", 0) == (pages if hidden else 6)
        assert stats["capsolver/wasted/undelivered"] == stats["capsolver/failed/CaptchaCancelledError"] == len(ended)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@deferred_f_from_coro_f
async def test_a_token_that_waits_on_disk_is_used_by_the_next_run(tmp_path: Path) -> None:
    """Solved, and back in the queue, when the crawl stopped."""

    def stop(done: Crawl, spider: Any, response: Any) -> None:
        raise CloseSpider("enough")

    async with simulator(solve_seconds=(1, 1)) as capsolver:
        urls = [f"/turnstile/{n}" for n in range(6)]
        settings = {"JOBDIR": str(tmp_path), "CONCURRENT_REQUESTS": 1, "CONCURRENT_REQUESTS_PER_DOMAIN": 1}
        first = await crawl(capsolver, urls, parse=stop, **settings)
        second = await crawl(capsolver, [], **settings)
        assert len(first.responses) + len(second.responses) == 6
        paid = capsolver.state()["tasks"]["paid"]
        delivered = first.ours().get("accepted/turnstile", 0) + second.ours().get("accepted/turnstile", 0)
        wasted = sum(v for one in (first, second) for name, v in one.ours().items() if name.startswith("wasted/"))
        assert paid == delivered + wasted
        assert wasted == 0
