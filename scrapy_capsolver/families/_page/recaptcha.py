"""What a page shows of reCAPTCHA, read once for both of its versions.

Sources: developers.google.com/recaptcha/docs/display, .../docs/invisible, .../docs/v3 and
cloud.google.com/recaptcha/docs for what pages hold; docs.capsolver.com/en/guide/captcha/ReCaptchaV2/ and
.../ReCaptchaV3/ for what CapSolver calls it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from scrapy_capsolver.families._page.elements import describe
from scrapy_capsolver.families._page.text import clean, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lxml.html import HtmlElement

    from scrapy_capsolver.families._page.page import Page
    from scrapy_capsolver.families._page.resources import Resource

KEY = re.compile(r"6L[A-Za-z0-9_-]{38}")
KEY_BYTES = re.compile(rb"6L[A-Za-z0-9_-]{38}")
RESPONSE_FIELD = "g-recaptcha-response"

_HOSTS = frozenset({"www.google.com", "google.com", "www.recaptcha.net", "recaptcha.net"})
_FRAMES = re.compile(r"/recaptcha/(?:(?:api2|enterprise)/(?:anchor|bframe)|api/fallback)")
_SCRIPTS = re.compile(r"/recaptcha/(?:api|enterprise)\.js")
_RENDER = ("grecaptcha.render", "grecaptcha.enterprise.render")
_EXECUTE = ("grecaptcha.execute", "grecaptcha.enterprise.execute")

_MAX_RESOURCES = 50
_MAX_ATTRIBUTES = 40
_MAX_ACTION = 100
_MAX_S = 4096


@dataclass(frozen=True, slots=True)
class Sighting:
    """One place where the page shows a site key."""

    key: str
    version: int
    reason: str
    element: HtmlElement | None = None
    container: str | None = None
    """Id of the element into which a script puts the widget."""
    anchored: bool = True
    """False: only a script is loaded for this key, which nothing on the page is seen to use."""
    enterprise: bool = False
    invisible: bool = False
    action: str | None = None
    s: str | None = None


@dataclass(frozen=True, slots=True)
class Recaptcha:
    """All of the page's reCAPTCHA."""

    sightings: tuple[Sighting, ...]
    scripts: tuple[str, ...]
    """Addresses of the loaders (api.js, enterprise.js)."""
    enterprise: bool
    mirror: bool
    """Loaded from recaptcha.net."""
    candidates: tuple[str, ...] = ()
    """All texts of the page that are shaped like a site key."""

    def of(self, version: int, wanted: object) -> tuple[Sighting, ...]:
        """All sightings of one key of that version: of ``wanted`` if the page shows it, else of the first.

        What belongs to the other version is not among them: a key is one or the other.
        """
        mine = [sighting for sighting in self.sightings if sighting.version == version]
        keys = [sighting.key for sighting in mine]
        if not keys:
            return ()
        key = wanted if wanted in keys else keys[0]
        return tuple(sighting for sighting in mine if sighting.key == key)


def read(page: Page) -> Recaptcha:
    """What ``page`` shows. Anything that is not shaped as Google shapes it is left out."""
    resources = [resource for resource in page.resources if resource.host in _HOSTS][:_MAX_RESOURCES]
    loaders = [item for item in (*resources, *page.injected) if item.host in _HOSTS and _SCRIPTS.fullmatch(item.path)]
    loaders = [item for item in loaders if item.tag == "script"]
    enterprise = any("enterprise" in item.path for item in loaders)
    found = [
        *_by_loader(loaders),
        *_by_execute(page, loaders, enterprise=enterprise),
        *_by_attribute(page, enterprise=enterprise),
        *_by_render(page, enterprise=enterprise),
        *_by_frame(resources),
    ]
    candidates = page.texts(b"6L", KEY_BYTES)
    if loaders and not found and len(candidates) == 1:
        # The key stands in a configuration, a hidden input or a meta tag, from where the site's own script takes it.
        version = 3 if any("render" in item.query and "explicit" not in item.query for item in loaders) else 2
        found.append(
            Sighting(candidates[0], version, "the only site key of the page", anchored=False, enterprise=enterprise)
        )
    score_based = {sighting.key for sighting in found if sighting.version == 3}
    return Recaptcha(
        sightings=tuple(replace(item, version=3) if item.key in score_based else item for item in found),
        scripts=tuple(item.url for item in loaders),
        enterprise=enterprise or any(sighting.enterprise for sighting in found),
        mirror=any(item.host.endswith("recaptcha.net") for item in (*resources, *loaders)),
        candidates=candidates,
    )


