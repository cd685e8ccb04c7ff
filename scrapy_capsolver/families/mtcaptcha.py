"""MTCaptcha, whose widget puts a token into a hidden field of the form around it.

Sources: docs.capsolver.com/en/guide/captcha/MtCaptcha/ ; docs.mtcaptcha.com/dev-guide (the snippet and the field) ;
www.mtcaptcha.com/dev-guide-validate-token ("normally valid for a few minutes", once, and the widget leaves a server at
least 50 s of it).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lxml.etree import XPath

from scrapy_capsolver.families._page.elements import describe, owners
from scrapy_capsolver.families._page.forms import form_of
from scrapy_capsolver.families._page.prefilter import says_captcha
from scrapy_capsolver.families._page.submission import submission
from scrapy_capsolver.families._page.text import clean
from scrapy_capsolver.families._page.verdict import verdict
from scrapy_capsolver.families.base import Challenge, TaskType
from scrapy_capsolver.families.token import TokenFamily

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lxml.html import HtmlElement

    from scrapy_capsolver.families._page.page import Page

KEY = re.compile(r"MTPublic-[0-9A-Za-z]{4,40}")
_HOSTS = frozenset({"service.mtcaptcha.com", "service2.mtcaptcha.com"})
_ANCHORS = XPath("(//@id[. = 'mtcaptcha'] | //@name[. = 'mtcaptcha-verifiedtoken'])[position() <= 5]")
_WRITTEN = re.compile(rf"""(?<=(["'`])){KEY.pattern}(?=\1)""")


@dataclass(frozen=True, slots=True)
class _Sighting:
    key: str
    reason: str
    element: HtmlElement | None = None


class MtCaptcha(TokenFamily):
    name = "mtcaptcha"
    field = "mtcaptcha-verifiedtoken"
    lifetime = 60.0  # ours, and cautious: see above
    solution_key = "token"
    solution_keys = frozenset({"token", "userAgent"})
    types: Mapping[str, TaskType] = {
        "MtCaptchaTaskProxyLess": TaskType(frozenset({"websiteURL", "websiteKey"})),
        "MtCaptchaTask": TaskType(frozenset({"websiteURL", "websiteKey", "proxy"})),
    }

    def detect(self, page: Page, fields: Mapping[str, Any]) -> Challenge | None:
        """Looks for a site key in attributes, frames and the configuration; the widget's place makes it a gate."""
        if not says_captcha(page) or not page.mentions(b"mtcaptcha"):
            return None
        sightings = list(_sightings(page))
        wanted = fields.get("websiteKey")
        keys = [sighting.key for sighting in sightings]
        if isinstance(wanted, str) and KEY.fullmatch(wanted) and wanted not in keys and _is_loaded(page):
            sightings = [_Sighting(wanted, "MTCaptcha is loaded, with the site key of the flag")]
        elif not sightings:
            return None
        key = wanted if wanted in keys else sightings[0].key
        sightings = [sighting for sighting in sightings if sighting.key == key]
        anchor = next((item.element for item in sightings if item.element is not None), None)
        if anchor is None:
            anchor = next(_anchors(page), None)
        rendered = page.scripts.has("renderQueue") or page.scripts.has("mtcaptcha.renderUI")
        form = form_of(page, anchor, None, self.field)
        blocked, why = verdict(page, form, anchored=anchor is not None or rendered, own=frozenset({self.field}))
        return Challenge(
            family=self.name,
            type="MtCaptchaTaskProxyLess",
            url=page.url,
            params={"websiteKey": key},
            reasons=(*dict.fromkeys(sighting.reason for sighting in sightings[:5]), why),
            blocked=blocked,
            form=submission(page, form) if form is not None else None,
        )


def _sightings(page: Page) -> Iterator[_Sighting]:
    for element, name, value in page.key_attributes:
        if KEY.fullmatch(value):
            yield _Sighting(value, f"element {clean(describe(element))} has {clean(name, 40)}", element)
    for item in page.resources:
        if item.host in _HOSTS:
            key = item.parameters().get("sitekey", "")
            if KEY.fullmatch(key):
                element = item.element if item.tag == "iframe" else None
                yield _Sighting(key, f"{item.tag} {clean(item.url)}", element)
    own = page.scripts.texts("mtcaptcha")
    for written in page.scripts.matches("MTPublic-", _WRITTEN):
        if written.string in own:
            yield _Sighting(written[0], "mtcaptchaConfig with sitekey")


def _is_loaded(page: Page) -> bool:
    return any(item.host in _HOSTS for item in page.resources) or any(page.scripts.has(host) for host in _HOSTS)


def _anchors(page: Page) -> Iterator[HtmlElement]:
    yield from page.of_class("mtcaptcha")
    yield from (element for element in owners(_ANCHORS, page.root) if page.is_live(element))
