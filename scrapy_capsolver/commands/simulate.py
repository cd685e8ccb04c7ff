"""Run a CapSolver and a captcha-gated shop on this machine.

For trying things out, and for the tests of your own spiders: it needs no account and costs
nothing. Prints where it listens and the settings that lead a crawl to it; serves until Ctrl-C.

  scrapy capsolver simulate
  scrapy capsolver simulate --api-port 8090 --site-port 8091 --solve-seconds 1:5
  scrapy capsolver simulate --quirk solve-failed:2 rate-limit/10
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy_capsolver.commands._console import literal, say
from scrapy_capsolver.simulator.__main__ import add_arguments, print_json, serve

if TYPE_CHECKING:
    import argparse

    from scrapy.settings import Settings

    from scrapy_capsolver.simulator import Simulator

__all__ = ["add_arguments", "run"]


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    return serve(arguments, print_json if arguments.json else _tell)


def _tell(simulator: Simulator) -> None:
    say(f"CapSolver  {simulator.api_url}")
    say(f"Shop       {simulator.site_url}")
    say()
    say("In settings.py:")
    say()
    say('    ADDONS = {"scrapy_capsolver.Addon": 500}')
    say(f"    CAPSOLVER_API_URL = {literal(simulator.api_url)}")
    say(f"    CAPSOLVER_API_KEY = {literal(simulator.key)}")
    say()
    say("Ctrl-C stops it.")
