"""CAPSOLVER_* settings, read once into one typed, validated object.

Every setting can be given as a string, since Scrapy Cloud and ``-s`` send strings.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from scrapy_capsolver._utils.numbers import finite, whole
from scrapy_capsolver._utils.urls import canonical_host
from scrapy_capsolver.stores.base import StoreError
from scrapy_capsolver.stores.redis.address import Address, is_redis

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scrapy.settings import BaseSettings

API_URL = "https://api.capsolver.com"
ON_ERROR = ("raise", "pass")
ON_LIMIT = ("raise", "close")
PROXIED = ("auto", "always", "never")
WINDOWS = ("run", "hour", "day")
# Sums of more would not be exact everywhere: Redis counts in floats, SQLite in 64 bits, and both in nano-dollars.
MOST = 1_000_000_000
MOST_USD = 1_000_000


class SettingError(ValueError):
    """A setting is wrong: its name, what was given, and what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CapSolverSettings:
    """The settings as the package uses them; see docs/settings.rst for what each means."""

    api_key: str = field(repr=False)
    api_url: str = API_URL
    app_id: str = ""
    auto: bool = False
    allowed_domains: tuple[str, ...] = ()
    concurrency: int = 100
    max_pending: int = 1000
    timeout: float = 150.0
    retry_times: int = 2
    on_error: str = "raise"
    max_solves: int | None = None
    max_solves_per_domain: int | None = None
    budget: float | None = None
    on_limit: str = "raise"
    max_rejections: int = 10
    feedback: bool = True
    priority_adjust: int = 100
    proxied: str = "auto"
    user_agents: tuple[str, ...] = ()
    store: str = field(default="memory", repr=False)
    store_prefix: str = "capsolver"
    run: str = ""
    limit_window: str = "run"
    egress: str = ""
    offline_solves: int = 0
    prices: Mapping[str, float] = field(default_factory=dict)
    report: str = ""

    @property
    def has_limit(self) -> bool:
        return any(limit is not None for limit in (self.max_solves, self.max_solves_per_domain, self.budget))

    @property
    def api_on_loopback(self) -> bool:
        return is_loopback(urlsplit(self.api_url).hostname or "")


# Names without the prefix; ENABLED is read by the middleware before anything else is looked at.
_NAMES = ("ENABLED", *(name.upper() for name in CapSolverSettings.__dataclass_fields__))


def read_settings(settings: BaseSettings) -> CapSolverSettings:
    """Read and check all of them; raises :class:`SettingError` for the first that is wrong."""
    defaults = CapSolverSettings(api_key="-")
    return CapSolverSettings(
        api_key=_api_key(settings),
        api_url=_api_url(settings, defaults.api_url),
        app_id=_text(settings, "APP_ID", defaults.app_id),
        auto=_flag(settings, "AUTO", default=defaults.auto),
        allowed_domains=_domains(settings),
        concurrency=_whole(settings, "CONCURRENCY", defaults.concurrency, 1, 100_000),
        max_pending=_whole(settings, "MAX_PENDING", defaults.max_pending, 0, 1_000_000),
        timeout=_seconds(settings, "TIMEOUT", defaults.timeout),
        retry_times=_whole(settings, "RETRY_TIMES", defaults.retry_times, 0, 1000),
        on_error=_choice(settings, "ON_ERROR", defaults.on_error, ON_ERROR),
        max_solves=_limit(settings, "MAX_SOLVES"),
        max_solves_per_domain=_limit(settings, "MAX_SOLVES_PER_DOMAIN"),
        budget=_budget(settings),
        on_limit=_choice(settings, "ON_LIMIT", defaults.on_limit, ON_LIMIT),
        max_rejections=_whole(settings, "MAX_REJECTIONS", defaults.max_rejections, 0, MOST),
        feedback=_flag(settings, "FEEDBACK", default=defaults.feedback),
        priority_adjust=_whole(settings, "PRIORITY_ADJUST", defaults.priority_adjust, -MOST, MOST),
        proxied=_choice(settings, "PROXIED", defaults.proxied, PROXIED),
        user_agents=_user_agents(settings),
        store=_store(settings, defaults.store),
        store_prefix=_name(settings, "STORE_PREFIX", defaults.store_prefix),
        run=_name(settings, "RUN", _default_run(settings)),
        limit_window=_choice(settings, "LIMIT_WINDOW", defaults.limit_window, WINDOWS),
        egress=_name(settings, "EGRESS", defaults.egress),
        offline_solves=_whole(settings, "OFFLINE_SOLVES", defaults.offline_solves, 0, MOST),
        prices=_prices(settings),
        report=_report(settings),
    )


