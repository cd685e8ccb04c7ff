"""The middleware's place among the others, and a look at whether it got it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy.downloadermiddlewares.cookies import CookiesMiddleware
from scrapy.downloadermiddlewares.httpcache import HttpCacheMiddleware
from scrapy.downloadermiddlewares.httpcompression import HttpCompressionMiddleware
from scrapy.downloadermiddlewares.httpproxy import HttpProxyMiddleware
from scrapy.downloadermiddlewares.redirect import MetaRefreshMiddleware
from scrapy.downloadermiddlewares.retry import RetryMiddleware

if TYPE_CHECKING:
    from collections.abc import Sequence

ORDER = 585

# Requests pass the middlewares in rising order of their numbers, responses in falling order.
_MUST_COME_BEFORE_US = {
    RetryMiddleware: "it would retry 429 and 503 challenges blindly",
    MetaRefreshMiddleware: "it would follow a challenge page's refresh",
}
_MUST_COME_AFTER_US = {
    HttpCompressionMiddleware: "pages would arrive compressed",
    CookiesMiddleware: "the solution would be sent without the challenge's cookies",
    HttpProxyMiddleware: "a request's proxy would not be seen with its credentials",
    HttpCacheMiddleware: "cached challenges would be solved",
}


def misplacements(middlewares: Sequence[object], ours: object) -> list[str]:
    """What is wrong with the place of ``ours`` among the enabled downloader middlewares, in words."""
    return misplaced([type(one) for one in middlewares], type(ours)) if ours in middlewares else []


def misplaced(classes: Sequence[type], ours: type) -> list[str]:
    """The same of their classes, of which ``ours`` is one."""
    place = classes.index(ours)
    wrong = []
    for other in classes[:place]:
        wrong += [f"after {cls.__name__} ({why})" for cls, why in _MUST_COME_AFTER_US.items() if issubclass(other, cls)]
    for other in classes[place + 1 :]:
        wrong += [
            f"before {cls.__name__} ({why})" for cls, why in _MUST_COME_BEFORE_US.items() if issubclass(other, cls)
        ]
    return wrong
