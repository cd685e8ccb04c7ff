"""What single-use tokens have in common: values from the solution, put into one request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scrapy_capsolver.errors import CaptchaConfigurationError, UnsolvableCaptchaError
from scrapy_capsolver.families._page.forms import submit
from scrapy_capsolver.families._page.text import clean, plain
from scrapy_capsolver.families.base import SolutionKind
from scrapy_capsolver.families.inject import MAIN, Inject, place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scrapy import Request

    from scrapy_capsolver.families.base import Challenge, TaskType

MAX_VALUE = 64 * 1024
"""Characters of a solution's value. Real tokens have 500 to 5,000."""

MAX_USER_AGENT = 512

_MAX_ITEMS = 1000


class _StandIns(Mapping[str, str]):
    """Something for every key: the solution of a rehearsal."""

    def __getitem__(self, key: str) -> str:
        return "rehearsal"

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


class TokenFamily:
    """Base class of the families whose solution is good for one request. See :class:`base.Family`."""

    name: str
    types: Mapping[str, TaskType]
    kind: SolutionKind = SolutionKind.TOKEN
    field: str
    """Form field where solutions of this family usually go."""
    lifetime: float | None = None
    """Seconds for which a solution is accepted, or None where nobody says."""
    solution_key: str
    """Where CapSolver's ``solution`` object holds the token."""
    solution_keys: frozenset[str] | None = None
    """What else may be placed from there, or None where nobody says what there is."""

    def prepare(self, challenge: Challenge) -> Challenge:
        return challenge

    def task(self, challenge: Challenge, fetched: Sequence[bytes], after: str) -> dict[str, Any]:
        """``fetched`` is not needed: these tasks are made from the page alone."""
        return task_of(challenge, self.types)

    def value(self, solution: Mapping[str, Any]) -> str:
        """The main value. Raises :class:`UnsolvableCaptchaError`, which names the key and shows no value."""
        value = solution.get(self.solution_key)
        if not isinstance(value, str) or not value.strip():
            raise UnsolvableCaptchaError(f'CapSolver\'s solution has no text in "{self.solution_key}"')
        if len(value) > MAX_VALUE:
            raise UnsolvableCaptchaError(
                f'CapSolver\'s solution holds {len(value)} characters in "{self.solution_key}": more than any token has'
            )
        if as_text(value) is None:
            raise UnsolvableCaptchaError(f'CapSolver\'s solution holds broken text in "{self.solution_key}"')
        return value

    def values(self, solution: Mapping[str, Any]) -> Mapping[str, str]:
        """What can be placed of a solution, by its keys, as text; what cannot is left out."""
        return {key: text for key, value in solution.items() if (text := as_text(value)) is not None}

    def keys(self, challenge: Challenge) -> frozenset[str] | None:
        """The keys that the solution of this challenge may have; None where nobody says."""
        return self.solution_keys

    def apply(
        self, request: Request, challenge: Challenge, solution: Mapping[str, Any], inject: Inject | None
    ) -> Request:
        """The request with the solution in it, sent by the user agent that earned it where CapSolver names one."""
        values = dict(self.values(solution))
        wanted = self.places(challenge, inject).keys
        if MAIN in wanted:
            values[MAIN] = self.value(solution)
        for key in wanted:
            if key not in values and key in solution:
                raise UnsolvableCaptchaError(
                    f'CapSolver\'s solution has a value in "{clean(key, 60)}" that cannot be put into a request '
                    f'({type(solution[key]).__name__}): leave inject out, and response.meta["capsolver_solution"] has it'
                )
        return with_user_agent(self._put(request, challenge, values, inject), solution)

    def rehearse(self, request: Request, challenge: Challenge, inject: Inject | None) -> None:
        """What :meth:`apply` does, with values that stand for the solution's."""
        places = self.places(challenge, inject)
        known = self.keys(challenge)
        for key in places.keys:
            if key != MAIN and known is not None and key not in known:
                raise CaptchaConfigurationError(
                    f'inject: "{clean(key, 60)}" is no key of the solution of {challenge.type}; '
                    f"allowed are {', '.join(sorted(known))}"
                )
        self._put(request, challenge, _StandIns(), inject)

    def places(self, challenge: Challenge, inject: Inject | None) -> Inject:
        """Where the solution goes: as the flag says, else the fields that the page or the family names."""
        return inject or Inject(form=challenge.fields or challenge.field or self.field)

    def hands_over(self, challenge: Challenge, inject: Inject | None) -> bool:
        """Is the solution for the spider's own code? Then no request is made of it: the page goes on with it."""
        return self.kind is SolutionKind.ANSWER and inject is None

    def _put(self, request: Request, challenge: Challenge, values: Mapping[str, str], inject: Inject | None) -> Request:
        places = self.places(challenge, inject)
        if places.form is not None and challenge.form is not None and request.method in {"GET", "HEAD"}:
            request = submit(request, challenge.form, challenge.url)
        return place(request, places, values)


def as_text(value: object) -> str | None:
    """A value of a solution as it goes into a request: text, a number as in JSON, a list of them joined by commas.

    None for what is neither, is blank, is broken text, or is longer than :data:`MAX_VALUE`.
    """
    if isinstance(value, list):
        items = [_scalar(item) for item in value[: _MAX_ITEMS + 1]]
        text = None if None in items or len(items) > _MAX_ITEMS else ",".join(item or "" for item in items)
    else:
        text = _scalar(value)
    return text if text and text.strip() and len(text) <= MAX_VALUE else None


def _scalar(value: object) -> str | None:
    if isinstance(value, bool):
        return None
    try:
        if isinstance(value, (int, float)):
            return json.dumps(value, allow_nan=False)
        if isinstance(value, str) and len(value) <= MAX_VALUE:
            value.encode()
            return value
    except ValueError:  # no number of JSON's, or half of a character
        return None
    return None


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
