"""The task of a challenge, with what must be fetched first for it within the crawl's own session (an image)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scrapy.exceptions import IgnoreRequest
from scrapy.http.request import NO_CALLBACK
from scrapy.utils.defer import deferred_from_coro, maybe_deferred_to_future
from twisted.internet.defer import Deferred, maybeDeferred

from scrapy_capsolver.errors import UnsupportedCaptchaError
from scrapy_capsolver.flag import META_KEY
from scrapy_capsolver.session import with_cookies
from scrapy_capsolver.sites import without_secrets
from scrapy_capsolver.trail import KEY, REDIRECT_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response

    from scrapy_capsolver.families.base import Challenge, Family

MAX_FETCHED = 4 << 20  # bytes


def task_maker(
    crawler: Crawler, family: Family, challenge: Challenge, request: Request, session: list[dict[str, Any]]
) -> Callable[[], Deferred[dict[str, Any]]]:
    """What gives each attempt its task, fetched anew: a site may show another image each time.

    ``session`` are the cookies with which the challenge was shown.
    """
    if not challenge.fetch:
        return lambda: maybeDeferred(family.task, challenge, (), "")

    async def make() -> dict[str, Any]:
        within = with_cookies(request, session)
        fetched = [await _fetch(crawler, url, challenge, within) for url in challenge.fetch]
        return family.task(challenge, fetched, "")

    return lambda: deferred_from_coro(make())


async def _fetch(crawler: Crawler, url: str, challenge: Challenge, request: Request) -> bytes:
    """Download with the request's cookies, proxy and user agent."""
    fetch = request.replace(
        url=url, method="GET", body=b"", callback=NO_CALLBACK, errback=None, cb_kwargs={}, dont_filter=True
    )
    for name in ("Content-Type", "Content-Length"):
        fetch.headers.pop(name, None)
    fetch.headers["Referer"] = without_secrets(challenge.url)
    for key in (KEY, *REDIRECT_KEYS, "is_start_request", "handle_httpstatus_list"):
        fetch.meta.pop(key, None)
    fetch.meta.update(
        {
            META_KEY: False,
            "dont_cache": True,
            "dont_redirect": True,
            "download_maxsize": MAX_FETCHED,
            "allow_offsite": True,
        }
    )
    try:
        response = await _download(crawler, fetch)
    except IgnoreRequest as error:
        raise UnsupportedCaptchaError(f"its image may not be fetched: {error}") from error
    except Exception as error:
        raise UnsupportedCaptchaError(f"its image could not be fetched ({type(error).__name__})") from error
    if response.status != 200 or not response.body:
        raise UnsupportedCaptchaError(
            f"its image could not be fetched (status {response.status}, {len(response.body)} bytes)"
        )
    return response.body


async def _download(crawler: Crawler, request: Request) -> Response:
    engine: Any = crawler.engine
    if hasattr(engine, "download_async"):  # Scrapy 2.14 and later
        response: Response = await engine.download_async(request)
    else:
        response = await maybe_deferred_to_future(engine.download(request))
    return response
