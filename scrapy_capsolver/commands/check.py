"""Is everything set up? Settings, key, balance, place among the middlewares.

Looks at the settings of the project that it is called in, or at those that -s gives, and asks
CapSolver for the balance (getBalance), which costs nothing. Each line begins with "ok", or with
"FIX" and says what to do. The exit code is 0 where all is ok. The key is never shown.

  scrapy capsolver check
  scrapy capsolver check --offline -s CAPSOLVER_BUDGET=5
  CAPSOLVER_API_KEY=CAP-... scrapy capsolver check -s ADDONS='{"scrapy_capsolver.Addon": 500}'
"""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import scrapy
from scrapy import Spider
from scrapy.crawler import Crawler
from scrapy.exceptions import NotConfigured
from scrapy.settings import Settings
from scrapy.utils.misc import load_object

import scrapy_capsolver
from scrapy_capsolver._compat.addons import load_addons
from scrapy_capsolver.commands._account import ask_balance, describe, is_current
from scrapy_capsolver.commands._console import say, say_json
from scrapy_capsolver.errors import CaptchaError
from scrapy_capsolver.middleware import CapSolverMiddleware
from scrapy_capsolver.order import ORDER, configured, misplaced
from scrapy_capsolver.settings import SettingError, is_enabled, read_settings, unknown_settings
from scrapy_capsolver.stores import MEMORY, StoreError, is_redis, look_at_redis, open_store, shown

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

_OLDEST = (2, 13)
_KEY = "CAPSOLVER_API_KEY"
_ASYNCIO = "twisted.internet.asyncioreactor.AsyncioSelectorReactor"


@dataclass(frozen=True, slots=True)
class Line:
    """``text`` is what is, or where it is not ``ok``, what to do."""

    name: str
    text: str
    ok: bool = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--offline", action="store_true", help="do not ask CapSolver for the balance")


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    lines = list(_lines(settings, offline=arguments.offline))
    if arguments.json:
        say_json({"ok": all(line.ok for line in lines), "lines": [asdict(line) for line in lines]})
    else:
        width = max(len(line.name) for line in lines)
        for line in lines:
            say(f"{'ok ' if line.ok else 'FIX'}  {line.name:<{width}}  {line.text}")
    return 0 if all(line.ok for line in lines) else 1


def _lines(settings: Settings, *, offline: bool) -> Iterator[Line]:
    yield _versions()
    yield _reactor(settings)
    crawled = Crawler(Spider, settings)
    try:
        applied = load_addons(crawled)
    except Exception as error:  # noqa: BLE001 - whatever the project's add-ons raise
        yield Line("add-ons", f"an add-on of ADDONS fails ({type(error).__name__}: {error})", ok=False)
    else:
        if not applied:
            yield Line("add-ons", "cannot be applied without a crawl in this Scrapy: what they set is not seen here")
        yield _middleware(crawled.settings)
    wrong = list(_wrong_settings(crawled.settings))
    key = [text for name, text in wrong if name == _KEY]
    others = [text for name, text in wrong if name != _KEY]
    yield from (Line("setting", text, ok=False) for text in others)
    if not others:
        given = sorted(name for name in crawled.settings if str(name).startswith("CAPSOLVER_") and name != _KEY)
        yield Line("settings", ", ".join(given) or "all have their defaults")
        yield _store(crawled.settings)
    where = "the settings" if crawled.settings.get(_KEY) else "the environment"
    yield Line("key", key[0], ok=False) if key else Line("key", f"from {where}")
    if not offline and not wrong:
        yield _account(crawled.settings)


def _versions() -> Line:
    here = f"Scrapy {scrapy.__version__}, scrapy-capsolver {scrapy_capsolver.__version__}, Python {platform.python_version()}"
    if scrapy.version_info[:2] < _OLDEST:
        return Line("versions", f"{here}: Scrapy {'.'.join(map(str, _OLDEST))} or newer is needed", ok=False)
    return Line("versions", here)


def _reactor(settings: Settings) -> Line:
    if not settings.getbool("TWISTED_REACTOR_ENABLED", default=True):
        return Line("reactor", "TWISTED_REACTOR_ENABLED is False: set it to True, the plugin needs a reactor", ok=False)
    path = settings["TWISTED_REACTOR"]
    if not path:
        return Line("reactor", "Twisted's default")
    try:
        load_object(path)
    except (ImportError, AttributeError, NameError, ValueError, TypeError) as error:
        return Line("reactor", f"TWISTED_REACTOR is {path!r}, which cannot be loaded: {error}", ok=False)
    return Line("reactor", str(path))


def _middleware(settings: Settings) -> Line:
    """Its place, as the downloader would have it."""
    name = "middleware"
    try:
        if not is_enabled(settings):
            return Line(name, "CAPSOLVER_ENABLED is False: set it to True", ok=False)
    except SettingError:
        pass  # told with the other settings
    try:
        loaded = configured(settings)
    except (ImportError, AttributeError, NameError, ValueError, TypeError, NotConfigured) as error:
        return Line(name, f"DOWNLOADER_MIDDLEWARES cannot be loaded: {error}", ok=False)
    ours, number = next((pair for pair in loaded if issubclass(pair[0], CapSolverMiddleware)), (None, None))
    if ours is None:
        return Line(
            name, 'the plugin is not enabled: write ADDONS = {"scrapy_capsolver.Addon": 500} in settings.py', ok=False
        )
    wrong = misplaced([one for one, _ in loaded], ours)
    if wrong:
        return Line(
            name, f"at {number:g}, {'; '.join(one.text for one in wrong)}: its order number should be {ORDER}", ok=False
        )
    return Line(name, f"at {number:g}, in its place")


def _wrong_settings(settings: Settings) -> Iterator[tuple[str, str]]:
    """(name, what is wrong with it): each setting by itself, or a crawl would tell of one at a time."""
    names = [str(name) for name in settings if str(name).startswith("CAPSOLVER_") and name != _KEY]
    for name in sorted(names):
        alone = Settings({_KEY: "-", name: settings[name]})
        try:
            is_enabled(alone)
            read_settings(alone)
        except SettingError as error:
            yield name, str(error)
    for line in unknown_settings(settings):
        yield line.partition(" ")[0], line
    try:
        read_settings(Settings({_KEY: settings.get(_KEY)}))
    except SettingError as error:
        yield _KEY, str(error)


def _store(settings: Settings) -> Line:
    path = read_settings(Settings({_KEY: "-", "CAPSOLVER_STORE": settings.get("CAPSOLVER_STORE")})).store
    if path == MEMORY:
        return Line("store", "in memory: clearances and the ledger end with the crawl")
    try:
        if is_redis(path):
            look_at_redis(path)
        else:
            open_store(path).close()
    except StoreError as error:
        return Line("store", f"CAPSOLVER_STORE: {error}", ok=False)
    if is_redis(path) and str(settings["TWISTED_REACTOR"]) != _ASYNCIO:
        return Line("store", f'{shown(path)} needs asyncio: set TWISTED_REACTOR to "{_ASYNCIO}"', ok=False)
    return Line("store", shown(path))


def _account(settings: Settings) -> Line:
    try:
        balance = ask_balance(read_settings(settings))
    except (SettingError, CaptchaError) as error:
        return Line("account", str(error), ok=False)
    if balance.usd <= 0 and not any(map(is_current, balance.packages)):
        return Line("account", f"{describe(balance)}: charge the account at CapSolver", ok=False)
    return Line("account", describe(balance))
