"""What a captcha family is: the four questions that each module of this package answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scrapy import Request

    from scrapy_capsolver.families.inject import Inject
    from scrapy_capsolver.families.page import Page


class SolutionKind(Enum):
    """What a family's solution is good for."""

    TOKEN = "token"  # noqa: S105 - a word, no secret
    """Works once, for one request, for a limited time."""
    CLEARANCE = "clearance"
    """Works for every request of one (site, proxy, user agent) until it expires."""
    ANSWER = "answer"
    """What a recognition task read; works for the page it was read from."""


@dataclass(frozen=True, slots=True)
class TaskType:
    """The fields of one CapSolver task type, in CapSolver's words. ``websiteURL`` is filled in where it is not given.

    ``one_of`` lists groups of fields of which one is enough; ``shown_by`` are those of which a flag must hold one,
    since no page says by itself that it has such a captcha. A required ``proxy`` is satisfied by the split
    fields as well (``proxyType``, ``proxyAddress``, ``proxyPort``). Fields hold text, but for those in ``kinds``.
    """

    required: frozenset[str]
    optional: frozenset[str] = frozenset()
    one_of: tuple[frozenset[str], ...] = ()
    shown_by: frozenset[str] = frozenset()
    kinds: Mapping[str, type] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FormSubmission:
    """A form of the page as a browser would send it, without the solution: plain data, free of the parsed page."""

    url: str
    method: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Challenge:
    """A captcha that stands between a request and its page.

    Plain data and small: it is kept as long as the solve lasts, for each of the requests that wait.
    """

    family: str
    """Name of the family in the registry."""
    type: str
    """CapSolver task type that solves it."""
    url: str
    """Page that shows the captcha: the task's ``websiteURL``."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """The task's other fields, in CapSolver's words."""
    reasons: tuple[str, ...] = ()
    """What was seen that says so, for people to read."""
    blocked: bool = True
    """True: the page that was asked for is not here. False: it is, and carries a form with a captcha."""
    field: str = ""
    """Form field in which this page wants the solution."""
    form: FormSubmission | None = None
    """The page's form around the captcha, where there is one."""
    fetch_url: str | None = None
    """What must be downloaded in the crawl's own session before the task can be made (an image)."""


class Family(Protocol):
    """One kind of captcha. Knows HTML and CapSolver's task fields, and no network."""

    name: str
    types: Mapping[str, TaskType]
    kind: SolutionKind
    field: str
    """Form field where solutions of this family usually go."""
    lifetime: float | None
    """Seconds for which a solution is accepted, or None where nobody says."""

    def detect(self, page: Page, fields: Mapping[str, Any]) -> Challenge | None:
        """Is this page gated by my captcha? ``fields`` are the flag's own ones, empty for a bare ``True``."""

    def task(self, challenge: Challenge, fetched: bytes | None) -> dict[str, Any]:
        """CapSolver's task. ``fetched`` is what ``challenge.fetch_url`` held."""

    def apply(
        self, request: Request, challenge: Challenge, solution: Mapping[str, Any], inject: Inject | None
    ) -> Request:
        """The request with the solution in it, where the page wants it or where ``inject`` says.

        Raises :class:`~scrapy_capsolver.errors.UnsolvableCaptchaError` where the solution lacks what it should hold.
        """

    def rehearse(self, request: Request, challenge: Challenge, inject: Inject | None) -> None:
        """Raise, before anything is paid, what :meth:`apply` would raise about the request."""
