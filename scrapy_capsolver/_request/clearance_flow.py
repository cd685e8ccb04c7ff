"""The part of a request's way that clearances have: waiting for one, getting one, and what came of it."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from scrapy.utils.defer import maybe_deferred_to_future
from twisted.internet.defer import Deferred

from scrapy_capsolver._request.clearance_injector import ClearanceInjector
from scrapy_capsolver._request.identity import user_agent_of, visited_host
from scrapy_capsolver._request.task_builder import NotGatedError
from scrapy_capsolver._utils.urls import is_secure
from scrapy_capsolver.errors import CaptchaCancelledError, CaptchaError
from scrapy_capsolver.stores import Clearance, Key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from scrapy import Request
    from scrapy.crawler import Crawler

    from scrapy_capsolver._crawl.service import Service
    from scrapy_capsolver._request.identity import ClientIdentity
    from scrapy_capsolver._request.state import RequestState
    from scrapy_capsolver.families.clearance import ClearanceFamily
    from scrapy_capsolver.solving.clearances import Obtained
    from scrapy_capsolver.solving.solver import Solved


class ClearanceFlow:
    """The clearances of one crawl, in Scrapy's terms."""

    def __init__(
        self, crawler: Crawler, identity: ClientIdentity, capsolver: Service, count: Callable[[str], None]
    ) -> None:
        self._who = identity
        self._capsolver = capsolver
        self._clearances = capsolver.clearances
        self._count = count
        self._outcomes = capsolver.outcomes
        self._injector = ClearanceInjector(crawler, self._clearances, identity)
        self.detach = self._injector.detach
        self.guard_cookies = self._injector.expect

    async def wait(self, request: Request, state: RequestState) -> None:
        """Hold a request that would meet a gate until it is opened, and note that clearances may go with it.

        Raises CaptchaCancelledError where the crawl stops meanwhile. How the solve ends is told by who asked for it:
        this request may not be gated at all.
        """
        if self._clearances.is_idle:
            return
        key, host = self._identity(request)
        solving = self._clearances.under_way(key, host)
        if solving is not None:
            self._count("clearances/awaited")
            try:
                await self._capsolver.wait(solving, shared=True)
            except CaptchaCancelledError:
                if self._capsolver.is_stopping():
                    raise
            except (CaptchaError, NotGatedError):
                pass
        if await self._load(key.site) and not state.allow_clearances:
            state.allow_clearances = True
            state.write(request)
        if state.allow_clearances:
            self._injector.expect()

    async def _load(self, site: str) -> bool:
        return await maybe_deferred_to_future(Deferred.fromCoroutine(self._clearances.load(site)))

    def holds(self, request: Request, family: str) -> bool:
        """Would a clearance of this family go with the request?"""
        key, host = self._identity(request)
        return any(one.family == family for one in self._clearances.of(key, host, secure=is_secure(request.url)))

    def refused(self, request: Request, family: str) -> Clearance | None:
        """The clearance in spite of which the request met the gate. One that never opened anything was rejected."""
        sent = self._injector.sent(request)
        # One for another user agent never got there: a clearance for this one takes its place.
        candidates = (*sent.left_out.items(), *sent.clearances.items())
        refused = next((clearance for key, clearance in candidates if key.family == family), None)
        if refused is not None and refused in sent.clearances.values():
            self._outcomes.rejected(refused.id)  # once, however many requests it went with
        return refused

    def user_agent(self, request: Request) -> str:
        """As the site saw it last."""
        agent = self._injector.sent(request).agent
        return user_agent_of(request) if agent is None else agent

    async def obtain(
        self,
        family: ClearanceFamily,
        url: str,
        request: Request,
        refused: Clearance | None,
        solve: Callable[[], Awaitable[Solved]],
    ) -> Obtained:
        """A clearance for the challenge at ``url`` other than the one that was ``refused``.

        It is held by now, being solved for another request, or solved now.
        """
        key, host = self._identity(request)
        # What was earned at another host of the site does not open this one, and still opens that one.
        elsewhere = refused is not None and refused.host != host
        key = replace(key, family=family.name, scope=host if family.per_host or elsewhere else key.site)

        async def solve_and_read() -> tuple[Solved, Clearance]:
            solved = await solve()
            solution_id = uuid.uuid4().hex[:12]
            self._outcomes.expect(solution_id, solved.receipt)
            try:
                grant = family.grant(solved.solution)
            except CaptchaError as error:
                self._outcomes.wasted(solution_id, "unusable")
                error.add_tasks(solved.attempts, solved.charged)
                raise
            return solved, Clearance(
                id=solution_id,
                host=host,
                cookies=grant.cookies,
                user_agent=grant.user_agent,
                solved_at=solved.solved_at,
                expires=grant.expires,
                secure=is_secure(url),
            )

        refused_id = "" if refused is None else refused.id
        obtained = await self._capsolver.wait(self._clearances.obtain(key, refused_id, solve_and_read), shared=True)
        if obtained.shared:
            self._count("clearances/shared")
        return obtained

    def accepted(self, request: Request) -> dict[str, Any] | None:
        """The request brought its page: with what was it sent?"""
        sent = self._injector.sent(request)
        if sent.renewed:
            self._count("clearances/renewed")
        if not sent.clearances:
            return None
        for one in sent.clearances.values():
            self._outcomes.accepted(one.id)
        return {"cookies": sent.cookies, **({} if sent.agent is None else {"userAgent": sent.agent})}

    def _identity(self, request: Request) -> tuple[Key, str]:
        return self._who.key_of(request), visited_host(request)
