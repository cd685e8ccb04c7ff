"""The task of a challenge: its type, its proxy and user agent, and what must be fetched before it can be made."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from scrapy.utils.defer import deferred_from_coro
from twisted.internet.defer import Deferred, maybeDeferred

from scrapy_capsolver._request.cookies import session_of
from scrapy_capsolver._request.detection import detect_challenge
from scrapy_capsolver._request.downloads import fetch_page, fetch_part
from scrapy_capsolver._request.identity import ClientIdentity
from scrapy_capsolver._utils.urls import host_of
from scrapy_capsolver.errors import CaptchaProxyError
from scrapy_capsolver.families import SolutionKind
from scrapy_capsolver.families.clearance import ClearanceFamily

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scrapy import Request
    from scrapy.crawler import Crawler

    from scrapy_capsolver._request.flag import Flag
    from scrapy_capsolver._request.proxy import Proxy
    from scrapy_capsolver.families import Challenge, Family
    from scrapy_capsolver.settings import CapSolverSettings

_PROXYLESS = "ProxyLess"
_PROXY_FIELDS = frozenset({"proxy", "proxyAddress"})


class NotGatedError(Exception):
    """Looked at anew, the page is not gated by this any more: nothing was paid, and it may be asked for again."""


def choose_type(
    challenge: Challenge, family: Family, flag: Flag, proxy: Proxy | None, settings: CapSolverSettings
) -> Challenge:
    """The challenge with the task type for the request's proxy.

    A type that the flag names stays. Else it is the one with a proxy where the request has one and the solution is bound to
    it, or the flag (``proxied``) or CAPSOLVER_PROXIED says so; and the one without where it has none.
    Raises :class:`CaptchaProxyError` where the type needs a proxy and there is none, or none that CapSolver can use.
    """
    wanted = _wanted(family, flag, settings)
    if flag.type is None:
        by = wanted and (proxy is not None or flag.proxied is True)
        challenge = replace(challenge, type=_twin(family, challenge.type, proxied=by))
    if _PROXY_FIELDS & challenge.params.keys():
        return challenge  # the author's own
    if not needs_proxy(family, challenge.type, flag):
        return challenge
    if proxy is None:
        or_flag = "" if family.kind is SolutionKind.CLEARANCE else ', or give "proxy" in the flag'
        raise CaptchaProxyError(
            f"{challenge.type} needs a proxy, and the request goes by none: set its meta['proxy']{or_flag}"
        )
    proxy.check(api_on_loopback=settings.api_on_loopback)
    return challenge


def _wanted(family: Family, flag: Flag, settings: CapSolverSettings) -> bool:
    """Is a type with the request's proxy preferred?"""
    if flag.proxied is not None:
        return flag.proxied
    bound = family.kind is SolutionKind.CLEARANCE
    return {"always": True, "never": False}.get(settings.proxied, bound)


def needs_proxy(family: Family, type_name: str, flag: Flag) -> bool:
    """Does the task get a proxy? One of a type that is not known here does where the flag says so."""
    known = family.types.get(type_name)
    return bool(flag.proxied) if known is None else "proxy" in known.required


def _twin(family: Family, type_name: str, *, proxied: bool) -> str:
    """The type of the same name with or without a proxy, where there is one."""
    base = type_name.removesuffix(_PROXYLESS)
    name = base if proxied else base + _PROXYLESS
    return name if name in family.types else type_name


class TaskMaker:
    """Makes the task of each attempt at a challenge, called with what CapSolver said of the attempt before.

    ``session`` are the cookies with which the challenge was shown, ``seen_by`` is the user agent to which it was, and
    ``refused`` the cookies of a clearance in spite of which it was. What is good for one task is fetched again for the
    next, and may then be shown in another session; so is a page that was shown to another user agent than CapSolver solves for.
    """

    def __init__(
        self,
        crawler: Crawler,
        settings: CapSolverSettings,
        family: Family,
        challenge: Challenge,
        flag: Flag,
        request: Request,
        *,
        proxy: Proxy | None,
        seen_by: str,
        session: list[dict[str, Any]],
        refused: Mapping[str, str] | None = None,
    ) -> None:
        self._crawler = crawler
        self._settings = settings
        self._family = family
        self._cookies = {**{str(cookie["name"]): str(cookie["value"]) for cookie in session}, **(refused or {})}
        self._challenge = self._having(challenge)
        self._flag = flag
        self._request = request
        self.session = session
        self._proxy = proxy
        self._seen_by = seen_by
        self._made = False

    def __call__(self, said: str) -> Deferred[dict[str, Any]]:
        agent = self._user_agent()
        again = self._challenge.perishable and (self._made or agent not in {None, self._seen_by})
        self._made = True
        if again or self._challenge.fetch:
            return deferred_from_coro(self._fetch_and_make(agent, said, look=again))
        return maybeDeferred(self._task, (), agent, said)

    def mark(self, task: dict[str, Any]) -> str:
        """Tells whether a task of an earlier run was the same as this one, so that its solution is good here.

        A clearance is bound to who earned it and where, and not to what the page showed. Keyed, since it is kept in files and a
        proxy's password is among what it is made of.
        """
        known = task
        if isinstance(self._family, ClearanceFamily):
            known = {name: task[name] for name in task if name in {"type", "userAgent"} or name.startswith("proxy")}
            who = ClientIdentity(self._crawler, self._settings.api_key, self._settings.egress)
            known |= {"host": host_of(self._challenge.url), "address": who.address_of(self._request)}
        text = json.dumps(known, sort_keys=True)
        return hmac.new(self._settings.api_key.encode(), text.encode(), hashlib.sha256).hexdigest()[:16]

    def _user_agent(self) -> str | None:
        """With which CapSolver is to solve, where its type takes one."""
        given = self._challenge.params.get("userAgent")
        if isinstance(given, str):
            return given
        if not isinstance(self._family, ClearanceFamily):
            return None
        return self._family.user_agent(self._seen_by, self._settings.user_agents)

    def _having(self, challenge: Challenge) -> Challenge:
        """The challenge as it is to a visitor with these cookies."""
        return self._family.having(challenge, self._cookies) if isinstance(self._family, ClearanceFamily) else challenge

    async def _fetch_and_make(self, agent: str | None, said: str, *, look: bool) -> dict[str, Any]:
        if look:
            page = await fetch_page(self._crawler, self._challenge.url, self._request, agent, self.session)
            if page.request is not None:  # which may have been given another session
                self.session = session_of(self._crawler, page.request, page) or self.session
            found = detect_challenge(page, self._flag, tried=False, request=self._request)
            if found is None or found.family != self._challenge.family:
                raise NotGatedError
            if found.refusal:
                raise found.error(found.refusal)
            self._challenge = self._having(choose_type(found, self._family, self._flag, self._proxy, self._settings))
        fetched = [
            await fetch_part(self._crawler, url, self._challenge.url, self._request, self.session)
            for url in self._challenge.fetch
        ]
        return self._task(fetched, agent, said)

    def _task(self, fetched: Any, agent: str | None, said: str) -> dict[str, Any]:
        task = self._family.task(self._challenge, fetched, said.lower())
        known = self._family.types.get(task["type"])
        if agent is not None and known is not None and "userAgent" in known.required | known.optional:
            task.setdefault("userAgent", agent)
        proxied = needs_proxy(self._family, task["type"], self._flag)
        if self._proxy is not None and proxied and not _PROXY_FIELDS & task.keys():
            task |= self._proxy.fields()
        return task
