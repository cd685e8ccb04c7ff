"""Solves for a spider's own code: what ``CapSolver.solve()`` does, at the side of the middleware and by the same limits."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from scrapy import Request

from scrapy_capsolver._request.cookies import session_of
from scrapy_capsolver._request.detection import challenge_of_flag, in_the_authors_words
from scrapy_capsolver._request.flag import Flag, parse_flag
from scrapy_capsolver._request.identity import user_agent_of
from scrapy_capsolver._request.proxy import proxy_of
from scrapy_capsolver._request.state import RequestState, asked_for
from scrapy_capsolver._request.task_builder import NotGatedError, TaskMaker, choose_type
from scrapy_capsolver._utils.urls import host_of, registrable_domain
from scrapy_capsolver.errors import CaptchaConfigurationError, CaptchaError, UnsupportedCaptchaError
from scrapy_capsolver.families import check_fields, detect, family_of
from scrapy_capsolver.families import family as family_named
from scrapy_capsolver.families.clearance import ClearanceFamily
from scrapy_capsolver.solving.job import Job
from scrapy_capsolver.solving.ledger import NANO, Receipt, TaskScope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scrapy.crawler import Crawler
    from scrapy.http import Response

    from scrapy_capsolver._crawl.service import Service
    from scrapy_capsolver._crawl.stats import StatsRecorder
    from scrapy_capsolver._request.flag_reader import FlagReader
    from scrapy_capsolver.families import Challenge
    from scrapy_capsolver.families.clearance import Grant
    from scrapy_capsolver.families.token import TokenFamily
    from scrapy_capsolver.settings import CapSolverSettings
    from scrapy_capsolver.solving.solver import Solved

WHERE = "the flag of CapSolver.solve()"


@dataclass(slots=True, eq=False)
class Solution:
    """What CapSolver gave for a captcha, and what it took."""

    solution: Mapping[str, Any] = field(repr=False)
    """As CapSolver gives it; the page of each family says which keys there are."""
    type: str
    """CapSolver's task type."""
    family: str
    site: str
    """Registrable domain that it is accounted for."""
    cost: float | None
    """USD, by the price table; None where the type has no price in it. Attempts that failed cost nothing."""
    solved_at: float
    """Unix seconds. A token's life counts from there."""
    expires_at: float | None
    """Unix seconds at which it ends, where that is known."""
    seconds: float
    """That the solve took, without waiting for its turn."""
    attempts: int
    """Tasks created, failed ones included."""
    _receipt: Receipt | None = field(repr=False)
    """Until it is reported what became of it."""

    @property
    def token(self) -> str:
        """The main value, of a token or an answer. Raises :class:`~scrapy_capsolver.UnsolvableCaptchaError` where there is none."""
        family: TokenFamily | ClearanceFamily = family_named(self.family)  # type: ignore[assignment]
        if isinstance(family, ClearanceFamily):
            raise TypeError(f"a solution of {self.type} has no token: its cookies are what opens the site")
        try:
            return family.value(self.solution)
        except CaptchaError as error:
            error.add_tasks(self.attempts, 1)
            raise

    @property
    def cookies(self) -> dict[str, str]:
        """Of a clearance; empty for anything else."""
        grant = self._grant()
        return {} if grant is None else dict(grant.cookies)

    @property
    def user_agent(self) -> str | None:
        """With which alone the solution is good, where CapSolver names one."""
        grant = self._grant()
        agent = self.solution.get("userAgent") if grant is None else grant.user_agent
        return agent if isinstance(agent, str) and agent else None

    def _grant(self) -> Grant | None:
        family = family_named(self.family)
        return family.grant(self.solution) if isinstance(family, ClearanceFamily) else None


