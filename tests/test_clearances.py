"""Clearances, from the gate to the page and to every page after it: through real proxies, in real crawls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from scrapy import Request
from scrapy.http import FormRequest
from scrapy.utils.defer import deferred_f_from_coro_f

from scrapy_capsolver.errors import (
    CaptchaConfigurationError,
    CaptchaError,
    CaptchaProxyError,
    UnsolvableCaptchaError,
)
from tests.crawls import Crawl, crawl, simulator
from tests.proxies import Running, proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

AGENT = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
)


@pytest.fixture(scope="module")
def by() -> Iterator[Running]:
    with proxy(source="127.0.0.20", user="us@er", password="p@ss:w0rd") as running:
        yield running


@pytest.fixture(scope="module")
def other() -> Iterator[Running]:
    with proxy(source="127.0.0.21", user="second", password="s") as running:
        yield running


def request(capsolver: Any, path: str, via: Running | None = None, flag: Any = True, **kwargs: Any) -> Request:
    meta = {"capsolver": flag, **({} if via is None else {"proxy": via.url}), **kwargs.pop("meta", {})}
    return Request(f"{capsolver.site_url}{path}", meta=meta, dont_filter=True, **kwargs)


def titles(done: Crawl) -> list[str | None]:
    assert not done.errors, done.errors
    return [response.css(".product::text").get() for response in done.responses]


GATES = [
    ("cloudflare", "cloudflare_challenge"),
    ("cloudflare?style=iuam", "cloudflare_challenge"),
    ("cloudflare?style=needs-html", "cloudflare_challenge"),
    ("datadome", "datadome"),
    ("datadome?style=interstitial", "datadome"),
    ("datadome?style=json", "datadome"),
    ("aws-waf", "aws_waf"),
    ("aws-waf?style=challenge", "aws_waf"),
    ("aws-waf?style=challenge-only", "aws_waf"),
    ("aws-waf?style=jsapi", "aws_waf"),
    ("aws-waf?style=problem", "aws_waf"),
    ("aws-waf?style=needs-params", "aws_waf"),
    ("aws-waf?style=again", "aws_waf"),
]


@pytest.mark.parametrize("agent", [AGENT, "a crawler of ours"])
@pytest.mark.parametrize(("gate", "family"), GATES, ids=[gate for gate, _ in GATES])
@deferred_f_from_coro_f
async def test_one_solve_opens_the_site_to_all(by: Running, gate: str, family: str, agent: str) -> None:
    name, _, query = gate.partition("?")
    async with simulator() as capsolver:
        paths = [f"/{name}/{number}?{query}" for number in range(1, 7)]
        done = await crawl(capsolver, [request(capsolver, path, by) for path in paths], USER_AGENT=agent)
        assert sorted(titles(done)) == [f"Product {number}" for number in range(1, 7)]
        state, ours = capsolver.state(), done.ours()
        paid = 2 if "again" in gate else 1
        assert (state["tasks"]["paid"], ours[f"solved/{family}"]) == (paid, paid)
        wasted = {name for name in ours if name.startswith(("wasted", "failed"))}
        assert wasted == ({"wasted/rejected"} if "again" in gate else set())  # AWS wanted more than the first
        assert all(task["fields"].get("proxyLogin") == "us@er" for task in _tasks(capsolver))


def _tasks(capsolver: Any) -> list[dict[str, Any]]:
    return [{"fields": task.fields, "type": task.type.name} for task in capsolver.tasks.values()]


def spent(capsolver: Any) -> tuple[int, dict[str, int]]:
    """Paid solves, and why clearances were refused."""
    state = capsolver.state()
    return state["tasks"]["paid"], state["site"]["clearances"]["refused"]


@deferred_f_from_coro_f
async def test_requests_that_come_while_it_is_being_solved_wait_and_do_not_meet_the_gate() -> None:
    async with simulator(solve_seconds=(20, 20), latency=0.02) as capsolver:
        done = await crawl(capsolver, [request(capsolver, f"/aws-waf/{n}") for n in range(40)], CONCURRENT_REQUESTS=4)
        assert len(titles(done)) == 40
        state, ours = capsolver.state(), done.ours()
        assert spent(capsolver) == (1, {})
        assert state["site"]["gates_shown"]["aws-waf"] <= 8
        assert ours["clearances/awaited"] + ours["clearances/shared"] + ours["clearances/reused"] >= 39
        assert ours["delivered"] + ours["clearances/reused"] == 40
        assert all("capsolver" in response.flags for response in done.responses)
        assert all("aws-waf-token" in response.meta["capsolver_solution"]["cookies"] for response in done.responses)


@deferred_f_from_coro_f
async def test_a_failed_solve_wakes_all_who_wait_with_the_same_error() -> None:
    async with simulator(quirks=["unsolvable"], solve_seconds=(20, 20)) as capsolver:
        done = await crawl(capsolver, [request(capsolver, f"/aws-waf/{n}") for n in range(12)], CAPSOLVER_RETRY_TIMES=0)
        assert len(done.errors) == 12
        assert {type(error) for error in done.errors} == {UnsolvableCaptchaError}
        assert len({str(error).partition(":")[2] for error in done.errors}) == 1
        # Those that had not met the gate yet go and see, and share one more.
        created = capsolver.state()["tasks"]["created"]
        assert 1 <= created <= 2
        assert sum(error.attempts for error in done.errors if isinstance(error, CaptchaError)) == created


@deferred_f_from_coro_f
async def test_a_clearance_goes_with_its_own_proxy_and_agent_alone(by: Running, other: Running) -> None:
    """All in one cookie jar: the site would refuse what comes from elsewhere, and count it."""
    async with simulator() as capsolver:
        requests = [
            request(capsolver, f"/{gate}/{n}", via, headers={"User-Agent": agent})
            for n in range(3)
            for gate in ("cloudflare", "datadome")
            for via in (by, other)
            for agent in (AGENT, AGENT.replace("140", "141"))
        ]
        done = await crawl(capsolver, requests, CONCURRENT_REQUESTS=2)
        assert len(titles(done)) == 24
        assert spent(capsolver) == (8, {})


@deferred_f_from_coro_f
async def test_a_clearance_is_not_sent_without_a_proxy_or_by_another(by: Running, other: Running) -> None:
    seen: list[Any] = []

    class Listening:
        """What goes out to the site at last."""

        @classmethod
        def from_crawler(cls, crawler: Any) -> Any:
            from scrapy import signals

            crawler.signals.connect(cls.reached, signal=signals.response_downloaded)
            return cls()

        @staticmethod
        def reached(request: Request, response: Any) -> None:
            seen.append((request.meta.get("proxy"), request.headers.get("Cookie", b"")))

    async with simulator() as capsolver:
        first = request(capsolver, "/datadome/1", by)

        def parse(done: Crawl, spider: Any, response: Any) -> Any:
            if len(done.responses) == 1:
                return [
                    request(capsolver, "/free/1", other, callback=spider.parse),
                    request(capsolver, "/free/2", callback=spider.parse),
                    request(capsolver, "/datadome/2", by, flag=False, callback=spider.parse),
                ]
            return None

        done = await crawl(capsolver, [first], parse=parse, EXTENSIONS={Listening: 1}, HTTPERROR_ALLOW_ALL=True)
        cookies = done.responses[0].meta["capsolver_solution"]["cookies"]
        (value,) = cookies.values()
        # The site renews the cookie with each page: those values are the clearance's as well.
        assert len(done.responses) == 4
        assert spent(capsolver)[1] == {}
        for used, sent in seen:
            if used != by.bare_url:
                assert value.encode() not in sent


@deferred_f_from_coro_f
async def test_nothing_of_it_stays_on_the_request_or_in_the_jar() -> None:
    async with simulator() as capsolver:
        done = await crawl(capsolver, [request(capsolver, "/aws-waf/1")])
        response = done.response
        value = response.meta["capsolver_solution"]["cookies"]["aws-waf-token"]
        assert response.request is not None
        assert value.encode() not in response.request.headers.to_string()
        assert "_capsolver" not in response.meta
        assert "capsolver" in response.flags
        from scrapy.downloadermiddlewares.cookies import CookiesMiddleware

        assert done.crawler is not None
        jars = done.crawler.get_downloader_middleware(CookiesMiddleware).jars
        assert value not in {cookie.value for jar in jars.values() for cookie in jar}


@deferred_f_from_coro_f
async def test_redirects_retries_posts_and_requests_with_their_own_cookies() -> None:
    async with simulator() as capsolver:
        own = {"headers": {"Cookie": "mine=1"}, "meta": {"dont_merge_cookies": True}}
        posted = FormRequest(f"{capsolver.site_url}/post/aws-waf/4", formdata={"q": "shoes"}, meta={"capsolver": True})
        done = await crawl(
            capsolver,
            [request(capsolver, "/redirect/aws-waf/2"), request(capsolver, "/aws-waf/3", **own), posted],
        )
        assert sorted(map(str, titles(done))) == ["Product 2", "Product 3", "Product 4"]
        assert any(response.css("dl.fields ::text").getall() == ["q", "shoes"] for response in done.responses)
        assert spent(capsolver) == (1, {})


@deferred_f_from_coro_f
async def test_one_that_expired_is_dropped_and_solved_anew() -> None:
    async with simulator(solve_seconds=(1, 1), speed=200) as capsolver:  # 300 simulated seconds of immunity: 1.5

        def parse(done: Crawl, spider: Any, response: Any) -> Any:
            from twisted.internet import reactor
            from twisted.internet.task import deferLater

            async def later() -> list[Request]:
                from scrapy.utils.defer import maybe_deferred_to_future

                await maybe_deferred_to_future(deferLater(reactor, 1.7, lambda: None))
                return [request(capsolver, "/aws-waf/2", callback=spider.parse)]

            return later() if len(done.responses) == 1 else None

        done = await crawl(capsolver, [request(capsolver, "/aws-waf/1")], parse=parse)
        assert titles(done) == ["Product 1", "Product 2"]
        assert spent(capsolver) == (2, {"expired": 1})
        assert "wasted/rejected" not in done.ours()  # it had served


@deferred_f_from_coro_f
async def test_a_site_that_refuses_each_clearance_costs_the_attempts_of_one_request() -> None:
    async with simulator(quirks=["unknown-token"]) as capsolver:
        done = await crawl(capsolver, [request(capsolver, "/aws-waf/1")], CAPSOLVER_RETRY_TIMES=1)
        assert "still gated after 2 solves" in str(done.error)
        assert capsolver.state()["tasks"]["paid"] == done.ours()["wasted/rejected"] == 2


@deferred_f_from_coro_f
async def test_the_site_renews_the_cookie_and_the_newest_is_kept(by: Running) -> None:
    async with simulator() as capsolver:
        requests = [request(capsolver, f"/datadome/{n}?style=rolling-strict", by) for n in range(6)]
        # The delay queues them, each with the cookie that was the newest when it came.
        done = await crawl(capsolver, requests, DOWNLOAD_DELAY=0.1)
        assert len(titles(done)) == 6
        assert spent(capsolver) == (1, {})
        assert done.ours()["clearances/renewed"] == 6


@deferred_f_from_coro_f
async def test_solved_before_the_first_request() -> None:
    async with simulator() as capsolver:
        flag = {"type": "AntiAwsWafTaskProxyLess", "when": "before"}
        done = await crawl(capsolver, [request(capsolver, f"/aws-waf/{n}", flag=flag) for n in range(5)])
        assert len(titles(done)) == 5
        assert spent(capsolver) == (1, {})
        assert capsolver.state()["site"]["gates_shown"] == {}


@deferred_f_from_coro_f
async def test_cookie_jars_have_their_own(by: Running) -> None:
    async with simulator() as capsolver:
        requests = [request(capsolver, f"/aws-waf/{n}", by, meta={"cookiejar": n % 2}, priority=-n) for n in range(6)]
        done = await crawl(capsolver, requests)
        assert len(titles(done)) == 6
        assert spent(capsolver) == (2, {})


@deferred_f_from_coro_f
async def test_the_hosts_of_a_site(by: Running) -> None:
    """Cloudflare's opens all hosts of the site, that of AWS its own alone."""
    async with simulator() as capsolver:
        port = capsolver.site_url.rpartition(":")[2]

        def at(host: str, gate: str) -> Request:
            return Request(f"http://{host}.example.com:{port}/{gate}/1", meta={"capsolver": True, "proxy": by.url})

        requests = [at(host, gate) for gate in ("cloudflare", "aws-waf") for host in ("a", "b", "c")]
        done = await crawl(capsolver, requests, CONCURRENT_REQUESTS=1)
        assert len(titles(done)) == 6
        assert spent(capsolver) == (1 + 3, {})


