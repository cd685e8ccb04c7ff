"""Clearances, from the gate to the page and to every page after it: through real proxies, in real crawls."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from scrapy import Request, signals
from scrapy.exceptions import CloseSpider
from scrapy.http import FormRequest, Response
from scrapy.utils.defer import deferred_f_from_coro_f
from scrapy.utils.test import get_crawler
from twisted.internet.task import Clock

from scrapy_capsolver._request.clearance_flow import ClearanceFlow
from scrapy_capsolver._request.identity import ClientIdentity
from scrapy_capsolver._request.state import RequestState
from scrapy_capsolver.errors import (
    CaptchaCancelledError,
    CaptchaConfigurationError,
    CaptchaError,
    CaptchaProxyError,
    UnsolvableCaptchaError,
)
from scrapy_capsolver.families import family as family_named
from scrapy_capsolver.settings import CapSolverSettings
from scrapy_capsolver.solving.clearances import Clearances
from scrapy_capsolver.solving.feedback import Feedback
from scrapy_capsolver.solving.ledger import Ledger, Receipt
from scrapy_capsolver.solving.outcomes import Outcomes
from scrapy_capsolver.solving.site_breaker import SiteStops
from scrapy_capsolver.solving.slow_start import SlowStart
from scrapy_capsolver.stores import Clearance, Key, MemoryStore
from tests.crawls import Crawl, bought, crawl, simulator
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
        wasted = {name for name in ours if name.startswith(("wasted/", "failed/"))}
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
    async with simulator(solve_seconds=(20, 20), latency=0.4) as capsolver:
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
    async with simulator(solve_seconds=(1, 1)) as capsolver:  # 300 seconds of immunity

        def parse(done: Crawl, spider: Any, response: Any) -> Any:
            from twisted.internet import reactor
            from twisted.internet.task import deferLater

            async def later() -> list[Request]:
                from scrapy.utils.defer import maybe_deferred_to_future

                await maybe_deferred_to_future(deferLater(reactor, 310))
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
        done = await crawl(capsolver, requests, DOWNLOAD_DELAY=2)
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
        assert bought(capsolver) == {}


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


# One request and its answer, without a network


RECEIPT = Receipt("task", "DatadomeSliderTask", "example.com", "datadome", None)


class Wearing:
    """The clearances of a crawl that is not run: requests reach its downloader as a test says."""

    def __init__(self, **clearances: Clearance) -> None:
        self.crawler = get_crawler()
        self.clearances = Clearances(MemoryStore(), ("aws_waf", "cloudflare_challenge", "datadome"), Clock())
        self.counts: Counter[str] = Counter()
        settings = CapSolverSettings(api_key="k")
        service: Any = self

        def count(name: str, value: float = 1) -> None:
            self.counts.update([name])

        nobody: Any = None
        self.outcomes = Outcomes(
            Ledger("s", {}, MemoryStore(), count),
            SiteStops(0, count),
            SlowStart(Clock(), SiteStops(0, count)),
            Feedback(nobody, nobody, count, enabled=False),
            count,
        )
        self.identity = ClientIdentity(self.crawler, settings.api_key, settings.egress)
        self.clearing = ClearanceFlow(self.crawler, self.identity, service, count)
        for family, clearance in clearances.items():
            self.keep(family, clearance)

    async def wait(self, outcome: Any, *, shared: bool = False) -> Any:
        return await outcome

    @property
    def key(self) -> Key:
        return self.identity.key_of(
            Request("https://www.example.com/", headers={"User-Agent": "ours"}, meta={"proxy": None})
        )

    def keep(self, family: str, clearance: Clearance) -> None:
        key = replace(self.key, family=family)
        do(self.clearances.keep(key, clearance))
        self.outcomes.expect(clearance.id, RECEIPT)

    def send(self, url: str = "https://www.example.com/") -> Request:
        """A request with what it has on when it is on the wire."""
        request = Request(url, headers={"User-Agent": "ours"}, meta={"proxy": None})
        do(self.clearing.wait(request, RequestState.of(request)))
        self.crawler.signals.send_catch_log(signals.request_reached_downloader, request=request, spider=None)
        return request

    def answer(self, request: Request, *cookies: str, status: int = 200) -> Response:
        response = Response(request.url, status=status, headers={"Set-Cookie": list(cookies)} if cookies else None)
        self.crawler.signals.send_catch_log(
            signals.response_downloaded, request=request, response=response, spider=None
        )
        return response

    def held(self) -> dict[str, str]:
        """Names and values of all cookies."""
        found = do(self.clearances._store.load("example.com")).values()
        return {name: value for one in found for name, value in one.cookies.items()}


def do(coroutine: Any) -> Any:
    """The result of a coroutine that waits for nothing."""
    with pytest.raises(StopIteration) as stopped:
        coroutine.send(None)
    return stopped.value.value


ONE = Clearance("1", "www.example.com", {"datadome": "a"}, None, 1000.0)


def test_cookie_and_user_agent_are_on_while_it_is_on_the_wire_alone() -> None:
    wearing = Wearing(datadome=replace(ONE, user_agent="theirs"))
    request = wearing.send()
    assert (request.headers["Cookie"], request.headers["User-Agent"]) == (b"datadome=a", b"theirs")
    assert wearing.clearing.holds(request, "datadome")
    assert not wearing.clearing.holds(request, "aws_waf")
    assert wearing.clearing.user_agent(request) == "theirs"
    wearing.answer(request)
    assert "Cookie" not in request.headers
    assert request.headers["User-Agent"] == b"ours"
    assert wearing.clearing.user_agent(request) == "theirs"  # as the site saw it
    assert wearing.clearing.accepted(request) == {"cookies": {"datadome": "a"}, "userAgent": "theirs"}


@pytest.mark.parametrize(
    "url", ["https://www.example.com:8443/", "http://www.example.com:8080/", "https://evil.example/"]
)
def test_another_port_is_another_place(url: str) -> None:
    """Stricter than a cookie: what listens on another port may be another's."""
    wearing = Wearing(datadome=replace(ONE, secure=False))
    request = wearing.send(url)
    assert "Cookie" not in request.headers
    assert not wearing.clearing.holds(request, "datadome")


