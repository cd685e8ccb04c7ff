"""What gets a crawl past its captchas: this plugin, and what its users would otherwise write. One module each.

A module has ``TITLE``, ``FLAGGED`` (whether requests are flagged for this plugin), ``settings()`` for the crawl, and
``set_up(api_url, key, speed)``, which points the SDK at the simulator and, where its clock runs ``speed`` times as
fast, divides the SDK's own waits by that: no SDK is asked to poll more or less often than it would by itself.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

PEERS = ("capsolver_blocking", "capsolver_thread", "python3_capsolver_aio", "capsolver_core_aio")
FLOORS = ("ideal", "ideal_with_calls")
ALL = (*FLOORS, "ours", *PEERS)


def contender(name: str) -> ModuleType:
    return import_module(f"benchmarks.contenders.{name}")
