"""Is this response gated, as its flag sees it, and by what?"""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from scrapy.http import HtmlResponse, TextResponse

from scrapy_capsolver.errors import CaptchaError, UnsupportedCaptchaError
from scrapy_capsolver.families import Challenge, Page, check_fields, detect, family_of
from scrapy_capsolver.families import family as family_named
from scrapy_capsolver.families._page.page import BLOCKING_STATUSES

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.http import Response

    from scrapy_capsolver._request.flag import Flag

logger = logging.getLogger(__name__)

_MAX_ANSWER = 4096
"""Bytes up to which an answer that is no page is searched for the word."""

_CAPTCHA = re.compile(rb"captcha", re.IGNORECASE)


def detect_challenge(
    response: Response, flag: Flag, *, tried: bool, request: Request | None = None
) -> Challenge | None:
    """The challenge that this response poses to a request with this flag, or None where it is the page itself.

    What counts as gated: for a bare ``True``, a page that is blocked; for a named type, a page that shows such a
    captcha at all; with ``expect``, a page that lacks it, and nothing else (JSON or an image is no page; one that is too large to be read
    whole does not lack it). Once a solution was ``tried``, a page that
    merely shows a captcha is taken for the answer to it, unless the author said what makes it one (``selector``).

    Raises:
        UnsupportedCaptchaError: ``expect`` is missing and no captcha can be seen.
    """
    page = Page(response)
    try:
        return _challenge_of(page, response, flag, tried=tried)
    finally:
        if page.unread:
            logger.debug("Not all of %s is read: %s", request or f"<{response.url}>", "; ".join(page.unread))


def _challenge_of(page: Page, response: Response, flag: Flag, *, tried: bool) -> Challenge | None:
    if flag.expect is not None and page.has(flag.expect):
        return None
    family = family_of(flag.type, raw=True) if flag.type is not None else None
    seen = detect(page, fields=flag.fields, only=family.name if family else None)
    # What is expected may stand in the part of a large page that is not read.
    settled = flag.expect is not None and page.is_whole
    if not settled and (flag.type is None or (tried and "selector" not in flag.fields)):
        seen = [challenge for challenge in seen if challenge.blocked]
    if seen:
        return seen[0] if flag.type is None else in_the_authors_words(seen[0], flag)
    blocked = response.status in BLOCKING_STATUSES
    lacking = settled and page.is_markup
    asking = _asks_for_captcha(response, flag)
    if flag.type is not None and (blocked or lacking or asking) and _is_complete(flag):
        why = f"status {response.status}" if blocked else "what the flag expects is missing" if lacking else asking
        return challenge_of_flag(flag, response.url, f"{why}, and the flag says what solves it")
    if lacking and response.status < 400:
        raise UnsupportedCaptchaError(
            f'the page lacks {flag.expect!r} ("expect" of the flag) and shows no captcha that can be solved'
        )
    return None


def _asks_for_captcha(response: Response, flag: Flag) -> str:
    """Return how a short answer of an API says that it wants a captcha; empty if it does not."""
    if isinstance(response, HtmlResponse) or not isinstance(response, TextResponse) or len(response.body) > _MAX_ANSWER:
        return ""
    key = flag.fields.get("websiteKey")
    if isinstance(key, str) and key and key.encode() in response.body:
        return "the answer names the site key of the flag"
    return "the answer names a captcha" if _CAPTCHA.search(response.body) else ""


def challenge_before(request: Request, flag: Flag) -> Challenge:
    """The challenge that a flag announces with ``"when": "before"``."""
    return challenge_of_flag(flag, request.url, 'the flag says "when": "before"')


def challenge_of_flag(flag: Flag, url: str, reason: str) -> Challenge:
    assert flag.type is not None
    empty = Challenge(family=family_of(flag.type, raw=True).name, type=flag.type, url=url, reasons=(reason,))
    return in_the_authors_words(empty, flag)


def in_the_authors_words(challenge: Challenge, flag: Flag) -> Challenge:
    """What the author wrote in the flag goes before what was read from the page."""
    params = {**challenge.params, **flag.fields}
    url = params.pop("websiteURL", challenge.url)
    mine = replace(challenge, type=flag.type or challenge.type, url=url, params=params)
    return family_named(mine.family).prepare(mine)


def _is_complete(flag: Flag) -> bool:
    assert flag.type is not None
    try:
        check_fields(flag.type, flag.fields, complete=True, raw=True)
    except CaptchaError:
        return False
    return True
