"""A Scrapy without one of the names that it does not document: nothing is paid and then lost."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from scrapy import Request
from scrapy.core.engine import ExecutionEngine
from scrapy.exceptions import CloseSpider
from scrapy.utils.defer import deferred_f_from_coro_f, maybe_deferred_to_future
from twisted.internet.task import deferLater

from scrapy_capsolver import captcha
from scrapy_capsolver._compat.check import NAMES as CHECKED
from scrapy_capsolver._compat.download_queue import DownloadQueue
from scrapy_capsolver._compat.slots import SlotLender
from scrapy_capsolver.errors import CaptchaBudgetError, CaptchaCancelledError
from tests.compat.hiding import LATER, NAMES, Hidden
from tests.crawls import Crawl, crawl, simulator

if TYPE_CHECKING:
    from pathlib import Path

SLOTS = 3
"""CONCURRENT_REQUESTS: fewer than requests that wait for a captcha."""
IMAGE = captcha.image_to_text(selector="img#captcha", inject={"form": "answer"})
"""A captcha that is bound to the cookies with which it was shown."""
GATED = {"/turnstile/1": True, "/image/2": IMAGE, "/recaptcha-v2/3": True, "/image/4": IMAGE, "/turnstile/5": True}


@pytest.fixture(params=[name for name in NAMES if name.exists], ids=str)
def hidden(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Hidden:
    hidden: Hidden = request.param
    hidden.hide(monkeypatch)
    return hidden


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Warnings, and what is worse."""
    return [record.getMessage() for record in caplog.records if record.levelno >= 30]


async def crawl_all(capsolver: Any, tmp_path: Path, requests: list[Any], **kwargs: Any) -> Crawl:
    """With all that names are hidden of."""
    cache = {"HTTPCACHE_ENABLED": True, "HTTPCACHE_DIR": str(tmp_path)}
    return await crawl(capsolver, requests, CONCURRENT_REQUESTS=SLOTS, DOWNLOAD_DELAY=0.02, **cache, **kwargs)


def gated(capsolver: Any) -> list[Request]:
    return [Request(capsolver.site_url + path, meta={"capsolver": flag}) for path, flag in GATED.items()]


def limit(done: Crawl) -> int:
    engine: Any = done.crawler.engine  # type: ignore[union-attr]
    found: int = engine.downloader.total_concurrency
    return found


def test_all_names_are_hidden_in_turn() -> None:
    """A name that is added to the package is added here."""
    used = {part for name in CHECKED for part in name.path.split(".")[1:]}
    containers = {"downloader", "scraper", "slot"}  # which Scrapy's documentation of its telnet console names
    assert {hidden.name for hidden in [*NAMES, *LATER]} == used - containers


