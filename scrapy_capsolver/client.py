"""CapSolver in a spider's own hands: in callbacks, in pipelines, in ``start()``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scrapy_capsolver._crawl.manual_solver import Solution
from scrapy_capsolver.errors import CaptchaConfigurationError
from scrapy_capsolver.settings import SettingError, is_enabled, read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response
    from typing_extensions import Self

    from scrapy_capsolver._crawl.manual_solver import ManualSolver

__all__ = ["CapSolver", "Solution"]


class CapSolver:
    """The crawl's CapSolver: one account, one queue, one set of limits with the requests that are flagged.

    It may be had as early as in ``from_crawler`` of a spider or a pipeline; it works once the crawl has begun.
    """

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(crawler)

    async def solve(
        self,
        flag: Mapping[str, Any] | bool,  # noqa: FBT001 - as in a request's meta
        *,
        response: Response | None = None,
        request: Request | None = None,
    ) -> Solution:
        """Have a captcha solved, and give its solution. Waits as long as that takes, without blocking anything else.

        Args:
            flag: as in a request's meta: a dict with the task's ``type`` and fields, from :mod:`scrapy_capsolver.captcha`
                or by hand; or ``True`` with a ``response``. ``when``, ``expect`` and ``inject`` are about requests, and
                without effect here.
            response: the page that shows the captcha. What the flag does not say is read from it, and the captcha is
                solved as for its visitor: by the proxy, with the cookies and the user agent of its request.
            request: whose proxy and user agent count instead, or where there is no page yet.

        Without a response the flag must hold all that the task needs; the page's address is its ``websiteURL``, or that
        of the request.

        Raises:
            CaptchaError: one of its subclasses, as in an errback. :class:`~scrapy_capsolver.CaptchaConfigurationError`
                where the plugin is not on in this crawl, :class:`~scrapy_capsolver.CaptchaCancelledError` where the
                crawl stops meanwhile.
        """
        return await self._by_hand().solve(flag, response, request)

    def report(self, solution: Solution, *, accepted: bool) -> None:
        """Say whether the site took the solution: for the stats, for CAPSOLVER_MAX_REJECTIONS, and to CapSolver.

        Nothing waits for it. The first report of a solution counts; one that is never reported counts as neither.
        """
        self._by_hand().report(solution, accepted=accepted)

    def _by_hand(self) -> ManualSolver:
        # The middleware loads treq, and the one reactor that Scrapy has installed by now.
        from scrapy_capsolver.middleware import CapSolverMiddleware  # noqa: PLC0415

        try:
            middleware = self._crawler.get_downloader_middleware(CapSolverMiddleware)
        except RuntimeError:  # there is no engine
            raise CaptchaConfigurationError("CapSolver can be used once the crawl has begun, and it has not") from None
        if middleware is None:
            raise CaptchaConfigurationError(f"CapSolver is not on in this crawl: {_why_not(self._crawler)}")
        return middleware.manual_solver


def _why_not(crawler: Crawler) -> str:
    try:
        if not is_enabled(crawler.settings):
            return "CAPSOLVER_ENABLED is False"
        read_settings(crawler.settings)
    except SettingError as error:
        return str(error)
    return (
        'set ADDONS = {"scrapy_capsolver.Addon": 500}; if it is set, the log said at the start of the crawl why the '
        "middleware is not enabled"
    )