def is_enabled(settings: BaseSettings) -> bool:
    return _flag(settings, "ENABLED", default=True)


def unknown_settings(settings: BaseSettings) -> list[str]:
    """A readable line for each CAPSOLVER_* setting that means nothing: a slip of the pen goes unnoticed otherwise."""
    known = [f"CAPSOLVER_{name}" for name in _NAMES]
    lines = []
    for name in sorted(name for name in settings if isinstance(name, str) and name.startswith("CAPSOLVER_")):
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
            hint = f"did you mean {near[0]}?" if near else f"the settings are {', '.join(known)}"
            lines.append(f"{name} is no setting of scrapy-capsolver and has no effect: {hint}")
    return lines


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _get(settings: BaseSettings, name: str) -> Any:
    """The value; None where it is empty, too, as a setting in a form on the web is."""
    value = settings.get(f"CAPSOLVER_{name}")
    return None if value == "" else value


def _wrong(name: str, value: object, allowed: str) -> SettingError:
    try:
        shown = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, among others
        shown = f"of type {type(value).__name__}"
    return SettingError(f"CAPSOLVER_{name} is {shown if len(shown) <= 80 else shown[:77] + '...'}: it takes {allowed}")


def _api_key(settings: BaseSettings) -> str:
    """From the setting, else from the environment. What was given is a secret even where it is wrong: never shown."""
    key, source = _get(settings, "API_KEY"), "CAPSOLVER_API_KEY"
    if key is None:
        key, source = os.environ.get("CAPSOLVER_API_KEY"), "CAPSOLVER_API_KEY in the environment"
    if key is None:
        raise SettingError(
            "CAPSOLVER_API_KEY is missing: set it to your CapSolver API key, in the settings or in the environment"
        )
    if not isinstance(key, str) or not key.strip():
        kind = "blank" if isinstance(key, str) else f"of type {type(key).__name__}"
        raise SettingError(f"{source} is {kind}: it takes your CapSolver API key, a text such as CAP-...")
    key = key.strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise SettingError(f"{source} holds spaces or characters that no key has: it takes a text such as CAP-...")
    return key


def _api_url(settings: BaseSettings, default: str) -> str:
    value = _text(settings, "API_URL", default)
    allowed = (
        "an https:// address, or http:// on this machine (localhost, 127.0.0.1, [::1]), without user, query or fragment"
    )
    try:
        url = urlsplit(value)
        host, _ = url.hostname, url.port  # a port that is none raises
    except ValueError:
        host = None
    else:
        if "[" in url.netloc and not re.fullmatch(r"\[[^][]*\](:\d*)?", url.netloc):
            host = None  # urlsplit leaves out what stands around the brackets, the client need not
    if not host or url.username is not None or url.password is not None or url.query or url.fragment:
        raise _wrong("API_URL", "an address with a user" if "@" in value else value, allowed)
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(host)):
        raise _wrong("API_URL", value, allowed)
    return value.rstrip("/")


def _text(settings: BaseSettings, name: str, default: str) -> str:
    value = _get(settings, name)
    if value is None:
        return default
    if not isinstance(value, str):
        raise _wrong(name, value, "a text")
    return value.strip()


def _store(settings: BaseSettings, default: str) -> str:
    """What was given may hold a password, so it is not shown where it is wrong."""
    value = _text(settings, "STORE", default)
    if is_redis(value):
        try:
            Address.parse(value)
        except StoreError as error:
            raise SettingError(f"CAPSOLVER_STORE: {error}") from None
    elif "://" in value:
        raise SettingError(
            f"CAPSOLVER_STORE is an address of {value.partition('://')[0]!r:.20}: it takes 'memory', the path of an SQLite file, "
            "or an address redis://... or rediss://..."
        )
    return value


def _name(settings: BaseSettings, name: str, default: str) -> str:
    value = _text(settings, name, default)
    if not re.fullmatch(r"[\w.:/-]{0,100}", value, re.ASCII):
        raise _wrong(name, value, "up to 100 letters, digits and characters of _ . : / -")
    return value


def _default_run(settings: BaseSettings) -> str:
    """On Scrapy Cloud the job's tag ``group=NAME``, else its project; elsewhere the name of the Scrapy project.

    Of the environment there (scrapinghub-entrypoint-scrapy, sh_scrapy/env.py), SHUB_JOB_TAGS has the tags, and SHUB_JOBKEY is
    project/spider/job.
    """
    group = next((tag[6:] for tag in os.environ.get("SHUB_JOB_TAGS", "").split(",") if tag.startswith("group=")), "")
    project = os.environ.get("SHUB_JOBKEY", "").partition("/")[0]
    return (
        re.sub(r"[^\w.:/-]", "_", group or project or str(settings.get("BOT_NAME") or ""), flags=re.ASCII)[:100]
        or "run"
    )


