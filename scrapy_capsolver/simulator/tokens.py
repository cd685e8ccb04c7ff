"""The captcha vendors' side: tokens, what they are bound to, and the check a web site makes of them."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random

    from .clock import SimulatedClock


@dataclass(frozen=True)
class Binding:
    """What a token is good for.

    ``kind`` is the name of the gate family, such as ``recaptcha-v2-invisible``; ``host`` that of the page, without a
    port. The rest is compared only where one side names it, see :meth:`TokenRegistry.siteverify`.
    """

    kind: str
    site_key: str
    host: str
    action: str | None = None
    cdata: str | None = None
    data_s: str | None = None


@dataclass
class _Token:
    binding: Binding
    expires: float
    presented: int = 0
    spent: bool = False


class TokenRegistry:
    """All tokens that were issued, as the vendor that issued them knows them. Times are simulated seconds."""

    def __init__(self, clock: SimulatedClock) -> None:
        self._clock = clock
        self._tokens: dict[str, _Token] = {}
        self.accepted = 0
        self.presented_twice = 0
        self.refused: Counter[str] = Counter()

    def issue(self, binding: Binding, text: str, expires: float) -> str:
        self._tokens[text] = _Token(binding, expires)
        return text

    def siteverify(self, text: str, wanted: Binding) -> str | None:
        """Check and spend a token; return nothing if it is good, else the reason of the refusal.

        A vendor spends a token whenever a site with the right key asks about it, and then tells the site the rest
        (host, action), on which the site decides. Hence a token that is refused for its host is spent too.
        Source: developers.google.com/recaptcha/docs/verify and developers.cloudflare.com/turnstile.
        """
        token = self._tokens.get(text)
        reason = "unknown" if token is None else self._check(token, wanted)
        if reason is None:
            self.accepted += 1
        else:
            self.refused[reason] += 1
        return reason

    def _check(self, token: _Token, wanted: Binding) -> str | None:
        bound = token.binding
        token.presented += 1
        if token.presented == 2:
            self.presented_twice += 1
        if token.spent:
            return "used"
        if self._clock.now() >= token.expires:
            return "expired"
        if bound.site_key != wanted.site_key:
            return "wrong-site-key"
        token.spent = True
        if bound.host != wanted.host:
            return "wrong-host"
        if bound.kind != wanted.kind:
            return "wrong-kind"
        # A widget without an action or cdata yields a token without: only a wrong one is an offence.
        if bound.action is not None and wanted.action is not None and bound.action != wanted.action:
            return "wrong-action"
        if bound.cdata is not None and wanted.cdata is not None and bound.cdata != wanted.cdata:
            return "wrong-cdata"
        # A page that sets data-s, however, demands it back.
        if wanted.data_s is not None and bound.data_s != wanted.data_s:
            return "wrong-data-s"
        return None

    def state(self) -> dict[str, Any]:
        return {
            "issued": len(self._tokens),
            "accepted": self.accepted,
            "refused": dict(self.refused),
            "presented_twice": self.presented_twice,
        }

    def reset(self) -> None:
        self._tokens.clear()
        self.accepted = self.presented_twice = 0
        self.refused.clear()


def random_text(random: random.Random, length: int) -> str:
    """Return that many letters, digits, hyphens and underscores."""
    return urlsafe_b64encode(random.randbytes(length * 3 // 4 + 3))[:length].decode("ascii")
