"""Captchas that are a picture of text. The flag says which picture, and where the answer goes.

Source: docs.capsolver.com/guide/recognition/ImageToTextTask
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes, urlsplit

from scrapy_capsolver.errors import CaptchaConfigurationError, UnsupportedCaptchaError
from scrapy_capsolver.families.base import Challenge, SolutionKind, TaskType
from scrapy_capsolver.families.forms import form_of, submission
from scrapy_capsolver.families.gate import verdict
from scrapy_capsolver.families.page import describe, is_live
from scrapy_capsolver.families.text import clean
from scrapy_capsolver.families.token import TokenFamily
from scrapy_capsolver.sites import may_send

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from parsel import Selector

    from scrapy_capsolver.families.inject import Inject
    from scrapy_capsolver.families.page import Page

MAX_BYTES = 2 * 1024 * 1024
"""Size of an image. CapSolver names no limit; captchas have a few KB."""

_MAX_URL = 8192
_PSEUDO = re.compile(r"::(?:attr\([^()]*\)|text)\s*$")


class ImageToText(TokenFamily):
    name = "image_to_text"
    kind = SolutionKind.ANSWER
    field = ""  # every site has its own name for it
    solution_key = "text"
    types: Mapping[str, TaskType] = {
        "ImageToTextTask": TaskType(
            required=frozenset(),
            optional=frozenset({"module", "score", "case"}),
            one_of=(frozenset({"body", "images"}),),
            shown_by=frozenset({"selector", "body", "images"}),
            kinds={"images": list, "score": float, "case": bool},
            own=frozenset({"selector"}),  # where the image is
            price=0.4,
        )
    }

    def detect(self, page: Page, fields: Mapping[str, Any]) -> Challenge | None:
        """Gated where the page has an element that the flag's ``selector`` selects. A page alone never says so.

        Raises :class:`CaptchaConfigurationError` for a selector that is none.
        """
        css = fields.get("selector")
        if css is None:
            return None
        if not isinstance(css, str) or not css.strip():
            raise CaptchaConfigurationError('selector: allowed is a CSS selector of the image, "img#captcha"')
        if not page.body:
            return None
        found = page.select(css)
        return self._challenge(page, css, found[0], fields) if found else None

    def task(self, challenge: Challenge, fetched: Sequence[bytes], after: str) -> dict[str, Any]:
        """With the image in ``body``, unless the flag or the page held it already."""
        task = super().task(challenge, fetched, after)
        if "body" not in task and "images" not in task:
            task["body"] = _encoded(fetched[0] if fetched else None)
        return task

    def places(self, challenge: Challenge, inject: Inject | None) -> Inject:
        if inject is None:
            raise CaptchaConfigurationError(
                'inject: none was given, and an image does not say where its answer goes; give {"form": "field name"}'
            )
        return inject

    def _challenge(self, page: Page, css: str, selected: Selector, fields: Mapping[str, Any]) -> Challenge:
        """``selected`` is an element, or the text that a selector with ``::attr()`` takes from one."""
        element, source = selected.root, None
        if isinstance(element, str):
            source = element
            owners = page.selector.css(_PSEUDO.sub("", css))
            element = owners[0].root if owners else page.root
        form = form_of(page, element)
        blocked, why = verdict(page, form, anchored=is_live(element), spare=1)
        params = {name: value for name, value in fields.items() if name in {"body", "images"}}
        fetch: tuple[str, ...] = ()
        if not params:
            fetch, params = _image(page, (element.get("src") or "") if source is None else source)
        return Challenge(
            family=self.name,
            type="ImageToTextTask",
            url=page.url,
            params=params,
            reasons=(f"element {clean(describe(element))} matches {clean(css)}", why),
            blocked=blocked,
            form=submission(page, form) if form is not None else None,
            fetch=fetch,
        )


def _image(page: Page, source: str) -> tuple[tuple[str, ...], dict[str, Any]]:
    """(addresses to fetch, params): one of them holds the image.

    Raises :class:`UnsupportedCaptchaError` where there is none, or where it is on another site: a page cannot make
    the crawler contact a host of its choice.
    """
    source = source.strip()
    if source[:5].lower() == "data:":
        return (), {"body": _encoded(_decoded(source))}
    url = page.absolute(source) if source else ""
    if not url or len(url) > _MAX_URL or urlsplit(url).scheme not in {"http", "https"}:
        raise UnsupportedCaptchaError(f"The selected element has no image in its src: {clean(source, 60)!r}")
    if not may_send(page.url, url):
        host = clean(urlsplit(url).hostname or url)
        raise UnsupportedCaptchaError(f"The captcha's image is on another site ({host}), which is not contacted")
    return (url,), {}


def _decoded(data: str) -> bytes:
    """What a ``data:`` address holds; nothing where it cannot be read."""
    head, _, content = data.partition(",")
    raw = unquote_to_bytes(content)
    if not head.rstrip().lower().endswith(";base64"):
        return raw
    try:
        return b64decode(b"".join(raw.split()) + b"==")
    except binascii.Error:
        return b""


def _encoded(image: bytes | None) -> str:
    """Base64 without line breaks, as CapSolver wants it."""
    if not image:
        raise UnsupportedCaptchaError("The captcha's image is empty")
    if len(image) > MAX_BYTES:
        raise UnsupportedCaptchaError(
            f"The captcha's image has {len(image)} bytes; more than {MAX_BYTES} is no captcha"
        )
    return b64encode(image).decode()
