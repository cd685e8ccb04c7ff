"""CapSolver in the hands of a spider's own code."""

from __future__ import annotations

import json
import textwrap
import time
from typing import TYPE_CHECKING, Any

import pytest
from form2request import form2request
from scrapy import Request, Spider
from scrapy.exceptions import CloseSpider
from scrapy.http import HtmlResponse
from scrapy.utils.defer import deferred_f_from_coro_f, maybe_deferred_to_future
from scrapy.utils.test import get_crawler
from twisted.internet.task import deferLater

from scrapy_capsolver import (
    CapSolver,
    CapSolverAccountError,
    CaptchaBudgetError,
    CaptchaCancelledError,
    CaptchaConfigurationError,
    CaptchaProxyError,
    Solution,
    UnsolvableCaptchaError,
    UnsupportedCaptchaError,
    captcha,
)
from tests import proxies
from tests.crawls import Crawl, bought, crawl, run, settings_for, simulator
from tests.processes import running, simulator_process

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from scrapy_capsolver.simulator import Simulator


def unflagged(capsolver: Simulator, *paths: str) -> list[Request]:
    return [
        Request(capsolver.site_url + path, meta={"handle_httpstatus_all": True, "dont_retry": True}) for path in paths
    ]


async def in_a_callback(capsolver: Simulator, *paths: str, solve: Callable[..., Any], **settings: Any) -> Crawl:
    """What ``solve(CapSolver, response)`` gives or raises in callbacks, in ``extra``."""

    async def parse(done: Crawl, spider: Spider, response: Any) -> Any:
        if len(done.responses) > len(paths):
            return None
        try:
            outcome = await solve(CapSolver.from_crawler(spider.crawler), response)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            outcome = error
        done.extra.append(outcome)
        if isinstance(outcome, Request):
            return [outcome.replace(callback=spider.parse)]
        return None

    return await crawl(capsolver, unflagged(capsolver, *paths), parse=parse, **settings)


def reactor() -> Any:
    from twisted.internet import reactor as installed

    return installed


def submit(response: Any, solution: Solution, field: str = "cf-turnstile-response") -> Request:
    request: Request = form2request(response.css("form"), {field: solution.token}).to_scrapy(callback=None)
    headers = {} if solution.user_agent is None else {"User-Agent": solution.user_agent}
    return request.replace(headers={**request.headers, **headers}, dont_filter=True)


@pytest.mark.parametrize("flag", [True, captcha.turnstile(), {"type": "AntiTurnstileTaskProxyLess"}], ids=repr)
@deferred_f_from_coro_f
async def test_a_callback_solves_and_sends_the_form_itself(flag: Any) -> None:
    async with simulator() as capsolver:
        solutions: list[Solution] = []

        async def solve(ours: CapSolver, response: Any) -> Request:
            solution = await ours.solve(flag, response=response)
            solutions.append(solution)
            return submit(response, solution)

        done = await in_a_callback(capsolver, "/turnstile/7", solve=solve)
        (solution,) = solutions
        assert done.responses[1].css(".product::text").get() == "Product 7"
        assert solution.type == "AntiTurnstileTaskProxyLess"
        assert solution.family == "turnstile"
        assert solution.site == "127.0.0.1"
        assert solution.cost == 0.0012
        assert solution.attempts == 1
        assert solution.seconds > 0
        assert abs(time.time() - solution.solved_at) < 30
        assert solution.expires_at == solution.solved_at + 300
        assert solution.token == solution.solution["token"]
        assert solution.cookies == {}
        assert solution.token not in repr(solution)
        ours = done.ours()
        assert ours["challenges/turnstile"] == ours["solved/turnstile"] == ours["tasks"] == 1
        assert ours["estimated_cost_usd"] == ours["cost_usd/site/127.0.0.1"] == 0.0012
        assert not [name for name in ours if name.startswith(("wasted", "accepted", "rejected"))]
        assert "feedbackTask" not in bought(capsolver)


