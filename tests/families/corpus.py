"""What each page of ``tests/pages`` shows, in one place for the tests and for ``python -m benchmarks detection``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from scrapy.http import HtmlResponse, JsonResponse

from scrapy_capsolver.families import FAMILIES

if TYPE_CHECKING:
    from scrapy.http import TextResponse

PAGES = Path(__file__).parent.parent / "pages"

CORPUS: tuple[str, ...] = tuple(sorted(path.stem for path in PAGES.iterdir() if path.suffix in {".html", ".json"}))
"""Names of the pages. A name begins with that of the family that the page shows, or with ``none``."""

SHORT = {"v2": "recaptcha_v2", "v3": "recaptcha_v3"}
SEVERAL = {"v2_and_v3": frozenset({"recaptcha_v2", "recaptcha_v3"})}
BY_SELECTOR = frozenset({"image_to_text", "recaptcha_v2_classification", "aws_waf_classification", "vision_engine"})
"""Families whose captcha no page shows by itself: the flag says where it is."""

SENT: dict[str, tuple[int, dict[str, str]]] = {
    "cloudflare_challenge_gate": (403, {"cf-mitigated": "challenge", "Server": "cloudflare"}),
    "cloudflare_challenge_page": (403, {"Server": "cloudflare"}),
    "cloudflare_challenge_legacy": (503, {"Server": "cloudflare"}),
    "cloudflare_challenge_blocked": (403, {"Server": "cloudflare"}),
    "datadome_gate": (403, {"X-DataDome": "protected", "X-DD-B": "1"}),
    "datadome_interstitial": (403, {"X-DataDome": "protected"}),
    "datadome_frame": (403, {}),
    "datadome_banned": (403, {"X-DataDome": "protected"}),
    "datadome_xhr": (403, {"X-DataDome": "protected"}),
    "aws_waf_gate": (405, {"x-amzn-waf-action": "captcha"}),
    "aws_waf_challenge": (202, {"x-amzn-waf-action": "challenge"}),
    "aws_waf_challenge_only": (202, {}),
    "aws_waf_api": (200, {}),
    "aws_waf_login": (200, {}),
    "aws_waf_problem": (405, {}),
    "geetest_v3": (403, {}),
    "perimeterx_gate": (403, {}),
    "perimeterx_first_party": (403, {}),
    "none_cloudflare_rate_limit": (429, {"Server": "cloudflare", "Retry-After": "30"}),
    "none_cloudflare_forbidden": (403, {"Server": "cloudflare"}),
    "none_datadome_forbidden": (403, {"X-DataDome": "protected"}),
    "none_aws_waf_forbidden": (403, {}),
}
"""Status and headers that come with a page; those that are not named come with 200 and none."""


def expected_family(name: str) -> frozenset[str]:
    """The families that see their captcha on this page."""
    if name in SEVERAL:
        return SEVERAL[name]
    names = {**SHORT, "image": "image_to_text", **{family.name: family.name for family in FAMILIES}}
    begins = [prefix for prefix in names if name.startswith(f"{prefix}_") and names[prefix] not in BY_SELECTOR]
    return frozenset({names[max(begins, key=len)]} if begins else ())


def response_of(name: str, **changes: Any) -> TextResponse:
    """The page as its site sends it."""
    path = next(PAGES.glob(f"{name}.*"))
    status, headers = SENT.get(name, (200, {}))
    json = path.suffix == ".json"
    kind = "application/json" if json else "text/html; charset=utf-8"
    response = (JsonResponse if json else HtmlResponse)(
        "https://shop.example/list?page=2",
        status=status,
        headers={"Content-Type": kind, **headers},
        body=path.read_bytes(),
    )
    return response.replace(**changes) if changes else response
