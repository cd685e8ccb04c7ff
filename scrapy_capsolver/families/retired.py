"""Task types that CapSolver no longer offers, and what became of them.

Sources: docs.capsolver.com/en/guide/support/ (the 2026 menu, which has none of these), CapSolver's older client
libraries, which do, and public clients up to 2026-03. A retired type costs a round trip and an error, which counts
against the account: refuse it here.
"""

from __future__ import annotations

RETIRED: dict[str, str] = {
    **dict.fromkeys(
        (
            "HCaptchaTask",
            "HCaptchaTaskProxyLess",
            "HCaptchaEnterpriseTask",
            "HCaptchaEnterpriseTaskProxyLess",
            "HCaptchaTurboTask",
        ),
        "CapSolver withdrew hCaptcha in 2025; nothing replaces it",
    ),
    "HCaptchaClassification": "CapSolver withdrew hCaptcha in 2025; VisionEngine reads other pictures",
    **dict.fromkeys(
        ("FunCaptchaTask", "FunCaptchaTaskProxyLess"),
        "CapSolver withdrew FunCaptcha (Arkose Labs) in 2024; nothing replaces it",
    ),
    "FunCaptchaClassification": "CapSolver withdrew FunCaptcha (Arkose Labs) in 2024; VisionEngine reads other pictures",
    "GeeTestTask": "CapSolver solves GeeTest without a proxy of yours now; use GeeTestTaskProxyLess",
    **dict.fromkeys(
        ("AntiImpervaTask", "AntiImpervaTaskProxyLess"), "CapSolver took Imperva off its list; nothing replaces it"
    ),
    **dict.fromkeys(
        ("AntiCyberSiAraTask", "AntiCyberSiAraTaskProxyLess"),
        "CapSolver took CyberSiARA off its list; nothing replaces it",
    ),
    "AntiKasadaTask": "CapSolver took Kasada off its list; nothing replaces it",
    **dict.fromkeys(
        ("AntiAkamaiBMPTask", "AntiAkamaiWebTask"), "CapSolver took Akamai off its list; nothing replaces it"
    ),
    "FriendlyCaptchaTaskProxyless": "CapSolver no longer lists Friendly Captcha, as of 2026; nothing replaces it",
    "YandexCaptchaTaskProxyLess": "CapSolver no longer lists Yandex SmartCaptcha, as of 2026; nothing replaces it",
}
"""Type -> what happened, and what to use instead."""
