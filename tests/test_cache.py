"""Scrapy's HTTP cache, and spiders that copy what they were given."""

from __future__ import annotations

import gzip
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from scrapy import Request
from scrapy.extensions.httpcache import DummyPolicy
from scrapy.utils.defer import deferred_f_from_coro_f

from scrapy_capsolver._request.state import KEY
from scrapy_capsolver.middleware import SOLUTION_KEY
from tests.crawls import Crawl, crawl, simulator

if TYPE_CHECKING:
    from pathlib import Path

POLICIES = ["scrapy.extensions.httpcache.DummyPolicy", "scrapy.extensions.httpcache.RFC2616Policy"]


def cached(tmp_path: Path, **settings: Any) -> dict[str, Any]:
    return {"HTTPCACHE_ENABLED": True, "HTTPCACHE_DIR": str(tmp_path), "HTTPCACHE_IGNORE_HTTP_CODES": [], **settings}


def stored(tmp_path: Path) -> list[tuple[str, int]]:
    metas = [pickle.loads(path.read_bytes()) for path in tmp_path.rglob("pickled_meta")]
    return sorted((meta["url"].rpartition(":")[2].partition("/")[2], meta["status"]) for meta in metas)


class Compressing:
    """A site that sends its pages compressed."""

    def process_response(self, request: Request, response: Any, spider: Any = None) -> Any:
        if response.headers.get("Content-Encoding"):
            return response
        response.headers["Content-Encoding"] = "gzip"
        return response.replace(body=gzip.compress(response.body))


class Lasting:
    """A site that lets its pages be kept: the strict policy keeps no others."""

    def process_response(self, request: Request, response: Any, spider: Any = None) -> Any:
        response.headers["Cache-Control"] = "max-age=1000"
        return response


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("compressed", [False, True])
@deferred_f_from_coro_f
async def test_a_captcha_page_never_enters_the_cache_and_the_page_behind_it_does(
    tmp_path: Path, policy: str, *, compressed: bool
) -> None:
    settings = cached(tmp_path, HTTPCACHE_POLICY=policy)
    settings["DOWNLOADER_MIDDLEWARES"] = {Lasting: 960, **({Compressing: 950} if compressed else {})}
    async with simulator() as capsolver:
        done = await crawl(capsolver, ["/aws-waf/1", "/aws-waf/2?style=challenge", "/free/3"], **settings)
        assert len(done.responses) == 3, done.errors
        assert stored(tmp_path) == [("aws-waf/1", 200), ("aws-waf/2?style=challenge", 200), ("free/3", 200)]
        again = await crawl(capsolver, ["/aws-waf/1"], **settings)
        assert again.response.css(".product::text").get() == "Product 1"
        assert "cached" in again.response.flags
        assert again.ours() == {}
        assert capsolver.state()["tasks"]["created"] == 1


@deferred_f_from_coro_f
async def test_no_clearance_and_no_token_is_in_the_cache(tmp_path: Path) -> None:
    async with simulator() as capsolver:
        done = await crawl(capsolver, ["/aws-waf/1", "/recaptcha-v2/1"], **cached(tmp_path))
        assert len(done.responses) == 2, done.errors
        secrets = [value for response in done.responses for value in texts(response.meta[SOLUTION_KEY])]
        assert len(secrets) >= 2
        kept = everything(tmp_path)
        assert not [
            secret for secret in secrets if len(secret) > 40 and "Mozilla" not in secret and secret.encode() in kept
        ]


def everything(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.rglob("*") if file.is_file())


def texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in texts(item)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("policy", POLICIES)
@deferred_f_from_coro_f
async def test_a_captcha_page_that_is_in_the_cache_is_fetched_anew_and_replaced(tmp_path: Path, policy: str) -> None:
    """It came there before the plugin did."""
    settings = cached(tmp_path, HTTPCACHE_POLICY=policy, DOWNLOADER_MIDDLEWARES={Lasting: 960})
    async with simulator() as capsolver:
        url = f"{capsolver.site_url}/aws-waf/1"
        before = await crawl(capsolver, [Request(url)], HTTPERROR_ALLOW_ALL=True, **settings)
        assert before.response.status == 405
        held = await crawl(capsolver, [Request(url)], HTTPERROR_ALLOW_ALL=True, **settings)
        assert "cached" in held.response.flags
        done = await crawl(capsolver, [Request(url, meta={"capsolver": True})], **settings)
        assert done.response.css(".product::text").get() == "Product 1"
        assert stored(tmp_path) == [("aws-waf/1", 200)]
        assert capsolver.state()["tasks"]["paid"] == 1
        assert capsolver.state()["site"]["gates_shown"]["aws-waf"] == 2