def test_a_clearance_is_of_one_address_in_all_its_spellings() -> None:
    wearing = Wearing()
    keys = {
        wearing.identity.key_of(Request(f"http://{host}:8000/", meta={"proxy": None}))
        for host in ("10.0.0.1", "10.1", "0xa.1", "167772161", "[::ffff:10.0.0.1]", "10.0.0.1.")
    }
    assert [(key.site, key.scope) for key in keys] == [("10.0.0.1:8000", "10.0.0.1:8000")]


def test_what_was_earned_over_https_does_not_go_over_http() -> None:
    wearing = Wearing(datadome=ONE)
    plain = "http://www.example.com/"
    request = wearing.send(plain)
    assert "Cookie" not in request.headers
    assert not wearing.clearing.holds(request, "datadome")
    wearing.keep("datadome", replace(ONE, secure=False))
    assert wearing.send(plain).headers["Cookie"] == wearing.send().headers["Cookie"] == b"datadome=a"


@pytest.mark.parametrize(
    ("issued", "status", "held", "left"),
    [
        ("datadome=b; Path=/", 200, "b", []),
        ("datadome=b; Path=/", 302, "b", []),
        ("datadome=a", 200, "a", []),
        # An answer that is no page, and what deletes it or cannot be a cookie's value: it stays as it was, but in no jar.
        ("datadome=b", 403, "a", []),
        ("datadome=b", 500, "a", []),
        ("datadome=b; Max-Age=0", 200, "a", []),
        ("datadome=b; Expires=Thu, 01 Jan 1970 00:00:00 GMT", 200, "a", []),
        ("datadome=", 200, "a", []),
        ("datadome=ł", 200, "a", []),
        ("datadome2=b", 200, "a", [b"datadome2=b"]),
    ],
)
def test_what_the_site_issues_anew(issued: str, status: int, held: str, left: list[bytes]) -> None:
    wearing = Wearing(datadome=ONE)
    request = wearing.send()
    response = wearing.answer(request, issued, "session=1", status=status)
    wearing.clearing.accepted(request)
    assert wearing.held() == {"datadome": held}
    assert wearing.send().headers["Cookie"] == b"datadome=" + held.encode()
    assert response.headers.getlist("Set-Cookie") == [*left, b"session=1"]
    assert wearing.counts["clearances/renewed"] == (held == "b")


