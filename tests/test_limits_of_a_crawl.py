"""What the author's limits allow is bought, to the last cent and not a cent more; and the books agree with CapSolver's."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from scrapy import Request
from scrapy.http import HtmlResponse, Response
from scrapy.utils.defer import deferred_f_from_coro_f, maybe_deferred_to_future
from twisted.internet.task import deferLater

from scrapy_capsolver.errors import CaptchaBudgetError, UnsolvableCaptchaError
from tests.crawls import Crawl, bought, crawl, simulator

if TYPE_CHECKING:
    from pathlib import Path

PRICE = 0.0008  # of a reCAPTCHA v2
GATES = [f"/recaptcha-v2/{n}" for n in range(30)]


async def check_money(capsolver: Any, *crawls: Crawl, store: Path | None = None) -> None:
    """The crawls together know what they were charged, to the cent, and what for."""
    from twisted.internet import reactor

    clock: Any = reactor
    while (state := capsolver.state())["tasks"]["open"]:  # its end is charged, even if the crawl is over
        await maybe_deferred_to_future(deferLater(clock, 1))

    def total(prefix: str) -> float:
        return sum(float(value) for done in crawls for name, value in done.ours().items() if name.startswith(prefix))

    sure, perhaps = total("estimated_cost_usd"), total("possible_cost_usd")
    if perhaps:
        assert sure - 1e-9 <= state["money"]["spent"] <= sure + perhaps + 1e-9
    else:
        assert state["money"]["spent"] == pytest.approx(sure, abs=1e-9)
    assert total("cost_usd/family/") == pytest.approx(sure, abs=1e-9)
    assert total("cost_usd/site/") + total("cost_usd/other_sites") == pytest.approx(sure, abs=1e-9)
    if store is not None:
        assert total("tasks/carried_over") == total("tasks/resumed")
        with closing(sqlite3.connect(store)) as database:
            assert database.execute("SELECT * FROM tasks").fetchall() == []
            rows = database.execute("SELECT spider, site, family, account, tasks, nano_usd FROM ledger").fetchall()
        assert {row[0] for row in rows} <= {"one"}
        for at, kind in ((1, "site"), (2, "family")):
            for name in {row[at] for row in rows}:
                nano = sum(row[5] for row in rows if row[at] == name and row[3] == "solved")
                assert nano / 1e9 == pytest.approx(total(f"cost_usd/{kind}/{name}"), abs=1e-9)
        for reason in {row[3] for row in rows} - {"solved", "failed"}:
            assert sum(row[4] for row in rows if row[3] == reason) == total(f"wasted/{reason}")
            nano = sum(row[5] for row in rows if row[3] == reason)
            assert nano / 1e9 == pytest.approx(total(f"wasted_usd/{reason}"), abs=1e-9)
        wasted = {name for done in crawls for name in done.ours() if name.startswith("wasted/")}
        assert {name[7:] for name in wasted} == {row[3] for row in rows} - {"solved", "failed"}
        assert sum(row[4] for row in rows if row[3] == "failed") == total("tasks/failed/")
        assert not any(row[5] for row in rows if row[3] == "failed")


def check_paid(capsolver: Any, *crawls: Crawl) -> None:
    """Gates of tokens: every solve that was paid was delivered, or it is known why not."""
    ours = [done.ours() for done in crawls]
    used = sum(one.get("delivered", 0) for one in ours)
    wasted = sum(value for one in ours for name, value in one.items() if name.startswith("wasted/"))
    unknown = sum(one.get(f"wasted/{reason}", 0) for one in ours for reason in ("possibly_paid", "abandoned"))
    paid = capsolver.state()["tasks"]["paid"]
    assert used + wasted - unknown <= paid <= used + wasted


def refused(done: Crawl) -> list[BaseException]:
    return [error for error in done.errors if type(error) is CaptchaBudgetError]


ADDRESSES = ["127.0.0.1", "127.1", "0x7f.1", "2130706433", "0177.0.0.1", "127.0.0.01"]
"""Spellings that a host's resolver reads as one address, whoever reads them."""