def _report(settings: BaseSettings) -> str:
    """Looked at before the crawl, or its report would be lost after it."""
    path = _text(settings, "REPORT", "")
    if path:
        from scrapy_capsolver.report.files import ReportError, check_target  # noqa: PLC0415 - only where there is one

        try:
            check_target(path)
        except ReportError as error:
            raise _wrong("REPORT", path, f"the path of a .html or .json file, and {error}") from None
    return path


def _flag(settings: BaseSettings, name: str, *, default: bool) -> bool:
    value = _get(settings, name)
    if value is None:
        return default
    if isinstance(value, bool) or value in (0, 1):
        return bool(value)
    word = value.strip().lower() if isinstance(value, str) else ""
    if word in {"true", "1", "yes", "on"}:
        return True
    if word in {"false", "0", "no", "off"}:
        return False
    raise _wrong(name, value, "True or False")


def _whole(settings: BaseSettings, name: str, default: int, low: int, high: int) -> int:
    value = _get(settings, name)
    if value is None:
        return default
    number = whole(value)
    if number is None or not low <= number <= high:
        least = f" of {low:,} or more" if low >= 0 else f" from {low:,}"
        raise _wrong(name, value, f"a whole number{least}, {'and at most' if low >= 0 else 'to'} {high:,}")
    return number


def _limit(settings: BaseSettings, name: str) -> int | None:
    return None if _get(settings, name) is None else _whole(settings, name, 0, 0, MOST)


def _budget(settings: BaseSettings) -> float | None:
    value = _get(settings, "BUDGET")
    if value is None:
        return None
    number = finite(value)
    if number is None or not 0 <= number <= MOST_USD:
        allowed = f"USD, 0 or more, such as 2.50, and at most {MOST_USD:,}; without it there is no limit"
        raise _wrong("BUDGET", value, allowed)
    return number


def _seconds(settings: BaseSettings, name: str, default: float) -> float:
    value = _get(settings, name)
    if value is None:
        return default
    number = finite(value)
    if number is None or not 0 < number <= 300:
        raise _wrong(name, value, "seconds, more than 0 and at most 300 (CapSolver keeps a result for 5 minutes)")
    return number


def _choice(settings: BaseSettings, name: str, default: str, choices: tuple[str, ...]) -> str:
    value = _get(settings, name)
    if value is None:
        return default
    if not isinstance(value, str) or value.strip().lower() not in choices:
        raise _wrong(name, value, " or ".join(repr(choice) for choice in choices))
    return value.strip().lower()


def _domains(settings: BaseSettings) -> tuple[str, ...]:
    value = _get(settings, "ALLOWED_DOMAINS")
    if value is None:
        return ()
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, (list, tuple, set, frozenset)) or not all(isinstance(name, str) for name in names):
        raise _wrong("ALLOWED_DOMAINS", value, "a list of domains, or a text of them with commas")
    domains = tuple(canonical_host(name.strip().strip("[]").lstrip(".")) for name in names if name.strip())
    if not all(domains):
        raise _wrong("ALLOWED_DOMAINS", value, "domains such as example.com, without scheme, port or path")
    return domains


def _user_agents(settings: BaseSettings) -> tuple[str, ...]:
    allowed = "a list of user agents, or a text with one on each line or as a JSON list"
    value = _get(settings, "USER_AGENTS")
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.lstrip().startswith("[") else value.splitlines()
        except (ValueError, RecursionError):
            raise _wrong("USER_AGENTS", value, allowed) from None
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)) or not all(
        isinstance(agent, str) and agent.isascii() and agent.strip().isprintable() for agent in value
    ):
        raise _wrong("USER_AGENTS", value, allowed)
    return tuple(agent.strip() for agent in value if agent.strip())


def _prices(settings: BaseSettings) -> dict[str, float]:
    allowed = (
        'USD per 1000 solves by task type, such as {"ReCaptchaV2TaskProxyLess": 0.8}, as a dict or as JSON, each 0 or more '
        f"and at most {MOST_USD:,}"
    )
    try:
        given = settings.getdict("CAPSOLVER_PRICES")
    except (ValueError, TypeError, RecursionError):
        raise _wrong("PRICES", settings.get("CAPSOLVER_PRICES"), allowed) from None
    prices = {}
    for task_type, value in given.items():
        price = finite(value)
        if not isinstance(task_type, str) or price is None or not 0 <= price <= MOST_USD:
            raise _wrong("PRICES", given, allowed)
        prices[task_type] = price
    return prices