@deferred_f_from_coro_f
async def test_start_and_a_pipeline_have_it_too() -> None:
    """As early as in from_crawler, and without a page."""
    async with simulator() as capsolver:
        key = capsolver.site_keys["turnstile"]
        tokens: list[str] = []

        class Solve:
            def __init__(self, ours: CapSolver) -> None:
                self.ours = ours

            @classmethod
            def from_crawler(cls, crawler: Any) -> Solve:
                return cls(CapSolver.from_crawler(crawler))

            async def process_item(self, item: Any, spider: Any = None) -> Any:
                solution = await self.ours.solve(captcha.turnstile(website_key=key, website_url=item["url"]))
                tokens.append(solution.token)
                return item

        class OneSpider(Spider):
            name = "one"

            async def start(self) -> Any:
                request = Request(f"{capsolver.site_url}/turnstile/1")
                ours = CapSolver.from_crawler(self.crawler)
                solution = await ours.solve(captcha.turnstile(website_key=key), request=request)
                tokens.append(solution.token)
                yield Request(f"{capsolver.site_url}/free/1")

            def parse(self, response: Any) -> Any:
                yield {"url": response.url}

        crawler = get_crawler(OneSpider, settings_for(capsolver, ITEM_PIPELINES={Solve: 1}))
        await maybe_deferred_to_future(run(crawler))
        assert len(set(tokens)) == 2
        tasks = [task.fields for task in capsolver.tasks.values()]
        assert [task["websiteURL"].removeprefix(capsolver.site_url) for task in tasks] == ["/turnstile/1", "/free/1"]
        assert crawler.stats is not None
        assert crawler.stats.get_value("capsolver/solved/turnstile") == 2
        assert crawler.stats.get_value("item_scraped_count") == 1


@deferred_f_from_coro_f
async def test_clearances_are_solved_by_the_proxy_of_the_page() -> None:
    async with simulator() as capsolver:

        async def solve(ours: CapSolver, response: Any) -> Any:
            return await ours.solve(True, response=response)

        done = await in_a_callback(capsolver, "/datadome/1", solve=solve)
        assert isinstance(done.extra[0], CaptchaProxyError)
        assert done.ours()["failed/CaptchaProxyError"] == 1
        assert "createTask" not in bought(capsolver)

        done = await in_a_callback(capsolver, "/aws-waf/1", solve=solve)
        (solution,) = done.extra
        assert solution.cookies.keys() == {"aws-waf-token"}
        with pytest.raises(TypeError, match="has no token"):
            solution.token  # noqa: B018

        with proxies.proxy() as proxy:

            async def parse(done: Crawl, spider: Any, response: Any) -> None:
                done.extra.append(await solve(CapSolver.from_crawler(spider.crawler), response))

            (request,) = unflagged(capsolver, "/datadome/1")
            done = await crawl(capsolver, [request.replace(meta={**request.meta, "proxy": proxy.url})], parse=parse)
        (solution,) = done.extra
        assert solution.cookies.keys() == {"datadome"}
        assert solution.user_agent
        task = list(capsolver.tasks.values())[-1].fields
        assert (task["proxyAddress"], task["proxyPort"]) == (proxy.host, proxy.port)
        assert f"{task['proxyLogin']}:{task['proxyPassword']}" == f"{proxy.user}:{proxy.password}"
        assert task["userAgent"] == solution.user_agent


@deferred_f_from_coro_f
async def test_pictures_are_fetched_in_the_visit_that_showed_them() -> None:
    """Each page has given its request a session of its own, and the last one is in the cookie jar."""
    async with simulator(latency=2) as capsolver:
        shown: list[Any] = []

        async def solve(ours: CapSolver, response: Any) -> Any:
            shown.append(response)
            while len(shown) < 3:
                await maybe_deferred_to_future(deferLater(reactor(), 0.2))
            return await ours.solve(captcha.image_to_text(selector="img#captcha"), response=response)

        done = await in_a_callback(capsolver, "/image/1", "/image/2", "/image/3", solve=solve)
        assert [type(outcome) for outcome in done.extra] == [Solution] * 3
        assert capsolver.state()["site"]["images_fetched"] == 3


