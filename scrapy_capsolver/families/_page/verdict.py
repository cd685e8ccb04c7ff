"""The judgement that every family shares: does the captcha stand in the page's way, or does the page carry it?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from lxml.etree import XPath

from scrapy_capsolver.families._page.forms import asks

if TYPE_CHECKING:
    from lxml.html import HtmlElement

    from scrapy_capsolver.families._page.page import Page

SPARSE_TEXT = 1000
"""Characters up to which a page says no more than what a gate says: an apology, the visitor's address, a reference."""

SPARSE_IMAGES = 5

# What is looked at before a page is called one with content of its own.
_MAX_ELEMENTS = 600
_MAX_MEASURED = 16 * 1024
_COUNT = XPath("count(//*)")

CAPTCHA_FIELDS = frozenset({"g-recaptcha-response", "cf-turnstile-response", "h-captcha-response", "captcha"})

_NO_TEXT = frozenset(
    {"script", "style", "noscript", "template", "head", "title", "textarea", "select", "svg", "iframe"}
)

_LAYOUT = frozenset({"nav", "header", "footer", "aside", "a"})
_PROOF = re.compile(
    r"(?:you(?:'|\u2019| a)re|that you are|are you) (?:a )?(?:human|not a (?:ro)?bot)|not a robot|unusual (?:traffic|activity|number of requests)"
    r"|automated (?:requests|queries|traffic)|verify (?:that )?you are|prove (?:that )?you are|confirm (?:that )?you are",
    re.IGNORECASE,
)


def verdict(
    page: Page, form: HtmlElement | None, *, anchored: bool, own: frozenset[str] = frozenset(), spare: int = 0
) -> tuple[bool, str]:
    """Return whether the captcha blocks the page, and why. The content decides; the status never does.

    ``anchored``: the captcha itself was seen in the page, not only a script that every page of the site may load.
    ``own``: form fields that belong to the captcha; ``spare``: inputs without a known name that do (an image's answer).
    """
    if 300 <= page.status < 400:
        return False, f"status {page.status} is a redirect"
    if not anchored:
        return False, "only a script of the captcha is here"
    asked = asks(page, form if form is not None else page.root, own | CAPTCHA_FIELDS)
    if "password" in asked:
        return False, "the form asks for a password"
    if len(asked) > spare:
        return False, f"the form asks for more ({asked[0]})"
    if is_sparse(page, form):
        return True, "the page holds nothing but the captcha"
    if form is not None and is_sparse(page, form, within_layout=True) and _asks_for_proof(page):
        return True, "the page asks only for proof of being human"
    return False, "the page has content of its own"


def is_sparse(page: Page, form: HtmlElement | None = None, *, within_layout: bool = False) -> bool:
    """Return whether the page says and shows, outside ``form``, no more than a gate does.

    ``within_layout``: what stands in the site's own frame (navigation, header, footer) does not count.
    """
    length, images = page.kept(("content", form, within_layout), lambda: _content(page, form, within_layout))
    return length <= SPARSE_TEXT and images <= SPARSE_IMAGES


def _asks_for_proof(page: Page) -> bool:
    return page.kept(("proof",), lambda: _PROOF.search(page.text[:_MAX_MEASURED]) is not None)


def _content(page: Page, form: HtmlElement | None, within_layout: bool) -> tuple[int, int]:  # noqa: FBT001
    """Return the characters of visible text and the images outside ``form``; counted only until they are many."""
    left_out = _NO_TEXT | _LAYOUT if within_layout else _NO_TEXT
    body = page.root.find("body")
    if body is None:
        return 0, 0
    if not page.is_whole:
        return SPARSE_TEXT + 1, 0  # nor is a page that is too large to be read
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
        if isinstance(element.tag, str) and element is not form and element.tag not in left_out:
            length += _measure(element.text)
            images += element.tag in {"img", "video", "canvas"}
            waiting += element[:_MAX_ELEMENTS]
        if length > SPARSE_TEXT or images > SPARSE_IMAGES:
            return length, images
    return SPARSE_TEXT + 1, images


def _measure(text: str | None) -> int:
    return len(" ".join(text[:_MAX_MEASURED].split())) if text else 0
