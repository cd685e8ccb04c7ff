"""Every exception a user of this package can meet.

All of them are :class:`CaptchaError`, which is a Scrapy ``IgnoreRequest``: Scrapy hands it to the request's errback
and does not retry it. None of them ever carries an API key, a proxy password or a token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scrapy.exceptions import IgnoreRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self


class CaptchaError(IgnoreRequest):
    """A flagged request could not be brought past its captcha.

    ``message`` says what happened and what to do. The other attributes are for code:

    ``code``
        CapSolver's ``errorCode``, or ``None`` where CapSolver did not say one.
    ``attempts``
        Tasks that were created for this request, those included that failed or that CapSolver refused.
    ``possibly_paid``
        How many of those were charged, or may have been, in vain.
    """

    def __init__(self, message: str, *, code: str | None = None, attempts: int = 0, possibly_paid: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.attempts = attempts
        self.possibly_paid = possibly_paid

    def __str__(self) -> str:
        return self.message

    def add_context(self, where: str) -> None:
        """Say which captcha it was, and where."""
        self.message = f"{where}: {self.message}"

    def add_tasks(self, attempts: int, possibly_paid: int) -> None:
        """Count what was created for the same request besides, and how much of it may have been charged."""
        self.attempts += attempts
        self.possibly_paid += possibly_paid

    def shared(self) -> Self:
        """The same for another request that waited for the same solve, and for which nothing more was paid."""
        copy = type(self)(self.message, code=self.code)
        copy.__cause__ = self
        return copy


class CaptchaBudgetError(CaptchaError):
    """A limit of yours is reached: ``CAPSOLVER_BUDGET``, ``..._MAX_SOLVES`` or ``..._MAX_SOLVES_PER_DOMAIN``."""


class CaptchaConfigurationError(CaptchaError, ValueError):
    """A setting, a flag or a spider attribute is wrong: which one, what was given, and what is allowed."""


class UnsupportedCaptchaError(CaptchaError):
    """The page's captcha is none that can be solved, or its solution has no place to go. Nothing was paid."""


class UnsolvableCaptchaError(CaptchaError):
    """CapSolver, or the site, refused: the attempts allowed for this request are used up or would be wasted."""


class CaptchaProxyError(CaptchaError):
    """The request's proxy will not do: it lacks where the captcha needs one, CapSolver cannot reach it, or it is banned.

    Another proxy may do.
    """


class CapSolverAccountError(CaptchaError):
    """The account cannot solve: wrong key, no balance, or a task type it is not entitled to."""


class CapSolverUnavailableError(CaptchaError):
    """CapSolver cannot be reached, or answers that it is overloaded or that this client must wait."""


class CaptchaStoreError(CaptchaError):
    """The store, or the ``JOBDIR``, is away in which limits are counted: without it a limit could be overshot."""


class CaptchaTimeoutError(CaptchaError):
    """No solution within ``CAPSOLVER_TIMEOUT`` seconds."""


class CaptchaCancelledError(CaptchaError):
    """The crawl ended, or Scrapy gave the request up, while its captcha was being solved.

    ``open_task`` is the task that was open then, as plain data, for the crawl's next run.
    """

    def __init__(self, message: str, *, open_task: dict[str, Any] | None = None, **values: Any) -> None:
        super().__init__(message, **values)
        self.open_task = open_task

    def shared(self) -> Self:
        copy = super().shared()
        copy.open_task = self.open_task
        return copy


def store_away(seconds: float) -> CaptchaStoreError:
    return CaptchaStoreError(
        f"Redis, which CAPSOLVER_STORE names, did not come back within {seconds:g} s (CAPSOLVER_TIMEOUT); no task was created "
        "meanwhile"
    )


def journal_away(name: str, why: str) -> CaptchaStoreError:
    return CaptchaStoreError(
        f"{name} cannot be written ({why}), so a limit of yours could be overshot after a crash: no task was created"
    )


def store_fails(why: str) -> CaptchaStoreError:
    return CaptchaStoreError(
        f"Redis, which CAPSOLVER_STORE names, fails ({why}): is the prefix of its keys another's as well?"
    )


def to_plain(error: CaptchaError) -> dict[str, Any]:
    """What another worker is told of an error."""
    return {"name": type(error).__name__, "message": error.message, "code": error.code}


def from_plain(told: Mapping[str, Any]) -> CaptchaError:
    """The error that another worker met."""
    name, code = told.get("name"), told.get("code")
    kind = globals().get(name) if isinstance(name, str) else None
    if not (isinstance(kind, type) and issubclass(kind, CaptchaError)):
        kind = CaptchaError
    return kind(str(told.get("message")), code=code if isinstance(code, str) else None)