@deferred_f_from_coro_f
async def test_an_answer_is_sent_by_the_callback() -> None:
    async with simulator() as capsolver:

        async def solve(ours: CapSolver, response: Any) -> Request:
            solution = await ours.solve(captcha.image_to_text(selector="img#captcha"), response=response)
            return submit(response, solution, "answer")

        done = await in_a_callback(capsolver, "/image/3", solve=solve)
        assert done.responses[1].css(".product::text").get() == "Product 3"


# What became of it


@pytest.mark.parametrize("accepted", [True, False])
@deferred_f_from_coro_f
async def test_a_report_is_counted_and_told_once(accepted: bool) -> None:
    async with simulator() as capsolver:

        async def solve(ours: CapSolver, response: Any) -> None:
            solution = await ours.solve(True, response=response)
            ours.report(solution, accepted=accepted)
            ours.report(solution, accepted=not accepted)

        done = await in_a_callback(capsolver, "/turnstile/1", solve=solve)
        assert done.extra == [None]
        ours = done.ours()
        assert ours.get("accepted/turnstile") == (1 if accepted else None)
        assert ours.get("rejected/turnstile") == (None if accepted else 1)
        assert ours.get("wasted/rejected") == (None if accepted else 1)
        assert ours["feedback/sent"] == 1
        ((task,),) = [capsolver.tasks]
        (told,) = capsolver.state()["feedback"]
        assert task in json.dumps(told)


@deferred_f_from_coro_f
async def test_a_site_that_rejects_costs_no_more() -> None:
    async with simulator() as capsolver:

        async def solve(ours: CapSolver, response: Any) -> None:
            ours.report(await ours.solve(True, response=response), accepted=False)

        paths = [f"/turnstile/{n}" for n in range(4)]
        done = await in_a_callback(
            capsolver, *paths, solve=solve, CAPSOLVER_MAX_REJECTIONS=2, CAPSOLVER_CONCURRENCY=1, CONCURRENT_ITEMS=1
        )
        failed = [outcome for outcome in done.extra if outcome is not None]
        assert failed
        assert all(type(error) is UnsolvableCaptchaError and "not tried" in str(error) for error in failed)
        assert done.ours()["breaker/stopped_sites"] == 1
        assert done.ours()["rejected/turnstile"] + len(failed) == 4


# The same limits, the same errors


@deferred_f_from_coro_f
async def test_limits_count_both_ways_together() -> None:
    async with simulator() as capsolver:
        outcomes: list[Any] = []

        async def parse(done: Crawl, spider: Spider, response: Any) -> Any:
            if "capsolver" in response.flags:
                try:
                    outcomes.append(
                        await CapSolver.from_crawler(spider.crawler).solve(
                            captcha.turnstile(website_key=capsolver.site_keys["turnstile"]), response=response
                        )
                    )
                except CaptchaBudgetError as error:
                    outcomes.append(error)

        done = await crawl(capsolver, ["/turnstile/1"], parse=parse, CAPSOLVER_MAX_SOLVES=1)
        assert [type(outcome) for outcome in outcomes] == [CaptchaBudgetError]
        assert done.ours()["solved/turnstile"] == 1
        assert done.ours()["limits/MAX_SOLVES"] == 1
        assert bought(capsolver)["createTask"] == 1


@deferred_f_from_coro_f
async def test_no_more_tasks_after_an_account_error() -> None:
    async with simulator(key="CAP-other") as capsolver:

        async def solve(ours: CapSolver, response: Any) -> Any:
            return await ours.solve(True, response=response)

        settings = {"CAPSOLVER_API_KEY": "CAP-wrong"}
        done = await in_a_callback(capsolver, "/turnstile/1", "/turnstile/2", solve=solve, **settings)
        assert [type(error) for error in done.extra] == [CapSolverAccountError] * 2
        assert done.ours()["breaker/stopped"] == 1
        assert "CAP-wrong" not in str(done.extra)