def params(recaptcha: Recaptcha, sightings: tuple[Sighting, ...]) -> dict[str, Any]:
    """CapSolver's fields for these sightings of one key; ``s`` not yet among them."""
    fields: dict[str, Any] = {"websiteKey": sightings[0].key}
    action = next((sighting.action for sighting in sightings if sighting.action), None)
    if action:
        fields["pageAction"] = action
    if any(sighting.invisible for sighting in sightings):
        fields["isInvisible"] = True
    if recaptcha.mirror:
        fields["apiDomain"] = "http://www.recaptcha.net/"
    return fields


def with_data_s(task: dict[str, Any], *, as_payload: bool) -> dict[str, Any]:
    """``task`` with the value of ``s`` where its type wants it: ``enterprisePayload``, else ``recaptchaDataSValue``.

    The flag may have put another type in the place of the one that was detected.
    """
    payload: Mapping[str, Any] = task.get("enterprisePayload") or {}
    if as_payload and "recaptchaDataSValue" in task:
        value = task.pop("recaptchaDataSValue")
        task["enterprisePayload"] = {"s": value, **payload}
    elif not as_payload and "enterprisePayload" in task:
        del task["enterprisePayload"]
        if "s" in payload:
            task.setdefault("recaptchaDataSValue", payload["s"])
    return task


def _by_loader(loaders: list[Resource]) -> Iterator[Sighting]:
    for loader in loaders:
        key = loader.parameters().get("render", "")
        if KEY.fullmatch(key):  # else "explicit" or "onload": v2
            yield Sighting(
                key, 3, f"script {clean(loader.url)}", anchored=False, enterprise="enterprise" in loader.path
            )


def _by_execute(page: Page, loaders: list[Resource], *, enterprise: bool) -> Iterator[Sighting]:
    loaded = [key for loader in loaders if KEY.fullmatch(key := loader.parameters().get("render", ""))]
    for call in page.calls(*_EXECUTE):
        key = page.argument(call) or ""
        if not KEY.fullmatch(key) and call.reference and loaded:
            key = loaded[0]
        if KEY.fullmatch(key):  # else the number of a v2 widget
            yield Sighting(
                key,
                3,
                f"{call.name}(...) with a site key",
                enterprise=enterprise or "enterprise" in call.name,
                action=plain(page.option(call, "action"), _MAX_ACTION),
            )


def _by_attribute(page: Page, *, enterprise: bool) -> Iterator[Sighting]:
    for element, name, value in page.key_attributes:
        if not KEY.fullmatch(value):
            continue
        size = (element.get("data-size") or "").strip().lower()
        named = {str(name).lower(): text for name, text in list(element.attrib.items())[:_MAX_ATTRIBUTES]}
        action = plain(next((text for name, text in named.items() if name.endswith("action")), None), _MAX_ACTION)
        # Google's "bind the challenge to a button": with an action it is v3, without one invisible v2.
        button = element.tag in {"button", "input"}
        kinds = {text.strip().lower() for name, text in named.items() if name.endswith(("-type", "-version", "-kind"))}
        scored = bool(kinds & {"score", "v3", "3"})
        yield Sighting(
            value,
            3 if scored or (button and action and size != "invisible") else 2,
            f"element {clean(describe(element))} has {clean(name, 40)}",
            element=element,
            enterprise=enterprise or "enterprise" in kinds,
            invisible=size == "invisible" or button,
            action=action,
            s=plain(element.get("data-s"), _MAX_S),
        )


def _by_render(page: Page, *, enterprise: bool) -> Iterator[Sighting]:
    for call in page.calls(*_RENDER):
        key = plain(page.option(call, "sitekey"), 64) or ""
        if not KEY.fullmatch(key):
            continue
        yield Sighting(
            key,
            2,
            f"{call.name}(...) with sitekey",
            container=call.literal,
            enterprise=enterprise or "enterprise" in call.name,
            invisible=call.options.get("size") == "invisible",
            action=plain(page.option(call, "action"), _MAX_ACTION),
            s=plain(page.option(call, "s"), _MAX_S),
        )


def _by_frame(resources: list[Resource]) -> Iterator[Sighting]:
    for frame in resources:
        if frame.tag != "iframe" or not _FRAMES.fullmatch(frame.path):
            continue
        query = frame.parameters()
        key = query.get("k", "")
        if KEY.fullmatch(key):
            yield Sighting(
                key,
                2,
                f"iframe {clean(frame.url)}",
                element=frame.element,
                enterprise="enterprise" in frame.path,
                invisible=query.get("size") == "invisible",
                action=plain(query.get("sa"), _MAX_ACTION),
                s=plain(query.get("s"), _MAX_S),
            )
