"""What lets a visitor pass without a solution: cookies that a vendor gave out for a site, and what they are bound to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .clock import SimulatedClock


@dataclass(frozen=True)
class Clearance:
    """What a clearance is good for.

    ``family`` is the name of the gate; ``site`` what :func:`site_of` says, or a host; ``address`` the one that the
    site sees, and ``agent`` the user agent, each of which may not matter; ``level`` is more than 1 after a second
    verification; ``expires`` is in simulated seconds.
    """

    family: str
    site: str
    address: str | None = None
    agent: str | None = None
    level: int = 1
    expires: float = float("inf")


@dataclass
class _Issued:
    clearance: Clearance
    replaced: float | None = None


class ClearanceRegistry:
    """All clearances that were given out, as the vendors know them."""

    def __init__(self, clock: SimulatedClock) -> None:
        self._clock = clock
        self._issued: dict[str, _Issued] = {}
        self.reset()

    def reset(self) -> None:
        self._issued.clear()
        self._counts: Counter[str] = Counter()
        self._renewed: Counter[str] = Counter()
        self._passed: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()

    def issue(self, text: str, clearance: Clearance) -> str:
        self._issued[text] = _Issued(clearance)
        self._counts[clearance.family] += 1
        return text

    def renew(self, text: str, successor: str) -> None:
        """Have ``successor`` take the place of a clearance, which grows stale from the first time on."""
        issued = self._issued[text]
        if issued.replaced is None:
            issued.replaced = self._clock.now()
        self._issued[successor] = _Issued(issued.clearance)
        self._renewed[issued.clearance.family] += 1

    def bind(self, text: str, address: str) -> None:
        """Have a clearance that is bound to no address be bound to this one."""
        issued = self._issued.get(text)
        if issued is not None and issued.clearance.address is None:
            issued.clearance = replace(issued.clearance, address=address)

    def known(self, text: str, family: str, site: str) -> bool:
        """Tell whether this was ever given out there, good or not."""
        issued = self._issued.get(text)
        return issued is not None and (issued.clearance.family, issued.clearance.site) == (family, site)

    def refusal(self, text: str, wanted: Clearance, *, grace: float = float("inf")) -> str | None:
        """Return nothing if the clearance lets this visitor pass, else the reason why not.

        ``grace`` is how long it stays good after it was replaced; what ``wanted`` says of the time is left alone.
        """
        reason = self._check(text, wanted, grace)
        if reason is None:
            self._passed[wanted.family] += 1
        else:
            self._refused[reason] += 1
        return reason

    def _check(self, text: str, wanted: Clearance, grace: float) -> str | None:
        issued = self._issued.get(text)
        if issued is None or issued.clearance.family != wanted.family:
            return "unknown"
        held, now = issued.clearance, self._clock.now()
        if held.site != wanted.site:
            return "wrong-host"
        if held.address is not None and held.address != wanted.address:
            return "wrong-address"
        if held.agent is not None and held.agent != wanted.agent:
            return "wrong-agent"
        if now >= held.expires:
            return "expired"
        if issued.replaced is not None and now >= issued.replaced + grace:
            return "stale"
        return None if held.level >= wanted.level else "insufficient"

    def state(self) -> dict[str, Any]:
        return {
            "issued": dict(self._counts),
            "renewed": dict(self._renewed),
            "passed": dict(self._passed),
            "refused": dict(self._refused),
        }


def site_of(host: str) -> str:
    """Return what the subdomains of a site have in common: of a name its last two parts, else the whole."""
    try:
        ip_address(host)
    except ValueError:
        return ".".join(host.split(".")[-2:])
    return host