@deferred_f_from_coro_f
async def test_a_failed_solve_is_tried_again_and_then_told() -> None:
    async with simulator(quirks=["solve-failed"]) as capsolver:

        async def solve(ours: CapSolver, response: Any) -> Any:
            return await ours.solve(True, response=response)

        done = await in_a_callback(capsolver, "/turnstile/1", solve=solve, CAPSOLVER_RETRY_TIMES=1)
        (error,) = done.extra
        assert type(error) is UnsolvableCaptchaError
        assert error.attempts == 2
        assert str(error).startswith("turnstile at 127.0.0.1/turnstile/1: ")
        assert done.ours()["failed/UnsolvableCaptchaError"] == 1


@pytest.mark.parametrize(
    ("flag", "with_page", "error", "says"),
    [
        (True, False, CaptchaConfigurationError, "has no page"),
        (False, True, CaptchaConfigurationError, "is False: there is nothing to solve"),
        ({"type": "AntiTurnstileTaskProxyLess", "websiteURL": "x"}, False, CaptchaConfigurationError, "has no page"),
        (
            {"type": "AntiTurnstileTaskProxyLess", "websiteURL": "https://a.example"},
            False,
            CaptchaConfigurationError,
            "websiteKey",
        ),
        ({"expect": "h1", "websiteURL": "https://a.example"}, True, CaptchaConfigurationError, "type"),
        ({"type": "HCaptchaTask"}, True, UnsupportedCaptchaError, "cannot be used any more"),
        (True, True, UnsupportedCaptchaError, "shows no captcha"),
        ({"type": "AntiTurnstileTaskProxyLess"}, True, CaptchaConfigurationError, "websiteKey"),
    ],
)
@deferred_f_from_coro_f
async def test_what_cannot_be_solved_costs_nothing(
    flag: Any, with_page: bool, error: type[Exception], says: str
) -> None:
    async with simulator() as capsolver:

        async def solve(ours: CapSolver, response: Any) -> Any:
            return await ours.solve(flag, response=response if with_page else None)

        done = await in_a_callback(capsolver, "/free/1", solve=solve)
        assert type(done.extra[0]) is error
        assert says in str(done.extra[0])
        assert bought(capsolver) == {}
        assert done.ours() == {f"failed/{error.__name__}": 1}


@deferred_f_from_coro_f
async def test_it_keeps_to_the_allowed_domains() -> None:
    async with simulator() as capsolver:

        async def solve(ours: CapSolver, response: Any) -> Any:
            return await ours.solve(True, response=response)

        done = await in_a_callback(capsolver, "/turnstile/1", solve=solve, CAPSOLVER_ALLOWED_DOMAINS="example.com")
        assert "127.0.0.1 is not in CAPSOLVER_ALLOWED_DOMAINS" in str(done.extra[0])
        assert bought(capsolver) == {}
        assert done.ours()["skipped/domain"] == 1


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"ADDONS": {}}, 'is not on in this crawl: set ADDONS = {"scrapy_capsolver.Addon": 500}'),
        ({"CAPSOLVER_ENABLED": "False"}, "is not on in this crawl: CAPSOLVER_ENABLED is False"),
        ({"CAPSOLVER_API_KEY": ""}, "is not on in this crawl: CAPSOLVER_API_KEY is missing"),
    ],
)
@deferred_f_from_coro_f
async def test_one_clear_error_where_the_plugin_is_not_on(settings: dict[str, Any], says: str) -> None:
    async with simulator() as capsolver:

        async def solve(ours: CapSolver, response: Any) -> Any:
            return await ours.solve(True, response=response)

        done = await in_a_callback(capsolver, "/turnstile/1", solve=solve, **settings)
        assert type(done.extra[0]) is CaptchaConfigurationError
        assert says in str(done.extra[0])