def test_of_answers_that_overtake_each_other_the_newest_is_kept() -> None:
    wearing = Wearing(datadome=ONE)
    first, second = wearing.send(), wearing.send()
    wearing.answer(first, "datadome=b")
    assert second.headers["Cookie"] == b"datadome=b"  # it waited in the downloader's queue
    wearing.answer(second, "datadome=c")
    for request in (second, first):
        wearing.clearing.accepted(request)
    assert wearing.held() == {"datadome": "c"}


def test_what_is_issued_anew_is_sent_by_who_comes_before_its_page_is_looked_at() -> None:
    wearing = Wearing(datadome=ONE)
    wearing.answer(wearing.send(), "datadome=b")
    assert wearing.held() == {"datadome": "b"}
    assert wearing.send().headers["Cookie"] == b"datadome=b"


def test_an_answered_request_is_left_alone_by_what_comes_later() -> None:
    wearing = Wearing(datadome=ONE)
    first, second, third = wearing.send(), wearing.send(), wearing.send()
    wearing.answer(first)
    wearing.clearing.detach(second)  # its download failed
    wearing.answer(third, "datadome=b")
    assert "Cookie" not in first.headers
    assert "Cookie" not in second.headers


def test_of_two_user_agents_the_newest_has_the_request() -> None:
    older, newer = replace(ONE, user_agent="old"), Clearance("2", ONE.host, {"cf_clearance": "b"}, "new", 2000.0)
    anyone = Clearance("3", ONE.host, {"aws-waf-token": "c"}, None, 500.0)
    wearing = Wearing(datadome=older, cloudflare_challenge=newer, aws_waf=anyone)
    request = wearing.send()
    assert request.headers["Cookie"] == b"aws-waf-token=c; cf_clearance=b"
    assert request.headers["User-Agent"] == b"new"
    # The gate that is met for want of the other one is opened anew, for this user agent.
    assert wearing.clearing.refused(request, "datadome") == older


def test_one_that_never_opened_anything_is_waste_once() -> None:
    wearing = Wearing(datadome=ONE)
    requests = [wearing.send(), wearing.send()]
    assert [wearing.clearing.refused(request, "datadome") for request in requests] == [ONE, ONE]
    assert wearing.clearing.refused(requests[0], "aws_waf") is None
    assert wearing.counts == {"wasted/rejected": 1, "rejected/datadome": 1}
    served = Wearing(datadome=ONE)
    request = served.send()
    served.clearing.accepted(request)
    assert served.clearing.refused(request, "datadome") == ONE
    assert served.counts == {"accepted/datadome": 1}


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_what_is_known_of_a_clearance(scheme: str) -> None:
    wearing = Wearing()
    solved: Any = SimpleNamespace(solution={"cookie": "datadome=x; Max-Age=3600"}, solved_at=7.0, receipt=RECEIPT)

    async def solve() -> Any:
        return solved

    url = f"{scheme}://www.example.com/"
    request = wearing.send(url)
    made: Any = family_named("datadome")
    clearance = do(
        wearing.clearing.obtain(made, url, request, wearing.clearing.refused(request, made.name), solve)
    ).clearance
    assert (clearance.host, clearance.cookies, clearance.solved_at) == ("www.example.com", {"datadome": "x"}, 7.0)
    assert clearance.secure == (scheme == "https")
    assert clearance.expires is not None
    assert clearance.expires > time.time()


