"""Which requests are this plugin's business, and which are not."""

from __future__ import annotations

from typing import Any

import pytest
from scrapy import Request
from scrapy.http.request import NO_CALLBACK
from scrapy.settings import Settings
from scrapy.utils.defer import deferred_f_from_coro_f

from scrapy_capsolver._request.flag_reader import FlagReader
from scrapy_capsolver.errors import CaptchaConfigurationError
from scrapy_capsolver.settings import read_settings
from tests.crawls import Crawl, crawl, download, simulator

V2 = "ReCaptchaV2TaskProxyLess"


def plain(url: str, **kwargs: Any) -> Request:
    return Request(url, **kwargs)


def titles(done: Crawl) -> list[str | None]:
    return [response.css(".product::text").get() for response in done.responses]


@pytest.mark.parametrize("flag", [None, False])
@deferred_f_from_coro_f
async def test_a_flag_can_say_no(flag: Any) -> None:
    async with simulator() as capsolver:
        request = plain(f"{capsolver.site_url}/recaptcha-v2/1?style=ok", meta={"capsolver": flag})
        done = await crawl(capsolver, [request], attributes={"capsolver": True}, CAPSOLVER_AUTO=True)
        assert titles(done) == [None]
        assert capsolver.state()["tasks"]["created"] == 0


@deferred_f_from_coro_f
async def test_unflagged_requests_are_left_alone() -> None:
    async with simulator() as capsolver:
        done = await crawl(capsolver, [plain(f"{capsolver.site_url}/recaptcha-v2/1?style=ok")])
        assert titles(done) == [None]
        assert done.ours() == {}


@pytest.mark.parametrize("value", [True, {"type": V2}, {"expect": ".product"}])
@deferred_f_from_coro_f
async def test_a_spider_attribute_flags_all_its_requests(value: Any) -> None:
    async with simulator() as capsolver:
        done = await crawl(
            capsolver,
            [plain(f"{capsolver.site_url}/recaptcha-v2/1")],
            attributes={"capsolver": value},
            ROBOTSTXT_OBEY=True,
        )
        assert titles(done) == ["Product 1"]
        assert capsolver.state()["tasks"]["created"] == 1


@deferred_f_from_coro_f
async def test_a_wrong_spider_attribute_is_one_line_and_a_typed_error(caplog: pytest.LogCaptureFixture) -> None:
    async with simulator() as capsolver:
        urls = [plain(f"{capsolver.site_url}/free/{n}") for n in range(2)]
        done = await crawl(capsolver, urls, attributes={"capsolver": "yes"})
        assert [type(error) for error in done.errors] == [CaptchaConfigurationError] * 2
        assert "spider.capsolver is of type str" in str(done.errors[0])
        assert len([r for r in caplog.records if "spider.capsolver" in r.getMessage() and r.levelname == "ERROR"]) == 1


@deferred_f_from_coro_f
async def test_a_wrong_flag_is_a_typed_error_and_nothing_is_sent() -> None:
    async with simulator() as capsolver:
        done = await crawl(capsolver, [plain(f"{capsolver.site_url}/free/1", meta={"capsolver": "yes"})])
        assert isinstance(done.error, CaptchaConfigurationError)
        assert capsolver.state()["site"]["pages"] == 0


@deferred_f_from_coro_f
async def test_auto_looks_at_every_response_and_acts_on_those_that_are_blocked() -> None:
    async with simulator() as capsolver:
        site = capsolver.site_url
        urls = [plain(f"{site}/free/1"), plain(f"{site}/turnstile/2"), plain(f"{site}/recaptcha-v2/3?style=widget")]
        done = await crawl(capsolver, urls, CAPSOLVER_AUTO="1", ROBOTSTXT_OBEY=True)
        assert sorted(filter(None, titles(done))) == ["Product 1", "Product 2"]
        assert capsolver.state()["tasks"]["created"] == 1


@deferred_f_from_coro_f
async def test_allowed_domains_bound_flags_and_auto(caplog: pytest.LogCaptureFixture) -> None:
    async with simulator() as capsolver:
        port = capsolver.site_url.rsplit(":", 1)[1]
        urls = [
            plain(f"http://{host}:{port}/turnstile/{n}?style=ok", meta={"capsolver": True})
            for n, host in enumerate(["127.0.0.1", "localhost", "localhost"])
        ]
        done = await crawl(capsolver, urls, CAPSOLVER_ALLOWED_DOMAINS="127.0.0.1")
        assert sorted(map(str, titles(done))) == ["None", "None", "Product 0"]
        assert done.ours()["skipped/domain"] == 2
        assert len([r for r in caplog.records if "CAPSOLVER_ALLOWED_DOMAINS" in r.getMessage()]) == 1