@deferred_f_from_coro_f
async def test_before_the_crawl_there_is_none() -> None:
    ours = CapSolver.from_crawler(get_crawler(Spider))
    with pytest.raises(CaptchaConfigurationError, match="once the crawl has begun"):
        await ours.solve(True, response=HtmlResponse("https://a.example"))


# Waiting


@deferred_f_from_coro_f
async def test_solves_in_callbacks_run_side_by_side_and_lend_no_slot() -> None:
    async with simulator(solve_seconds=(20, 20)) as capsolver:
        limits: set[int] = set()

        async def parse(done: Crawl, spider: Any, response: Any) -> None:
            if "/free/" in response.url:
                limits.add(spider.crawler.engine.downloader.total_concurrency)
                done.extra.append(capsolver.state()["tasks"]["open"])
            else:
                await CapSolver.from_crawler(spider.crawler).solve(True, response=response)

        gated = [f"/turnstile/{n}" for n in range(5)]
        requests = [*unflagged(capsolver, *gated), *unflagged(capsolver, "/free/1")]
        requests[-1].priority = -1
        done = await crawl(capsolver, requests, parse=parse, CONCURRENT_REQUESTS=2)
        assert done.ours()["solved/turnstile"] == 5
        assert limits == {2}


@deferred_f_from_coro_f
async def test_a_stopped_crawl_cancels_it_at_once() -> None:
    async with simulator(solve_seconds=(1000, 1000)) as capsolver:

        async def parse(done: Crawl, spider: Any, response: Any) -> None:
            if "/free/" in response.url:
                raise CloseSpider("enough")
            try:
                await CapSolver.from_crawler(spider.crawler).solve(True, response=response)
            except CaptchaCancelledError as error:
                done.extra.append(error)

        began = time.monotonic()
        requests = unflagged(capsolver, "/turnstile/1", "/free/1")
        requests[1].priority = -1
        done = await crawl(capsolver, requests, parse=parse, CONCURRENT_REQUESTS=1)
        assert time.monotonic() - began < 1
        assert [type(error) for error in done.extra] == [CaptchaCancelledError]
        assert done.stats["finish_reason"] == "enough"
        assert done.ours()["failed/CaptchaCancelledError"] == 1


SPIDER = """
    import json, sys, scrapy, tldextract
    from scrapy.crawler import CrawlerProcess
    from scrapy.downloadermiddlewares import cookies
    from scrapy_capsolver import CapSolver, CaptchaCancelledError, captcha

    cookies._split_domain = tldextract.TLDExtract(suffix_list_urls=())

    class Pipeline:
        @classmethod
        def from_crawler(cls, crawler):
            pipeline = cls()
            pipeline.ours = CapSolver.from_crawler(crawler)
            return pipeline

        async def process_item(self, item, spider=None):
            flag = captcha.turnstile(website_key=item["key"], website_url=item["url"])
            print(json.dumps("pipeline " + (await self.ours.solve(flag)).family), flush=True)
            return item

    class S(scrapy.Spider):
        name = "s"

        async def start(self):
            try:
                solution = await CapSolver.from_crawler(self.crawler).solve(
                    captcha.recaptcha_v2(website_key="6LeIxAcTAAAAAJcZVRqyHh71UMIEGNQ_MXjiZKhI"),
                    request=scrapy.Request(sys.argv[2] + "/recaptcha-v2/1"),
                )
                print(json.dumps("start " + solution.family), flush=True)
            except CaptchaCancelledError:
                print(json.dumps("cancelled"), flush=True)
                return
            yield scrapy.Request(sys.argv[2] + "/turnstile/1", meta={{"handle_httpstatus_all": True}})

        async def parse(self, response):
            solution = await CapSolver.from_crawler(self.crawler).solve(True, response=response)
            print(json.dumps("parse " + solution.family), flush=True)
            key = response.css("[data-sitekey]::attr(data-sitekey)").get()
            yield {{"url": response.url, "key": key}}

    process = CrawlerProcess({{
        "ADDONS": {{"scrapy_capsolver.Addon": 500}}, "CAPSOLVER_API_URL": sys.argv[1], "TELNETCONSOLE_ENABLED": False,
        "REMOTE_CONTROL_ENABLED": False, "LOG_LEVEL": "INFO", "TWISTED_REACTOR": {reactor!r},
        "ITEM_PIPELINES": {{Pipeline: 1}},
    }})
    process.crawl(S)
    process.start()
"""
REACTORS = ["selectreactor.SelectReactor", "asyncioreactor.AsyncioSelectorReactor"]