class ManualSolver:
    """The solves that the code of a spider asks for."""

    def __init__(
        self,
        crawler: Crawler,
        settings: CapSolverSettings,
        capsolver: Service,
        report: StatsRecorder,
        flags: FlagReader,
    ) -> None:
        self._crawler = crawler
        self._settings = settings
        self._capsolver = capsolver
        self._report = report
        self._flags = flags

    async def solve(self, flag: object, response: Response | None, request: Request | None) -> Solution:
        """See :meth:`CapSolver.solve <scrapy_capsolver.CapSolver.solve>`."""
        challenge = None
        try:
            parsed = parse_flag(flag, WHERE)
            if parsed is None:
                raise CaptchaConfigurationError(f"{WHERE} is {flag!r}: there is nothing to solve")
            challenge, request, asked = self._find(parsed, response, request)
            return await self._solve(challenge, parsed, response, request, asked)
        except CaptchaError as error:
            self._report.failed(error, challenge)
            raise

    def report(self, solution: Solution, *, accepted: bool) -> None:
        """See :meth:`CapSolver.report <scrapy_capsolver.CapSolver.report>`."""
        receipt, solution._receipt = solution._receipt, None
        if receipt is None:
            return
        solution_id = uuid.uuid4().hex[:12]
        outcomes = self._capsolver.outcomes
        outcomes.expect(solution_id, receipt)
        if accepted:
            outcomes.accepted(solution_id)
        else:
            outcomes.rejected(solution_id)

    def _find(self, flag: Flag, response: Response | None, request: Request | None) -> tuple[Challenge, Request, str]:
        """The captcha, the request as whose visitor it is solved, and the address that its author asked for."""
        if request is None and response is not None:
            request = response.request
        given = flag.fields.get("websiteURL")
        url = given or (response.url if response is not None else request.url if request is not None else None)
        if not isinstance(url, str) or not host_of(url):
            raise CaptchaConfigurationError(
                f'{WHERE} has no page: give "websiteURL" (website_url) in it, or the response, or a request'
            )
        if request is None:
            request = Request(url)
        asked = asked_for(request, RequestState()) if response is not None or not given else url
        if not self._flags.allows(asked):
            raise CaptchaConfigurationError(f"{host_of(asked)} is not in CAPSOLVER_ALLOWED_DOMAINS")
        return _on_page(flag, response) if response is not None else _told(flag, url), request, asked

    async def _solve(
        self, challenge: Challenge, flag: Flag, response: Response | None, request: Request, asked: str
    ) -> Solution:
        family = family_named(challenge.family)
        self._report.met(challenge)
        if challenge.refusal:
            raise challenge.error(challenge.refusal)
        proxy = proxy_of(self._crawler, request)
        challenge = choose_type(challenge, family, flag, proxy, self._settings)
        make_task = TaskMaker(
            self._crawler,
            self._settings,
            family,
            challenge,
            flag,
            request,
            proxy=proxy,
            seen_by=user_agent_of(request),
            session=[] if response is None else session_of(self._crawler, request, response),
        )
        job = Job(
            TaskScope(registrable_domain(asked), challenge.family),
            make_task,
            1 + self._settings.retry_times,
            mark=make_task.mark,
            complete=family.complete,
            gets_verdict=False,
        )
        try:
            solved = await self._capsolver.wait(self._capsolver.solve(job), lend=False)
        except NotGatedError:
            raise UnsupportedCaptchaError("looked at anew, the page shows no such captcha any more") from None
        self._report.solved(challenge, solved, solved.attempts)
        return self._solution(solved, challenge)

    def _solution(self, solved: Solved, challenge: Challenge) -> Solution:
        receipt = solved.receipt
        family: Any = family_named(challenge.family)
        lifetime = getattr(family, "lifetime", None)
        solution = Solution(
            solution=dict(solved.solution),
            type=receipt.type,
            family=receipt.family,
            site=receipt.site,
            cost=None if receipt.nano is None else receipt.nano / NANO,
            solved_at=solved.solved_at,
            expires_at=None if lifetime is None else solved.solved_at + lifetime,
            seconds=solved.seconds,
            attempts=solved.attempts,
            _receipt=receipt,
        )
        if isinstance(family, ClearanceFamily):
            try:
                solution.expires_at = family.grant(solved.solution).expires
            except CaptchaError as error:
                solution_id = uuid.uuid4().hex[:12]
                self._capsolver.outcomes.expect(solution_id, receipt)
                self._capsolver.outcomes.wasted(solution_id, "unusable")
                error.add_tasks(solved.attempts, solved.charged)
                raise
        return solution


def _on_page(flag: Flag, response: Response) -> Challenge:
    """What the page shows, blocked or widget; or what the flag says alone, where it says all."""
    if flag.type is None:
        seen = detect(response)
        if not seen:
            raise UnsupportedCaptchaError(f"{host_of(response.url)} shows no captcha that is known here")
        return seen[0]
    seen = detect(response, fields=flag.fields, only=family_of(flag.type, raw=True).name)
    return in_the_authors_words(seen[0], flag) if seen else _told(flag, response.url)


def _told(flag: Flag, url: str) -> Challenge:
    """What the flag says, without a page to look at."""
    if flag.type is None:
        raise CaptchaConfigurationError(f'{WHERE} lacks "type", and there is no response to tell it from')
    check_fields(flag.type, flag.fields, complete=True, raw=True)
    return replace(challenge_of_flag(flag, url, "the spider's own code asked for it"), blocked=False)
