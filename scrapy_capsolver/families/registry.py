"""The families, and what is asked of all of them: which one has this type, which one sees its captcha on a page."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from scrapy_capsolver.errors import CaptchaConfigurationError, UnsupportedCaptchaError
from scrapy_capsolver.families._page.page import Page
from scrapy_capsolver.families._page.text import clean, plain
from scrapy_capsolver.families.aws_waf import AwsWaf
from scrapy_capsolver.families.botdeflector import BotDeflector
from scrapy_capsolver.families.cloudflare_challenge import CloudflareChallenge
from scrapy_capsolver.families.datadome import DataDome
from scrapy_capsolver.families.geetest import GeeTest
from scrapy_capsolver.families.image_to_text import ImageToText
from scrapy_capsolver.families.mtcaptcha import MtCaptcha
from scrapy_capsolver.families.raw import Raw
from scrapy_capsolver.families.recaptcha_v2 import RecaptchaV2
from scrapy_capsolver.families.recaptcha_v3 import RecaptchaV3
from scrapy_capsolver.families.recognition import AwsWafClassification, RecaptchaClassification, VisionEngine
from scrapy_capsolver.families.retired import RETIRED
from scrapy_capsolver.families.turnstile import Turnstile
from scrapy_capsolver.families.unsolvable import (
    F5,
    Akamai,
    Anubis,
    FunCaptcha,
    HCaptcha,
    Imperva,
    Kasada,
    PerimeterX,
    Sucuri,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scrapy.http import Response

    from scrapy_capsolver.families.base import Challenge, Family

FAMILIES: tuple[Family, ...] = (
    ImageToText(),
    RecaptchaClassification(),
    AwsWafClassification(),
    VisionEngine(),
    CloudflareChallenge(),
    DataDome(),
    AwsWaf(),
    Turnstile(),
    RecaptchaV2(),
    RecaptchaV3(),
    GeeTest(),
    MtCaptcha(),
    BotDeflector(),
    HCaptcha(),
    FunCaptcha(),
    PerimeterX(),
    Imperva(),
    Kasada(),
    Akamai(),
    F5(),
    Sucuri(),
    Anubis(),
)
"""In the order of preference where a page shows several: what the flag selects, what stands before the site, what a
visitor must act on, the rest; and what nobody solves, of which it is only said so."""

_RAW = Raw()
_BY_NAME: Mapping[str, Family] = {family.name: family for family in (*FAMILIES, _RAW)}
_BY_TYPE: Mapping[str, Family] = {type_name: family for family in FAMILIES for type_name in family.types}
PRICES: Mapping[str, float] = {
    type_name: task_type.price
    for family in FAMILIES
    for type_name, task_type in family.types.items()
    if task_type.price is not None
}
"""USD per 1000 solves, by task type. The API never says: spend can only be estimated."""

_MAX_TYPE = 100
_SPELLINGS: Mapping[str, str] = {type_name.lower(): type_name for type_name in (*RETIRED, *_BY_TYPE)}


def detect(
    response: Response | Page, *, fields: Mapping[str, Any] | None = None, only: str | None = None
) -> list[Challenge]:
    """The captchas of a page, one a family: those that block it first, then in the order of :data:`FAMILIES`.

    ``fields`` are the flag's own; ``only`` is the name of the family to look for. Raises nothing about the page but
    what ``fields`` make wrong: :class:`CaptchaConfigurationError` (a selector that is none), and
    :class:`UnsupportedCaptchaError` (the images that they select cannot be had).
    """
    page = response if isinstance(response, Page) else Page(response)
    page.wanted_family = only or ""
    families = FAMILIES if only is None else (family(only),)
    found = [challenge for one in families if (challenge := one.detect(page, fields or {})) is not None]
    return sorted(found, key=lambda challenge: not challenge.blocked)


def family(name: str) -> Family:
    """The family of this name in the registry (a :attr:`Challenge.family`). KeyError for any other name."""
    return _BY_NAME[name]


def family_of(type_name: str, *, raw: bool = False) -> Family:
    """The family of a CapSolver task type; ``raw`` and raises as for :func:`check_type`."""
    return _BY_TYPE.get(check_type(type_name, raw=raw), _RAW)


def check_type(name: object, *, raw: bool = False) -> str:
    """A CapSolver task type in CapSolver's spelling; upper and lower case are not told apart.

    ``raw``: one that this version does not know passes as it is, for CapSolver to judge. Raises
    :class:`UnsupportedCaptchaError` for a type that CapSolver withdrew, and :class:`CaptchaConfigurationError` for one
    that is unknown.
    """
    allowed = f"allowed are {', '.join(sorted(_BY_TYPE))}"
    if not isinstance(name, str) or not name.strip():
        raise CaptchaConfigurationError(f"type: a CapSolver task type is wanted, not {type(name).__name__}; {allowed}")
    spelling = _SPELLINGS.get(name.strip().lower())
    if spelling is None:
        if raw and (unknown := plain(name.strip(), _MAX_TYPE)):
            return unknown
        near = get_close_matches(name[:100].lower(), [one for one in _SPELLINGS if _SPELLINGS[one] in _BY_TYPE], n=2)
        hint = f"did you mean {' or '.join(_SPELLINGS[one] for one in near)}?" if near else f"{allowed}."
        raise CaptchaConfigurationError(
            f"type: {clean(name, 60)!r} is no CapSolver task type that is known here; {hint} If CapSolver has added it, say where "
            'its solution goes, "inject": {"form": "field name"}, and it is passed on as it is'
        )
    if spelling not in _BY_TYPE:
        raise UnsupportedCaptchaError(f"type: {spelling} cannot be used any more: {RETIRED[spelling]}")
    return spelling
