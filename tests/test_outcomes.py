"""What became of solutions: counted, told to CapSolver, and followed where a site takes none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from scrapy import Request
from scrapy.utils.defer import deferred_f_from_coro_f

from scrapy_capsolver.errors import UnsolvableCaptchaError
from scrapy_capsolver.solving.slow_start import START
from tests.crawls import bought, crawl, simulator
from tests.test_limits_of_a_crawl import check_money, check_paid

if TYPE_CHECKING:
    from pathlib import Path

REJECTING = "/reject/recaptcha-v2/1"


def told(capsolver: Any) -> dict[str, bool]:
    """What CapSolver was told of each task: is its solution invalid?"""
    feedback = capsolver.state()["feedback"]
    verdicts = {row["taskId"]: row["result"]["invalid"] for row in feedback}
    assert len(verdicts) == len(feedback)  # no task twice
    return verdicts


def lines(caplog: pytest.LogCaptureFixture, text: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if text in record.getMessage()]


@deferred_f_from_coro_f
async def test_what_the_site_rejects_is_counted_and_told(tmp_path: Path) -> None:
    store = tmp_path / "store.sqlite"
    async with simulator(solve_seconds=(1, 2)) as capsolver:
        paths = [REJECTING, "/reject/turnstile/1", "/recaptcha-v2/1", "/turnstile/2", "/turnstile/3"]
        done = await crawl(capsolver, paths, CAPSOLVER_STORE=str(store))
        assert (len(done.responses), len(done.errors)) == (3, 2)
        ours = done.ours()
        assert (ours["rejected/recaptcha_v2"], ours["rejected/turnstile"]) == (3, 3)
        assert ours["rejected/site/127.0.0.1"] == ours["wasted/rejected"] == 6
        assert (ours["accepted/recaptcha_v2"], ours["accepted/turnstile"]) == (1, 2)
        assert ours["wasted_usd/rejected"] == pytest.approx(3 * 0.0008 + 3 * 0.0012)
        bad = {task.id: "/reject/" in task.fields["websiteURL"] for task in capsolver.tasks.values()}
        assert told(capsolver) == bad
        assert sorted(bad.values()) == [False] * 3 + [True] * 6
        assert ours["feedback/sent"] == 9
        await check_money(capsolver, done, store=store)
        check_paid(capsolver, done)


@deferred_f_from_coro_f
async def test_a_clearance_is_told_of_once_however_many_requests_it_opens_the_site_to() -> None:
    async with simulator(solve_seconds=(1, 2)) as capsolver:
        done = await crawl(capsolver, [f"/aws-waf/{n}" for n in range(8)])
        assert len(done.responses) == 8
        (task,) = capsolver.tasks
        assert told(capsolver) == {task: False}
        assert done.ours()["accepted/aws_waf"] == 1
        await check_money(capsolver, done)


@deferred_f_from_coro_f
async def test_a_clearance_that_is_rejected_is_told_of() -> None:
    async with simulator(solve_seconds=(1, 2)) as capsolver:
        done = await crawl(capsolver, ["/aws-waf/1?style=again"])  # which wants a second one
        assert len(done.responses) == 1
        first, second = capsolver.tasks
        assert told(capsolver) == {first: True, second: False}
        ours = done.ours()
        assert ours["rejected/aws_waf"] == ours["rejected/site/127.0.0.1"] == ours["wasted/rejected"] == 1
        assert ours["accepted/aws_waf"] == 1
        await check_money(capsolver, done)


@deferred_f_from_coro_f
async def test_nothing_is_told_where_the_author_does_not_want_it() -> None:
    async with simulator(solve_seconds=(1, 2)) as capsolver:
        done = await crawl(capsolver, [REJECTING, "/turnstile/1", "/aws-waf/1"], CAPSOLVER_FEEDBACK=False)
        assert set(bought(capsolver)) == {"createTask", "getTaskResult"}
        assert done.ours()["rejected/recaptcha_v2"] == 3
        assert not [name for name in done.ours() if name.startswith("feedback/")]


@pytest.mark.parametrize(
    "quirk",
    [
        "feedback-html-502",
        "feedback-reply-lost",
        "feedback-request-lost",
        "feedback-unknown-error",
        "feedback-html-403",
        "feedback-zero-balance",
        "feedback-rate-limit",
        "feedback-key-temp-blocked",
    ],
)
@deferred_f_from_coro_f
async def test_feedback_that_fails_changes_nothing_and_is_given_up(
    quirk: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with simulator(quirks=[quirk], solve_seconds=(1, 9)) as capsolver:
        done = await crawl(capsolver, [f"/turnstile/{n}" for n in range(30)], CAPSOLVER_CONCURRENCY=2)
        assert len(done.responses) == 30
        assert done.errors == []
        ours = done.ours()
        assert 5 <= ours["feedback/failed"] == capsolver.state()["api"]["calls"]["feedbackTask"] <= 8  # 4 at a time
        assert not [name for name in ours if name.startswith("breaker/")]
        assert len(lines(caplog, "CapSolver is told no more")) == 1
        assert capsolver.state()["tasks"]["created"] == 30
        await check_money(capsolver, done)
        check_paid(capsolver, done)


@deferred_f_from_coro_f
async def test_feedback_that_fails_now_and_then_goes_on() -> None:
    async with simulator(quirks=["feedback-html-502/2"], solve_seconds=(1, 9)) as capsolver:
        done = await crawl(capsolver, [f"/turnstile/{n}" for n in range(30)], CAPSOLVER_CONCURRENCY=2)
        ours = done.ours()
        assert (ours["feedback/failed"], ours["feedback/sent"]) == (15, 15)


@deferred_f_from_coro_f
async def test_feedback_that_hangs_does_not_hold_up_the_end_of_the_crawl() -> None:
    async with simulator(quirks=["feedback-silence"], solve_seconds=(1, 2)) as capsolver:
        done = await crawl(capsolver, [f"/turnstile/{n}" for n in range(12)])
        assert len(done.responses) == 12
        assert capsolver.state()["api"]["calls"]["feedbackTask"] <= 4  # the rest waited for these
        await check_money(capsolver, done)


# Sites that take nothing


def other_site(capsolver: Any, path: str) -> Request:
    return Request(capsolver.site_url.replace("127.0.0.1", "localhost") + path, meta={"capsolver": True})


@deferred_f_from_coro_f
async def test_a_site_that_rejects_so_many_in_a_row_costs_nothing_more(caplog: pytest.LogCaptureFixture) -> None:
    async with simulator(solve_seconds=(1, 2)) as capsolver:
        requests: list[Any] = [f"/reject/recaptcha-v2/{n}" for n in range(8)]
        requests += ["/turnstile/1", other_site(capsolver, "/recaptcha-v2/2")]
        done = await crawl(
            capsolver,
            requests,
            CAPSOLVER_MAX_REJECTIONS=3,
            CONCURRENT_REQUESTS=1,
            CAPSOLVER_MAX_PENDING=0,
        )
        assert capsolver.state()["tasks"]["by_type"] == {
            "ReCaptchaV2TaskProxyLess": 3 + 1,
            "AntiTurnstileTaskProxyLess": 1,
        }
        assert [type(error) for error in done.errors] == [UnsolvableCaptchaError] * 8
        assert len(done.responses) == 2
        ours = done.ours()
        assert ours["breaker/stopped_sites"] == 1
        assert ours["rejected/recaptcha_v2"] == 3
        (line,) = lines(caplog, "No more recaptcha_v2 is solved for 127.0.0.1")
        assert line.endswith("the site rejects the solutions, 3 times in a row (CAPSOLVER_MAX_REJECTIONS)")
        refused = [error for error in done.errors if "not tried, since the site rejects the solutions" in str(error)]
        assert len(refused) == 8 - 1
        assert all(error.attempts == 0 for error in refused if isinstance(error, UnsolvableCaptchaError))
        assert not lines(caplog, "not tried, since")  # once is enough
        await check_money(capsolver, done)
        check_paid(capsolver, done)


@deferred_f_from_coro_f
async def test_a_hostile_site_costs_little_however_many_wait() -> None:
    """At first 10 solves are under way, whatever CAPSOLVER_CONCURRENCY is, and 10 rejections end it."""
    async with simulator(speed=1.0, solve_seconds=(0.1, 0.3)) as capsolver:
        done = await crawl(
            capsolver, [f"/reject/recaptcha-v2/{n}" for n in range(120)], CONCURRENT_REQUESTS_PER_DOMAIN=64
        )
        assert [type(error) for error in done.errors] == [UnsolvableCaptchaError] * 120
        assert capsolver.state()["tasks"]["created"] < 2 * START
        assert done.ours()["breaker/stopped_sites"] == 1
        await check_money(capsolver, done)
        check_paid(capsolver, done)


@deferred_f_from_coro_f
async def test_a_new_site_begins_with_few_solves() -> None:
    async with simulator(speed=1.0, solve_seconds=(0.3, 0.3)) as capsolver:
        done = await crawl(capsolver, [f"/recaptcha-v2/{n}" for n in range(40)], CONCURRENT_REQUESTS_PER_DOMAIN=40)
        assert len(done.responses) == 40
        tasks = capsolver.tasks.values()
        first_delivered = min(task.delivered_at for task in tasks)
        assert sum(task.created < first_delivered for task in tasks) == START
        check_paid(capsolver, done)


class Failing:
    """A middleware of somebody's that cannot take a form, as a download handler may not."""

    def process_request(self, request: Request, spider: Any = None) -> None:
        if request.method == "POST":
            raise TypeError("not a form")


