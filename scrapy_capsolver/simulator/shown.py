"""What the site's pages have shown to visitors, as far as a solver or the site has to know it again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .clock import SimulatedClock


@dataclass
class Shown:
    """One challenge: where and to whom it was shown, in simulated seconds, and what else it consists of.

    ``taken`` tells that a solver has begun with it: most are good for one attempt. ``solution`` is what came of it.
    """

    host: str
    address: str
    agent: str
    session: str
    at: float
    details: Mapping[str, str] = field(default_factory=dict)
    taken: bool = False
    solution: Mapping[str, str] = field(default_factory=dict)


class ShownChallenges:
    """All challenges, by the name of the gate and the challenge's own id."""

    def __init__(self, clock: SimulatedClock) -> None:
        self._clock = clock
        self._shown: dict[tuple[str, str], Shown] = {}

    def reset(self) -> None:
        self._shown.clear()

    def add(self, family: str, name: str, shown: Shown) -> None:
        self._shown[family, name] = shown

    def nobody(self, host: str, solution: Mapping[str, str]) -> Shown:
        """Return a challenge that no page has shown: the vendor gave it to the solver."""
        return Shown(host, "", "", "", self._clock.now(), solution=solution)

    def find(self, family: str, name: object, *, seconds: float = float("inf")) -> Shown | None:
        """Return a challenge that was shown within the last ``seconds``, if there is such a one."""
        shown = self._shown.get((family, name)) if isinstance(name, str) else None
        return shown if shown is not None and self._clock.now() < shown.at + seconds else None

    def take(self, family: str, name: object, *, seconds: float) -> Shown | None:
        """Likewise, but only once."""
        shown = self.find(family, name, seconds=seconds)
        if shown is None or shown.taken:
            return None
        shown.taken = True
        return shown
