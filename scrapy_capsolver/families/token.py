"""What single-use tokens have in common: one string from the solution, into one form field of one request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scrapy_capsolver.errors import UnsolvableCaptchaError
from scrapy_capsolver.families.base import SolutionKind
from scrapy_capsolver.families.forms import submit
from scrapy_capsolver.families.inject import Inject, place
from scrapy_capsolver.families.text import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scrapy import Request

    from scrapy_capsolver.families.base import Challenge, TaskType

MAX_VALUE = 64 * 1024
"""Characters of a solution's value. Real tokens have 500 to 5,000."""

MAX_USER_AGENT = 512

_REHEARSAL = "rehearsal"


class TokenFamily:
    """Base class of the families whose solution is a string of limited life. See :class:`base.Family`."""

    name: str
    types: Mapping[str, TaskType]
    kind: SolutionKind = SolutionKind.TOKEN
    field: str
    """Form field where solutions of this family usually go."""
    lifetime: float | None = None
    """Seconds for which a solution is accepted, or None where nobody says."""
    solution_key: str
    """Where CapSolver's ``solution`` object holds the token."""

    def prepare(self, challenge: Challenge) -> Challenge:
        return challenge

    def task(self, challenge: Challenge, fetched: Sequence[bytes], after: str) -> dict[str, Any]:
        """``fetched`` is not needed: these tasks are made from the page alone."""
        return task_of(challenge, self.types)

    def value(self, solution: Mapping[str, Any]) -> str:
        """The token. Raises :class:`UnsolvableCaptchaError`, which names the key and shows no value."""
        value = solution.get(self.solution_key)
        if not isinstance(value, str) or not value.strip():
            raise UnsolvableCaptchaError(f'CapSolver\'s solution has no text in "{self.solution_key}"')
        if len(value) > MAX_VALUE:
            raise UnsolvableCaptchaError(
                f'CapSolver\'s solution holds {len(value)} characters in "{self.solution_key}": more than any token has'
            )
        try:
            value.encode()
        except UnicodeEncodeError:
            raise UnsolvableCaptchaError(f'CapSolver\'s solution holds broken text in "{self.solution_key}"') from None
        return value

    def apply(
        self, request: Request, challenge: Challenge, solution: Mapping[str, Any], inject: Inject | None
    ) -> Request:
        """The request with the token in it, sent by the user agent that earned the token where CapSolver names one."""
        return with_user_agent(self._put(request, challenge, self.value(solution), inject), solution)

    def rehearse(self, request: Request, challenge: Challenge, inject: Inject | None) -> None:
        """What :meth:`apply` does, with a value that stands for the token."""
        self._put(request, challenge, _REHEARSAL, inject)

    def places(self, challenge: Challenge, inject: Inject | None) -> Inject:
        """Where the solution goes: as the flag says, else the field that the page or the family names."""
        return inject or Inject(form=challenge.field or self.field)

    def _put(self, request: Request, challenge: Challenge, value: str, inject: Inject | None) -> Request:
        places = self.places(challenge, inject)
        if places.form is not None and challenge.form is not None and request.method in {"GET", "HEAD"}:
            request = submit(request, challenge.form, challenge.url)
        return place(request, places, value)


def task_of(challenge: Challenge, types: Mapping[str, TaskType]) -> dict[str, Any]:
    """The task as the challenge has it, without the keys that are this package's own."""
    own = types[challenge.type].own if challenge.type in types else frozenset()
    params = {name: value for name, value in challenge.params.items() if name not in own}
    return {"type": challenge.type, "websiteURL": challenge.url, **params}


def with_user_agent(request: Request, solution: Mapping[str, Any]) -> Request:
    """``request`` as sent by the solution's ``userAgent``; unchanged where that is not one that can be sent."""
    agent = plain(solution.get("userAgent"), MAX_USER_AGENT)
    if agent is None or not agent.strip():
        return request
    headers = request.headers.copy()
    headers["User-Agent"] = agent.strip()
    return request.replace(headers=headers)
