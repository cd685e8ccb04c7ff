"""Captchas that CapSolver does not solve: recognised, so that their pages are called what they are. Nothing is paid.

Sources: docs.capsolver.com/en/guide/support/ (the 2026 menu has none of them) ; docs.hcaptcha.com ;
developer.arkoselabs.com ; the block page templates of PerimeterX's enforcers (github.com/PerimeterX).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from lxml.etree import XPath

from scrapy_capsolver.errors import UnsupportedCaptchaError
from scrapy_capsolver.families._page.forms import form_of
from scrapy_capsolver.families._page.page import describe, elements
from scrapy_capsolver.families._page.prefilter import says_captcha
from scrapy_capsolver.families._page.text import clean
from scrapy_capsolver.families._page.verdict import verdict
from scrapy_capsolver.families.base import Challenge, SolutionKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lxml.html import HtmlElement
    from scrapy import Request

    from scrapy_capsolver.families._page.page import Page
    from scrapy_capsolver.families.base import TaskType
    from scrapy_capsolver.families.inject import Inject

Found = tuple["HtmlElement | None", str]

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_ARKOSE = re.compile(r"(?:.+\.)?(?:arkoselabs|funcaptcha)\.com")
_HCAPTCHA = re.compile(r"(?:.+\.)?hcaptcha\.com")
_PX_CAPTCHA = re.compile(r"captcha\.(?:px-cdn|px-cdn\.perimeterx|perimeterx)\.net")
_HCAPTCHA_WIDGET = XPath("(//*[contains(concat(' ', normalize-space(@class), ' '), ' h-captcha ')])[position() <= 5]")
_FUNCAPTCHA_WIDGET = XPath("(//*[@id = 'FunCaptcha' or @data-pkey or @name = 'fc-token'])[position() <= 5]")
_PX_WIDGET = XPath("(//*[@id = 'px-captcha'])[position() <= 5]")


class Unsolvable:
    """Base class of these families: a page, the marks of the captcha on it, and why nobody solves it here."""

    name: str
    types: Mapping[str, TaskType] = {}
    kind: SolutionKind = SolutionKind.TOKEN
    refusal: str
    needles: tuple[bytes, ...]
    """Words of its pages; each has "captcha" in it."""
    other_needles: tuple[bytes, ...] = ()
    """Those that have not."""
    fields: frozenset[str] = frozenset()
    """Form fields of the captcha's own."""

    def marks(self, page: Page) -> Iterator[Found]:
        """What of the captcha stands on the page; a script that merely loads it is no mark."""
        raise NotImplementedError

    def detect(self, page: Page, fields: Mapping[str, Any]) -> Challenge | None:
        if not (says_captcha(page) and page.mentions(*self.needles)) and not page.mentions(*self.other_needles):
            return None
        mark = next(self.marks(page), None)
        if mark is None:
            return None
        element, reason = mark
        form = form_of(page, element, None, *self.fields)
        blocked, why = verdict(page, form, anchored=True, own=self.fields)
        return Challenge(
            family=self.name, type="", url=page.url, reasons=(reason, why), blocked=blocked, refusal=self.refusal
        )

    def prepare(self, challenge: Challenge) -> Challenge:
        return challenge

    def task(self, challenge: Challenge, fetched: Sequence[bytes], after: str) -> dict[str, Any]:
        raise UnsupportedCaptchaError(self.refusal)

    def complete(self, solution: Mapping[str, Any], task: Mapping[str, Any]) -> dict[str, Any]:
        return dict(solution)

    def rehearse(self, request: Request, challenge: Challenge, inject: Inject | None) -> None:
        raise UnsupportedCaptchaError(self.refusal)


class HCaptcha(Unsolvable):
    name = "hcaptcha"
    refusal = "hCaptcha is not solvable by CapSolver, which withdrew it in 2025; nothing was paid"
    needles = (b"hcaptcha", b"h-captcha")
    fields = frozenset({"h-captcha-response", "g-recaptcha-response"})

    def marks(self, page: Page) -> Iterator[Found]:
        yield from _elements(page, _HCAPTCHA_WIDGET)
        for call in page.calls("hcaptcha.render", "hcaptcha.execute"):
            container = page.by_id(call.literal) if call.name == "hcaptcha.render" and call.literal else None
            if _UUID.fullmatch(str(call.options.get("sitekey") or call.literal or "")):
                yield container, f"{call.name}(...) with a site key"
        yield from _frames(page, _HCAPTCHA)


class FunCaptcha(Unsolvable):
    name = "funcaptcha"
    refusal = "FunCaptcha (Arkose Labs) is not solvable by CapSolver, which withdrew it in 2024; nothing was paid"
    needles = (b"funcaptcha",)
    other_needles = (b"arkoselabs", b"fc-token")
    fields = frozenset({"fc-token"})

    def marks(self, page: Page) -> Iterator[Found]:
        yield from _elements(page, _FUNCAPTCHA_WIDGET)
        yield from _frames(page, _ARKOSE)
        for call in page.calls("ArkoseEnforcement", "FunCaptcha"):
            if _UUID.fullmatch(str(call.options.get("public_key"))):
                yield None, f"{call.name}(...) with a public key"


class PerimeterX(Unsolvable):
    """Pages of a protected site all carry the sensor (``_pxAppId``); the captcha's own place or script is the mark."""

    name = "perimeterx"
    refusal = "PerimeterX (HUMAN) is not solvable by CapSolver, which does not offer it; nothing was paid"
    needles = (b"px-captcha", b"captcha.px-cdn", b"captcha.perimeterx")

    def marks(self, page: Page) -> Iterator[Found]:
        yield from _elements(page, _PX_WIDGET)
        for item in page.resources:
            if _PX_CAPTCHA.fullmatch(item.host):
                yield None, f"{item.tag} {clean(item.url)}"
        for script in page.scripts:
            if "_pxAppId" in script.code and _PX_CAPTCHA.search(script.code):
                yield None, "a script that sets _pxAppId and loads the captcha"


def _elements(page: Page, path: XPath) -> Iterator[Found]:
    for element in elements(path, page.root):
        if page.is_live(element):
            yield element, f"element {clean(describe(element))}"


def _frames(page: Page, host: re.Pattern[str]) -> Iterator[Found]:
    for item in page.resources:
        if item.tag == "iframe" and host.fullmatch(item.host):
            yield item.element, f"iframe {clean(item.url)}"
