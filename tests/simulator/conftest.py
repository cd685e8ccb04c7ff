from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from twisted.internet.task import Clock

from scrapy_capsolver.simulator import Simulator
from tests import proxies

from .visitor import Caller, Visitor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def simulate() -> Iterator[Callable[..., Simulator]]:
    """Start simulators that are stopped after the test."""
    started: list[Simulator] = []

    def start(**options: Any) -> Simulator:
        simulator = Simulator(**{"latency": 0, **options})
        simulator.start()
        assert simulator.api_url
        started.append(simulator)
        return simulator

    yield start
    for simulator in started:
        pytest_twisted.blockon(simulator.stop())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def simulator(simulate: Callable[..., Simulator], clock: Clock) -> Simulator:
    """A simulator whose time stands still until the test moves the clock."""
    return simulate(timer=clock)


@pytest.fixture
def caller(simulator: Simulator) -> Caller:
    return Caller(simulator)


@pytest.fixture
def visitor(simulator: Simulator) -> Visitor:
    return Visitor(simulator)


@pytest.fixture(scope="session")
def proxy() -> Iterator[proxies.Running]:
    """A proxy whose credentials have to be encoded."""
    with proxies.proxy() as running:
        yield running
