"""Captchas that CapSolver does not solve: recognised, so that their pages are called what they are. Nothing is paid.

Sources: docs.capsolver.com/en/guide/support/ (the 2026 menu has none of them) ; docs.hcaptcha.com ;
developer.arkoselabs.com ; the block page templates of PerimeterX's enforcers (github.com/PerimeterX).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from lxml.etree import XPath

from scrapy_capsolver.errors import UnsupportedCaptchaError
from scrapy_capsolver.families._page.elements import describe, owners
from scrapy_capsolver.families._page.forms import form_of
from scrapy_capsolver.families._page.prefilter import says_captcha
from scrapy_capsolver.families._page.text import clean
from scrapy_capsolver.families._page.verdict import is_sparse, verdict
from scrapy_capsolver.families.base import Challenge, SolutionKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from lxml.html import HtmlElement
    from scrapy import Request

    from scrapy_capsolver.families._page.page import Page
    from scrapy_capsolver.families.base import TaskType
    from scrapy_capsolver.families.inject import Inject


class Mark(NamedTuple):
    """One place where a page shows a captcha."""

    element: HtmlElement | None
    reason: str
    anchored: bool = True
    """False: only a script is loaded, which every page of the site may load."""


_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_ARKOSE = re.compile(r"(?:.+\.)?(?:arkoselabs|funcaptcha)\.com")
_HCAPTCHA = re.compile(r"(?:.+\.)?hcaptcha\.com")
_PX_HOSTS = (
    "captcha.px-cdn.net",
    "captcha.px-cdn.perimeterx.net",
    "captcha.perimeterx.net",
    "captcha.px-cloud.net",
)
_PX_SET = re.compile(r"_px(?:AppId|Uuid|Vid|HostUrl|JsClientSrc)\b")
_PX_FIRST_PARTY = "/captcha/captcha.js?"
_FUNCAPTCHA_WIDGET = XPath("(//@id[. = 'FunCaptcha'] | //@data-pkey | //@name[. = 'fc-token'])[position() <= 5]")
_MAX_WALL = 64 * 1024  # bytes; these pages have a few KB


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

    def marks(self, page: Page) -> Iterator[Mark]:
        """What of the captcha stands on the page; a script that merely loads it is no mark."""
        raise NotImplementedError

    def detect(self, page: Page, fields: Mapping[str, Any]) -> Challenge | None:
        if not (says_captcha(page) and page.mentions(*self.needles)) and not page.mentions(*self.other_needles):
            return None
        mark = next(self.marks(page), None)
        if mark is None:
            return None
        form = form_of(page, mark.element, None, *self.fields)
        blocked, why = verdict(page, form, anchored=mark.anchored, own=self.fields)
        return Challenge(
            family=self.name, type="", url=page.url, reasons=(mark.reason, why), blocked=blocked, refusal=self.refusal
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
    attributes = re.compile(r"(?:data-)?hcaptcha-?site-?key|data-hcaptcha-?key")
    fields = frozenset({"h-captcha-response", "g-recaptcha-response"})

    def marks(self, page: Page) -> Iterator[Mark]:
        yield from _elements(page.of_class("h-captcha"))
        for element, name, value in page.key_attributes:
            if self.attributes.fullmatch(name) and _UUID.fullmatch(value):
                yield Mark(element, f"element {clean(describe(element))} has {clean(name, 40)}")
        for call in page.calls("hcaptcha.render", "hcaptcha.execute"):
            container = page.by_id(call.literal) if call.name == "hcaptcha.render" and call.literal else None
            if _UUID.fullmatch(page.option(call, "sitekey") or page.argument(call) or ""):
                yield Mark(container, f"{call.name}(...) with a site key")
        yield from _frames(page, _HCAPTCHA)


class FunCaptcha(Unsolvable):
    name = "funcaptcha"
    refusal = "FunCaptcha (Arkose Labs) is not solvable by CapSolver, which withdrew it in 2024; nothing was paid"
    needles = (b"funcaptcha",)
    other_needles = (b"arkoselabs", b"fc-token")
    fields = frozenset({"fc-token"})

    def marks(self, page: Page) -> Iterator[Mark]:
        yield from _elements(element for element in owners(_FUNCAPTCHA_WIDGET, page.root) if page.is_live(element))
        yield from _frames(page, _ARKOSE)
        for call in page.calls("ArkoseEnforcement", "FunCaptcha"):
            if _UUID.fullmatch(page.option(call, "public_key") or ""):
                yield Mark(None, f"{call.name}(...) with a public key")
        for item in (*page.resources, *page.injected):
            # Arkose's client API: the key stands in the address, and the script names the function that sets it up.
            keyed = item.path.endswith("/api.js") and any(_UUID.fullmatch(part) for part in item.path.split("/"))
            if item.tag == "script" and keyed and item.element.get("data-callback"):
                yield Mark(None, f"script {clean(item.url)}", anchored=False)


class PerimeterX(Unsolvable):
    """Pages of a protected site all carry the sensor (``_pxAppId``); the captcha's own place or script is the mark."""

    name = "perimeterx"
    refusal = "PerimeterX (HUMAN) is not solvable by CapSolver, which does not offer it; nothing was paid"
    needles = (b"px-captcha", b"captcha.px-", b"captcha.perimeterx", b"_pxappid", b"_pxhosturl")

    def marks(self, page: Page) -> Iterator[Mark]:
        place = page.by_id("px-captcha")
        if place is not None and page.is_live(place):
            yield from _elements([place])
        for item in page.resources:
            if item.host in _PX_HOSTS:
                yield Mark(None, f"{item.tag} {clean(item.url)}")
        loading = set().union(*(page.scripts.texts(sign) for sign in (*_PX_HOSTS, _PX_FIRST_PARTY)))
        if loading & page.scripts.texts("_px", _PX_SET):
            yield Mark(None, "a script that sets _pxAppId and loads the captcha")


