"""What a page shows of GeeTest, and what a site's own registration endpoint answers.

Sources: docs.geetest.com/install/client/web-front/ (v3: ``initGeetest``, ``gt``, ``challenge``, ``api_server``) and
docs.geetest.com/BehaviorVerification/apirefer/api/web (v4: ``initGeetest4``, ``captchaId``, ``riskType``, ``apiServers``).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scrapy_capsolver.errors import UnsupportedCaptchaError
from scrapy_capsolver.families._page.attributes import having
from scrapy_capsolver.families._page.elements import describe
from scrapy_capsolver.families._page.text import clean, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lxml.html import HtmlElement

    from scrapy_capsolver.families._page.javascript import Call
    from scrapy_capsolver.families._page.page import Page

ID = re.compile(r"[0-9a-f]{32}", re.IGNORECASE)
CHALLENGE = re.compile(r"[0-9a-z]{32,64}", re.IGNORECASE)
_HOST = re.compile(r"(?:.+\.)?(?:geetest|geevisit)\.com")
_SCRIPT = re.compile(r"(gt4?)(?:[.-][\w.-]{0,40})?\.js")
_SERVER = re.compile(r"(?:https?://)?((?:[a-z0-9-]{1,63}\.){1,6}[a-z]{2,24})/?", re.IGNORECASE)
_DEFAULT_SERVERS = frozenset({"api.geetest.com", "gcaptcha4.geetest.com"})
_RISK = re.compile(r"[a-z0-9_]{1,32}")
_ATTRIBUTES = {
    name: key
    for key, names in (("gt", "gt"), ("challenge", "challenge"), ("captchaId", "captcha-id captchaid captcha_id"))
    for plain_name in names.split()
    for name in (plain_name, f"data-{plain_name}")
}
_MIN_ID = 32
_MAX_ATTRIBUTES = 40
_MAX_ANSWER = 64 * 1024
_MAX_VALUE = 256


@dataclass(slots=True)
class GeeTestPage:
    """All of the page's GeeTest. ``version`` is that of its scripts and calls, 0 where there are none."""

    version: int = 0
    anchored: bool = False
    """The widget is set up here, not just its script loaded."""
    params: dict[str, str] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    element: HtmlElement | None = None
    containers: tuple[str, ...] = ()
    """Ids of the elements that a script puts a widget into."""


def read(page: Page) -> GeeTestPage:
    """What ``page`` shows. v4 goes first where it has both: a site keeps the old one for old browsers."""
    four, three = page.calls("initGeetest4"), page.calls("initGeetest")
    scripts = list(_scripts(page))
    attributes = list(_attributes(page))
    attributed = {key for key, _, _ in attributes}
    loads_four = any(version == 4 for version, _ in scripts)
    if four or loads_four or ("captchaId" in attributed and not three):
        version = 4
    elif three or scripts or "gt" in attributed:
        version = 3
    else:
        return GeeTestPage()
    calls = four or three  # a copy of gt4.js may go by the old name
    found = GeeTestPage(version, anchored=bool(calls))
    found.reasons = [reason for number, reason in scripts if number == version][:3]
    for call in calls:
        found.reasons.append(f"{call.name}(...)")
        _read_call(page, call, found)
    for key, value, element in attributes:
        if (key == "captchaId") == (version == 4) and key not in found.params:
            found.params[key] = value
            found.element, found.anchored = element, True
            found.reasons.append(f"element {clean(describe(element))} has {key}")
    for key in ("captchaId",) if version == 4 else ("gt", "challenge"):
        constant = page.resolve(key)
        if key not in found.params and constant and _shape(key).fullmatch(constant):
            found.params[key] = constant
    if version == 3:
        _read_requests(page, found)
    found.containers = tuple(
        call.literal[1:] for call in page.calls("appendTo") if call.literal and call.literal.startswith("#")
    )
    return found


