"""How long the workers of a cluster wait for each other and for their server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timings:
    """All are seconds. Workers of one cluster must have the same ``alive``."""

    beat: float = 2.0
    """Between two signs of life."""
    alive: float = 10.0
    """After which a silent worker is dead. The time in which the server stood still does not count."""
    answer: float = 3.0
    """For an answer of the server, or a connection."""
    retry: float = 0.5
    """Between two tries to connect."""
    grace: float = 3.0
    """For which limits are held that the server may have forgotten, until all workers have said what they know."""
    look: float = 5.0
    """Between two looks at limits that are waited for, should the news of them get lost."""
    quiet: float = 5.0
    """Without news, after which the server is asked whether it is still there."""
    leave: float = 5.0
    """To write the last at the end of a crawl."""
    margin: float = 0.05
    """After a lease should have ended, before it is looked at."""
    show: float = 5.0
    """Between two records for the report."""
