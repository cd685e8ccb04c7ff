"""Downloads what a task needs first, within the crawl's own session: with the request's cookies, proxy and user agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scrapy.exceptions import IgnoreRequest
from scrapy.http.request import NO_CALLBACK

from scrapy_capsolver._compat.engine import download
from scrapy_capsolver._compat.scheme_proxy import forget_scheme_proxy
from scrapy_capsolver._request.cookies import restore_session
from scrapy_capsolver._request.flag import META_KEY
from scrapy_capsolver._request.state import KEY, REDIRECT_KEYS
from scrapy_capsolver._utils.headers import strip_for_a_stranger
from scrapy_capsolver._utils.urls import referer, same_origin
from scrapy_capsolver.errors import UnsupportedCaptchaError

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response

MAX_FETCHED = 4 << 20  # bytes


async def fetch_part(crawler: Crawler, url: str, page: str, request: Request, session: list[dict[str, Any]]) -> bytes:
    """Return what the captcha on ``page`` is made of (an image, a fresh challenge): the body, which is not empty.

    From the origin of ``request`` it is fetched in its ``session``, and the clearance that opened the page opens this as well.
    """
    known = request.meta.get(KEY, {})
    state = {"allow_clearances": True} if known.get("allow_clearances") else {}
    response = await _fetch(crawler, url, request, referer=referer(page, url), session=session, state=state)
    if response.status != 200 or not response.body:
        raise UnsupportedCaptchaError(
            f"what its captcha is made of could not be fetched (status {response.status}, {len(response.body)} bytes)"
        )
    return response.body


async def fetch_page(
    crawler: Crawler, url: str, request: Request, user_agent: str | None, session: list[dict[str, Any]]
) -> Response:
    """Return the gated page once more, whatever its status, as ``user_agent`` sees it."""
    if user_agent is not None:
        headers = request.headers.copy()
        headers["User-Agent"] = user_agent
        request = request.replace(headers=headers)
    own = (request.headers.get("Referer") or b"").decode("latin-1")
    return await _fetch(crawler, url, request, referer=own or None, session=session, state={})


def prepare_fetch(crawler: Crawler, request: Request) -> None:
    """Have one of these downloads take along what it may, and nothing else: Scrapy's middlewares add headers to any request."""
    state = request.meta.get(KEY, {})
    restore_session(crawler, request, state.get("session", ()))
    if state.get("foreign"):
        strip_for_a_stranger(request)


async def _fetch(
    crawler: Crawler,
    url: str,
    request: Request,
    *,
    referer: str | None,
    session: list[dict[str, Any]],
    state: dict[str, Any],
) -> Response:
    fetch = request.replace(
        url=url, method="GET", body=b"", callback=NO_CALLBACK, errback=None, cb_kwargs={}, dont_filter=True
    )
    for name in ("Content-Type", "Content-Length", "Referer"):
        fetch.headers.pop(name, None)
    if referer is not None:
        fetch.headers["Referer"] = referer
    forget_scheme_proxy(fetch, request.url)
    if not same_origin(request.url, url):
        fetch.meta["dont_merge_cookies"] = True
        fetch.cookies, state = {}, {"foreign": True}
        strip_for_a_stranger(fetch)
    elif session:  # its own are among them, as the site has changed them since
        fetch.cookies, state = {}, {**state, "session": session}
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