@deferred_f_from_coro_f
async def test_a_redirect_to_another_site_takes_no_clearance_along(by: Running) -> None:
    class Elsewhere:
        """Sends the visitor of one page to another site."""

        def process_response(self, request: Request, response: Any, spider: Any = None) -> Any:
            from scrapy.http import Response

            if "a.example.com" in request.url and request.url.endswith("/2"):
                url = request.url.replace("a.example.com", "b.example.net")
                return Response(request.url, status=302, headers={"Location": url})
            return response

    async with simulator() as capsolver:
        port = capsolver.site_url.rpartition(":")[2]
        requests = [
            Request(
                f"http://a.example.com:{port}/cloudflare/{n}", meta={"capsolver": True, "proxy": by.url}, priority=-n
            )
            for n in (1, 2)
        ]
        done = await crawl(capsolver, requests, DOWNLOADER_MIDDLEWARES={Elsewhere: 900}, CONCURRENT_REQUESTS=1)
        assert len(titles(done)) == 2
        assert spent(capsolver) == (2, {})  # the other site asked for its own, and saw none of this one


@deferred_f_from_coro_f
async def test_a_banned_proxy_is_told_before_anything_is_paid(by: Running) -> None:
    async with simulator() as capsolver:
        done = await crawl(capsolver, [request(capsolver, "/datadome/1?style=banned", by)])
        assert type(done.error) is CaptchaProxyError
        assert "the proxy is banned" in str(done.error)
        assert capsolver.state()["tasks"]["created"] == 0