@pytest.mark.parametrize("retries", [0, 2])
@deferred_f_from_coro_f
async def test_solutions_lost_to_exceptions_stop_a_site(retries: int, caplog: pytest.LogCaptureFixture) -> None:
    """Each is booked when it happens, and not at the end of the crawl."""
    booked: list[int] = []

    async with simulator(speed=1.0, solve_seconds=(0.1, 0.1)) as capsolver:

        class Seeing:
            @classmethod
            def from_crawler(cls, crawler: Any) -> Any:
                one = cls()
                one.crawler = crawler
                return one

            def process_exception(self, request: Request, exception: Exception, spider: Any = None) -> None:
                if isinstance(exception, TypeError):
                    booked.append(self.crawler.stats.get_value("capsolver/wasted/lost"))

        done = await crawl(
            capsolver,
            [f"/recaptcha-v2/{n}" for n in range(20)],
            CAPSOLVER_MAX_REJECTIONS=3,
            DOWNLOADER_MIDDLEWARES={Failing: 700, Seeing: 560},
            RETRY_ENABLED=bool(retries),
            RETRY_TIMES=retries,
            RETRY_EXCEPTIONS=[TypeError],
        )
        ours = done.ours()
        created = capsolver.state()["tasks"]["created"]
        assert 3 <= created <= 5
        assert ours["wasted/lost"] == ours["solved/recaptcha_v2"] == created
        assert ours["breaker/stopped_sites"] == 1
        assert "wasted/undelivered" not in ours
        assert "wasted/already_sent" not in ours
        assert booked == list(range(1, created + 1))
        assert len(done.errors) == 20
        stopped = [error for error in done.errors if isinstance(error, UnsolvableCaptchaError)]
        assert all("end by an exception (TypeError), 3 times in a row" in str(error) for error in stopped)
        assert len(stopped) == (20 if retries else 20 - created)
        await check_money(capsolver, done)
        check_paid(capsolver, done)


