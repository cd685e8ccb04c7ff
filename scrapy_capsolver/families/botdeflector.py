"""BotDeflector, which hands pages a signed token (a JWT) that the visitor's work must go with.

Source: docs.capsolver.com/en/guide/captcha/botdeflector/ . It names the three fields, and calls the token
botReflectorJwtToken or, in other languages, botDeflectorJwtToken. What a solution looks like it does not show:
``token`` is assumed here; and where a site wants it is not documented, so that the flag must say.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from scrapy_capsolver._utils.urls import origin_of
from scrapy_capsolver.errors import CaptchaConfigurationError
from scrapy_capsolver.families._page.attributes import read_attributes
from scrapy_capsolver.families._page.elements import describe
from scrapy_capsolver.families._page.forms import form_of
from scrapy_capsolver.families._page.submission import submission
from scrapy_capsolver.families._page.text import clean
from scrapy_capsolver.families._page.verdict import verdict
from scrapy_capsolver.families.base import Challenge, TaskType
from scrapy_capsolver.families.token import TokenFamily

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lxml.html import HtmlElement

    from scrapy_capsolver.families._page.page import Page
    from scrapy_capsolver.families.inject import Inject

# RFC 7519: three parts in base64url; the first is a JSON object, whose {" always comes out as eyJ.
_JWT = r"eyJ[\w-]{5,2048}\.[\w-]{2,8192}\.[\w-]{5,2048}"
_TOKEN = re.compile(_JWT, re.ASCII)
_NAMES = ("botDeflectorJwtToken", "botReflectorJwtToken")
_GIVEN = re.compile(rf"""bot[DR]eflectorJwtToken["']?\]?\s{{0,8}}[=:]\s{{0,8}}(["'`])({_JWT})\1""", re.ASCII)
_ATTRIBUTE = re.compile(r"bot-?[dr]eflector-?jwt")
_MIN_TOKEN = 20
_MAX_TOKEN = 16 * 1024
_ENDPOINTS = ("/pow/get", "/icon/get")
_ENDPOINT = re.compile(r"/(?:pow|icon)/get(?![\w-])", re.ASCII)
_HOST = re.compile(r"//([A-Za-z0-9.-]{1,253})(?::\d{1,5})?(?:/[\w.~-]{1,64}){0,6}", re.ASCII)
_MAX_BEFORE = 700


class BotDeflector(TokenFamily):
    name = "botdeflector"
    field = ""  # not documented
    solution_key = "token"  # assumed
    types: Mapping[str, TaskType] = {
        "AntiBotdeflectorTaskProxyLess": TaskType(frozenset({"websiteURL", "domain", "flowToken"}))
    }

    def detect(self, page: Page, fields: Mapping[str, Any]) -> Challenge | None:
        """Looks for the token in the page's scripts and attributes."""
        if not page.mentions(b"eflectorjwt", b"eflector-jwt"):
            return None
        found = _by_script(page) or _by_attribute(page)
        if found is None:
            return None
        token, reason, element = found
        form = form_of(page, element)
        blocked, why = verdict(page, form, anchored=True)
        return Challenge(
            family=self.name,
            type="AntiBotdeflectorTaskProxyLess",
            url=page.url,
            params={"domain": _domain(page), "flowToken": token},
            reasons=(reason, why),
            blocked=blocked,
            form=submission(page, form) if form is not None else None,
            perishable=True,
        )

    def task(self, challenge: Challenge, fetched: Sequence[bytes], after: str) -> dict[str, Any]:
        """``websiteURL`` is the site's home page here."""
        task = super().task(challenge, fetched, after)
        task["websiteURL"] = f"{origin_of(challenge.url)}/"
        return task

    def places(self, challenge: Challenge, inject: Inject | None) -> Inject:
        if inject is None:
            raise CaptchaConfigurationError(
                "inject: none was given, and it is not documented where a site wants BotDeflector's solution; give the "
                'place, {"header": "name"} or {"form": "field name"}'
            )
        return inject


def _by_script(page: Page) -> tuple[str, str, HtmlElement | None] | None:
    for name in _NAMES:
        if given := next(page.scripts.matches(name, _GIVEN), None):
            return given[2], f"a script gives {name}", None
    return None


def _by_attribute(page: Page) -> tuple[str, str, HtmlElement | None] | None:
    for element, name, value in read_attributes(page, b"eflector", _MIN_TOKEN, _MAX_TOKEN):
        if _ATTRIBUTE.search(name) and _TOKEN.fullmatch(value):
            return value, f"element {clean(describe(element))} has {clean(name, 40)}", element
    return None


def _domain(page: Page) -> str:
    """The host that serves the puzzles: where ``pow/get`` and ``icon/get`` are; else the page's own."""
    for word in _ENDPOINTS:
        for found in page.scripts.matches(word, _ENDPOINT):
            before = found.string[max(0, found.start() - _MAX_BEFORE) : found.start()]
            if host := _HOST.fullmatch(before, max(0, before.rfind("//"))):
                return host[1].lower()
    for item in page.resources:
        if _ENDPOINT.search(item.path):
            return item.host
    return urlsplit(page.url).hostname or ""
