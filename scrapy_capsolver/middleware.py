"""The way of one request past its captcha.

On the way out (``process_request``) a flag that says "before" is solved, a solution that aged or was already sent
is not sent again, and a clearance that is being solved is waited for. On the way in (``process_response``) a gated response is
recognised, its captcha solved, and the request sent again: with the token in it, or with the clearance that :mod:`~.attaching`
puts on it at the last moment. What a request remembers between two visits is its :class:`~.state.RequestState`.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from typing import TYPE_CHECKING, Any

from scrapy import signals
from scrapy.exceptions import IgnoreRequest, NotConfigured
from twisted.internet.error import ConnectError, DNSLookupError

from scrapy_capsolver._compat.check import check
from scrapy_capsolver._compat.download_queue import DownloadQueue
from scrapy_capsolver._compat.httpcache import guard_cache
from scrapy_capsolver._compat.schedulers import keeps_solutions, outlives_the_process, shares_requests
from scrapy_capsolver._crawl.manual_solver import ManualSolver
from scrapy_capsolver._crawl.placement import is_built, is_in_place, refuse_as_addon
from scrapy_capsolver._crawl.resent import ResentRequests
from scrapy_capsolver._crawl.service import Service
from scrapy_capsolver._crawl.stats import StatsRecorder
from scrapy_capsolver._request.clearance_flow import ClearanceFlow
from scrapy_capsolver._request.cookies import restore_session, session_of
from scrapy_capsolver._request.detection import challenge_before, detect_challenge
from scrapy_capsolver._request.downloads import prepare_fetch
from scrapy_capsolver._request.flag_reader import FlagReader
from scrapy_capsolver._request.form_filling import check_filled, fill
from scrapy_capsolver._request.identity import ClientIdentity
from scrapy_capsolver._request.proxy import proxy_of
from scrapy_capsolver._request.redirects import way_back
from scrapy_capsolver._request.state import (
    KEY,
    RequestState,
    asked_for,
    back_to_origin,
    changed_headers,
    fingerprint,
    note_origin,
    with_headers,
    without_solution,
)
from scrapy_capsolver._request.task_builder import NotGatedError, TaskMaker, choose_type
from scrapy_capsolver._utils.urls import origin_of, registrable_domain
from scrapy_capsolver.errors import (
    CaptchaBudgetError,
    CaptchaCancelledError,
    CaptchaConfigurationError,
    CaptchaError,
    UnsolvableCaptchaError,
    UnsupportedCaptchaError,
)
from scrapy_capsolver.families import family as family_named
from scrapy_capsolver.families.clearance import ClearanceFamily
from scrapy_capsolver.families.cookies import cookies_of
from scrapy_capsolver.families.token import TokenFamily
from scrapy_capsolver.integrations.playwright import CALLBACK, can_take_cookies, take_cookies
from scrapy_capsolver.report.files import ReportError, write_report
from scrapy_capsolver.report.recorder import Recorder
from scrapy_capsolver.settings import SettingError, is_enabled, read_settings, unknown_settings
from scrapy_capsolver.solving.job import Job, ResumeToken
from scrapy_capsolver.solving.ledger import Receipt, TaskScope
from scrapy_capsolver.stores import StoreError, is_redis

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from scrapy import Request, Spider
    from scrapy.crawler import Crawler
    from scrapy.http import Response
    from typing_extensions import Self

    from scrapy_capsolver._request.flag import Flag
    from scrapy_capsolver.families import Challenge
    from scrapy_capsolver.report.record import Record
    from scrapy_capsolver.solving.solver import Solved
    from scrapy_capsolver.stores import Clearance

logger = logging.getLogger(__name__)

SOLUTION_KEY = "capsolver_solution"
ERROR_KEY = "capsolver_error"
SOLVED_FLAG = "capsolver"
FAILED_FLAG = "capsolver_failed"

ZYTE_API = "raw_api_response"  # what the responses of scrapy-zyte-api have
SEND_MARGIN = 10.0  # seconds of a token's life that the way to the site may take


class CapSolverMiddleware:
    """Downloader middleware; its place is order number 585. See docs/ for its settings and flags."""

    def __init__(self, crawler: Crawler) -> None:
        if not is_built(crawler):
            refuse_as_addon(crawler)
            raise NotConfigured
        try:
            if not is_enabled(crawler.settings):
                raise NotConfigured
            if not crawler.settings.getbool("TWISTED_REACTOR_ENABLED", default=True):
                raise NotConfigured("scrapy-capsolver needs Twisted's reactor: set TWISTED_REACTOR_ENABLED to True")
            self.settings = read_settings(crawler.settings)
        except SettingError as error:
            raise NotConfigured(str(error)) from None
        for line in unknown_settings(crawler.settings):
            logger.warning(line)
        assert crawler.stats is not None
        self._crawler = crawler
        self._recorder = Recorder() if self.settings.report or is_redis(self.settings.store) else None
        self._report = StatsRecorder(crawler.stats, self._recorder)
        self._count = self._report.count
        self._flags = FlagReader(
            auto=self.settings.auto, allowed_domains=self.settings.allowed_domains, count=self._count
        )
        self._attempts = 1 + self.settings.retry_times
        self._run = uuid.uuid4().hex[:12]
        self._outlives = outlives_the_process(crawler.settings)
        self._keeps_solutions = keeps_solutions(crawler.settings)
        self._retried_statuses = (
            {int(status) for status in crawler.settings.getlist("RETRY_HTTP_CODES")}
            if crawler.settings.getbool("RETRY_ENABLED")
            else set()
        )
        try:
            self._capsolver = Service(crawler, self.settings, self._count, self._recorder)
        except StoreError as error:
            raise NotConfigured(str(error)) from None
        self._outcomes = self._capsolver.outcomes
        self.manual_solver = ManualSolver(crawler, self.settings, self._capsolver, self._report, self._flags)
        identity = ClientIdentity(crawler, self.settings.api_key, self.settings.egress)
        self._clearance_flow = ClearanceFlow(crawler, identity, self._capsolver, self._count)
        self._resent = ResentRequests(crawler, self._left_in_queue)
        self._queue = DownloadQueue(crawler, lambda request: bool(request.meta.get(KEY, {}).get("carrier_fingerprint")))

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        middleware = cls(crawler)
        crawler.signals.connect(middleware._spider_opened, signal=signals.spider_opened)
        crawler.signals.connect(middleware._spider_closed, signal=signals.spider_closed)
        return middleware

    @property
    def run(self) -> str:
        """What stands as ``run`` in the trails that this middleware writes."""
        return self._run

    def _spider_opened(self, spider: Spider) -> None:
        if not is_in_place(self._crawler, self):
            self._capsolver.refuse()
            return
        check(self._crawler)
        self._flags.read_spider(spider)
        self._close_job_directory()
        self._capsolver.open(self._snapshot)
        self._resent.open()
        guard_cache(self._crawler, self._is_gated)
        if shared := shares_requests(self._crawler.settings):
            logger.warning(shared)

    def _close_job_directory(self) -> None:
        """Close the JOBDIR to others: a request that waits in its queue holds its token as it is sent."""
        directory = self._crawler.settings["JOBDIR"]
        if directory and self._keeps_solutions:
            try:
                os.chmod(directory, 0o700)
            except OSError as error:
                logger.warning("JOBDIR may hold tokens and cannot be closed to others (%s)", error.strerror)

    def _snapshot(self) -> Record | None:
        if self._recorder is None or self._crawler.stats is None or self._crawler.spider is None:
            return None
        return self._recorder.snapshot(self._crawler.spider.name, self._crawler.stats.get_stats())

    async def _spider_closed(self, spider: Spider, reason: str) -> None:
        await self._resent.close()
        await self._capsolver.close()
        record = None
        if self._recorder is not None:
            assert self._crawler.stats is not None
            record = self._recorder.finish(spider.name, reason, self._crawler.stats.get_stats())
        await self._capsolver.leave(record)
        if record is not None and self.settings.report:
            try:
                write_report(record, self.settings.report)
            except ReportError as error:
                logger.error("CAPSOLVER_REPORT: %s", error)
            else:
                logger.info("Report of the captchas: %s", self.settings.report)

    # The way out

    def process_request(self, request: Request, spider: Spider | None = None) -> Awaitable[Request | None] | None:
        if KEY in request.meta:
            self._resent.came(request)
        try:
            flag = self._flags.of(request, request.url, first=True)
        except CaptchaError as error:
            self._report.failed(error, None)
            raise
        if flag is None:
            prepare_fetch(self._crawler, request)
            return None
        return self._send(request, flag)

    async def _send(self, request: Request, flag: Flag) -> Request | None:
        request.meta.pop(SOLUTION_KEY, None)  # a spider may have copied the meta of a response
        request.meta.pop(ERROR_KEY, None)
        state, challenge = RequestState.of(request), None
        if state.run and state.run != self._run:
            self._take_over(state)
            state.write(request)
        try:
            await self._clearance_flow.wait(request, state)
            if state.solution_origin:
                self._clearance_flow.guard_cookies()
            if state.carries_solution(request):
                return self._send_solution(request, state)
            if state.carrier_fingerprint and state.origin and origin_of(request.url) != state.solution_origin:
                state.drop_solution()  # a redirect takes the solution along, and it is for its own origin only
                return self._resend(without_solution(request, state.origin), state)
            if state.origin is None and request.method not in {"GET", "HEAD"}:  # a redirect may turn it into a GET
                state.origin = note_origin(request, ["Content-Type"])
                state.write(request)
            if flag.when == "before" and not state.solution_id and not state.cleared:
                challenge = challenge_before(request, flag)
                if not self._clearance_flow.holds(request, challenge.family):
                    return await self._past(challenge, request, flag, state, [])
        except CaptchaError as error:
            again = self._failed(error, challenge, request, state)
            if again is None:  # it goes out unsolved, and its captcha page will be passed on
                state.attempts = self._attempts
                state.write(request)
            return again
        return None

    def _send_solution(self, request: Request, state: RequestState) -> Request | None:
        """Once, and while it lives."""
        if state.sent or (state.expires is not None and time.time() + self._queue.wait(request) >= state.expires):
            return self._start_over(request, state)
        state.sent = True
        state.write(request)
        restore_session(self._crawler, request, state.session)
        self._outcomes.sent(state.solution_id)
        self._queue.hurry()
        return None

    def _start_over(self, request: Request, state: RequestState) -> Request:
        """The solution in the request is used up, by time or by use: ask for the page as if there had been none."""
        self._outcomes.wasted(state.solution_id, "already_sent" if state.sent else "expired")
        assert state.origin is not None
        return self._resend(back_to_origin(request, state.origin), state.without_solution())

    # The way in

    def process_response(
        self, request: Request, response: Response, spider: Spider | None = None
    ) -> Awaitable[Request | Response] | Response:
        flag = self._flags.of(request, response.url)
        return response if flag is None else self._receive(request, response, flag)

    async def _receive(self, request: Request, response: Response, flag: Flag) -> Request | Response:
        self._resent.came(request)
        state = RequestState.of(request)
        challenge, settled = None, flag.expect is not None
        try:
            try:
                challenge = detect_challenge(response, flag, tried=bool(state.solution_id), request=request)
            except UnsupportedCaptchaError:
                if not _must_go_back(response, state):  # a gate that says "thank you" is not the page expected
                    raise
                settled = False
            if challenge is None:
                return self._through(request, response, state, settled=settled)
            if "cached" in response.flags and not request.meta.get("dont_cache"):
                # What the cache holds was gated once: look whether it still is.
                return self._resend(request, state)
            if hasattr(response, ZYTE_API) and isinstance(family_named(challenge.family), ClearanceFamily):
                raise UnsupportedCaptchaError(
                    "the page came through Zyte API, which sends no clearance and has addresses of its own: have it "
                    "opened there, or ask for it without"
                )
            session = session_of(self._crawler, request, response)
            again = await self._past(challenge, request, flag, state, session)
            return self._hand_over(request, response, state) if again is None else again
        except CaptchaError as error:
            again = self._failed(error, challenge, request, state)
            return self._pass_on(error, request, response, state) if again is None else again

    def _is_gated(self, request: Request, response: Response) -> bool:
        """Is this no page for the cache?"""
        flag = self._flags.of(request, response.url)
        if flag is None:
            return False
        try:
            return detect_challenge(response, flag, tried=bool(RequestState.of(request).solution_id)) is not None
        except CaptchaError:
            return True

    def _through(
        self, request: Request, response: Response, state: RequestState, *, settled: bool
    ) -> Request | Response:
        """The page itself: to the callback with it, or first back to the page that a redirect led away from."""
        cleared = self._clearance_flow.accepted(request)
        if not settled and _must_go_back(response, state):
            assert state.origin is not None
            state.go_back, state.went_back = False, True
            state.drop_solution()
            return self._resend(back_to_origin(request, state.origin), state)
        if response.status in self._retried_statuses:
            # RetryMiddleware may send it again, and then the trail is needed; or give up.
            self._crawler.signals.connect(self._received, signal=signals.response_received)
            return response
        if state.carrier_fingerprint:
            # MetaRefreshMiddleware may yet make a request of it, which must be told from one without a solution.
            state.spent().write(request)
            self._crawler.signals.connect(self._received, signal=signals.response_received)
        else:
            self._end(request, state)
        heard = self._outcomes.handed_over if state.returned_to_spider else self._outcomes.accepted
        solution = heard(state.solution_id) or cleared
        if state.solution_id or state.cleared:
            self._count("delivered")
        elif cleared:
            self._count("clearances/reused")
        if state.solution_id or state.cleared or cleared:
            response.flags.append(SOLVED_FLAG)
        if solution is not None:
            request.meta[SOLUTION_KEY] = solution
        return response

    def _received(self, request: Request) -> None:
        """The response goes to its callback, so the request is not sent again."""
        if KEY in request.meta:
            self._end(request, RequestState.of(request))

    def _hand_over(self, request: Request, response: Response, state: RequestState) -> Response:
        """The page with the captcha to the callback, with the answer: what becomes of it is the spider's own business."""
        self._end(request, state)
        request.meta[SOLUTION_KEY] = self._outcomes.handed_over(state.solution_id)
        self._count("delivered")
        response.flags.append(SOLVED_FLAG)
        return _spared(response, request)

    def _pass_on(self, error: CaptchaError, request: Request, response: Response, state: RequestState) -> Response:
        """The captcha page to the callback, marked."""
        self._end(request, state)
        request.meta[ERROR_KEY] = error.message
        response.flags.append(FAILED_FLAG)
        return _spared(response, request)

    def process_exception(self, request: Request, exception: Exception, spider: Spider | None = None) -> None:
        """Take clearances off the request, and book a solution that is lost with it.

        One that surely did not reach the site may be sent again.
        """
        if KEY not in request.meta:
            return
        self._resent.came(request)
        self._clearance_flow.detach(request)
        state = RequestState.of(request)
        if isinstance(exception, CaptchaError):
            self._outcomes.wasted(state.solution_id, "undelivered")
        elif _never_sent(exception):
            state.sent = False
            state.write(request)
        elif (state.sent and state.carries_solution(request)) or not self._may_be_retried(request, exception):
            self._outcomes.lost(state.solution_id, type(exception).__name__)
            state.sent = True  # if it is sent again all the same, it starts over
            state.write(request)

    def _may_be_retried(self, request: Request, exception: Exception) -> bool:
        """Return whether RetryMiddleware might send the request again, by what Scrapy documents of it."""
        settings, meta = self._crawler.settings, request.meta
        if isinstance(exception, IgnoreRequest) or meta.get("dont_retry") or not settings.getbool("RETRY_ENABLED"):
            return False
        most: int = meta.get("max_retry_times", settings.getint("RETRY_TIMES"))
        return bool(meta.get("retry_times", 0) < most)

    # Both ways

    async def _past(
        self, challenge: Challenge, request: Request, flag: Flag, state: RequestState, session: list[dict[str, Any]]
    ) -> Request | None:
        """Solve the challenge and give the request to be sent with the solution; None where the spider takes it."""
        family = family_named(challenge.family)
        self._report.met(challenge)
        if state.returned_to_spider:
            self._outcomes.wasted(state.solution_id, "unusable")
        self._outcomes.rejected(state.solution_id)
        refused = self._clearance_flow.refused(request, family.name)
        if challenge.refusal:
            raise challenge.error(challenge.refusal)
        if state.attempts >= self._attempts:
            raise UnsolvableCaptchaError(
                f"still gated after {state.attempts} solves (CAPSOLVER_RETRY_TIMES is {self.settings.retry_times}): "
                "the site takes none of them; compare the task's type and fields with the page"
            )

        proxy = proxy_of(self._crawler, request)
        challenge = choose_type(challenge, family, flag, proxy, self.settings)
        to_form = challenge.form is not None and (flag.inject is None or flag.inject.form is not None)
        base, origin, go_back = way_back(request, state, to_form=to_form)
        if to_form:
            challenge = fill(challenge, request, origin)
            check_filled(family, challenge, flag)
        family.rehearse(base, challenge, flag.inject)

        make_task = TaskMaker(
            self._crawler,
            self.settings,
            family,
            challenge,
            flag,
            request,
            proxy=proxy,
            seen_by=self._clearance_flow.user_agent(request),
            session=session,
            refused=None if refused is None else refused.cookies,
        )
        try:
            if isinstance(family, ClearanceFamily):
                return await self._clear(family, challenge, request, base, state, refused, make_task)
            assert isinstance(family, TokenFamily)
            solved = await self._capsolver.wait(self._capsolver.solve(self._job(challenge, request, state, make_task)))
        except NotGatedError:
            state.attempts += 1  # or a page that is gated every other time would go round for ever
            return self._resend(base, state)
        state.note_tasks(solved)
        self._report.solved(challenge, solved, state.attempts)
        solution_id = uuid.uuid4().hex[:12]
        self._outcomes.expect(solution_id, solved.receipt, dict(solved.solution), kept=self._keeps_solutions)
        if family.hands_over(challenge, flag.inject):
            state.solution_id, state.returned_to_spider = solution_id, True
            return self._resend(base, state) if flag.when == "before" else None
        try:
            retried = family.apply(base.replace(cookies={}), challenge, solved.solution, flag.inject)
        except CaptchaError:
            self._outcomes.wasted(solution_id, "unusable")
            raise
        lifetime, session = family.lifetime, make_task.session
        cookies = cookies_of(retried)
        retried = retried.replace(cookies={} if session else base.cookies)
        origin = with_headers(origin or note_origin(base), base, changed_headers(base, retried))
        return self._resend(
            retried,
            RequestState(
                attempts=state.attempts,
                tasks=state.tasks,
                charged=state.charged,
                origin=origin,
                carrier_fingerprint=fingerprint(retried),
                solution_origin=origin_of(retried.url),
                cookies=cookies,
                session=session,
                expires=None if lifetime is None else solved.solved_at + lifetime - SEND_MARGIN,
                solution_id=solution_id,
                receipt=solved.receipt.to_dict(),
                go_back=go_back,
                went_back=state.went_back,
                uncached=state.uncached,
                priority_raised=state.priority_raised,
                allow_clearances=state.allow_clearances,
            ),
        )

    async def _clear(
        self,
        family: ClearanceFamily,
        challenge: Challenge,
        request: Request,
        base: Request,
        state: RequestState,
        refused: Clearance | None,
        make_task: TaskMaker,
    ) -> Request:
        """Have the site opened, for all of its requests; and ask for the page again."""
        if not can_take_cookies(request):
            raise UnsupportedCaptchaError(
                "its solution is a cookie, and a browser sends those of its context alone: name "
                f"meta[{CALLBACK!r}] = {take_cookies.__module__ + '.' + take_cookies.__name__!r}"
            )

        async def solve() -> Solved:
            solved = await self._capsolver.solve(self._job(challenge, request, state, make_task))
            self._report.solved(challenge, solved, state.attempts + solved.attempts)
            return solved

        obtained = await self._clearance_flow.obtain(family, challenge.url, request, refused, solve)
        if obtained.solved is not None and not obtained.shared:
            state.note_tasks(obtained.solved)
        else:  # nothing was created for this request
            state.attempts += 1 if obtained.solved is None else obtained.solved.attempts
        state.cleared = state.allow_clearances = True
        state.drop_solution()
        state.solution_id, state.receipt = "", None
        return self._resend(base, state, cacheable=True)

    def _job(self, challenge: Challenge, request: Request, state: RequestState, make_task: TaskMaker) -> Job:
        task_scope = TaskScope(registrable_domain(asked_for(request, state)), challenge.family)
        resume, state.open_task = state.open_task, None
        return Job(
            task_scope,
            make_task,
            self._attempts - state.attempts,
            mark=make_task.mark,
            complete=family_named(challenge.family).complete,
            resume=None if resume is None else ResumeToken.of(resume),
        )

    def _resend(self, request: Request, state: RequestState, *, cacheable: bool = False) -> Request:
        """The request as it goes back to the scheduler: ahead of the rest, past the dupe filter and mostly the cache."""
        if not self._outlives and self._capsolver.is_stopping():
            raise CaptchaCancelledError("the crawl stopped before the page could be asked for again")
        state.run = self._run
        priority = request.priority if state.priority_raised else request.priority + self.settings.priority_adjust
        state.priority_raised = True
        again = request.replace(dont_filter=True, priority=priority)
        if not cacheable and not again.meta.get("dont_cache"):
            again.meta["dont_cache"] = state.uncached = True
        again.meta.pop("is_start_request", None)  # or it queues behind every start request
        state.write(again)
        if not self._outlives:
            self._resent.went(again)
        return again

    def _take_over(self, state: RequestState) -> None:
        """The request comes from an earlier run of this crawl, with what was under way then."""
        state.run, state.stopped = self._run, False
        if state.receipt is not None and not state.sent:
            self._outcomes.expect(state.solution_id, Receipt(**state.receipt), kept=True)
        if state.open_task is not None:
            self._capsolver.adopt(state.open_task)

    def _end(self, request: Request, state: RequestState) -> None:
        """Leave nothing of ours in the meta that a spider may copy into its next requests."""
        request.meta.pop(KEY, None)
        if state.uncached:
            request.meta.pop("dont_cache", None)

    # Failing

    def _failed(
        self, error: CaptchaError, challenge: Challenge | None, request: Request, state: RequestState
    ) -> Request | None:
        """The request for the next run, None where the request goes on without a solution; else raise the error."""
        if isinstance(error, (CaptchaCancelledError, CaptchaBudgetError)) and self._may_wait(state):
            state.stopped = True
            state.open_task = getattr(error, "open_task", None) or state.open_task
            if state.open_task is not None:
                self._capsolver.carry_over(state.open_task)
            self._count("stopped")
            return self._resend(request, state)
        error.add_tasks(state.tasks, state.charged)
        self._report.failed(error, challenge)
        if self.settings.on_error != "pass" or isinstance(error, (CaptchaConfigurationError, CaptchaCancelledError)):
            raise error
        return None

    def _left_in_queue(self, request: Request) -> CaptchaError:
        """Book a request that the crawl leaves in the scheduler when it stops, and return the error for its errback."""
        self._outcomes.wasted(RequestState.of(request).solution_id, "undelivered")
        error = CaptchaCancelledError("the crawl stopped before the page could be asked for again")
        self._report.failed(error, None)
        return error

    def _may_wait(self, state: RequestState) -> bool:
        """When the crawl stops, a request waits for the next run where it can: once, or an inline one would spin."""
        return self._outlives and not state.stopped and self._capsolver.is_stopping()


def _must_go_back(response: Response, state: RequestState) -> bool:
    """A gate's form was sent, and no redirect led back to the page first asked for."""
    return state.go_back and state.origin is not None and response.url != state.origin["url"]


def _spared(response: Response, request: Request) -> Response:
    """The response past the middlewares that would do something about it."""
    request.meta.update({"handle_httpstatus_all": True, "dont_retry": True, "dont_redirect": True})
    return response


def _never_sent(exception: Exception) -> bool:
    """No connection came about. Scrapy 2.14 and later have exceptions of their own for what Twisted reports."""
    return isinstance(exception, (ConnectError, DNSLookupError)) or type(exception).__name__ in {
        "CannotResolveHostError",
        "DownloadConnectionRefusedError",
    }