@deferred_f_from_coro_f
async def test_one_that_is_taken_begins_the_count_anew() -> None:
    async with simulator(solve_seconds=(1, 2)) as capsolver:
        paths = ["/reject/turnstile/1", "/turnstile/1", "/reject/turnstile/2", "/turnstile/2"]
        requests = [
            Request(capsolver.site_url + path, meta={"capsolver": True}, priority=-1000 * n)
            for n, path in enumerate(paths)
        ]
        settings: dict[str, Any] = {"CONCURRENT_REQUESTS": 1, "CAPSOLVER_MAX_PENDING": 0}
        done = await crawl(capsolver, requests, CAPSOLVER_MAX_REJECTIONS=4, **settings)
        assert len(done.responses) == 2
        assert capsolver.state()["tasks"]["created"] == 3 + 1 + 3 + 1
        assert "breaker/stopped_sites" not in done.ours()
        paths = ["/reject/turnstile/1", "/reject/turnstile/2", "/turnstile/2"]
        again = await crawl(capsolver, paths, CAPSOLVER_MAX_REJECTIONS=4, CAPSOLVER_CONCURRENCY=1, **settings)
        assert again.ours()["breaker/stopped_sites"] == 1
        await check_money(capsolver, done, again)


@deferred_f_from_coro_f
async def test_without_the_limit_each_request_has_its_attempts() -> None:
    async with simulator(solve_seconds=(1, 2)) as capsolver:
        done = await crawl(capsolver, [f"/reject/turnstile/{n}" for n in range(5)], CAPSOLVER_MAX_REJECTIONS=0)
        assert capsolver.state()["tasks"]["paid"] == 15
        assert "breaker/stopped_sites" not in done.ours()
        check_paid(capsolver, done)


@pytest.mark.parametrize("quirk", ["create-maintenance", "invalid-site-key-late"])
@deferred_f_from_coro_f
async def test_a_site_whose_tasks_capsolver_refuses_stops_likewise(
    quirk: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with simulator(quirks=[quirk], solve_seconds=(1, 2)) as capsolver:
        requests: list[Any] = [f"/turnstile/{n}" for n in range(12)]
        done = await crawl(capsolver, requests, CAPSOLVER_MAX_REJECTIONS=3, CAPSOLVER_CONCURRENCY=1)
        assert [type(error) for error in done.errors] == [UnsolvableCaptchaError] * 12
        assert capsolver.state()["api"]["calls"]["createTask"] == 3
        assert len(lines(caplog, "No more turnstile is solved for 127.0.0.1: CapSolver refuses its tasks")) == 1
        assert done.ours()["breaker/stopped_sites"] == 1
        await check_money(capsolver, done)


@deferred_f_from_coro_f
async def test_a_success_between_refusals_begins_the_count_anew() -> None:
    async with simulator(quirks=["create-maintenance/2"], solve_seconds=(1, 2)) as capsolver:
        paths = [f"/turnstile/{n}" for n in range(12)]
        done = await crawl(capsolver, paths, CAPSOLVER_MAX_REJECTIONS=2, CAPSOLVER_CONCURRENCY=1)
        assert (len(done.responses), len(done.errors)) == (6, 6)
        assert "breaker/stopped_sites" not in done.ours()
        await check_money(capsolver, done)
        check_paid(capsolver, done)