def registration(content: bytes) -> dict[str, str]:
    """``gt`` and ``challenge`` from what a site's registration endpoint answered.

    Source: the demos of GeeTest's v3 server SDKs (github.com/GeeTeam, "API1"): ``{"success": 1, "gt": ..., "challenge": ...}``; sites
    wrap it in an object of their own. Raises :class:`UnsupportedCaptchaError` where it cannot be used.
    """
    try:
        document: Any = json.loads(content) if len(content) <= _MAX_ANSWER else None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise UnsupportedCaptchaError("what challengeUrl answers is no JSON object")
    inner = [value for value in document.values() if isinstance(value, dict)]
    answer = next((one for one in (document, *inner) if "challenge" in one), document)
    success = answer.get("success")
    if success is not None and str(success).lower() in {"0", "false"}:
        raise UnsupportedCaptchaError(
            "the site's GeeTest is in its offline mode (success is 0 in what challengeUrl answers), which nobody solves"
        )
    challenge, gt = plain(answer.get("challenge"), 128), plain(answer.get("gt"), 128)
    if challenge is None:
        raise UnsupportedCaptchaError('what challengeUrl answers has no "challenge"')
    return {"challenge": challenge, **({"gt": gt} if gt else {})}


def server(value: object) -> str | None:
    """The host that a page names in ``api_server`` or ``apiServers``; None for GeeTest's usual ones."""
    if isinstance(value, list):
        value = value[0] if value else None
    named = _SERVER.fullmatch(plain(value, 256) or "")
    host = named[1].lower() if named else None
    return None if host in _DEFAULT_SERVERS else host


def _shape(key: str) -> re.Pattern[str]:
    return CHALLENGE if key == "challenge" else ID


def _read_call(page: Page, call: Call, found: GeeTestPage) -> None:
    options = call.options
    for key in ("captchaId",) if found.version == 4 else ("gt", "challenge"):
        value = plain(page.option(call, key), 128) or ""
        if _shape(key).fullmatch(value):
            found.params.setdefault(key, value)
    host = server(options.get("apiServers") or options.get("api_server"))
    if host:
        found.params.setdefault("geetestApiServerSubdomain", host)
    risk = plain(options.get("riskType"), 32) or ""
    if found.version == 4 and _RISK.fullmatch(risk):
        found.params.setdefault("riskType", risk)


def _read_requests(page: Page, found: GeeTestPage) -> None:
    """What a browser that saved the page had loaded: ``https://api.geetest.com/get.php?gt=...&challenge=...``."""
    for item in page.resources:
        if _HOST.fullmatch(item.host):
            query = item.parameters()
            for key in ("gt", "challenge"):
                value = query.get(key, "")
                if _shape(key).fullmatch(value):
                    found.params.setdefault(key, value)
                    found.anchored = True


def _scripts(page: Page) -> Iterator[tuple[int, str]]:
    """The loaders: GeeTest's own, or a copy of them under the same name."""
    for item in page.resources:
        name = _SCRIPT.fullmatch(item.file) if item.tag == "script" else None
        if name:
            yield (4 if name[1] == "gt4" else 3), f"script {clean(item.url)}"
        elif _HOST.fullmatch(item.host):
            yield (4 if "gcaptcha4" in item.host or "/v4/" in item.path else 3), f"{item.tag} {clean(item.url)}"


def _attributes(page: Page) -> Iterator[tuple[str, str, HtmlElement]]:
    # Each name that is looked for takes a while on a large page.
    names = tuple(name for name in _ATTRIBUTES if page.mentions(f"{name}=".encode(), f"{name} =".encode()))
    found: Any = having(names, _MIN_ID)(page.root) if names else []
    for attribute in found[:_MAX_ATTRIBUTES]:
        key, value = _ATTRIBUTES[attribute.attrname], attribute[:_MAX_VALUE].strip()
        if _shape(key).fullmatch(value) and page.is_live(attribute.getparent()):
            yield key, value, attribute.getparent()
