"""Puts the cookies of solutions onto requests for the time that they are on the wire.

Not before: only when a request reaches the downloader are its proxy and its user agent final, whatever middlewares
there are, and a clearance must go with no other than its own. And not after: a request that is
retried, redirected, cached, written to disk or copied by a spider carries no clearance with it. Nor does it ever enter a
cookie jar, from which it would go along with other proxies. A token that travels as a cookie works once, and goes to the
origin that it is for: it enters no jar either. A jar knows no ports; so if a redirect of a solution leads to another port
of its host, where another's service may listen, no cookie goes along.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakSet

from scrapy import signals

from scrapy_capsolver._request.identity import visited_host
from scrapy_capsolver._request.state import KEY, RequestState
from scrapy_capsolver._utils.set_cookie import made_by
from scrapy_capsolver._utils.urls import is_another_port, is_secure, same_origin
from scrapy_capsolver.families.cookies import cookie_value, set_cookies

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response

    from scrapy_capsolver._request.identity import ClientIdentity
    from scrapy_capsolver.solving.clearances import Clearances
    from scrapy_capsolver.stores import Clearance, Key

_WORN = ("Cookie", "User-Agent")


@dataclass(slots=True)
class AttachedClearances:
    """What a request had on."""

    clearances: Mapping[Key, Clearance] = field(default_factory=dict)
    agent: str | None = None
    """The user agent that they demanded."""
    left_out: Mapping[Key, Clearance] = field(default_factory=dict)
    """Clearances that demand another one."""
    before: dict[str, list[bytes]] = field(default_factory=dict)
    """Headers as they were without."""
    renewed: dict[Key, Clearance] = field(default_factory=dict)
    """Clearances with the cookies that the site issued anew in its answer."""
    own: Mapping[str, str] = field(default_factory=dict)
    """Cookies of a solution that is for this request only."""

    @property
    def cookies(self) -> dict[str, str]:
        return {name: value for one in self.clearances.values() for name, value in one.cookies.items()}


class ClearanceInjector:
    """Listens once there is something to attach: until then it costs a request nothing."""

    def __init__(self, crawler: Crawler, clearances: Clearances, identity: ClientIdentity) -> None:
        self._crawler = crawler
        self._clearances = clearances
        self._identity = identity
        self._listening = False
        self._sent: WeakKeyDictionary[Request, AttachedClearances] = WeakKeyDictionary()
        self._waiting: WeakSet[Request] = WeakSet()

    def expect(self) -> None:
        """Listen from now on: a request is on its way that may take cookies, or must not."""
        if not self._listening:
            self._listening = True
            self._crawler.signals.connect(self._reached, signal=signals.request_reached_downloader)
            self._crawler.signals.connect(self._downloaded, signal=signals.response_downloaded)

    def sent(self, request: Request) -> AttachedClearances:
        """What ``request`` had on when it was sent last."""
        return self._sent.get(request) or AttachedClearances()

    def detach(self, request: Request) -> None:
        """The request as it was before: it may be sent again, and by another way."""
        self._waiting.discard(request)
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
        state = request.meta.get(KEY)
        if state and (state.get("allow_clearances") or state.get("solution_origin")):
            self._attach(request)

    def _attach(self, request: Request) -> None:
        state = RequestState.of(request)
        found: Mapping[Key, Clearance] = {}
        if state.allow_clearances:
            key = self._identity.key_of(request)
            found = self._clearances.of(key, visited_host(request), secure=is_secure(request.url))
        newest = sorted(found.values(), key=lambda one: one.solved_at, reverse=True)
        agent = next((one.user_agent for one in newest if one.user_agent is not None), None)
        # Two gates of a site may have been opened with two user agents at once; a request has one.
        mine = {key: one for key, one in found.items() if one.user_agent in {None, agent}}
        sent = AttachedClearances(mine, agent, {key: one for key, one in found.items() if key not in mine})
        if same_origin(request.url, state.solution_origin):
            sent.own = state.cookies
        sent.before = {name: request.headers.getlist(name) for name in _WORN}
        if is_another_port(request.url, state.solution_origin):
            request.headers.pop("Cookie", None)
        self._sent[request] = sent
        self._waiting.add(request)
        if cookies := {**sent.cookies, **sent.own}:
            set_cookies(request.headers, cookies)
        if agent is not None:
            request.headers["User-Agent"] = agent

    def _downloaded(self, request: Request, response: Response) -> None:
        sent = self._sent.get(request)
        if sent is None:
            return
        self.detach(request)
        issued = _issued(request, response, sent.cookies.keys())
        if response.status < 400:
            for key, clearance in sent.clearances.items():
                fresh = {name: issued[name] for name in clearance.cookies if name in issued}
                if any(clearance.cookies[name] != value for name, value in fresh.items()):
                    sent.renewed[key] = renewed = replace(clearance, cookies={**clearance.cookies, **fresh})
                    self._clearances.note(key, renewed)
        if sent.renewed:
            self._refresh()

    def _refresh(self) -> None:
        """What a site's delay keeps in the downloader's queue goes out with what is newest by then."""
        for request in list(self._waiting):
            self.detach(request)
            self._attach(request)


def _issued(request: Request, response: Response, names: Collection[str]) -> dict[str, str]:
    """The cookies of these names that the response sets. They are taken out of it, or they would enter the jar."""
    headers = response.headers.getlist("Set-Cookie")
    if not headers or not names:
        return {}
    kept = [header for header in headers if header.partition(b"=")[0].strip().decode("latin-1") not in names]
    if len(kept) == len(headers):
        return {}
    issued = {  # without those that have expired, which a jar does not make
        cookie.name: cookie.value
        for cookie in made_by(response, request)
        if cookie.name in names and cookie.value is not None and cookie_value(cookie.value)
    }
    if kept:
        response.headers.setlist("Set-Cookie", kept)
    else:
        del response.headers["Set-Cookie"]
    return issued