@pytest.mark.parametrize("gate", ["cloudflare", "datadome"])
@deferred_f_from_coro_f
async def test_a_proxy_that_lacks_is_told_before_anything_is_paid(gate: str) -> None:
    async with simulator() as capsolver:
        done = await crawl(capsolver, [request(capsolver, f"/{gate}/1")])
        assert type(done.error) is CaptchaProxyError
        assert "needs a proxy, and the request goes by none" in str(done.error)
        assert capsolver.state()["api"]["calls"] == {}


@deferred_f_from_coro_f
async def test_a_clearance_takes_no_inject() -> None:
    async with simulator() as capsolver:
        flag = {"type": "AntiAwsWafTaskProxyLess", "inject": {"form": "token"}}
        done = await crawl(capsolver, [request(capsolver, "/aws-waf/1", flag=flag)])
        assert type(done.error) is CaptchaConfigurationError
        assert capsolver.state()["tasks"]["created"] == 0


@deferred_f_from_coro_f
async def test_user_agents_that_the_setting_lists(by: Running) -> None:
    """DataDome's has to be one of CapSolver's list: the page is looked at with it first."""
    async with simulator() as capsolver:
        listed = AGENT.replace("140", "139")
        done = await crawl(
            capsolver,
            [request(capsolver, f"/datadome/{n}", by) for n in range(4)],
            CAPSOLVER_USER_AGENTS=json.dumps([listed]),
        )
        assert len(titles(done)) == 4
        assert done.responses[0].meta["capsolver_solution"]["userAgent"] == listed
        assert spent(capsolver) == (1, {})


