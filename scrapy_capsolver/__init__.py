"""Gets a Scrapy crawl past captchas through CapSolver, without blocking the reactor."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scrapy_capsolver import captcha
    from scrapy_capsolver.addon import Addon
    from scrapy_capsolver.client import CapSolver, Solution
    from scrapy_capsolver.contracts import CapSolverContract
    from scrapy_capsolver.errors import (
        CapSolverAccountError,
        CapSolverUnavailableError,
        CaptchaBudgetError,
        CaptchaCancelledError,
        CaptchaConfigurationError,
        CaptchaError,
        CaptchaProxyError,
        CaptchaStoreError,
        CaptchaTimeoutError,
        UnsolvableCaptchaError,
        UnsupportedCaptchaError,
    )
    from scrapy_capsolver.middleware import CapSolverMiddleware

__version__ = "0.1.0"

__all__ = [
    "Addon",
    "CapSolver",
    "CapSolverAccountError",
    "CapSolverContract",
    "CapSolverMiddleware",
    "CapSolverUnavailableError",
    "CaptchaBudgetError",
    "CaptchaCancelledError",
    "CaptchaConfigurationError",
    "CaptchaError",
    "CaptchaProxyError",
    "CaptchaStoreError",
    "CaptchaTimeoutError",
    "Solution",
    "UnsolvableCaptchaError",
    "UnsupportedCaptchaError",
    "captcha",
]

_ELSEWHERE = {
    "Addon": "addon",
    "CapSolver": "client",
    "CapSolverContract": "contracts",
    "CapSolverMiddleware": "middleware",
    "Solution": "client",
}


def __getattr__(name: str) -> object:
    """Each name on its first use. pytest loads this module in each of its runs, for the plugin: Scrapy comes later."""
    if name == "captcha":
        return import_module("scrapy_capsolver.captcha")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_ELSEWHERE.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
