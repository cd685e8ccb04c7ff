"""Real crawls, in this process, against a simulator."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from scrapy import Request, Spider
from scrapy.utils.defer import deferred_from_coro, maybe_deferred_to_future
from scrapy.utils.test import get_crawler
from twisted.internet.task import deferLater

from scrapy_capsolver.simulator import Simulator
from tests.clocks import virtual_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from scrapy.crawler import Crawler
    from scrapy.http import Response
    from twisted.python.failure import Failure

DAYS = 10 * 24 * 3600  # which pass in no time, if nothing happens in them


@dataclass
class Crawl:
    """What came of a crawl: the responses that reached callbacks, the exceptions that reached errbacks."""

    responses: list[Response] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    extra: list[Any] = field(default_factory=list)
    crawler: Crawler | None = None

    @property
    def stats(self) -> dict[str, Any]:
        assert self.crawler is not None
        assert self.crawler.stats is not None
        return self.crawler.stats.get_stats()

    def ours(self) -> dict[str, Any]:
        """The plugin's stats, without those that every crawl has."""
        every = {"balance_usd", "packages"}
        ours = {name[10:]: value for name, value in self.stats.items() if name.startswith("capsolver/")}
        return {name: value for name, value in ours.items() if name not in every}

    @property
    def response(self) -> Response:
        assert not self.errors, self.errors
        (response,) = self.responses
        return response

    @property
    def error(self) -> BaseException:
        assert not self.responses, self.responses
        (error,) = self.errors
        return error


@asynccontextmanager
async def simulator(*, pace: float = 1.0, **kwargs: Any) -> AsyncIterator[Simulator]:
    """A simulator in this process, and virtual time: see ``virtual_time``."""
    with virtual_time(pace=pace):
        simulator = Simulator(**{"latency": 0.0, **kwargs})
        await maybe_deferred_to_future(simulator.start())
        try:
            yield simulator
        finally:
            await maybe_deferred_to_future(simulator.stop())


def bought(simulator: Simulator) -> dict[str, int]:
    """The calls of the API, without the question after the balance, which every crawl asks."""
    calls: dict[str, int] = simulator.state()["api"]["calls"]
    return {method: times for method, times in calls.items() if method != "getBalance"}


def settings_for(simulator: Simulator | None, **settings: Any) -> dict[str, Any]:
    ours = {} if simulator is None else {"CAPSOLVER_API_URL": simulator.api_url, "CAPSOLVER_API_KEY": simulator.key}
    return {
        "ADDONS": {"scrapy_capsolver.Addon": 500},
        "DOWNLOAD_DELAY": 0,
        "CONCURRENT_REQUESTS_PER_DOMAIN": 16,
        "TELNETCONSOLE_ENABLED": False,
        "REMOTE_CONTROL_ENABLED": False,
        "LOGSTATS_INTERVAL": 0,
        "COOKIES_ENABLED": True,
        "RETRY_ENABLED": False,
        "CLOSESPIDER_TIMEOUT": DAYS,
        **ours,
        **settings,
    }


async def crawl(
    simulator: Simulator | None,
    requests: Iterable[Request | str],
    *,
    attributes: dict[str, Any] | None = None,
    parse: Callable[[Crawl, Spider, Response], Any] | None = None,
    **settings: Any,
) -> Crawl:
    """Crawl ``requests``; a path stands for a flagged request of the simulator's site."""
    result = Crawl()
    assert simulator is not None or not any(isinstance(request, str) for request in requests)
    todo = [
        Request(simulator.site_url + request, meta={"capsolver": True}) if isinstance(request, str) else request  # type: ignore[union-attr]
        for request in requests
    ]

    class OneSpider(Spider):
        name = "one"

        async def start(self) -> AsyncIterator[Request]:
            for request in todo:
                yield request.replace(callback=request.callback or self.parse, errback=request.errback or self.failed)

        async def parse(self, response: Response, **kwargs: Any) -> Any:
            result.responses.append(response)
            if parse is not None:
                outcome = parse(result, self, response)
                if hasattr(outcome, "__await__"):
                    outcome = await outcome
                for more in outcome or ():
                    yield more

        def failed(self, failure: Failure) -> None:
            result.failures.append(failure)
            result.errors.append(failure.value)

    for name, value in (attributes or {}).items():
        setattr(OneSpider, name, value)
    result.crawler = get_crawler(OneSpider, settings_for(simulator, **settings))
    await maybe_deferred_to_future(run(result.crawler))
    from twisted.internet import reactor

    clock = cast("Any", reactor)
    # What was cancelled last may still look a host's name up.
    while clock.getThreadPool().working or any(call.getTime() <= clock.seconds() for call in clock.getDelayedCalls()):
        await maybe_deferred_to_future(deferLater(clock, 0))
    return result


def run(crawler: Crawler) -> Any:
    if hasattr(crawler, "crawl_async"):
        return deferred_from_coro(crawler.crawl_async())
    return crawler.crawl()


async def download(crawler: Any, request: Request) -> Any:
    if hasattr(crawler.engine, "download_async"):
        return await crawler.engine.download_async(request)
    return await maybe_deferred_to_future(crawler.engine.download(request))
