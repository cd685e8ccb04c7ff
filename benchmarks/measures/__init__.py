"""One module for each thing that is measured.

Each has ``TITLE``, ``TEXT`` (what it is, for the docs), ``RUNS``, ``measure(runs, quick)``, which yields rows as they
come, ``tables(rows)``, and ``chart(rows, figure)``, which draws into a matplotlib figure.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

NAMES = ("mixed", "latency", "cost", "overhead", "scale", "startup")


def measure(name: str) -> ModuleType:
    return import_module(f"benchmarks.measures.{name}")