@deferred_f_from_coro_f
async def test_spellings_of_an_address_share_a_limit() -> None:
    """A page that links to itself by another spelling gets no limit of its own."""
    async with simulator() as capsolver:
        port = capsolver.site_url.rpartition(":")[2]
        urls = [f"http://{host}:{port}/recaptcha-v2/{n}" for n, host in enumerate(ADDRESSES * 2)]
        requests = [Request(url, meta={"capsolver": True}) for url in urls]
        done = await crawl(capsolver, requests, CAPSOLVER_MAX_SOLVES_PER_DOMAIN=3)
        assert len(done.responses) == capsolver.state()["tasks"]["paid"] == 3
        assert len(refused(done)) == len(urls) - 3
        assert [name for name in done.ours() if name.startswith("cost_usd/site/")] == ["cost_usd/site/127.0.0.1"]


@deferred_f_from_coro_f
async def test_spellings_of_an_address_share_their_rejections() -> None:
    async with simulator() as capsolver:
        port = capsolver.site_url.rpartition(":")[2]
        urls = [f"http://{host}:{port}/reject/recaptcha-v2/{n}" for n, host in enumerate(ADDRESSES)]
        requests = [Request(url, meta={"capsolver": True}) for url in urls]
        done = await crawl(
            capsolver, requests, CAPSOLVER_MAX_REJECTIONS=2, CAPSOLVER_RETRY_TIMES=0, CAPSOLVER_CONCURRENCY=1
        )
        assert capsolver.state()["tasks"]["paid"] in {2, 3}  # one may be under way at the second verdict
        assert done.ours()["breaker/stopped_sites"] == 1


@pytest.mark.parametrize("quirks", [[], ["solve-failed/2"], ["create-bad-request/3"]], ids=str)
@pytest.mark.parametrize(
    ("limit", "value", "solves"),
    [
        ("MAX_SOLVES", 7, 7),
        ("MAX_SOLVES_PER_DOMAIN", 7, 7),
        ("BUDGET", 0.0024, 3),
        ("BUDGET", "0.0056", 7),
        ("BUDGET", 0.00239, 2),
        ("MAX_SOLVES", 0, 0),
        ("BUDGET", 0, 0),
    ],
)
@deferred_f_from_coro_f
async def test_a_limit_is_used_up_and_never_overshot(
    limit: str, value: Any, solves: int, quirks: list[str], tmp_path: Path
) -> None:
    store = tmp_path / "store.sqlite"
    async with simulator(quirks=quirks, solve_seconds=(1, 5)) as capsolver:
        limits = {f"CAPSOLVER_{limit}": value}
        done = await crawl(capsolver, GATES, CAPSOLVER_STORE=str(store), CONCURRENT_REQUESTS_PER_DOMAIN=30, **limits)
        tasks = capsolver.state()["tasks"]
        assert (tasks["paid"], len(done.responses)) == (solves, solves)
        if not quirks:
            assert tasks["created"] == solves
            assert len(refused(done)) == 30 - solves
        assert {type(error) for error in done.errors} <= {CaptchaBudgetError, UnsolvableCaptchaError}
        assert all(f"CAPSOLVER_{limit} is reached" in str(error) for error in refused(done))
        ours = done.ours()
        assert ours[f"limits/{limit}"] == ours["failed/CaptchaBudgetError"] == len(refused(done)) > 0
        assert done.stats["finish_reason"] == "finished"
        await check_money(capsolver, done, store=store)
        check_paid(capsolver, done)


@deferred_f_from_coro_f
async def test_the_tighter_of_two_limits_holds() -> None:
    async with simulator(solve_seconds=(1, 5)) as capsolver:
        done = await crawl(capsolver, GATES[:10], CAPSOLVER_MAX_SOLVES=4, CAPSOLVER_BUDGET=1)
        assert capsolver.state()["tasks"]["created"] == len(done.responses) == 4
        again = await crawl(capsolver, GATES[:10], CAPSOLVER_MAX_SOLVES=4, CAPSOLVER_BUDGET=2 * PRICE)
        assert capsolver.state()["tasks"]["created"] == 4 + len(again.responses) == 6  # each crawl has its own
        await check_money(capsolver, done, again)