@deferred_f_from_coro_f
async def test_a_page_that_opens_by_itself_before_the_next_attempt_is_asked_for_again(by: Running) -> None:
    """The first task fails; looked at anew for the second, the page is no longer gated."""

    class Opening:
        looked = 0

        def process_response(self, request: Request, response: Any, spider: Any = None) -> Any:
            if response.status == 403:
                Opening.looked += 1
                if Opening.looked > 1:
                    return response.replace(
                        status=200, body=b"<h1 class=product>Open</h1>", headers={"Content-Type": "text/html"}
                    )
            return response

    async with simulator(quirks=["unsolvable:1"]) as capsolver:
        done = await crawl(capsolver, [request(capsolver, "/cloudflare/1", by)], DOWNLOADER_MIDDLEWARES={Opening: 900})
        assert titles(done) == ["Open"]
        assert spent(capsolver) == (0, {})


@deferred_f_from_coro_f
async def test_two_gates_of_a_site_end_up_with_one_user_agent(by: Running) -> None:
    """Each was opened with another one, at the same time; a clearance goes with no other than its own."""
    async with simulator() as capsolver:
        requests = [request(capsolver, f"/{gate}/{n}", by) for n in range(5) for gate in ("cloudflare", "datadome")]
        done = await crawl(capsolver, requests, USER_AGENT="a crawler of ours")
        assert len(titles(done)) == 10
        paid, refused = spent(capsolver)
        assert refused == {}
        assert paid <= 3


