"""Puts clearances onto requests for the time that they are on the wire.

Not before: only when a request reaches the downloader are its proxy and its user agent final, whatever middlewares
there are, and a clearance must go with no other than its own. And not after: a request that is
retried, redirected, cached, written to disk or copied by a spider carries no clearance with it. So it never enters a
cookie jar either, from which it would go along with other proxies.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from scrapy import signals
from scrapy.http.cookies import CookieJar

from scrapy_capsolver.families.cookies import cookie_value, set_cookies
from scrapy_capsolver.identity import host_of, key_of
from scrapy_capsolver.sites import is_secure
from scrapy_capsolver.trail import KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response

    from scrapy_capsolver.solving.clearances import Clearances
    from scrapy_capsolver.stores import Clearance, Key

_WORN = ("Cookie", "User-Agent")


@dataclass(slots=True)
class Sent:
    """What a request had on."""

    clearances: Mapping[Key, Clearance]
    before: dict[str, list[bytes]] = field(default_factory=dict)
    """Headers as they were without."""
    renewed: dict[Key, dict[str, str]] = field(default_factory=dict)
    """Cookies of the clearances that the site issued anew in its answer."""


class Attacher:
    """Listens once there is something to attach: until then it costs a request nothing."""

    def __init__(self, crawler: Crawler, clearances: Clearances, secret: str) -> None:
        self._crawler = crawler
        self._clearances = clearances
        self._secret = secret
        self._listening = False
        self._sent: WeakKeyDictionary[Request, Sent] = WeakKeyDictionary()

    def expect(self) -> None:
        """A request is on its way whose trail says ``wears``."""
        if not self._listening:
            self._listening = True
            self._crawler.signals.connect(self._reached, signal=signals.request_reached_downloader)
            self._crawler.signals.connect(self._downloaded, signal=signals.response_downloaded)

    def sent(self, request: Request) -> Sent:
        """What ``request`` had on when it was sent last."""
        return self._sent.get(request) or Sent({})

    def detach(self, request: Request) -> None:
        """The request as it was before: it may be sent again, and by another way."""
        sent = self._sent.get(request)
        if sent is None:
            return
        for name, values in sent.before.items():
            if values:
                request.headers.setlist(name, values)
            else:
                request.headers.pop(name, None)
        sent.before = {}

    def _reached(self, request: Request) -> None:
        trail = request.meta.get(KEY)
        if not trail or not trail.get("wears"):
            return
        key = key_of(self._crawler, request, self._secret)
        mine = self._clearances.of(key, host_of(request.url), secure=is_secure(request.url))
        self._sent[request] = Sent(mine, {name: request.headers.getlist(name) for name in _WORN})
        cookies: dict[str, str] = {}
        agent = None
        for clearance in sorted(mine.values(), key=lambda one: one.solved_at):  # where agents differ, the newest counts
            cookies |= clearance.cookies
            agent = clearance.user_agent or agent
        others = (one for one in self._clearances.held(key.site).values() if one not in mine.values())
        set_cookies(request.headers, cookies, without={pair for one in others for pair in one.cookies.items()})
        if agent is not None:
            request.headers["User-Agent"] = agent

    def _downloaded(self, request: Request, response: Response) -> None:
        self.detach(request)
        sent = self._sent.get(request)
        if sent is not None and sent.clearances and response.status < 400:
            sent.renewed = _issued(request, response, sent.clearances)


def _issued(request: Request, response: Response, mine: Mapping[Key, Clearance]) -> dict[Key, dict[str, str]]:
    """What the response sets of these clearances' cookies, other than they were."""
    if not response.headers.getlist("Set-Cookie"):
        return {}
    set_now = {
        cookie.name: cookie.value
        for cookie in CookieJar().make_cookies(response, request)
        if cookie_value(cookie.value) and not (cookie.expires is not None and cookie.expires <= time.time())
    }
    issued: dict[Key, dict[str, str]] = {}
    for key, clearance in mine.items():
        fresh: dict[str, Any] = {name: set_now[name] for name in clearance.cookies if name in set_now}
        if any(clearance.cookies[name] != value for name, value in fresh.items()):
            issued[key] = {**clearance.cookies, **fresh}
    return issued