def test_a_solution_that_is_no_clearance_is_waste() -> None:
    wearing = Wearing()
    made: Any = family_named("datadome")

    async def solve() -> Any:
        return SimpleNamespace(solution={}, solved_at=7.0, receipt=RECEIPT, attempts=3, charged=2)

    request = wearing.send()
    with pytest.raises(UnsolvableCaptchaError) as caught:
        wearing.clearing.obtain(made, request.url, request, wearing.clearing.refused(request, made.name), solve).send(
            None
        )
    assert wearing.counts == {"wasted/unusable": 1}
    assert (caught.value.attempts, caught.value.possibly_paid) == (3, 2)
    assert wearing.held() == {}


def test_one_of_another_host_that_is_refused_here_still_opens_that_one() -> None:
    wearing = Wearing(datadome=replace(ONE, host="api.example.com"))
    request = wearing.send()
    made: Any = family_named("datadome")

    async def solve() -> Any:
        return SimpleNamespace(solution={"cookie": "datadome=x"}, solved_at=2000.0, receipt=RECEIPT)

    do(wearing.clearing.obtain(made, request.url, request, wearing.clearing.refused(request, made.name), solve))
    assert wearing.send().headers["Cookie"] == b"datadome=x"
    assert wearing.send("https://api.example.com/").headers["Cookie"] == b"datadome=a"


# What is left on a request whose download failed


@deferred_f_from_coro_f
async def test_a_request_that_failed_has_nothing_on() -> None:
    """An errback, RetryMiddleware or a queue on disk may send it again, by another way."""
    async with simulator() as capsolver:

        def parse(done: Crawl, spider: Any, response: Any) -> Any:
            done.extra.append(response.meta["capsolver_solution"]["cookies"]["aws-waf-token"])
            return [request(capsolver, "/aws-waf/2", errback=spider.failed, meta={"download_maxsize": 1})]

        done = await crawl(capsolver, [request(capsolver, "/aws-waf/1")], parse=parse)
        (failure,) = done.failures
        assert capsolver.state()["site"]["clearances"]["passed"] == {"aws-waf": 2}  # it was on
        assert done.extra[0].encode() not in failure.request.headers.to_string()  # type: ignore[attr-defined]


@deferred_f_from_coro_f
async def test_a_page_that_is_gated_now_and_then_does_not_go_round_for_ever(by: Running) -> None:
    """Whoever looks at it with the user agent that CapSolver solves for sees the page; the crawl sees the gate."""

    class Fickle:
        def process_response(self, request: Request, response: Any, spider: Any = None) -> Any:
            if request.headers["User-Agent"] != b"a crawler of ours":
                return response.replace(status=200, body=b"<h1>Open</h1>", headers={"Content-Type": "text/html"})
            return response

    async with simulator() as capsolver:
        first = request(capsolver, "/datadome/1", by)
        done = await crawl(capsolver, [first], DOWNLOADER_MIDDLEWARES={Fickle: 900}, USER_AGENT="a crawler of ours")
        assert type(done.error) is UnsolvableCaptchaError
        assert capsolver.state()["tasks"]["created"] == 0
        assert capsolver.state()["site"]["requests"] == 2 * 3 + 1


@deferred_f_from_coro_f
async def test_whoever_waits_for_a_clearance_is_not_sent_when_the_crawl_stops() -> None:
    async with simulator(solve_seconds=(100, 100)) as capsolver:

        def parse(done: Crawl, spider: Any, response: Any) -> None:
            raise CloseSpider("enough")

        requests = [request(capsolver, f"/aws-waf/{n}", priority=9 - n) for n in range(4)]
        requests.append(request(capsolver, "/free/1", flag=None, priority=-1))  # which waits for nothing
        done = await crawl(capsolver, requests, parse=parse, CONCURRENT_REQUESTS=1)
        assert [type(error) for error in done.errors] == [CaptchaCancelledError] * 4
        assert done.ours()["clearances/awaited"] == 3
        assert capsolver.state()["site"]["gates_shown"] == {"aws-waf": 1}
