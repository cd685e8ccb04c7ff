"""Gets a Scrapy crawl past captchas through CapSolver, without blocking the reactor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy_capsolver.addon import Addon
from scrapy_capsolver.errors import (
    CapSolverAccountError,
    CapSolverUnavailableError,
    CaptchaBudgetError,
    CaptchaCancelledError,
    CaptchaConfigurationError,
    CaptchaError,
    CaptchaProxyError,
    CaptchaTimeoutError,
    UnsolvableCaptchaError,
    UnsupportedCaptchaError,
)

if TYPE_CHECKING:
    from scrapy_capsolver.middleware import CapSolverMiddleware

__version__ = "0.1.0"

__all__ = [
    "Addon",
    "CapSolverAccountError",
    "CapSolverMiddleware",
    "CapSolverUnavailableError",
    "CaptchaBudgetError",
    "CaptchaCancelledError",
    "CaptchaConfigurationError",
    "CaptchaError",
    "CaptchaProxyError",
    "CaptchaTimeoutError",
    "UnsolvableCaptchaError",
    "UnsupportedCaptchaError",
]


def __getattr__(name: str) -> object:
    """The middleware on its first use: it loads treq, which ``scrapy list`` and its like have no need of."""
    if name == "CapSolverMiddleware":
        from scrapy_capsolver.middleware import CapSolverMiddleware  # noqa: PLC0415

        return CapSolverMiddleware
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
