"""Headers that say who a request comes from, and those that may go to a stranger."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scrapy import Request

CREDENTIALS = ("Authorization", "Cookie")
"""Headers that are for the origin of a request and for no other."""

# What a browser sends along with an image, whatever its host. A site's own headers (X-Api-Key) are none of that.
_FOR_ANYONE = frozenset({b"Accept", b"Accept-Encoding", b"Accept-Language", b"Referer", b"User-Agent"})


def strip_for_a_stranger(request: Request) -> None:
    """Take all headers off ``request`` that an origin which only a page named must not see.

    ``Proxy-Authorization`` stays if there is a proxy, which is who reads it.
    """
    kept = _FOR_ANYONE | ({b"Proxy-Authorization"} if request.meta.get("proxy") else set())
    for name in [name for name in request.headers if name not in kept]:
        del request.headers[name]
