"""What a captcha family is: the questions that each module of this package answers.

A family derives from one of two classes: :class:`~.token.TokenFamily`, whose solutions are put into one request, or
:class:`~.clearance.ClearanceFamily`, whose solutions open a site for many.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from scrapy_capsolver.errors import CaptchaError, UnsupportedCaptchaError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from scrapy import Request

    from scrapy_capsolver.families._page.page import Page
    from scrapy_capsolver.families.inject import Inject


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
    since no page says by itself that it has such a captcha; ``given`` are those that it must hold all of (or where they are: ``questionSelector``), since no page
    shows them. A required ``proxy`` is the request's own where the flag names none. Fields hold text, but for those in
    ``kinds``. ``own`` are keys of a flag that are this package's and never go to CapSolver.
    """

    required: frozenset[str]
    optional: frozenset[str] = frozenset()
    one_of: tuple[frozenset[str], ...] = ()
    shown_by: frozenset[str] = frozenset()
    given: frozenset[str] = frozenset()
    kinds: Mapping[str, type] = field(default_factory=dict)
    own: frozenset[str] = frozenset()
    price: float | None = None
    """USD per 1000 solves, where it is known. Source: www.capsolver.com as a third party read it on 2026-10-07."""


@dataclass(frozen=True, slots=True)
class FormSubmission:
    """A form of the page as a browser would send it, without the solution: plain data, free of the parsed page."""

    url: str
    method: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    asked: tuple[str, ...] = ()
    """Names of the visible fields that a person would have to fill in, and that the page leaves empty."""


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
    seen: Mapping[str, Any] = field(default_factory=dict)
    """More that the page shows, in the same words: fields of which :meth:`Family.task` takes those that the case needs.
    They are apart from ``params``, which go into every task, and among which the author's own fields are."""
    reasons: tuple[str, ...] = ()
    """What was seen that says so, for people to read."""
    blocked: bool = True
    """True: the page that was asked for is not here. False: it is, and carries a form with a captcha."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Form fields of a solution that has several values: name of the field -> key of CapSolver's solution."""
    field: str = ""
    """Form field in which this page wants the solution."""
    form: FormSubmission | None = None
    """The page's form around the captcha, where there is one."""
    fetch: tuple[str, ...] = ()
    """What must be downloaded in the crawl's own session before each task can be made (images, a fresh challenge)."""
    perishable: bool = False
    """What was read from the page is good for one task: another attempt looks at the page anew."""
    refusal: str = ""
    """Why this one cannot be solved: then nothing is tried, and nothing is paid."""
    error: Callable[[str], CaptchaError] = UnsupportedCaptchaError
    """What is raised then."""


class Family(Protocol):
    """One kind of captcha. Knows HTML and CapSolver's task fields, and no network."""

    name: str
    types: Mapping[str, TaskType]
    kind: SolutionKind

    def detect(self, page: Page, fields: Mapping[str, Any]) -> Challenge | None:
        """Is this page gated by my captcha? ``fields`` are the flag's own ones, empty for a bare ``True``."""

    def prepare(self, challenge: Challenge) -> Challenge:
        """The challenge with the author's own fields in its ``params``, made ready: with what they say to fetch."""

    def task(self, challenge: Challenge, fetched: Sequence[bytes], after: str) -> dict[str, Any]:
        """CapSolver's task, without proxy and user agent, which are the request's.

        ``fetched`` is what the addresses in ``challenge.fetch`` held; ``after`` what CapSolver said of the attempt
        before this one (its ``errorDescription``, in lower case), or nothing.
        """

    def complete(self, solution: Mapping[str, Any], task: Mapping[str, Any]) -> dict[str, Any]:
        """Return the solution under the names that are documented, with what it leaves out and the task has. Never raises."""

    def rehearse(self, request: Request, challenge: Challenge, inject: Inject | None) -> None:
        """Raise, before anything is paid, what would be raised about the request once there is a solution."""