@deferred_f_from_coro_f
async def test_pages_without_a_flag_are_the_policys_business_alone(tmp_path: Path) -> None:
    async with simulator() as capsolver:
        done = await crawl(
            capsolver, [Request(f"{capsolver.site_url}/turnstile/1")], HTTPERROR_ALLOW_ALL=True, **cached(tmp_path)
        )
        assert done.response.status == 403
        assert stored(tmp_path) == [("turnstile/1", 403)]


class NoPolicy(DummyPolicy):
    def should_cache_request(self, request: Request) -> bool:
        return False


@deferred_f_from_coro_f
async def test_a_policy_of_the_users_own_is_still_asked(tmp_path: Path) -> None:
    async with simulator() as capsolver:
        done = await crawl(capsolver, ["/aws-waf/1"], **cached(tmp_path, HTTPCACHE_POLICY=f"{__name__}.NoPolicy"))
        assert len(done.responses) == 1
        assert stored(tmp_path) == []


@pytest.mark.parametrize("path", ["/turnstile/1", "/aws-waf/1", "/datadome/1"])
@deferred_f_from_coro_f
async def test_copied_meta_carries_nothing_of_ours_and_pays_nothing(path: str) -> None:
    """Many spiders write ``Request(url, meta=response.meta)``."""
    async with simulator() as capsolver:

        def parse(done: Crawl, spider: Any, response: Any) -> Any:
            assert KEY not in response.meta
            number = len(done.responses)
            if number < 3:
                return [Request(f"{capsolver.site_url}/free/{number}", spider.parse, meta=response.meta)]
            return None

        done = await crawl(capsolver, [path], parse=parse, CAPSOLVER_ON_ERROR="pass", HTTPERROR_ALLOW_ALL=True)
        assert len(done.responses) == 3, done.errors
        # The flag was copied as well, so that the clearance goes with the next ones; a token does not.
        assert [SOLUTION_KEY in response.meta for response in done.responses[1:]] == ["aws" in path] * 2
        assert capsolver.state()["tasks"]["created"] == (0 if "datadome" in path else 1)


@deferred_f_from_coro_f
async def test_nor_does_the_meta_of_a_page_that_its_site_failed_to_give() -> None:
    """RetryMiddleware needs the trail of a request that met a 503; whoever comes after it does not."""

    class Failing:
        def process_response(self, request: Request, response: Any, spider: Any = None) -> Any:
            return response.replace(status=500) if response.status == 200 else response

    async with simulator() as capsolver:
        done = await crawl(
            capsolver,
            ["/aws-waf/1"],
            DOWNLOADER_MIDDLEWARES={Failing: 900},
            RETRY_ENABLED=True,
            RETRY_TIMES=1,
            HTTPERROR_ALLOW_ALL=True,
        )
        assert done.response.status == 500
        assert KEY not in done.response.meta


@deferred_f_from_coro_f
async def test_a_captcha_page_is_known_by_its_compressed_body(tmp_path: Path) -> None:
    """No header says that it is one."""
    async with simulator() as capsolver:
        settings = cached(tmp_path, DOWNLOADER_MIDDLEWARES={Compressing: 950})
        done = await crawl(capsolver, ["/query/turnstile/1"], CAPSOLVER_RETRY_TIMES=0, **settings)
        assert done.errors  # the flag names no place for the token
        assert stored(tmp_path) == []


@deferred_f_from_coro_f
async def test_what_is_decoded_to_be_looked_at_is_not_counted_twice(tmp_path: Path) -> None:
    async with simulator() as capsolver:
        settings = cached(tmp_path, DOWNLOADER_MIDDLEWARES={Compressing: 950})
        done = await crawl(capsolver, ["/free/1"], **settings)
        assert done.response.css(".product::text").get() == "Product 1"
        assert done.stats["httpcompression/response_count"] == 1


@deferred_f_from_coro_f
async def test_a_cache_that_stands_before_the_plugin(tmp_path: Path) -> None:
    """A captcha page in it is asked for again, and not solved as it is."""
    place = {"scrapy.downloadermiddlewares.httpcache.HttpCacheMiddleware": 500}
    settings = cached(tmp_path, DOWNLOADER_MIDDLEWARES=place)
    async with simulator() as capsolver:
        url = f"{capsolver.site_url}/turnstile/1"
        before = await crawl(capsolver, [Request(url)], HTTPERROR_ALLOW_ALL=True, **settings)
        assert before.response.status == 403
        done = await crawl(capsolver, ["/turnstile/1"], **settings)
        assert done.response.css(".product::text").get() == "Product 1"
        assert capsolver.state()["tasks"]["created"] == 1
        assert capsolver.state()["tokens"]["refused"] == {}
