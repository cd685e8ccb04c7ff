"""The fields of a task as a flag gives them: are they the type's own, of the right kind, and all there?"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

from scrapy_capsolver.errors import CaptchaConfigurationError
from scrapy_capsolver.families._page.text import clean
from scrapy_capsolver.families.registry import check_type, family_of

if TYPE_CHECKING:
    from scrapy_capsolver.families.base import TaskType

COMMON: Mapping[str, tuple[type, ...]] = {
    "type": (str,),
    "websiteURL": (str,),
    "proxy": (str,),
    "proxyType": (str,),
    "proxyAddress": (str,),
    "proxyPort": (int,),
    "proxyLogin": (str,),
    "proxyPassword": (str,),
    "cookies": (list, str),
    "userAgent": (str,),
}
"""Fields of every type, with what they hold.

Sources: docs.capsolver.com/guide/api-how-to-use-proxy , docs.capsolver.com/guide/api-how-to-use-cookies (an array),
docs.capsolver.com/guide/getting-started (one string).
"""

_SECRET = frozenset({"proxy", "proxyLogin", "proxyPassword", "proxyAddress", "cookies"})
_WORDS = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    dict: "an object",
    list: "a list",
}
_SIMILAR = 0.8
_MAX_NAME = 64


def check_fields(type_name: str, fields: Mapping[str, Any], *, complete: bool, raw: bool = False) -> None:
    """Raise :class:`CaptchaConfigurationError` where ``fields`` cannot be those of a task of this type.

    ``complete``: nothing will be added from a page, so all that is required must be there; but for ``websiteURL`` and
    ``proxy``, which are the request's own. A field that is unknown passes, as CapSolver adds some, unless it looks like
    a misspelling of one that is known. ``raw``: the type may be unknown, and nothing is said of its fields then.
    Messages name fields, and never hold the value of a proxy or a cookie.
    """
    spelling = check_type(type_name, raw=raw)
    task_type = family_of(spelling, raw=raw).types.get(spelling)
    if task_type is None:
        for name in fields:
            if not isinstance(name, str):
                raise CaptchaConfigurationError(f"{spelling}: names of fields are text, not {type(name).__name__}")
        return
    kinds: dict[str, tuple[type, ...]] = dict(COMMON)
    for name in task_type.required.union(task_type.optional, task_type.own, *task_type.one_of):
        if name not in COMMON:
            kinds[name] = (task_type.kinds.get(name, str),)
    for name, value in fields.items():
        if name in kinds:
            if not any(_is(value, kind) for kind in kinds[name]):
                allowed = " or ".join(_WORDS[kind] for kind in kinds[name])
                raise CaptchaConfigurationError(f"{name}: {_shown(name, value)} was given; {spelling} takes {allowed}")
        else:
            _check_spelling(spelling, name, kinds)
    for name in sorted(name for name in task_type.given if f"{name}Selector" not in fields):
        if not fields.get(name):
            raise CaptchaConfigurationError(f"{name}: {spelling} needs it in the flag, as no page shows it")
    if complete:
        _check_complete(spelling, task_type, fields)
    elif task_type.shown_by and not any(fields.get(name) for name in task_type.shown_by):
        raise CaptchaConfigurationError(
            f"{' or '.join(sorted(task_type.shown_by))}: {spelling} needs one of them, as no page says by itself that it "
            "has such a captcha"
        )


def _check_complete(spelling: str, task_type: TaskType, fields: Mapping[str, Any]) -> None:
    for name in sorted(task_type.required - {"websiteURL", "proxy"}):
        if not fields.get(name):
            raise CaptchaConfigurationError(
                f"{name}: {spelling} needs it, as it is solved before there is a page to read it from"
            )
    for group in task_type.one_of:
        if not any(fields.get(name) for name in group):
            raise CaptchaConfigurationError(f"{' or '.join(sorted(group))}: {spelling} needs one of them")


def _check_spelling(spelling: str, name: object, known: Mapping[str, object]) -> None:
    if not isinstance(name, str):
        raise CaptchaConfigurationError(f"{spelling}: names of fields are text, not {type(name).__name__}")
    if len(name) > _MAX_NAME:
        return
    plain = _plain(name)
    likeness, right = max((SequenceMatcher(None, plain, _plain(one)).ratio(), one) for one in known)
    if likeness >= _SIMILAR:
        raise CaptchaConfigurationError(f"{clean(name, 64)}: {spelling} has no such field; did you mean {right}?")


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _is(value: object, kind: type) -> bool:
    """Is ``value`` what JSON calls this kind? ``true`` is no number there; a number may be whole."""
    if kind in {int, float}:
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    if kind is dict:
        return isinstance(value, Mapping)
    return isinstance(value, kind)


def _shown(name: str, value: object) -> str:
    if name in _SECRET or not isinstance(value, (str, int, float, type(None))):
        return f"a value of type {type(value).__name__}"
    return clean(ascii(value), 60)