@pytest.mark.parametrize("quirk", ["create-reply-lost:1", "create-html-504:1", "create-truncated-json:1"])
@deferred_f_from_coro_f
async def test_what_may_have_been_charged_counts_as_if_it_were(quirk: str, tmp_path: Path) -> None:
    store = tmp_path / "store.sqlite"
    async with simulator(quirks=[quirk], solve_seconds=(1, 5)) as capsolver:
        done = await crawl(capsolver, GATES, CAPSOLVER_BUDGET=5 * PRICE, CAPSOLVER_STORE=str(store))
        assert len(done.responses) == 4
        assert len(refused(done)) == 25
        assert done.ours()["possible_cost_usd"] == PRICE
        await check_money(capsolver, done, store=store)
        assert capsolver.state()["tasks"]["paid"] == 5
        check_paid(capsolver, done)


@deferred_f_from_coro_f
async def test_an_unknown_price_is_refused_before_anything_is_created() -> None:
    flag = {"type": "TaskOfTomorrow", "websiteKey": "k", "when": "before", "inject": {"query": "token"}}
    async with simulator() as capsolver:
        request = Request(f"{capsolver.site_url}/free/1", meta={"capsolver": flag})
        done = await crawl(capsolver, [request], CAPSOLVER_BUDGET=100)
        assert type(done.error) is CaptchaBudgetError
        assert "the price of TaskOfTomorrow is not known" in str(done.error)
        assert "CAPSOLVER_PRICES" in str(done.error)
        assert bought(capsolver) == {}
        assert not [name for name in done.ours() if name.startswith("limits/")]  # none is reached
        priced = await crawl(capsolver, [request], CAPSOLVER_BUDGET=100, CAPSOLVER_PRICES={"TaskOfTomorrow": 2})
        assert type(priced.error) is not CaptchaBudgetError
        assert bought(capsolver)["createTask"] == 1


@deferred_f_from_coro_f
async def test_a_price_of_the_authors_own_is_what_counts() -> None:
    async with simulator(solve_seconds=(1, 2)) as capsolver:
        prices = {"ReCaptchaV2TaskProxyLess": 400}
        done = await crawl(capsolver, GATES[:5], CAPSOLVER_BUDGET=1, CAPSOLVER_PRICES=prices)
        assert len(done.responses) == 2
        assert done.ours()["estimated_cost_usd"] == pytest.approx(0.8)


# Closing


@pytest.mark.parametrize("limit", [{"CAPSOLVER_MAX_SOLVES": 3}, {"CAPSOLVER_BUDGET": 3 * PRICE}], ids=str)
@deferred_f_from_coro_f
async def test_a_limit_may_close_the_spider(limit: dict[str, Any]) -> None:
    async with simulator(solve_seconds=(1, 5)) as capsolver:
        done = await crawl(capsolver, GATES, CAPSOLVER_ON_LIMIT="close", **limit)
        assert done.stats["finish_reason"] == "capsolver_budget"
        assert capsolver.state()["tasks"]["created"] == 3
        assert len(done.responses) + len(done.errors) <= 30
        assert len(done.responses) <= 3
        await check_money(capsolver, done)
        check_paid(capsolver, done)


@deferred_f_from_coro_f
async def test_a_limit_of_one_domain_closes_nothing() -> None:
    async with simulator(solve_seconds=(1, 5)) as capsolver:
        done = await crawl(capsolver, GATES[:9], CAPSOLVER_ON_LIMIT="close", CAPSOLVER_MAX_SOLVES_PER_DOMAIN=3)
        assert done.stats["finish_reason"] == "finished"
        assert (len(done.responses), len(refused(done))) == (3, 6)


