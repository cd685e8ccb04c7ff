"""Downloads what a task needs first, within the crawl's own session: with the request's cookies, proxy and user agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scrapy.exceptions import IgnoreRequest
from scrapy.http.request import NO_CALLBACK

from scrapy_capsolver._compat.engine import download
from scrapy_capsolver._request.flag import META_KEY
from scrapy_capsolver._request.state import KEY, REDIRECT_KEYS
from scrapy_capsolver._utils.urls import same_site, without_secrets
from scrapy_capsolver.errors import UnsupportedCaptchaError

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response

MAX_FETCHED = 4 << 20  # bytes


async def fetch_part(crawler: Crawler, url: str, page: str, request: Request) -> bytes:
    """What the captcha on ``page`` is made of (an image, a fresh challenge): the body, which is not empty.

    The clearance that opened the page opens this as well.
    """
    state = {"allow_clearances": True} if request.meta.get(KEY, {}).get("allow_clearances") else {}
    response = await _fetch(crawler, url, request, referer=without_secrets(page), state=state)
    if response.status != 200 or not response.body:
        raise UnsupportedCaptchaError(
            f"what its captcha is made of could not be fetched (status {response.status}, {len(response.body)} bytes)"
        )
    return response.body


async def fetch_page(crawler: Crawler, url: str, request: Request, user_agent: str | None) -> Response:
    """The gated page once more, whatever its status, as ``user_agent`` sees it."""
    if user_agent is not None:
        headers = request.headers.copy()
        headers["User-Agent"] = user_agent
        request = request.replace(headers=headers)
    return await _fetch(crawler, url, request, referer=None, state={})


async def _fetch(
    crawler: Crawler, url: str, request: Request, *, referer: str | None, state: dict[str, Any]
) -> Response:
    fetch = request.replace(
        url=url, method="GET", body=b"", callback=NO_CALLBACK, errback=None, cb_kwargs={}, dont_filter=True
    )
    for name in ("Content-Type", "Content-Length"):
        fetch.headers.pop(name, None)
    if not same_site(request.url, url):  # which the author named; what is for this site is none of its business
        fetch = fetch.replace(cookies={})
        for name in ("Authorization", "Cookie"):
            fetch.headers.pop(name, None)
    if referer is not None:
        fetch.headers["Referer"] = referer
    for key in (KEY, *REDIRECT_KEYS, "is_start_request"):
        fetch.meta.pop(key, None)
    fetch.meta.update(
        {
            META_KEY: False,
            KEY: state,
            "dont_cache": True,
            "dont_redirect": True,
            "dont_retry": True,
            "handle_httpstatus_all": True,
            "download_maxsize": MAX_FETCHED,
            "allow_offsite": True,
        }
    )
    fetch.meta.pop("handle_httpstatus_list", None)
    try:
        return await download(crawler, fetch)
    except IgnoreRequest as error:
        raise UnsupportedCaptchaError(f"what its captcha is made of may not be fetched: {error}") from error
    except Exception as error:
        raise UnsupportedCaptchaError(
            f"what its captcha is made of could not be fetched ({type(error).__name__})"
        ) from error