@pytest.mark.process
@pytest.mark.parametrize("reactor", REACTORS)
def test_any_reactor(reactor: str, tmp_path: Path) -> None:
    script = tmp_path / "spider.py"
    script.write_text(textwrap.dedent(SPIDER).format(reactor=f"twisted.internet.{reactor}"))
    with (
        simulator_process("--solve-seconds", "0.1") as where,
        running("-W", "error", str(script), where["api"], where["site"], CAPSOLVER_API_KEY=where["key"]) as spider,
    ):
        output, log = spider.communicate(timeout=60)
    expected = ["start recaptcha_v2", "parse turnstile", "pipeline turnstile"]
    assert [json.loads(line) for line in output.splitlines()] == expected, log
    assert "Traceback" not in log
    assert " ERROR: " not in log


@pytest.mark.process
@pytest.mark.parametrize("reactor", REACTORS)
def test_sigint_while_start_waits(reactor: str, tmp_path: Path) -> None:
    import signal

    from tests.processes import ask

    script = tmp_path / "spider.py"
    script.write_text(textwrap.dedent(SPIDER).format(reactor=f"twisted.internet.{reactor}"))
    with (
        simulator_process("--solve-seconds", "100") as where,
        running("-W", "error", str(script), where["api"], where["site"], CAPSOLVER_API_KEY=where["key"]) as spider,
    ):
        while not ask(f"{where['api']}/_simulator/state")["tasks"]["open"]:
            assert spider.poll() is None
        spider.send_signal(signal.SIGINT)
        output, log = spider.communicate(timeout=30)
    assert [json.loads(line) for line in output.splitlines()] == ["cancelled"], log
    assert "Traceback" not in log
    assert "'finish_reason': 'shutdown'" in log
    assert "'capsolver/wasted/abandoned': 1" in log


# What a flagged request's response has


@pytest.mark.parametrize(
    ("path", "flag", "keys"),
    [
        ("/turnstile/1", True, {"token": str, "userAgent": str}),
        ("/recaptcha-v2/1", True, {"gRecaptchaResponse": str}),
        ("/geetest-v4/1", True, {"captcha_output": str}),
        ("/image/1", captcha.image_to_text(selector="img#captcha", inject={"form": "answer"}), {"text": str}),
        ("/image/1", captcha.image_to_text(selector="img#captcha"), {"text": str}),
        ("/aws-waf/1", True, {"cookies": dict}),
    ],
)
@deferred_f_from_coro_f
async def test_the_solution_in_the_meta(path: str, flag: Any, keys: dict[str, type]) -> None:
    async with simulator() as capsolver:
        request = Request(capsolver.site_url + path, meta={"capsolver": flag})
        done = await crawl(capsolver, [request, Request(f"{capsolver.site_url}/free/1", meta={"capsolver": True})])
        by_path = {"free" in response.url: response for response in done.responses}
        solution = by_path[False].meta["capsolver_solution"]
        assert type(solution) is dict
        assert json.loads(json.dumps(solution)) == solution
        assert {key: type(solution[key]) for key in keys} == keys
        if "cookies" in keys:
            assert solution.keys() <= {"cookies", "userAgent"}
            assert all(isinstance(value, str) for pair in solution["cookies"].items() for value in pair)
        assert "capsolver_solution" not in by_path[True].meta
        assert capsolver.site_url in by_path[True].url
