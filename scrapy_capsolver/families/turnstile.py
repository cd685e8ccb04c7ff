"""Cloudflare Turnstile, the widget. Cloudflare's own challenge page is another thing: this brings no clearance.

Sources: docs.capsolver.com/guide/captcha/cloudflare_turnstile ;
developers.cloudflare.com/turnstile/get-started/client-side-rendering/ (attributes, options) and
.../get-started/server-side-validation/ (300 s, once).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from scrapy_capsolver.families._page.elements import classes, describe
from scrapy_capsolver.families._page.forms import MAX_PLACES, form_of
from scrapy_capsolver.families._page.submission import submission
from scrapy_capsolver.families._page.text import clean, plain
from scrapy_capsolver.families._page.verdict import verdict
from scrapy_capsolver.families.base import Challenge, TaskType
from scrapy_capsolver.families.cloudflare_challenge import is_challenge
from scrapy_capsolver.families.token import TokenFamily

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lxml.html import HtmlElement

    from scrapy_capsolver.families._page.page import Page
    from scrapy_capsolver.families._page.resources import Resource

KEY = re.compile(r"[0-3]x[0-9A-Za-z_-]{18,60}")
_KEY_BEGINS = (b"0x4A", b"1x0", b"2x0", b"3x0")
_KEY_BYTES = re.compile(rb"(?<![\w-])(?:0x4A{3,}[0-9A-Za-z_-]{10,56}|[1-3]x0{20}[A-F]{2})(?![\w-])")
HOST = "challenges.cloudflare.com"

# Cloudflare's limits for both, with room.
_MAX_ACTION = 64
_MAX_CDATA = 255
_MAX_FIELD = 100
_MAX_CANDIDATES = 5
# Attributes that name a site key without saying whose: what else begins with "0x" is not one of ours.
_SITE_KEY = re.compile(r"site[-_]?key|turnstile")


@dataclass(frozen=True, slots=True)
class Sighting:
    key: str
    reason: str
    element: HtmlElement | None = None
    container: str | None = None
    action: str | None = None
    cdata: str | None = None
    field: str | None = None
    anchored: bool = True
    """False: nothing on the page is seen to use this key."""


class Turnstile(TokenFamily):
    name = "turnstile"
    field = "cf-turnstile-response"
    lifetime = 300.0
    solution_key = "token"
    solution_keys = frozenset({"token", "userAgent", "type"})
    types: Mapping[str, TaskType] = {
        "AntiTurnstileTaskProxyLess": TaskType(
            frozenset({"websiteURL", "websiteKey"}), frozenset({"metadata"}), kinds={"metadata": dict}, price=1.2
        ),
        # Not on CapSolver's page, but what its own client library sends with a proxy.
        "AntiTurnstileTask": TaskType(
            frozenset({"websiteURL", "websiteKey", "proxy"}), frozenset({"metadata"}), kinds={"metadata": dict}
        ),
    }

    def detect(self, page: Page, fields: Mapping[str, Any]) -> Challenge | None:
        """Looks for the site key in attributes, ``turnstile.render(...)`` and frames."""
        if not page.mentions(b"turnstile", b"sitekey") or is_challenge(page):
            return None
        sightings = list(_sightings(page))
        wanted = fields.get("websiteKey")
        key = wanted if any(sighting.key == wanted for sighting in sightings) else None
        if key is None and sightings:
            key = sightings[0].key
        sightings = [sighting for sighting in sightings if sighting.key == key]
        if not sightings and isinstance(wanted, str) and KEY.fullmatch(wanted):
            script = _loader(page)
            if script is not None:
                sightings = [Sighting(wanted, f"{script.tag} {clean(script.url)}, with the site key of the flag")]
        return self._challenge(page, sightings) if sightings else None

    def _challenge(self, page: Page, sightings: list[Sighting]) -> Challenge:
        fields = {self.field, *(sighting.field for sighting in sightings if sighting.field)}
        form = None
        for sighting in sightings[:MAX_PLACES]:
            form = form_of(page, sighting.element, sighting.container, *fields)
            if form is not None:
                break
        blocked, why = verdict(page, form, anchored=any(one.anchored for one in sightings), own=frozenset(fields))
        metadata = {
            name: value
            for name in ("action", "cdata")
            if (value := next((found for item in sightings if (found := getattr(item, name))), None))
        }
        return Challenge(
            family=self.name,
            type="AntiTurnstileTaskProxyLess",
            url=page.url,
            params={"websiteKey": sightings[0].key, **({"metadata": metadata} if metadata else {})},
            reasons=(*dict.fromkeys(sighting.reason for sighting in sightings[:5]), why),
            blocked=blocked,
            field=next((sighting.field for sighting in sightings if sighting.field), ""),
            form=submission(page, form) if form is not None else None,
        )


def _loader(page: Page) -> Resource | None:
    loaders = (item for item in (*page.resources, *page.injected) if item.host == HOST and "/turnstile/" in item.path)
    return next(loaders, None)


def candidates(page: Page) -> tuple[str, ...]:
    """Return the texts of the page that are shaped like a site key, as far as the page loads Turnstile."""
    if _loader(page) is None:
        return ()
    found = (key for word in _KEY_BEGINS for key in page.texts(word, _KEY_BYTES))
    return tuple(islice(found, _MAX_CANDIDATES))


def _sightings(page: Page) -> Iterator[Sighting]:
    found = list(_placed(page))
    yield from found
    if not found and len(keys := page.once(candidates)) == 1:
        yield Sighting(keys[0], "the only site key of the page", anchored=False)


def _placed(page: Page) -> Iterator[Sighting]:
    for element, name, value in page.key_attributes:
        if KEY.fullmatch(value) and ("cf-turnstile" in classes(element) or _SITE_KEY.search(name)):
            yield Sighting(
                value,
                f"element {clean(describe(element))} has {clean(name, 40)}",
                element=element,
                action=plain(element.get("data-action"), _MAX_ACTION),
                cdata=plain(element.get("data-cdata"), _MAX_CDATA),
                field=plain(element.get("data-response-field-name"), _MAX_FIELD),
            )
    for call in page.calls("turnstile.render"):
        options = call.options
        key = plain(page.option(call, "sitekey"), 64) or ""
        if KEY.fullmatch(key):
            yield Sighting(
                key,
                "turnstile.render(...) with sitekey",
                container=call.literal,
                action=plain(page.option(call, "action"), _MAX_ACTION),
                cdata=plain(page.option(call, "cData"), _MAX_CDATA),
                field=plain(options.get("response-field-name"), _MAX_FIELD),
            )
    for frame in page.resources:
        if frame.tag == "iframe" and frame.host == HOST:
            key = next((part for part in frame.path.split("/") if KEY.fullmatch(part)), "")
            if key:
                yield Sighting(key, f"iframe {clean(frame.url)}", element=frame.element)
