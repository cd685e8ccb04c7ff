"""What single-use tokens have in common: values from the solution, put into one request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scrapy_capsolver.errors import CaptchaConfigurationError, UnsolvableCaptchaError, UnsupportedCaptchaError
from scrapy_capsolver.families._page.forms import submit
from scrapy_capsolver.families._page.text import clean
from scrapy_capsolver.families._page.verdict import CAPTCHA_FIELDS
from scrapy_capsolver.families.base import SolutionKind
from scrapy_capsolver.families.inject import MAIN, Inject, place
from scrapy_capsolver.families.solution import MAX_VALUE, as_text, member, read_agent, read_token

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scrapy import Request

    from scrapy_capsolver.families.base import Challenge, TaskType


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
        """Return the main value. Raises :class:`UnsolvableCaptchaError`, which names the key and shows no value."""
        text = self.main(solution)
        if text is not None:
            return text
        found = member(solution, self.solution_key)
        if not isinstance(found, str) or not found.strip():
            raise UnsolvableCaptchaError(f'CapSolver\'s solution has no text in "{self.solution_key}"')
        if len(found) > MAX_VALUE:
            raise UnsolvableCaptchaError(
                f'CapSolver\'s solution holds {len(found)} characters in "{self.solution_key}": more than any token has'
            )
        raise UnsolvableCaptchaError(f'CapSolver\'s solution holds broken text in "{self.solution_key}"')

    def main(self, solution: Mapping[str, Any]) -> str | None:
        """Return the main value, or None if there is none that can be used."""
        return read_token(solution, self.solution_key)

    def complete(self, solution: Mapping[str, Any], task: Mapping[str, Any]) -> dict[str, Any]:
        """Return the solution with its values under their documented names, and with the task's user agent if it names none."""
        full = {**solution, **self._spelled(solution)}
        main = self.main(solution)
        if main is not None and hasattr(self, "solution_key"):
            full[self.solution_key] = main
        agent = read_agent(solution, task)
        return full if agent is None else {**full, "userAgent": agent}

    def values(self, solution: Mapping[str, Any]) -> Mapping[str, str]:
        """Return what can be placed of a solution, by its keys, as text; what cannot is left out."""
        named = {**solution, **self._spelled(solution)}
        return {key: text for key, value in named.items() if (text := as_text(value)) is not None}

    def _spelled(self, solution: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the solution has under other spellings of the documented names."""
        missing = (self.solution_keys or frozenset()) - solution.keys()
        return {key: value for key in missing if (value := member(solution, key)) is not None}

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
        if not self.hands_over(challenge, inject):
            self._check_place(request, challenge, inject)
        self._put(request, challenge, _StandIns(), inject)

    def places(self, challenge: Challenge, inject: Inject | None) -> Inject:
        """Where the solution goes: as the flag says, else the fields that the page or the family names."""
        return inject or Inject(form=challenge.fields or challenge.field or self.field)

    def hands_over(self, challenge: Challenge, inject: Inject | None) -> bool:
        """Return whether the solution is for the spider's own code: then the page goes to the callback with it.

        So it is for an answer without a place, and for a form with fields that a person would have to fill in.
        """
        return inject is None and (self.kind is SolutionKind.ANSWER or bool(self.unfilled(challenge)))

    def unfilled(self, challenge: Challenge) -> tuple[str, ...]:
        """Return the names of the form's fields that are empty and would have to be filled in by a person."""
        own = {self.field, challenge.field, *challenge.fields, *CAPTCHA_FIELDS}
        return tuple(name for name in challenge.form.asked if name not in own) if challenge.form is not None else ()

    def _check_place(self, request: Request, challenge: Challenge, inject: Inject | None) -> None:
        """Raise :class:`UnsupportedCaptchaError` if the page has no place for the solution, and the flag names none."""
        if inject is None and challenge.form is None and request.method in {"GET", "HEAD"}:
            raise UnsupportedCaptchaError(
                f"the page has no form for the solution, so a script of the site would have to send it; nothing was bought. "
                f'Say where it goes: "inject": {{"form": "{self.field}"}} for the body of a POST request, or "query", "header", '
                '"json", "cookie"'
            )

    def _put(self, request: Request, challenge: Challenge, values: Mapping[str, str], inject: Inject | None) -> Request:
        places = self.places(challenge, inject)
        if places.form is not None and challenge.form is not None and request.method in {"GET", "HEAD"}:
            request = submit(request, challenge.form, challenge.url)
        return place(request, places, values)


def task_of(challenge: Challenge, types: Mapping[str, TaskType]) -> dict[str, Any]:
    """The task as the challenge has it, without the keys that are this package's own."""
    own = types[challenge.type].own if challenge.type in types else frozenset()
    params = {name: value for name, value in challenge.params.items() if name not in own}
    return {"type": challenge.type, "websiteURL": challenge.url, **params}


def with_user_agent(request: Request, solution: Mapping[str, Any]) -> Request:
    """``request`` as sent by the solution's ``userAgent``; unchanged where that is not one that can be sent."""
    agent = read_agent(solution)
    if agent is None:
        return request
    headers = request.headers.copy()
    headers["User-Agent"] = agent
    return request.replace(headers=headers)
