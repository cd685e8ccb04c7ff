"""The judgement that every family shares: does the captcha stand in the page's way, or does the page carry it?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lxml.etree import XPath

from scrapy_capsolver.families._page.forms import asks
from scrapy_capsolver.families._page.page import BLOCKING_STATUSES

if TYPE_CHECKING:
    from lxml.html import HtmlElement

    from scrapy_capsolver.families._page.page import Page

SPARSE_TEXT = 1000
"""Characters up to which a page says no more than what a gate says: an apology, the visitor's address, a reference."""

SPARSE_IMAGES = 5

# What is looked at before a page is called one with content of its own.
_MAX_ELEMENTS = 600
_MAX_MEASURED = 64 * 1024
_COUNT = XPath("count(//*)")

CAPTCHA_FIELDS = frozenset({"g-recaptcha-response", "cf-turnstile-response", "h-captcha-response", "captcha"})

_NO_TEXT = frozenset(
    {"script", "style", "noscript", "template", "head", "title", "textarea", "select", "svg", "iframe"}
)


def verdict(
    page: Page, form: HtmlElement | None, *, anchored: bool, own: frozenset[str] = frozenset(), spare: int = 0
) -> tuple[bool, str]:
    """(blocked, why).

    ``anchored``: the captcha itself was seen in the page, not just a script that every page of the site may load.
    ``own``: form fields that belong to the captcha; ``spare``: inputs without a known name that do (an image's answer).
    """
    asked = asks(form if form is not None else page.root, own | CAPTCHA_FIELDS)
    if "password" in asked:
        return False, "the form asks for a password"
    if page.status in BLOCKING_STATUSES:
        return (True, f"status {page.status}") if anchored else (False, "only a script of the captcha is here")
    if not 200 <= page.status < 300:
        return False, f"status {page.status} is not that of a gate"
    if not anchored:
        return False, "only a script of the captcha is here"
    if len(asked) > spare:
        return False, f"the form asks for more ({asked[0]})"
    if not is_sparse(page, form):
        return False, "the page has content of its own"
    return True, "the page holds nothing but the captcha"


def is_sparse(page: Page, form: HtmlElement | None = None) -> bool:
    """Does the page say and show, outside ``form``, no more than a gate does?"""
    length, images = page.kept(("content", form), lambda: _content(page, form))
    return length <= SPARSE_TEXT and images <= SPARSE_IMAGES


def _content(page: Page, form: HtmlElement | None) -> tuple[int, int]:
    """(characters of visible text, images) outside ``form``; counted no further than it takes to call them many."""
    body = page.root.find("body")
    if body is None:
        return 0, 0
    count: Any = _COUNT(page.root)
    if count > 2 * _MAX_ELEMENTS:
        return SPARSE_TEXT + 1, 0  # so large a page is no gate, whatever it is that it holds
    length = images = 0
    waiting = [body]
    for _ in range(_MAX_ELEMENTS):
        if not waiting:
            return length, images
        element = waiting.pop()
        if element is not body:
            length += _measure(element.tail)  # which is its parent's text
        if isinstance(element.tag, str) and element is not form and element.tag not in _NO_TEXT:
            length += _measure(element.text)
            images += element.tag in {"img", "video", "canvas"}
            waiting += element[:_MAX_ELEMENTS]
        if length > SPARSE_TEXT or images > SPARSE_IMAGES:
            return length, images
    return SPARSE_TEXT + 1, images


def _measure(text: str | None) -> int:
    return len(" ".join(text[:_MAX_MEASURED].split())) if text else 0