@deferred_f_from_coro_f
async def test_with_all_names_there_is_nothing_to_say(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with simulator() as capsolver:
        done = await crawl_all(capsolver, tmp_path, gated(capsolver))
        assert (len(done.responses), done.errors, lines(caplog)) == (5, [], [])


@deferred_f_from_coro_f
async def test_what_is_paid_is_delivered(hidden: Hidden, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with simulator() as capsolver:
        done = await crawl_all(capsolver, tmp_path, gated(capsolver))
        assert (len(done.responses), done.errors) == (5, [])
        assert capsolver.state()["tasks"]["created"] == done.ours()["delivered"] == 5
        assert not [name for name in done.ours() if name.startswith(("wasted", "undelivered", "failed"))]
        assert limit(done) == SLOTS
        (line,) = lines(caplog)
        assert line.startswith(hidden.line)


def stop_when_all_wait(capsolver: Any, number: int) -> Any:
    """A callback for a free page that ends the crawl as soon as ``number`` tasks are open."""

    async def parse(done: Crawl, spider: Any, response: Any) -> None:
        from twisted.internet import reactor

        for _ in range(3000):
            if capsolver.state()["tasks"]["open"] >= number:
                break
            await maybe_deferred_to_future(deferLater(reactor, 0.01))  # type: ignore[arg-type]
        raise CloseSpider("enough")

    return parse


@deferred_f_from_coro_f
async def test_a_stop_is_as_quick(hidden: Hidden, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No solve ends by itself: not in the time that a request may wait, which is a multiple of what the stop takes."""
    async with simulator(solve_seconds=(1e6, 1e6)) as capsolver:
        requests: list[Any] = [Request(f"{capsolver.site_url}/free/1"), *(f"/turnstile/{n}" for n in range(5))]
        waiting = SLOTS if hidden.name == "total_concurrency" else 5
        parse = stop_when_all_wait(capsolver, waiting)
        done = await crawl_all(capsolver, tmp_path, requests, parse=parse, CAPSOLVER_TIMEOUT=300)
        waited = [error for error in done.errors if isinstance(error, CaptchaCancelledError)]
        assert len(done.errors) == len(waited) == capsolver.state()["tasks"]["created"]
        assert done.stats["finish_reason"] == "enough"
        assert limit(done) == SLOTS
        assert len(lines(caplog)) == 1


@pytest.mark.parametrize("later", LATER, ids=str)
@deferred_f_from_coro_f
async def test_a_stop_that_cannot_be_seen(
    later: Hidden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Two names are missing: a line says what that costs, and the accounts say it too."""
    closing = next(name for name in NAMES if name.name == "closing")
    closing.hide(monkeypatch)
    later.hide(monkeypatch)
    async with simulator(solve_seconds=(60, 60)) as capsolver:
        requests: list[Any] = [Request(f"{capsolver.site_url}/free/1"), "/aws-waf/1", "/turnstile/2"]
        done = await crawl_all(capsolver, tmp_path, requests, parse=stop_when_all_wait(capsolver, 2))
        assert done.stats["finish_reason"] == "enough"
        assert capsolver.state()["tasks"]["paid"] == done.ours()["wasted/undelivered"] == 2
        assert limit(done) == SLOTS
        first, second = lines(caplog)
        assert first.startswith(closing.line)
        assert second.startswith(later.line)
        assert second.endswith("are waited for, and lost with what was paid for them")


@pytest.mark.skipif(not hasattr(ExecutionEngine, "close_spider_async"), reason="Scrapy 2.14")
@deferred_f_from_coro_f
async def test_a_limit_ends_the_crawl_by_another_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    next(name for name in NAMES if name.name == "close_spider_async").hide(monkeypatch)
    async with simulator() as capsolver:
        done = await crawl_all(
            capsolver, tmp_path, gated(capsolver), CAPSOLVER_MAX_SOLVES=1, CAPSOLVER_ON_LIMIT="close"
        )
        assert done.stats["finish_reason"] == "shutdown"
        assert capsolver.state()["tasks"]["created"] == 1
        assert len(done.responses) <= 1
        assert {type(error) for error in done.errors} <= {CaptchaBudgetError, CaptchaCancelledError}


def test_a_nudge_that_fails_leaks_no_slot() -> None:
    """Whatever another Scrapy's ``schedule`` does."""

    def schedule() -> None:
        raise TypeError

    engine = SimpleNamespace(
        downloader=SimpleNamespace(total_concurrency=SLOTS),
        _slot=SimpleNamespace(nextcall=SimpleNamespace(schedule=schedule)),
    )
    crawler: Any = SimpleNamespace(engine=engine)
    lender = SlotLender(crawler, 10)
    with pytest.raises(TypeError), lender.lend():
        pytest.fail("not reached")
    assert (engine.downloader.total_concurrency, lender.loans) == (SLOTS, 0)


@pytest.mark.parametrize(
    "entry", [lambda request: request, lambda _: object(), lambda _: ()], ids=["bare", "odd", "empty"]
)
def test_a_queue_of_another_shape(entry: Any) -> None:
    """Requests in it are counted as far as they can be seen."""
    request = Request("https://www.example.com/")
    slot = SimpleNamespace(delay=2.0, queue=[entry(request)])
    crawler: Any = SimpleNamespace(engine=SimpleNamespace(downloader=SimpleNamespace(slots={"www.example.com": slot})))
    queue = DownloadQueue(crawler, lambda _: True)
    assert queue.wait(request) == (6.0 if entry(request) is request else 3.0)