class Wall(Unsolvable):
    """Base class of the walls that show no captcha of their own: a block page, or a script that must run.

    They stand before the site, so the page is blocked at any status. Each is known from its block page's own marks.
    """

    vendor: str
    needles: tuple[bytes, ...]
    """Words of its pages, in lower case: without one of them nothing else is looked for."""
    signs: tuple[tuple[re.Pattern[bytes], str], ...]
    """Patterns of the page's bytes, and what each is."""
    marked_headers: tuple[tuple[str, re.Pattern[str], str], ...] = ()
    """Headers, patterns of their values, and what each is; only for a page without content of its own."""
    offer = "which does not offer it"

    @property
    def refusal(self) -> str:  # type: ignore[override]
        return f"{self.vendor} is not solvable by CapSolver, {self.offer}; nothing was paid"

    def detect(self, page: Page, fields: Mapping[str, Any]) -> Challenge | None:
        reason = None
        if page.mentions(*self.needles):
            start = page.body[:_MAX_WALL]
            reason = next((what for pattern, what in self.signs if pattern.search(start)), None)
        if reason is None:
            named = ((what, pattern.search(page.header(name))) for name, pattern, what in self.marked_headers)
            reason = next((what for what, found in named if found), None)
            if reason is None or not (page.status >= 400 or not page.body.strip()):
                return None
        if page.body and not is_sparse(page):
            return None
        return Challenge(family=self.name, type="", url=page.url, reasons=(reason,), blocked=True, refusal=self.refusal)


class Imperva(Wall):
    name = "imperva"
    vendor = "Imperva (Incapsula)"
    needles = (b"incapsula",)
    signs = (
        (re.compile(rb"<iframe[^>]{0,400}_Incapsula_Resource", re.IGNORECASE), "an iframe of Incapsula's"),
        (re.compile(rb"Incapsula incident ID", re.IGNORECASE), "Incapsula's incident ID"),
        (re.compile(rb"<script[^>]{0,200}_Incapsula_Resource\?SWJIYLWA", re.IGNORECASE), "a script of Incapsula's"),
    )


class Kasada(Wall):
    name = "kasada"
    vendor = "Kasada"
    needles = (b"kpsdk", b"/ips.js")
    signs = (
        (re.compile(rb"KPSDK\.(?:scriptStart|now|configure)|window\.KPSDK"), "a script that sets KPSDK"),
        (re.compile(rb"/ips\.js\?[^\"']{0,200}(?:x-kpsdk|tkrm_alpekz|KP_)"), "Kasada's ips.js"),
    )
    marked_headers = (("x-kpsdk-ct", re.compile("."), "header x-kpsdk-ct"),)


class Akamai(Wall):
    name = "akamai"
    vendor = "Akamai Bot Manager"
    needles = (b"edgesuite.net/", b"sec-if-cpt", b"sec-cpt", b"sec_cpt", b"reference")
    signs = (
        (re.compile(rb"errors\.edgesuite\.net/[\w.]{6,60}"), "Akamai's reference address"),
        (re.compile(rb"sec-if-cpt-container|sec-cpt-if|sec_cpt_container", re.IGNORECASE), "Akamai's challenge"),
        (
            re.compile(
                rb"<p>\s*Reference\s*(?:&#32;)?\s*(?:&#35;|#)\s*[\da-f]{1,3}(?:&#46;|\.)[\da-f]{6,}", re.IGNORECASE
            ),
            "Akamai's reference number",
        ),
    )


class F5(Wall):
    name = "f5"
    vendor = "F5 (Shape, BIG-IP)"
    needles = (b"requested url was rejected", b"bobcmn", b"/tspd/")
    signs = (
        (
            re.compile(rb"The requested URL was rejected\. Please consult with your administrator", re.IGNORECASE),
            "F5's rejection",
        ),
        (re.compile(rb"window\[[\"']bobcmn[\"']\]|/TSPD/[0-9a-f]{8,}"), "F5's script"),
    )


class Sucuri(Wall):
    name = "sucuri"
    vendor = "Sucuri"
    needles = (b"sucuri",)
    signs = (
        (re.compile(rb"sucuri\.net/(?:guides|privacy)|Sucuri WebSite Firewall", re.IGNORECASE), "Sucuri's block page"),
        (re.compile(rb"sucuri_cloudproxy_js"), "Sucuri's script"),
    )


class Anubis(Wall):
    name = "anubis"
    vendor = "Anubis"
    needles = (b"anubis",)
    offer = "as it asks for work by the browser and shows no captcha"
    signs = (
        (re.compile(rb"anubis_challenge|/\.within\.website/x/cmd/anubis/|id=\"anubis_version\""), "Anubis's challenge"),
    )


def _elements(found: Iterable[HtmlElement]) -> Iterator[Mark]:
    for element in found:
        yield Mark(element, f"element {clean(describe(element))}")


def _frames(page: Page, host: re.Pattern[str]) -> Iterator[Mark]:
    for item in page.resources:
        if item.tag == "iframe" and host.fullmatch(item.host):
            yield Mark(item.element, f"iframe {clean(item.url)}")
