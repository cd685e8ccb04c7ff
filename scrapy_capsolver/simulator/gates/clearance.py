"""The usual gate that a clearance opens: a page of its own until the visitor has the cookie."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy_capsolver.simulator.clearances import Clearance, site_of

from .base import Gate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scrapy_capsolver.simulator.visit import Visit


class ClearanceGate(Gate):
    """``cookie`` is the name of the cookie, which is bound to what :meth:`wanted` says of a visitor."""

    fields = ()
    cookie: str

    def wanted(self, visit: Visit) -> Clearance:
        """Return what the visitor's clearance must be good for: here, the whole site, his address and user agent."""
        return Clearance(self.name, site_of(visit.host), visit.address, visit.agent)

    def grace(self, visit: Visit) -> float:
        """Return for how many seconds a clearance stays good after it was replaced."""
        return float("inf")

    def clearance(self, visit: Visit) -> str | None:
        value = visit.cookie(self.cookie)
        if not value:
            return "missing"
        return visit.site.clearances.refusal(value, self.wanted(visit), grace=self.grace(visit))

    # Such a gate has no form, and takes no solution.

    def head(self, visit: Visit) -> str:
        return ""

    def widget(self, visit: Visit) -> str:
        return ""

    def refusal(self, visit: Visit, solution: Mapping[str, str]) -> str | None:
        return "unknown"
