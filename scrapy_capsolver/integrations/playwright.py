"""For pages that scrapy-playwright opens: a browser sends the cookies of its own context, and none of a request's headers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scrapy import Request

PAGE = "playwright"
CALLBACK = "playwright_page_init_callback"


async def take_cookies(page: Any, request: Request) -> None:
    """Give the page's context the cookies of its request, clearances among them, before it asks for anything.

    To be named in the request's meta: ``"playwright_page_init_callback": "scrapy_capsolver.integrations.playwright.take_cookies"``.
    """
    cookies = []
    for header in request.headers.getlist("Cookie"):
        for pair in header.decode("latin-1").split(";"):
            name, separator, value = pair.strip().partition("=")
            if separator and name:
                cookies.append({"name": name, "value": value, "url": request.url})
    if cookies:
        await page.context.add_cookies(cookies)


def can_take_cookies(request: Request) -> bool:
    """False for a page whose browser would leave a clearance out."""
    return not request.meta.get(PAGE) or bool(request.meta.get(CALLBACK))
