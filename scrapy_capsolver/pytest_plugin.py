"""Fixtures for tests of spiders: a CapSolver and a captcha-gated site on this machine.

pytest loads this module in every run where the package is installed, so that it imports nothing but pytest until one of
its fixtures is used. The simulator runs in a process of its own: the test's crawls may run in this one, on whatever
reactor or event loop, or in others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scrapy_capsolver.testing import GatedSite, RunningSimulator


@pytest.fixture(scope="session")
def _capsolver_simulator_process() -> Iterator[RunningSimulator]:
    from scrapy_capsolver.testing import running_simulator  # noqa: PLC0415

    with running_simulator() as simulator:
        yield simulator


@pytest.fixture
def capsolver_simulator(_capsolver_simulator_process: RunningSimulator) -> RunningSimulator:
    """A CapSolver that has solved nothing yet, and nothing of whose faults an earlier test has switched on."""
    _capsolver_simulator_process.restore()
    return _capsolver_simulator_process


@pytest.fixture
def gated_site(capsolver_simulator: RunningSimulator) -> GatedSite:
    """The shop that this simulator's CapSolver opens."""
    return capsolver_simulator.site
