from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.commands.shell import SECONDS, Project
from tests.processes import simulator_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def capsolver() -> Iterator[dict[str, str]]:
    """A simulator's addresses and key, for all tests of a module."""
    with simulator_process("--solve-seconds", SECONDS, "--latency", "0") as where:
        yield where


@pytest.fixture
def project(tmp_path: Path, capsolver: dict[str, str]) -> Project:
    """A Scrapy project that is set up as the README says."""
    project = Project(tmp_path / "project", capsolver)
    project.configure(
        ADDONS={"scrapy_capsolver.Addon": 500},
        CAPSOLVER_API_URL=capsolver["api"],
        CAPSOLVER_API_KEY=capsolver["key"],
    )
    return project
