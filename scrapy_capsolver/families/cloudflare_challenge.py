"""Cloudflare's challenge page ("Just a moment..."), which stands in front of a site until it is solved.

Sources: docs.capsolver.com/guide/captcha/cloudflare_challenge ;
developers.cloudflare.com/cloudflare-challenges/challenge-types/challenge-pages/detect-response/ (the header) ;
developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-1xxx-errors/ (blocks). What stands in the
pages is known from the pages themselves.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from lxml.etree import XPath

from scrapy_capsolver.errors import CaptchaProxyError
from scrapy_capsolver.families._page.elements import elements, owners
from scrapy_capsolver.families._page.text import clean
from scrapy_capsolver.families.base import Challenge, TaskType
from scrapy_capsolver.families.clearance import ClearanceFamily

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from scrapy_capsolver.families._page.page import Page

MAX_HTML = 128 * 1024
"""Characters of a challenge page that go to CapSolver; they have 5,000 to 30,000. A part of one would be of no use."""

_STATUSES = frozenset({403, 429, 503})
_OPTIONS = re.compile(r"_cf_chl_opt\s{0,8}=")
# Not ".../scripts/jsd/main.js", which Cloudflare puts into the pages that it lets through.
_ORCHESTRATE = re.compile(r"/cdn-cgi/challenge-platform/(?:h/[a-z]{1,2}/)?orchestrate/")
_TITLE = XPath("(//title)[1]")
# Errors that say that the address is not wanted: its network, itself, its country, a rule of the site's owner.
_BLOCKS = frozenset({"1005", "1006", "1007", "1008", "1009", "1012", "1020"})
_DETAILS = "cf-error-details"
_HEADLINE = XPath('(//@data-translate[. = "block_headline"])[1]')
# Chrome's own, on computers and telephones: others that are built on it add their names at the end, or before.
_CHROME = re.compile(
    r"Mozilla/5\.0 \((?![^()]*; wv\))[^()]{1,100}\) AppleWebKit/537\.36 \(KHTML, like Gecko\) "
    r"Chrome/[\d.]{1,20}(?: Mobile)? Safari/537\.36",
    re.ASCII,
)


def is_challenge(page: Page) -> bool:
    """Is this Cloudflare's own page, or a copy of it, whatever it was sent with?"""
    return any(page.once(_signs))


class CloudflareChallenge(ClearanceFamily):
    name = "cloudflare_challenge"
    cookie = "cf_clearance"
    types: Mapping[str, TaskType] = {
        "AntiCloudflareTask": TaskType(frozenset({"websiteURL", "proxy"}), frozenset({"userAgent", "html"})),
    }

    def detect(self, page: Page, fields: Mapping[str, Any]) -> Challenge | None:
        """By the header ``cf-mitigated: challenge``; else by a refusal with the challenge's script in it."""
        declared = page.header("cf-mitigated") == "challenge"
        if not declared and page.status not in _STATUSES:
            return None
        signs = page.once(_signs)
        if declared or signs:
            return Challenge(
                family=self.name,
                type="AntiCloudflareTask",
                url=page.url,
                params={"html": page.text} if 0 < len(page.body) <= MAX_HTML else {},
                reasons=(*(["header cf-mitigated: challenge"] if declared else []), *signs, *_title(page)),
                perishable=True,
            )
        if page.status == 403 and (block := _block(page)):
            return Challenge(
                family=self.name,
                type="AntiCloudflareTask",
                url=page.url,
                reasons=(block,),
                refusal=f"Cloudflare has blocked the address that asks ({block}), and poses no challenge; use another proxy",
                error=CaptchaProxyError,
            )
        return None

    def user_agent(self, asked: str, listed: Sequence[str]) -> str | None:
        """``asked``, if it is Chrome's: CapSolver takes no other, and chooses one where it is given none."""
        return asked if _CHROME.fullmatch(asked) else None


def _signs(page: Page) -> tuple[str, ...]:
    """What says that the page is a challenge: its options, and the script that runs it."""
    if not page.mentions(b"_cf_chl_opt", b"/orchestrate/"):
        return ()
    return tuple(_read_signs(page))


def _read_signs(page: Page) -> Iterator[str]:
    if page.scripts.has("_cf_chl_opt", _OPTIONS, bare=True):
        yield "a script sets _cf_chl_opt"
    # It is written into the page by a script, so its address stands in a string.
    if page.scripts.has("/cdn-cgi/challenge-platform/", _ORCHESTRATE):
        yield "a script loads Cloudflare's challenge"
    for resource in page.resources:
        if resource.tag == "script" and _ORCHESTRATE.match(resource.path):
            yield f"script {clean(resource.url)}"


def _title(page: Page) -> tuple[str, ...]:
    """The page's title, "Just a moment..." or a translation: for people to read, as every site may be called so."""
    if not page.body:
        return ()
    title = next((element.text or "" for element in elements(_TITLE, page.root)), "")
    return (f'title "{clean(title, 60)}"',) if clean(title) else ()


def _block(page: Page) -> str:
    """Which error Cloudflare's page shows, if it is one that no solution helps against."""
    if not page.mentions(_DETAILS.encode()) or page.by_id(_DETAILS) is None:
        return ""
    for element in page.of_class("cf-error-code"):
        if (code := (element.text or "").strip()) in _BLOCKS:
            return f"error {code}"
    return "Sorry, you have been blocked" if owners(_HEADLINE, page.root) else ""
