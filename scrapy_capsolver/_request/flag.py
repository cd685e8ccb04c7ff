"""What the author of a spider asks for: ``request.meta["capsolver"]`` or ``spider.capsolver``, read and checked."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from cssselect import SelectorError
from parsel.csstranslator import HTMLTranslator

from scrapy_capsolver.errors import CaptchaConfigurationError, CaptchaError
from scrapy_capsolver.families import check_fields, check_type, family_of
from scrapy_capsolver.families.inject import Inject, parse_inject

META_KEY = "capsolver"
WHEN = ("challenged", "before")

# What this package adds to CapSolver's own words.
OWN_KEYS = ("type", "when", "inject", "expect", "proxied")


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag that asks for something; ``None`` stands for one that asks to leave the request alone."""

    type: str | None = None
    """CapSolver's task type, or None: whatever the page turns out to show."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """The task's fields, and ``selector`` for images."""
    when: Literal["challenged", "before"] = "challenged"
    inject: Inject | None = None
    expect: str | None = None
    """CSS selector: the page is gated where it selects nothing."""
    proxied: bool | None = None
    """Solve with the request's proxy, or without; None: as CAPSOLVER_PROXIED and the family have it."""


PLAIN = Flag()


def parse_flag(value: object, where: str) -> Flag | None:
    """Read a flag. ``where`` names its place in messages, such as ``request.meta["capsolver"]``.

    Raises:
        CaptchaConfigurationError: it is none; says what was given and what is allowed.
        UnsupportedCaptchaError: it names a task type that CapSolver has withdrawn.
    """
    if value is None or value is False:
        return None
    if value is True:
        return PLAIN
    if not isinstance(value, Mapping):
        raise CaptchaConfigurationError(
            f"{where} is of type {type(value).__name__}: it takes True, False, None, or a dict such as "
            '{"type": "ReCaptchaV2TaskProxyLess", "websiteKey": "..."}'
        )
    _check_json(value, where)
    try:
        return _parse_dict(value, where)
    except CaptchaError as error:
        if not error.message.startswith(where):  # it comes from a family, which does not know where it was said
            error.add_context(where)
        raise


def _parse_dict(value: Mapping[str, Any], where: str) -> Flag:
    task_type = _text(value, "type", where)
    raw = value.get("inject") is not None  # a type that only CapSolver knows, and the author
    if task_type is not None:
        task_type = check_type(task_type, raw=raw)
    when = _when(value.get("when", "challenged"), where)
    fields = {key: given for key, given in value.items() if key not in OWN_KEYS}
    if task_type is not None:
        check_fields(task_type, fields, complete=when == "before", raw=raw)
    elif when == "before":
        raise CaptchaConfigurationError(
            f'{where} says "when": "before" and lacks "type": there is no page to tell it from'
        )
    elif fields:
        near = difflib.get_close_matches(next(iter(fields)), OWN_KEYS, n=1)
        raise CaptchaConfigurationError(
            f'{where} has {", ".join(map(repr, fields))} and no "type": task fields need the task type that they belong '
            "to" + (f" (or did you mean {near[0]!r}?)" if near else "")
        )
    return Flag(
        type=task_type,
        fields=fields,
        when=when,
        inject=None if value.get("inject") is None else parse_inject(value["inject"]),
        expect=_css(value, "expect", where),
        proxied=_proxied(value.get("proxied"), task_type, where),
    )


def _check_json(value: Mapping[Any, Any], where: str) -> None:
    """A flag travels through JSON or pickle with its request: to disk, or to another machine."""
    for key, item in value.items():
        if not isinstance(key, str):
            raise CaptchaConfigurationError(f"{where} has the key {key!r}: keys are texts")
        try:
            json.dumps(item, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            raise CaptchaConfigurationError(
                f"{where} has a {key!r} (of type {type(item).__name__}) that JSON cannot carry: a flag takes texts, "
                "numbers, True, False, None, and lists and dicts of them"
            ) from None


def _when(value: object, where: str) -> Literal["challenged", "before"]:
    if value == "before":
        return "before"
    if value == "challenged":
        return "challenged"
    raise CaptchaConfigurationError(f'{where} has "when": {str(value)[:40]!r}: it takes "challenged" or "before"')


def _proxied(value: object, task_type: str | None, where: str) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise CaptchaConfigurationError(f'{where} has "proxied": {str(value)[:40]!r}: it takes True or False')
    known = None if task_type is None else family_of(task_type, raw=True).types.get(task_type)
    if value is not None and known is not None and value != ("proxy" in known.required):
        raise CaptchaConfigurationError(
            f'{where} has "proxied": {value} and "type": {task_type!r}: name the type that you mean, or leave it out'
        )
    return value


def _text(value: Mapping[str, Any], key: str, where: str) -> str | None:
    text = value.get(key)
    if text is not None and (not isinstance(text, str) or not text.strip()):
        raise CaptchaConfigurationError(f'{where} has "{key}": {str(text)[:40]!r}: it takes a text')
    return text


def _css(value: Mapping[str, Any], key: str, where: str) -> str | None:
    css = _text(value, key, where)
    if css is not None and not _is_css(css):
        raise CaptchaConfigurationError(f'{where} has "{key}": {css[:80]!r}, which is no CSS selector')
    return css


@lru_cache(maxsize=64)
def _is_css(css: str) -> bool:
    try:
        HTMLTranslator().css_to_xpath(css)
    except SelectorError:
        return False
    return True
