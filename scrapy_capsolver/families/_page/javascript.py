"""Just enough of JavaScript to find calls in it and read their options. Every step is linear in the script's length."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

import chompjs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What can stand before a regular expression, and never before a division. Lookbehinds have one length each.
_BEFORE = "|".join(rf"(?<=[(=,:\[!&|?{{}};+]\s{{{blanks}}}/)" for blanks in range(9))
# Strings, templates, comments and regular expressions. Nothing that has begun can fail (an end that lacks is optional, and
# a sign that begins none is a token by itself), so nothing is read twice and all that takes time is counted. All begin
# with one set of signs, which the search skips to quickly.
_TOKEN = re.compile(
    rf"""
    ( ["'`/<]
      (?: (?<=")[^"\\\n]*(?:\\[\s\S][^"\\\n]*)*"?
        | (?<=')[^'\\\n]*(?:\\[\s\S][^'\\\n]*)*'?
        | (?<=`)[^`\\]*(?:\\[\s\S][^`\\]*)*`?
        | (?<=/)/[^\n]* | (?<=<)!--[^\n]*
        | (?<=/)\*[^*]*(?:\*+(?!/)[^*]*)*(?:\*/)?
        | (?:{_BEFORE})(?:[^/\\\n\[]|\\.|\[(?:[^\]\\\n]|\\.){{0,50}}\]?){{1,400}}/?
        |
      )
    )""",
    re.VERBOSE,
)
_COMMENTS = frozenset({"//", "/*", "<!"})
_BRACKET_OR_COMMA = re.compile(r"[()\[\]{},]")
_NAME = r"[A-Za-z_$][\w$]{0,63}"
# A variable or a property: "key", "conf.key", "window.conf?.key", 'conf["key"]'.
_REFERENCE = re.compile(rf"""{_NAME}(?:\s?\??\.\s?{_NAME}|\s?\[\s?["'][\w$-]{{1,64}}["']\s?\]){{0,5}}""")
_SEGMENT = re.compile(r"[\w$-]+")
_STRING = re.compile(r"""\s*(["'`])([^"'`\\\n$]*)\1\s*""")
# The name is looked at once: what a lookahead has found is not given back.
_PAIR = re.compile(r"""[{,\s]["']?(?=([\w-]{1,40}))\1["']?\s{0,8}:\s{0,8}(["'`])([^"'`\\\n$]{0,512})\2""")

MAX_LENGTH = 256 * 1024
"""Characters of all scripts of a page together that are taken apart."""

MAX_TOKENS = 6000
"""Strings, comments, regular expressions, and signs that may begin one, that are read of all scripts of a page together. A
page that is built around a captcha has a hundred."""

_MAX_ARGUMENTS = 4096
_MAX_OBJECT = 16 * 1024
_MAX_BRACKETS = 200


@dataclass(frozen=True)
class Call:
    """A call as it stands in a script: the dotted name and the source of each argument."""

    name: str
    arguments: tuple[str, ...]

    @property
    def literal(self) -> str | None:
        """The first argument, if it is a plain string."""
        found = _STRING.fullmatch(self.arguments[0]) if self.arguments else None
        return found[2] if found else None

    @property
    def reference(self) -> str | None:
        """The first argument, if it names a variable or a property of one."""
        found = _REFERENCE.fullmatch(self.arguments[0].strip()) if self.arguments else None
        return found[0] if found else None

    def is_written_out(self, option: str) -> bool:
        """Return whether the value of ``option`` is a string in the source, and no name of a variable."""
        return option in self._written_out

    @cached_property
    def _written_out(self) -> frozenset[str]:
        return frozenset(name for argument in self.arguments for name, _, _ in _PAIR.findall(argument))

    @cached_property
    def options(self) -> dict[str, Any]:
        """The first argument that is an object. Names of variables in it come out as text, as do functions."""
        for argument in self.arguments:
            source = argument.strip()
            if source.startswith("{"):
                try:
                    options: Any = _parse(source)
                except (ValueError, RecursionError):
                    # A spread, an expression: what is written out can be read all the same.
                    return {name: value for name, _, value in _PAIR.findall(source)}
                return options if isinstance(options, dict) else {}
        return {}


class Allowance:
    """What may still be taken apart; shared by the scripts of a page. ``skip`` is called with what is left out."""

    def __init__(
        self, tokens: int = MAX_TOKENS, length: int = MAX_LENGTH, skip: Callable[[str], object] = bool
    ) -> None:
        self.tokens = tokens
        self.length = length
        self.skip = skip


class Script:
    """One inline script, ``source`` as it stands in the page. It is read until the end of the ``allowance``."""

    def __init__(self, source: str, allowance: Allowance | None = None) -> None:
        self.source = source
        self._allowance = allowance or Allowance()

    @cached_property
    def _readings(self) -> tuple[str, str]:
        """The source twice, in equal length: with comments blanked, and with all tokens blanked."""
        allowance = self._allowance
        most = allowance.tokens
        if most <= 0 or len(self.source) > allowance.length:
            allowance.skip(f"a script of {len(self.source)} characters is not taken apart")
            return "", ""
        parts = _TOKEN.split(self.source, most)  # code, token, code, token, ..., code
        tokens = parts[1::2]
        allowance.tokens -= len(tokens)
        allowance.length -= len(self.source)
        if len(tokens) == most:
            allowance.skip(f"its scripts have more than {MAX_TOKENS} strings, comments and operators")
            parts[-1] = ""  # is not taken apart
        bare = parts.copy()
        bare[1::2] = [" " * len(token) for token in tokens]
        parts[1::2] = [" " * len(token) if token[:2] in _COMMENTS else token for token in tokens]
        return "".join(parts), "".join(bare)

    @property
    def code(self) -> str:
        """The source with its comments blanked."""
        return self._readings[0]

    @property
    def bare(self) -> str:
        """The source with its comments, strings and regular expressions blanked, in the same length."""
        return self._readings[1]

    def arguments(self, start: int) -> Iterator[str]:
        """Yield the arguments of the call whose parenthesis opens before ``start``; if it does not close, what there is."""
        code, bare = self._readings
        end = min(len(bare), start + _MAX_ARGUMENTS)
        depth = 0
        begin = start
        for sign in _BRACKET_OR_COMMA.finditer(bare, start, end):
            if sign[0] in "([{":
                depth += 1
            elif sign[0] == ",":
                if depth == 0:
                    yield code[begin : sign.start()]
                    begin = sign.end()
            elif depth:
                depth -= 1
            else:
                end = sign.start()
                break
        if code[begin:end].strip():
            yield code[begin:end]

    def object_at(self, start: int) -> str:
        """Return the object literal that opens at ``start``; nothing if it does not close soon."""
        code, bare = self._readings
        depth = 0
        for sign in islice(_BRACKET_OR_COMMA.finditer(bare, start, start + _MAX_OBJECT), _MAX_BRACKETS):
            depth += sign[0] in "([{"
            depth -= sign[0] in ")]}"
            if depth == 0:
                return code[start : sign.end()]
        return ""


def segments(reference: str) -> list[str]:
    """Return the names in a reference (``window.conf["key"]`` -> ``["window", "conf", "key"]``); empty if it is none."""
    return _SEGMENT.findall(reference) if len(reference) <= 400 and _REFERENCE.fullmatch(reference.strip()) else []


def _parse(source: str) -> Any:
    """Return what an object literal holds. Raises ValueError or RecursionError if it is none, or too much of one."""
    if source.count("[") + source.count("{") + source.count("(") > _MAX_BRACKETS:
        raise ValueError("nobody writes that")
    return chompjs.parse_js_object(source)
