"""What the tests know about the families with tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scrapy_capsolver.simulator import Simulator

TASKS: dict[str, dict[str, Any]] = {
    "recaptcha-v2": {"type": "ReCaptchaV2TaskProxyLess"},
    "recaptcha-v2-invisible": {"type": "ReCaptchaV2TaskProxyLess", "isInvisible": True},
    "recaptcha-v2-enterprise": {"type": "ReCaptchaV2EnterpriseTaskProxyLess"},
    "recaptcha-v3": {"type": "ReCaptchaV3TaskProxyLess", "pageAction": "view"},
    "recaptcha-v3-enterprise": {"type": "ReCaptchaV3EnterpriseTaskProxyLess", "pageAction": "view"},
    "turnstile": {"type": "AntiTurnstileTaskProxyLess", "metadata": {"action": "view"}},
}


def field(family: str) -> str:
    return "cf-turnstile-response" if family == "turnstile" else "g-recaptcha-response"


def task_for(simulator: Simulator, family: str, url: str) -> dict[str, Any]:
    return {**TASKS[family], "websiteURL": url, "websiteKey": simulator.site_keys[family]}
