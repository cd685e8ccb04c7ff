"""DataDome: the slider, and the device check that it calls interstitial.

Source: docs.capsolver.com/en/guide/captcha/datadome . How a page's ``dd`` object becomes the address of the captcha is
inferred from public clients, which do what DataDome's own c.js and i.js do; docs.datadome.co has the headers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

from scrapy_capsolver._utils.urls import without_secrets
from scrapy_capsolver.errors import CaptchaProxyError
from scrapy_capsolver.families._page.page import BLOCKING_STATUSES
from scrapy_capsolver.families._page.text import clean, plain
from scrapy_capsolver.families._page.verdict import verdict
from scrapy_capsolver.families.base import Challenge, TaskType
from scrapy_capsolver.families.clearance import ClearanceFamily

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from scrapy_capsolver.families._page.page import Page

USER_AGENTS: tuple[str, ...] = tuple(
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 Safari/537.36"
    for version in (144, 143, 142, 141, 140, 139, 138, 137, 146, 145)
)
"""What CapSolver takes, those first that are in all copies of the list on its page. It moves with Chrome: CAPSOLVER_USER_AGENTS
replaces it."""

HOST = "captcha-delivery.com"

# Some sites answer the device check's first request with 401.
_STATUSES = BLOCKING_STATUSES | {401}
_PATHS = ("/captcha/", "/interstitial/")
# What encodeURIComponent leaves as it is, beside letters, digits, "-", "_" and ".".
_UNQUOTED = "!~*'()"
_MAX_URL = 8192
_MAX_VALUE = 1024
_BANNED = "DataDome says t=bv: the proxy is banned; use another one"


class DataDome(ClearanceFamily):
    name = "datadome"
    cookie = "datadome"
    types: Mapping[str, TaskType] = {
        # CapSolver wants userAgent as well: a flag need not hold it, since it is always the request's.
        "DatadomeSliderTask": TaskType(
            frozenset({"websiteURL", "captchaUrl", "proxy"}), frozenset({"userAgent", "html"})
        ),
    }

    def detect(self, page: Page, fields: Mapping[str, Any]) -> Challenge | None:
        """By the ``dd`` object of a refusal, by the captcha's frame, or by the JSON that a page's scripts get."""
        found = next(_addresses(page), None)
        if found is None:
            return None
        url, reason = found
        why = f"status {page.status}"
        if page.status not in _STATUSES:
            blocked, why = verdict(page, None, anchored=True)
            if not blocked:
                return None
        banned = "bv" in parse_qs(urlsplit(url).query[:_MAX_URL]).get("t", ())
        headers = [f"header {name}" for name in ("x-datadome", "x-dd-b") if page.header(name)]
        return Challenge(
            family=self.name,
            type="DatadomeSliderTask",
            url=page.url,
            params={"captchaUrl": url},
            reasons=(reason, *headers, why),
            perishable=True,
            refusal=_BANNED if banned else "",
            error=CaptchaProxyError,
        )

    def user_agent(self, asked: str, listed: Sequence[str]) -> str | None:
        """``asked``, if CapSolver takes it; else the first that it takes."""
        known = tuple(listed) or USER_AGENTS
        return asked if asked in known else known[0]


def _addresses(page: Page) -> Iterator[tuple[str, str]]:
    """(address of the captcha, where it was seen)."""
    if page.status in _STATUSES and (url := _checked(page.json.get("url"))):
        yield url, "JSON with the captcha's address"
    if not page.mentions(HOST.encode()):
        return
    for options in page.objects("dd"):
        if url := _built(page, options):
            yield url, "a script sets dd"
    for frame in page.resources:
        if frame.tag == "iframe" and (url := _checked(frame.url)):
            yield url, f"iframe {clean(url)}"


def _built(page: Page, dd: Mapping[str, Any]) -> str:
    """The address that DataDome's script makes of ``dd``; ``""`` where that is something else of the same name."""
    host = _text(dd.get("host")) or f"geo.{HOST}"
    cid, hsh = _text(dd.get("cid")), _text(dd.get("hsh"))
    if not cid or not hsh:
        return ""
    interstitial = dd.get("rt") == "i"
    values = {
        "initialCid": cid,
        "hash": hsh,
        "cid": _text(dd.get("cookie")) or plain(page.cookie("datadome"), _MAX_VALUE) or "",
        "t": _text(dd.get("t")),
        "referer": without_secrets(page.url),
        "s": _text(dd.get("s")),
        "e": _text(dd.get("e")),
        "b": _text(dd.get("b")) if interstitial else "",
        "dm": "cd",
    }
    query = "&".join(f"{name}={quote(value, safe=_UNQUOTED)}" for name, value in values.items() if value)
    return _checked(f"https://{host}{_PATHS[interstitial]}?{query}")


def _checked(url: object) -> str:
    """``url`` if it is that of a captcha of DataDome's; else ``""``."""
    text = plain(url, _MAX_URL)
    if text is None:
        return ""
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        own = parts.port is None and "@" not in parts.netloc
    except ValueError:
        return ""
    known = host == HOST or host.endswith(f".{HOST}")
    return text if own and known and parts.scheme == "https" and parts.path in _PATHS else ""


def _text(value: object) -> str:
    """A value of ``dd``: text, or a whole number."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**15:
        return str(value)
    return plain(value, _MAX_VALUE) or ""
