"""A CapSolver and a captcha-gated site that run on this machine, for tests, benchmarks and trying things out.

It is written against CapSolver's public documentation, and shares nothing with the client in this package, so that an
error in one shows in the other.
"""

from .quirks import QUIRKS, Quirk
from .server import Simulator

__all__ = ["QUIRKS", "Quirk", "Simulator"]
