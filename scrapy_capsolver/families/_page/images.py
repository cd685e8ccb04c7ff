"""Images for recognition tasks: those that a flag brings, and those of a page that it selects."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes, urlsplit

from scrapy_capsolver._utils.urls import may_contact, origin_of
from scrapy_capsolver.errors import CaptchaConfigurationError, UnsupportedCaptchaError
from scrapy_capsolver.families._page.text import clean

if TYPE_CHECKING:
    from lxml.html import HtmlElement

    from scrapy_capsolver.families._page.page import Page

MAX_BYTES = 2 * 1024 * 1024
"""Size of an image. CapSolver names no limit; captchas have a few KB."""

MAX_IMAGES = 9
"""In one task. Sources: docs.capsolver.com/guide/recognition/ImageToTextTask , .../AwsWafClassification"""

MAX_SELECTED = 100
"""Elements that a selector may select before nobody counts them any more."""

_MAX_URL = 8192
_MAX_ESCAPES = 50_000
_MAX_TYPE = 200
_BLANK = b" \t\n\r\f\v"
_PSEUDO = re.compile(r"::(?:attr\([^()]*\)|text)\s*$")


def given(value: object, name: str) -> str:
    """An image that the flag's author gave in ``name``, as CapSolver wants it: bare base64, on one line.

    A ``data:`` prefix and line breaks are taken off, since that is how images get pasted. Raises
    :class:`CaptchaConfigurationError` for what is no image's base64, without showing it.
    """
    if not isinstance(value, str):
        raise CaptchaConfigurationError(f"{name}: an image is text, in base64; not {type(value).__name__}")
    if len(value) > 2 * MAX_BYTES:
        raise CaptchaConfigurationError(f"{name}: {len(value)} characters are no captcha's image")
    if value[:5].lower() == "data:":
        head, _, value = value.partition(",")
        if not head.rstrip().lower().endswith(";base64"):
            raise CaptchaConfigurationError(f"{name}: a data: address is taken in base64 alone")
    text = "".join(value.split())
    text += "=" * (-len(text) % 4)
    try:
        content = b64decode(text, validate=True)
    except ValueError:  # characters outside base64, or outside ASCII; a length that none has
        content = b""
    if not content:
        raise CaptchaConfigurationError(f"{name}: an image in base64 is wanted; what was given cannot be decoded")
    if len(content) > MAX_BYTES:
        raise CaptchaConfigurationError(
            f"{name}: an image of {len(content)} bytes; more than {MAX_BYTES} is no captcha"
        )
    return text


def given_list(value: object, name: str) -> list[str]:
    """As :func:`given`, for a field that holds several."""
    if not isinstance(value, list) or not 0 < len(value) <= MAX_IMAGES:
        raise CaptchaConfigurationError(f"{name}: a list of 1 to {MAX_IMAGES} images is wanted")
    return [given(image, name) for image in value]


def selected(page: Page, css: Any, key: str) -> list[tuple[HtmlElement, str]]:
    """What the flag's ``css``, given in ``key``, selects on the page: each element, and where its image is.

    That is its ``src``, or what a selector with ``::attr()`` takes from it. Raises
    :class:`CaptchaConfigurationError` for a selector that is none.
    """
    if not isinstance(css, str) or not css.strip():
        raise CaptchaConfigurationError(f'{key}: allowed is a CSS selector of the image, "img#captcha"')
    if not page.body:
        return []
    try:
        found = page.select(css, MAX_SELECTED)
        owner = next(iter(page.select(_PSEUDO.sub("", css), 1)), page.root) if _PSEUDO.search(css) else page.root
    except CaptchaConfigurationError as error:
        raise CaptchaConfigurationError(f"{key}: {error.message.partition(': ')[2]}") from error
    return [(owner, one) if isinstance(one, str) else (one, one.get("src") or "") for one in found]


def locate(page: Page, source: str) -> tuple[str, str]:
    """(address to fetch, base64): the one that is not empty has the image that ``source`` names.

    Raises :class:`UnsupportedCaptchaError` where there is none, or where it is on another site: a page cannot make
    the crawler contact a host of its choice.
    """
    source = source.strip()
    if source[:5].lower() == "data:":
        return "", encoded(_decoded(source))
    url = page.absolute(source) if source else ""
    if not url or len(url) > _MAX_URL or urlsplit(url).scheme not in {"http", "https"}:
        raise UnsupportedCaptchaError(f"The selected element has no image in its src: {clean(source, 60)!r}")
    if not may_contact(page.url, url):
        raise UnsupportedCaptchaError(
            f"The captcha's image is on another site, {clean(origin_of(url) or url)}, which is not contacted"
        )
    return url, ""


def encoded(image: bytes | None) -> str:
    """Base64 without line breaks, as CapSolver wants it."""
    if not image:
        raise UnsupportedCaptchaError("The captcha's image is empty")
    if len(image) > MAX_BYTES:
        raise UnsupportedCaptchaError(
            f"The captcha's image has {len(image)} bytes; more than {MAX_BYTES} is no captcha"
        )
    return b64encode(image).decode()


def _decoded(data: str) -> bytes:
    """What a ``data:`` address holds; nothing where it cannot be read."""
    head, _, content = data.partition(",")
    if content.count("%") > _MAX_ESCAPES:
        return b""
    raw = unquote_to_bytes(content)
    if not head[-_MAX_TYPE:].rstrip().lower().endswith(";base64"):
        return raw
    try:
        return b64decode(raw.translate(None, _BLANK) + b"==")
    except binascii.Error:
        return b""
