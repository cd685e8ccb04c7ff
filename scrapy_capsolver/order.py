"""The middleware's place among the others, and a look at whether it got it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scrapy.downloadermiddlewares.cookies import CookiesMiddleware
from scrapy.downloadermiddlewares.httpcompression import HttpCompressionMiddleware
from scrapy.downloadermiddlewares.redirect import MetaRefreshMiddleware
from scrapy.downloadermiddlewares.retry import RetryMiddleware
from scrapy.utils.misc import load_object

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from scrapy.crawler import Crawler
    from scrapy.settings import BaseSettings

ORDER = 585

# Requests pass the middlewares in rising order of their numbers, responses in falling order.
_MUST_COME_BEFORE_US = {
    RetryMiddleware: "it would retry 429 and 503 challenges blindly",
    MetaRefreshMiddleware: "it would follow a challenge page's refresh",
}
_MUST_COME_AFTER_US = {
    HttpCompressionMiddleware: "pages would arrive compressed",
    CookiesMiddleware: "the solution would be sent without the challenge's cookies",
}


@dataclass(frozen=True, slots=True)
class Misplacement:
    text: str
    """Where the middleware stands, and what that does, as the end of a sentence."""
    defeats: bool
    """No solution can work there."""


def configured(settings: BaseSettings) -> list[tuple[type, float]]:
    """Return the classes and order numbers of DOWNLOADER_MIDDLEWARES, the one nearest to the engine first.

    Raise what importing them raises.
    """
    # The newer method takes a middleware that is named by its path and by its class for one, as Scrapy does.
    with_base = getattr(settings, "get_component_priority_dict_with_base", settings.getwithbase)
    numbers = {one: float(number) for one, number in with_base("DOWNLOADER_MIDDLEWARES").items() if number is not None}
    loaded = ((load_object(one), numbers[one]) for one in sorted(numbers, key=numbers.__getitem__))
    return [(one, number) for one, number in loaded if isinstance(one, type)]  # a factory may be anything


def misplacements(crawler: Crawler, ours: type) -> list[Misplacement]:
    """Return what is wrong with the place of ``ours`` among the middlewares of ``crawler`` that are enabled."""
    classes = [one for one, _ in configured(crawler.settings)]
    return misplaced([one for one in classes if one is ours or crawler.get_downloader_middleware(one)], ours)


def misplaced(classes: Sequence[type], ours: type) -> list[Misplacement]:
    """Return what is wrong with the place of ``ours`` in ``classes``."""
    if ours not in classes:
        return []
    place = classes.index(ours)
    return [
        *(
            Misplacement(f"after {other.__name__} ({why})", defeats=True)
            for other, why in _found(classes[:place], _MUST_COME_AFTER_US)
        ),
        *(
            Misplacement(f"before {other.__name__} ({why})", defeats=False)
            for other, why in _found(classes[place + 1 :], _MUST_COME_BEFORE_US)
        ),
    ]


def _found(classes: Sequence[type], rules: Mapping[type[Any], str]) -> Iterator[tuple[type, str]]:
    return ((base, why) for one in classes for base, why in rules.items() if issubclass(one, base))
