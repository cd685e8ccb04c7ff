"""What a CapSolver task type is, and the checks of its fields.

The types themselves stand in :mod:`scrapy_capsolver.simulator.gates`, each beside the gate it opens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .errors import ApiError, invalid_task

if TYPE_CHECKING:
    import random

    from .clearances import ClearanceRegistry
    from .shown import Shown, ShownChallenges
    from .tokens import TokenRegistry

Fields = dict[str, Any]
Check = Callable[[object], bool]

# One millionth of a US dollar: prices per thousand tasks have one decimal, so this keeps sums exact.
MICRO = 1_000_000


@dataclass(frozen=True)
class Job:
    """One task as its solver sees it.

    ``solved_at`` is in simulated seconds, ``solved_at_epoch`` in real Unix seconds; ``keys`` says which kind of captcha
    stands behind each site key of the simulated vendors. ``address`` is the one that sites see of the task's proxy,
    where that matters to the type. ``found`` is what the solver's attempt brought to light.
    """

    fields: Fields
    random: random.Random
    solved_at: float
    solved_at_epoch: float
    tokens: TokenRegistry
    clearances: ClearanceRegistry
    shown: ShownChallenges
    keys: Mapping[str, str]
    address: str = ""
    found: Shown | None = None


@dataclass(frozen=True)
class Attempt:
    """What a solver has when it begins with a task, see :class:`Job`."""

    fields: Fields
    clearances: ClearanceRegistry
    shown: ShownChallenges
    address: str


@dataclass(frozen=True)
class TaskType:
    """One row of the task type table.

    ``price`` is in micro-dollars per solve; ``seconds`` is the documented range of solve times, or nothing for a
    recognition type, which is answered in the reply to createTask.

    ``check`` refuses tasks for what goes beyond single fields. ``attempt`` is what the solver does as soon as it has
    the task: it looks at the page, and uses up what is good for one attempt; whether it raises :class:`ApiError`
    shows in the task's result. A type that ``dials`` goes through the task's proxy even here, to learn its address.
    """

    name: str
    solve: Callable[[Job], Fields]
    price: int
    seconds: tuple[float, float] | None
    required: Mapping[str, Check] = field(default_factory=dict)
    optional: Mapping[str, Check] = field(default_factory=dict)
    needs_proxy: bool = False
    by_get_token: bool = False
    check: Callable[[Fields], None] | None = None
    attempt: Callable[[Attempt], Shown | None] | None = None
    dials: bool = False

    def validate(self, fields: Fields) -> None:
        """Raise :class:`ApiError` unless the fields, as received, can be worked on."""
        for name, check in self.required.items():
            value = fields.get(name)
            if value is None or value == "":
                raise invalid_task(f"invalid task data: {name} is required")
            if not check(value):
                raise invalid_task(f"invalid task data: {name} is invalid")
        for name, check in self.optional.items():
            if fields.get(name) is not None and not check(fields[name]):
                raise invalid_task(f"invalid task data: {name} is invalid")
        if self.needs_proxy:
            check_proxy(fields)
        if self.check is not None:
            self.check(fields)


def is_text(value: object) -> bool:
    return isinstance(value, str)


def is_flag(value: object) -> bool:
    return isinstance(value, bool)


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_text_map(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


def is_text_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def is_cookies(value: object) -> bool:
    """Accept both documented forms: a list of name and value pairs, and one ``name=value;...`` string."""
    if isinstance(value, str):
        return True
    return isinstance(value, list) and all(
        isinstance(item, dict) and isinstance(item.get("name"), str) and isinstance(item.get("value"), str)
        for item in value
    )


def is_url(value: object) -> bool:
    return isinstance(value, str) and host_of(value) is not None


def host_of(url: str) -> str | None:
    """Return the host of an absolute HTTP URL in lower case, or nothing."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return parts.hostname if parts.scheme in {"http", "https"} and parts.hostname else None


_PROXY_TYPES = frozenset({"http", "https", "socks4", "socks5"})
_PROXY_URL = re.compile(r"(?:http|https|socks4|socks5)://(?:[^:@/\s]+:[^@/\s]*@)?[^:@/\s]+:(\d{1,5})/?", re.IGNORECASE)
_PROXY_COLONS = re.compile(
    r"(?:(?:http|https|socks4|socks5):)?[^:@/\s]+:(\d{1,5})(?::[^:@/\s]+:[^:@/\s]+)?", re.IGNORECASE
)


def check_proxy(fields: Fields) -> None:
    """Raise unless the task has a proxy in one of the forms of docs.capsolver.com/guide/api-how-to-use-proxy."""
    whole = fields.get("proxy")
    if whole:
        match = isinstance(whole, str) and (_PROXY_URL.fullmatch(whole) or _PROXY_COLONS.fullmatch(whole))
        if not match or not 0 < int(match[1]) < 65536:
            raise invalid_task("invalid task data: proxy is invalid")
        return
    kind, address, port = (fields.get(name) for name in ("proxyType", "proxyAddress", "proxyPort"))
    if not kind and not address and not port:
        raise invalid_task("Missing proxy params.")
    if not isinstance(kind, str) or kind not in _PROXY_TYPES:
        raise invalid_task("invalid task data: proxyType is invalid")
    if not isinstance(address, str) or not address:
        raise invalid_task("invalid task data: proxyAddress is invalid")
    if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536:
        raise invalid_task("invalid task data: proxyPort is invalid")


# Types that once existed. A user of a withdrawn type was told that the account has no access to it.
RETIRED = (
    "HCaptchaTask",
    "HCaptchaTaskProxyLess",
    "HCaptchaEnterpriseTask",
    "HCaptchaEnterpriseTaskProxyLess",
    "HCaptchaTurboTask",
    "HCaptchaClassification",
    "FunCaptchaTask",
    "FunCaptchaTaskProxyLess",
    "FunCaptchaClassification",
    "GeeTestTask",
    "AntiImpervaTask",
    "AntiImpervaTaskProxyLess",
    "AntiCyberSiAraTask",
    "AntiCyberSiAraTaskProxyLess",
    "AntiKasadaTask",
    "AntiAkamaiBMPTask",
    "AntiAkamaiWebTask",
    "FriendlyCaptchaTaskProxyless",
    "YandexCaptchaTaskProxyLess",
)


class Catalogue:
    """The task types of one simulated service, found by name."""

    def __init__(self, types: tuple[TaskType, ...]) -> None:
        self._exact = {type_.name: type_ for type_ in types}
        self._folded = {type_.name.casefold(): type_ for type_ in types}
        self._retired = {name.casefold(): name for name in RETIRED}

    def find(self, name: object, *, strict: bool = False) -> TaskType:
        """Return the type of that name, in any case of letters unless ``strict``; raise :class:`ApiError`."""
        if not isinstance(name, str) or not name:
            raise invalid_task("invalid task data: type is required")
        found = self._exact.get(name) if strict else self._folded.get(name.casefold())
        if found is not None:
            return found
        if retired := self._retired.get(name.casefold()):
            raise invalid_task(f"Not found {retired} access. please contact our support")
        raise ApiError("ERROR_TASK_NOT_SUPPORTED", "Task type is not supported")
