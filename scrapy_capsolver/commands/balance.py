"""The account's balance and packages.

Asks CapSolver once (getBalance); that costs nothing.

  scrapy capsolver balance
  scrapy capsolver balance --json
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from scrapy_capsolver.commands._account import ask_balance, is_current
from scrapy_capsolver.commands._console import fail, say, say_json
from scrapy_capsolver.errors import CaptchaError
from scrapy_capsolver.settings import SettingError, read_settings

if TYPE_CHECKING:
    import argparse

    from scrapy.settings import Settings

    from scrapy_capsolver.api.replies import Package


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    try:
        balance = ask_balance(read_settings(settings))
    except (SettingError, CaptchaError) as error:
        return fail(error, as_json=arguments.json)
    if arguments.json:
        packages = [
            {"title": one.title, "calls": one.calls, "expires": _expires(one), "expired": not is_current(one)}
            for one in balance.packages
        ]
        say_json({"balance_usd": balance.usd, "packages": packages})
        return 0
    say(f"{balance.usd:.4f} USD")
    for one in balance.packages:
        until = f"{'until' if is_current(one) else 'expired'} {_expires(one)}" if one.expires else "without an end"
        say(f"package {one.title!r}: {one.calls} calls, {until}")
    if not balance.packages:
        say("no packages")
    return 0


def _expires(package: Package) -> str | None:
    """ISO 8601, in UTC."""
    if not package.expires:
        return None
    try:
        return datetime.fromtimestamp(package.expires, timezone.utc).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):  # a year that no calendar has
        return str(package.expires)
