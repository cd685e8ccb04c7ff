"""What clearances have in common: cookies that open a site for many requests, bound to who earned them.

Where they are kept, and to which request they go, is none of a family's business.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scrapy_capsolver.errors import CaptchaConfigurationError, UnsolvableCaptchaError
from scrapy_capsolver.families.base import SolutionKind
from scrapy_capsolver.families.solution import read_agent, read_cookie
from scrapy_capsolver.families.token import task_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scrapy import Request

    from scrapy_capsolver.families.base import Challenge, TaskType
    from scrapy_capsolver.families.inject import Inject


@dataclass(frozen=True, slots=True)
class Grant:
    """What a solution grants: cookies by name, and the user agent that they are bound to."""

    cookies: Mapping[str, str] = field(repr=False)
    user_agent: str | None = None
    expires: float | None = None
    """Unix seconds, where the solution says so."""


class ClearanceFamily:
    """Base class of the families whose solution is a clearance. See :class:`base.Family`."""

    name: str
    types: Mapping[str, TaskType]
    kind: SolutionKind = SolutionKind.CLEARANCE
    cookie: str
    """Name of the cookie that is the clearance."""
    per_host: bool = False
    """It opens the host that posed the challenge, and no other of its site."""

    def prepare(self, challenge: Challenge) -> Challenge:
        return challenge

    def task(self, challenge: Challenge, fetched: Sequence[bytes], after: str) -> dict[str, Any]:
        return task_of(challenge, self.types)

    def having(self, challenge: Challenge, cookies: Mapping[str, str]) -> Challenge:
        """The challenge to a visitor who sent these cookies with the request; it may be another one than without."""
        return challenge

    def user_agent(self, asked: str, listed: Sequence[str]) -> str | None:
        """The user agent to solve with, for a request that has ``asked``; None where CapSolver takes none.

        ``listed`` is CAPSOLVER_USER_AGENTS, empty where it is not set.
        """
        return None

    def rehearse(self, request: Request, challenge: Challenge, inject: Inject | None) -> None:
        if inject is not None:
            raise CaptchaConfigurationError(
                f"inject: {challenge.type} takes none, as its solution is a cookie that the plugin sends along"
            )

    def grant(self, solution: Mapping[str, Any]) -> Grant:
        """Return what the solution grants. Raises :class:`UnsolvableCaptchaError`, which shows no value."""
        cookie = read_cookie(solution, self.cookie)
        if cookie is None:
            raise UnsolvableCaptchaError(f'CapSolver\'s solution has no value for a cookie "{self.cookie}"')
        return Grant({self.cookie: cookie.value}, read_agent(solution), cookie.expires)

    def complete(self, solution: Mapping[str, Any], task: Mapping[str, Any]) -> dict[str, Any]:
        """Return the solution with the task's user agent if it names none: that is who earned it."""
        agent = read_agent(solution, task)
        return dict(solution) if agent is None else {**solution, "userAgent": agent}