@deferred_f_from_coro_f
async def test_what_a_captcha_is_made_of_is_fetched_with_the_clearance_of_its_page() -> None:
    """A page behind AWS WAF that shows an image captcha, and the image is behind it, too."""

    class Picture:
        def process_response(self, request: Request, response: Any, spider: Any = None) -> Any:
            if response.status == 200 and request.url.endswith("/1"):
                return response.replace(body=b'<form><img id=captcha src="/aws-waf/2"></form>')
            return response

    async with simulator() as capsolver:
        image = {"type": "ImageToTextTask", "selector": "img#captcha"}

        def parse(done: Crawl, spider: Any, response: Any) -> Any:
            if len(done.responses) == 1:
                return [request(capsolver, "/aws-waf/1", flag=image, callback=spider.parse, errback=spider.failed)]
            return None

        first = request(capsolver, "/aws-waf/3")
        done = await crawl(capsolver, [first], parse=parse, DOWNLOADER_MIDDLEWARES={Picture: 900})
        assert "ERROR_PARSE_IMAGE" in str(done.errors) or "ERROR_INVALID_IMAGE" in str(done.errors)  # a page it was
        assert capsolver.state()["site"]["gates_shown"] == {"aws-waf": 1}


# In a file


def contents(path: str) -> bytes:
    return Path(path).read_bytes()


@deferred_f_from_coro_f
async def test_the_next_crawl_has_what_the_last_one_paid_for(tmp_path: Path, by: Running) -> None:
    store = str(tmp_path / "clearances.sqlite")
    async with simulator() as capsolver:
        for number in range(2):
            requests = [request(capsolver, f"/{gate}/{number}", by) for gate in ("cloudflare", "datadome")]
            done = await crawl(capsolver, requests, CAPSOLVER_STORE=store, USER_AGENT=AGENT)
            assert titles(done) == [f"Product {number}"] * 2
        assert spent(capsolver) == (2, {})
        assert done.ours() == {"clearances/reused": 2, "clearances/renewed": 1}
        kept = contents(store)
        assert by.password.encode() not in kept
        assert capsolver.key.encode() not in kept


@deferred_f_from_coro_f
async def test_two_crawls_at_once_share_what_one_has(tmp_path: Path) -> None:
    store = str(tmp_path / "clearances.sqlite")
    async with simulator() as capsolver:

        def parse(done: Crawl, spider: Any, response: Any) -> Any:
            async def another() -> None:
                beside = await crawl(capsolver, [request(capsolver, "/aws-waf/2")], CAPSOLVER_STORE=store)
                assert titles(beside) == ["Product 2"]
                assert "tasks" not in beside.ours()

            return another()

        done = await crawl(capsolver, [request(capsolver, "/aws-waf/1")], parse=parse, CAPSOLVER_STORE=store)
        assert titles(done) == ["Product 1"]
        assert spent(capsolver) == (1, {})


@deferred_f_from_coro_f
async def test_a_store_that_cannot_be_opened_is_one_clear_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with simulator() as capsolver:
        await crawl(capsolver, [request(capsolver, "/free/1")], CAPSOLVER_STORE=str(tmp_path))
        (line,) = [record.getMessage() for record in caplog.records if "CAPSOLVER_STORE" in record.getMessage()]
        assert f"CAPSOLVER_STORE is {str(tmp_path)!r}" in line