# Scrapy 2.13 does not close the empty queues that it looks for on disk.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("limit", ["MAX_SOLVES", "BUDGET"])
@pytest.mark.parametrize("allowed", [(5, 12), (5, 8, 12), (5, 5, 5, 12)], ids=str)
@deferred_f_from_coro_f
async def test_with_a_jobdir_what_was_refused_waits_for_a_run_with_a_higher_limit(
    limit: str, allowed: tuple[int, ...], tmp_path: Path
) -> None:
    store = tmp_path / "store.sqlite"
    settings: dict[str, Any] = {
        "JOBDIR": str(tmp_path / "job"),
        "CAPSOLVER_STORE": str(store),
        "CAPSOLVER_ON_LIMIT": "close",
        "CONCURRENT_REQUESTS_PER_DOMAIN": 4,
    }
    async with simulator(solve_seconds=(1, 5)) as capsolver:
        runs: list[Crawl] = []
        for solves in allowed:
            settings[f"CAPSOLVER_{limit}"] = solves if limit == "MAX_SOLVES" else solves * PRICE
            done = await crawl(capsolver, [] if runs else GATES[:12], **settings)
            runs.append(done)
            assert done.errors == []
            assert done.stats["finish_reason"] == ("finished" if solves == 12 else "capsolver_budget")
            assert capsolver.state()["tasks"]["created"] == solves
        products = sorted(response.css(".product::text").get() or "" for done in runs for response in done.responses)
        assert products == sorted(f"Product {n}" for n in range(12))
        assert capsolver.state()["tasks"]["paid"] == 12
        await check_money(capsolver, *runs, store=store)
        check_paid(capsolver, *runs)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@deferred_f_from_coro_f
async def test_the_limits_count_over_the_runs_of_one_jobdir(tmp_path: Path) -> None:
    async with simulator(solve_seconds=(1, 5)) as capsolver:
        settings: dict[str, Any] = {"JOBDIR": str(tmp_path), "CAPSOLVER_MAX_SOLVES": 5}
        first = await crawl(capsolver, GATES[:3], **settings)
        assert len(first.responses) == 3
        second = await crawl(capsolver, GATES[3:9], **settings)
        assert (len(second.responses), len(refused(second))) == (2, 4)
        third = await crawl(capsolver, GATES[9:12], **settings)
        assert (len(third.responses), len(refused(third))) == (0, 3)
        assert capsolver.state()["tasks"]["created"] == 5
        await check_money(capsolver, first, second, third)


# What a page may try


class Evil:
    """A shop that sends its visitors to ever new hosts, which show ever new site keys and take no solution."""

    numbers = count(1)

    def process_request(self, request: Request, spider: Any = None) -> Response | None:
        if ".com/" not in request.url:
            return None
        number = next(self.numbers)
        if ".shop.com/" in request.url:
            return Response(request.url, status=302, headers={"Location": f"http://gate.evil{number}.com/"})
        page = f'<form method="post"><div class="g-recaptcha" data-sitekey="6Le{number:037}"></div></form>'
        return HtmlResponse(request.url, status=403, body=page.encode())


@pytest.mark.parametrize("limit", [1, 4])
@deferred_f_from_coro_f
async def test_no_page_chooses_the_domain_that_it_is_counted_for(limit: int) -> None:
    async with simulator(solve_seconds=(1, 2)) as capsolver:
        requests = [Request(f"http://www{n % 3}.shop.com/{n}", meta={"capsolver": True}) for n in range(12)]
        requests.append(Request(f"{capsolver.site_url}/recaptcha-v2/1", meta={"capsolver": True}))
        done = await crawl(
            capsolver,
            requests,
            DOWNLOADER_MIDDLEWARES={Evil: 900},
            CAPSOLVER_MAX_SOLVES_PER_DOMAIN=limit,
        )
        assert [response.css(".product::text").get() for response in done.responses] == ["Product 1"]
        assert len(done.errors) == 12
        assert capsolver.state()["tasks"]["created"] == limit + 1
        keys = {task.fields["websiteKey"] for task in capsolver.tasks.values()}
        assert len(keys) == limit + 1
        assert done.ours()["cost_usd/site/shop.com"] == pytest.approx(limit * PRICE)
        assert done.ours()["limits/MAX_SOLVES_PER_DOMAIN"] == len(refused(done)) > 0
        await check_money(capsolver, done)
        check_paid(capsolver, done)
