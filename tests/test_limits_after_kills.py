"""A crawl that is killed by SIGKILL and started again spends no more than its limit allows over all its runs.

``python -m benchmarks kills`` does it at many more moments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.kills import LIMIT, PAGES, SPEED, run, trial
from benchmarks.service import service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def simulated() -> Iterator[Any]:
    with service(solve_seconds=(1, 8), speed=SPEED, latency=0.0) as running:
        yield running


@pytest.mark.parametrize(
    ("place", "moments"),
    [
        ("JOBDIR", [("reserved", 9), ("solved", 1)]),
        ("SQLite", [("sending", 5), ("settled", 1)]),
        ("both", [("created", 7), ("reserving", 1)]),
    ],
)
def test_no_kill_lets_a_limit_be_overshot(
    place: str, moments: list[tuple[str, int]], simulated: Any, tmp_path: Path
) -> None:
    done = trial(simulated, tmp_path, place, moments, budget=place == "both")
    assert done.kills == (-9, -9)
    assert 0 < done.created <= LIMIT
    assert done.paid <= done.created
    assert done.errors == {"CaptchaBudgetError": PAGES - done.pages}
    assert done.ledger >= done.created or place == "JOBDIR"


def test_a_run_that_ends_by_itself_begins_anew_with_a_store(simulated: Any, tmp_path: Path) -> None:
    """And one that was killed does not; in a JOBDIR all runs count."""
    simulated.post("reset", {})
    assert run(simulated.where, tmp_path, "SQLite", ("settled", 3), limit=3) == -9
    killed = simulated.get("state")["tasks"]["created"]
    for _ in range(2):
        run(simulated.where, tmp_path, "SQLite", None, limit=3)
    assert killed <= 3
    assert simulated.get("state")["tasks"]["created"] == killed + 3
    for _ in range(2):
        run(simulated.where, tmp_path, "JOBDIR", None, limit=3)
    assert simulated.get("state")["tasks"]["created"] == killed + 3 + 3
