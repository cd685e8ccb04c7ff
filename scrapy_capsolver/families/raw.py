"""Task types that this version does not know: passed to CapSolver as the flag has them, where it says ``inject``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scrapy_capsolver.errors import CaptchaConfigurationError, UnsolvableCaptchaError
from scrapy_capsolver.families.inject import named
from scrapy_capsolver.families.solution import as_text, read_answer
from scrapy_capsolver.families.token import TokenFamily

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scrapy_capsolver.families._page.page import Page
    from scrapy_capsolver.families.base import Challenge, TaskType
    from scrapy_capsolver.families.inject import Inject

# What the known types have their main value in, the more telling first.
_MAIN_KEYS = ("token", "gRecaptchaResponse", "text", "cookie", "validate", "answer", "response")
# What they have beside it.
_OTHER_KEYS = frozenset({"userAgent", "secChUa", "type", "createTime", "expireTime"})


class Raw(TokenFamily):
    name = "raw"
    field = ""
    types: Mapping[str, TaskType] = {}

    def detect(self, page: Page, fields: Mapping[str, Any]) -> Challenge | None:
        """Never: nothing is known of what it looks like."""
        return None

    def main(self, solution: Mapping[str, Any]) -> str | None:
        """Return the value under a key that other types have it in, else the only text there is."""
        known = read_answer(solution, _MAIN_KEYS)
        texts = [value for key, value in solution.items() if key not in _OTHER_KEYS and isinstance(value, str)]
        return as_text(texts[0]) if known is None and len(texts) == 1 else known

    def value(self, solution: Mapping[str, Any]) -> str:
        text = self.main(solution)
        if text is not None:
            return text
        raise UnsolvableCaptchaError(
            f"CapSolver's solution has no single text that must be the one; {named(solution)}. Say which in the flag: "
            'inject {"form": {"name of the field": "key of the solution"}}'
        )

    def places(self, challenge: Challenge, inject: Inject | None) -> Inject:
        if inject is None:
            raise CaptchaConfigurationError(
                f'inject: none was given, and nothing is known of {challenge.type}; give the place, {{"form": "field name"}}'
            )
        return inject