@pytest.mark.parametrize(
    ("domains", "allowed", "skipped"),
    [
        ("127.1", ["http://127.0.0.1/", "http://2130706433/", "http://[::ffff:127.0.0.1]/"], ["http://127.0.0.2/"]),
        ("::1", ["http://[0:0::1]:8000/"], ["http://[::2]/", "http://127.0.0.1/"]),
        ("b\u00fccher.example", ["http://www.xn--bcher-kva.example./"], ["http://xn--bcher-kva.example.evil.example/"]),
        ("Shop.Example.", ["https://SHOP.example/", "https://a.shop.example./"], ["https://myshop.example/"]),
    ],
)
def test_allowed_domains_in_any_spelling(domains: str, allowed: list[str], skipped: list[str]) -> None:
    read = read_settings(Settings({"CAPSOLVER_API_KEY": "CAP-1", "CAPSOLVER_ALLOWED_DOMAINS": domains}))
    flags = FlagReader(auto=True, allowed_domains=read.allowed_domains, count=lambda name: None)
    assert [url for url in (*allowed, *skipped) if flags.allows(url)] == allowed


@deferred_f_from_coro_f
async def test_robots_txt_is_never_solved_for() -> None:
    async with simulator() as capsolver:
        robots = plain(
            f"{capsolver.site_url}/turnstile/1",
            callback=NO_CALLBACK,
            meta={"dont_obey_robotstxt": True, "download_slot": "x"},
        )

        async def parse(done: Crawl, spider: Any, response: Any) -> None:
            done.extra.append((await download(spider.crawler, robots)).status)

        done = await crawl(
            capsolver, [plain(f"{capsolver.site_url}/free/1")], attributes={"capsolver": True}, parse=parse
        )
        assert done.extra == [403]
        assert capsolver.state()["tasks"]["created"] == 0


@deferred_f_from_coro_f
async def test_download_from_a_callback_gets_the_page_behind_the_captcha() -> None:
    async with simulator() as capsolver:

        async def parse(done: Crawl, spider: Any, response: Any) -> None:
            inner = Request(f"{capsolver.site_url}/recaptcha-v2/4", meta={"capsolver": True}, callback=NO_CALLBACK)
            done.extra.append((await download(spider.crawler, inner)).css(".product::text").get())

        done = await crawl(capsolver, [plain(f"{capsolver.site_url}/free/1")], parse=parse)
        assert done.extra == ["Product 4"]


@deferred_f_from_coro_f
async def test_other_handlers_are_left_alone() -> None:
    async with simulator() as capsolver:
        page = "data:text/html,<div class='g-recaptcha' data-sitekey='6LeIxAcTAAAAAJcZVRqyHh71UMIEGNQ_MXjiZKhI'></div>"
        done = await crawl(capsolver, [plain(page, meta={"capsolver": True})])
        assert len(done.responses) == 1
        assert done.ours() == {}


@deferred_f_from_coro_f
async def test_a_captcha_from_the_http_cache_is_fetched_anew_and_not_paid_for(tmp_path: Any) -> None:
    async with simulator() as capsolver:
        cache = {"HTTPCACHE_ENABLED": True, "HTTPCACHE_DIR": str(tmp_path)}
        url = f"{capsolver.site_url}/recaptcha-v2/1"
        first = await crawl(capsolver, [plain(url)], HTTPERROR_ALLOW_ALL=True, **cache)
        assert first.response.status == 403
        done = await crawl(capsolver, [plain(url, meta={"capsolver": True})], **cache)
        assert titles(done) == ["Product 1"]
        assert capsolver.state()["tasks"]["created"] == 1
        assert sum(capsolver.state()["site"]["gates_shown"].values()) == 2  # it may have been gone


@deferred_f_from_coro_f
async def test_a_cache_that_heeds_no_dont_cache_is_no_endless_loop() -> None:
    class Cache:
        def process_response(self, request: Request, response: Any, spider: Any = None) -> Any:
            response.flags.append("cached")
            return response

    async with simulator() as capsolver:
        request = plain(f"{capsolver.site_url}/recaptcha-v2/1", meta={"capsolver": True})
        done = await crawl(capsolver, [request], DOWNLOADER_MIDDLEWARES={Cache: 900})
        assert titles(done) == ["Product 1"]
        assert capsolver.state()["tasks"]["created"] == 1
