"""What a solved task costs. The API never says: spend can only be estimated.

Source: www.capsolver.com as read by a third party on 2026-10-07, USD per 1000 solves. CAPSOLVER_PRICES overrides it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

USD_PER_1000: dict[str, float] = {
    "ReCaptchaV2TaskProxyLess": 0.8,
    "ReCaptchaV2Task": 0.8,
    "ReCaptchaV2EnterpriseTask": 1.0,
    "ReCaptchaV2EnterpriseTaskProxyLess": 1.0,
    "ReCaptchaV3Task": 1.0,
    "ReCaptchaV3TaskProxyLess": 1.0,
    "ReCaptchaV3EnterpriseTask": 3.0,
    "ReCaptchaV3EnterpriseTaskProxyLess": 3.0,
    "AntiTurnstileTaskProxyLess": 1.2,
    "ImageToTextTask": 0.4,
}


def price_of(task_type: str, overrides: Mapping[str, float]) -> float | None:
    """USD for one solve, or None where no price is known."""
    per_1000 = overrides.get(task_type, USD_PER_1000.get(task_type))
    return None if per_1000 is None else per_1000 / 1000
