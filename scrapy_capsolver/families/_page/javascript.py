"""Just enough of JavaScript to find calls in it and read their options. Every step is linear in the script's length."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import chompjs

if TYPE_CHECKING:
    from collections.abc import Iterator

# What can stand before a regular expression, and never before a division. Lookbehinds have one length each.
_BEFORE = "|".join(rf"(?<=[(=,:\[!&|?{{}};+]\s{{{blanks}}}/)" for blanks in range(9))
# Strings, templates, comments and regular expressions. Nothing that has begun can fail (an end that lacks is
# optional), so nothing is read twice. All begin with one set of signs, which the search skips to quickly.
_TOKEN = re.compile(
    rf"""
    ( ["'`/<]
      (?: (?<=")[^"\\\n]*(?:\\[\s\S][^"\\\n]*)*"?
        | (?<=')[^'\\\n]*(?:\\[\s\S][^'\\\n]*)*'?
        | (?<=`)[^`\\]*(?:\\[\s\S][^`\\]*)*`?
        | (?<=/)/[^\n]* | (?<=<)!--[^\n]*
        | (?<=/)\*[^*]*(?:\*(?!/)[^*]*)*(?:\*/)?
        | (?:{_BEFORE})(?:[^/\\\n\[]|\\.|\[(?:[^\]\\\n]|\\.){{0,50}}\]?){{1,400}}/?
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
_PAIR = re.compile(r"""[{,\s]["']?([\w-]{1,40})(?![\w-])["']?\s{0,8}:\s{0,8}(["'`])([^"'`\\\n$]{0,512})\2""")

MAX_TOKENS = 4000
"""Strings, comments and regular expressions that are read of all scripts of a page together. A page that is built
around a captcha has a hundred; one that is made to be slow has as many as it likes."""

_MAX_ARGUMENTS = 4096
_MAX_OBJECT = 16 * 1024
_MAX_CALLS = 20
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
        return any(name == option for argument in self.arguments for name, _, _ in _PAIR.findall(argument))

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
    """Tokens that may still be read; shared by the scripts of a page."""

    def __init__(self, tokens: int = MAX_TOKENS) -> None:
        self.left = tokens


class Script:
    """One inline script, ``source`` as it stands in the page. Where the ``allowance`` ends, it ends."""

    def __init__(self, source: str, allowance: Allowance | None = None) -> None:
        self.source = source
        self._allowance = allowance or Allowance()
        self._constants: dict[str, str | None] = {}

    @cached_property
    def _readings(self) -> tuple[str, str]:
        """The source twice, in equal length: with comments blanked, and with all tokens blanked."""
        left = self._allowance.left
        if left <= 0:
            return "", ""
        parts = _TOKEN.split(self.source, left)  # code, token, code, token, ..., code
        tokens = parts[1::2]
        self._allowance.left -= len(tokens)
        if len(tokens) == left:
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

    def objects(self, name: str) -> Iterator[dict[str, Any]]:
        """The objects that the script gives to the variable or property ``name``: ``name = {...}``."""
        if name not in self.source:
            return
        code, bare = self._readings
        for count, found in enumerate(_object_pattern(name).finditer(bare)):
            if count == _MAX_CALLS:
                return
            if source := _object(code, bare, found.end() - 1):
                yield Call(name, (source,)).options

    def calls(self, *names: str) -> Iterator[Call]:
        """Calls of functions with these dotted names, in the order of the script; none from comments or strings."""
        pattern = _call_pattern(names)
        if not any(name.partition(".")[0] in self.source for name in names) or not pattern.search(
            self.source
        ):  # before anything is taken apart
            return
        code, bare = self._readings
        for count, found in enumerate(pattern.finditer(bare)):
            if count == _MAX_CALLS:
                return
            name = re.sub(r"[\s?]", "", found[1])
            yield Call(name, tuple(_arguments(code, bare, found.end())))

    def constant(self, name: str) -> str | None:
        """Return the text that the script first gives to the variable or property ``name``; None if there is none."""
        if name not in self._constants:
            pattern = rf"""{_word(name)}["']?\s{{0,8}}[=:]\s{{0,8}}(["'`])([^"'`\\\n$]{{1,512}})\1"""
            found = re.search(pattern, self.code) if name in self.source else None
            self._constants[name] = found[2] if found else None
        return self._constants[name]


def segments(reference: str) -> list[str]:
    """Return the names in a reference (``window.conf["key"]`` -> ``["window", "conf", "key"]``); empty if it is none."""
    return _SEGMENT.findall(reference) if len(reference) <= 400 and _REFERENCE.fullmatch(reference.strip()) else []


def _parse(source: str) -> Any:
    """An object literal. Raises ValueError or RecursionError where it is none, or too much of one."""
    if source.count("[") + source.count("{") + source.count("(") > _MAX_BRACKETS:
        raise ValueError("nobody writes that")
    return chompjs.parse_js_object(source)


# Patterns begin with the word itself, which is searched for much faster than what a lookbehind in front lets through.
def _word(name: str) -> str:
    """A pattern for ``name`` where it does not end a longer word."""
    escaped = re.escape(name)
    return rf"{escaped}(?<![\w$]{escaped})"


@lru_cache(maxsize=32)
def _object_pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf"{_word(name)}\s{{0,8}}=\s{{0,8}}\{{")


@lru_cache(maxsize=32)
def _call_pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    split = [name.split(".") for name in names]
    dotted = "|".join(
        r"\s{0,8}(?:\?\.|\.)\s{0,8}".join([_word(first), *map(re.escape, rest)]) for first, *rest in split
    )
    return re.compile(rf"({dotted})\s{{0,8}}(?:\?\.)?\(")


def _arguments(code: str, bare: str, start: int) -> Iterator[str]:
    """The arguments of the call whose parenthesis opens before ``start``; where it does not close, what there is."""
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


def _object(code: str, bare: str, start: int) -> str:
    """The object literal that opens at ``start``; where it does not close soon, nothing."""
    depth = 0
    for sign in islice(_BRACKET_OR_COMMA.finditer(bare, start, start + _MAX_OBJECT), _MAX_BRACKETS):
        depth += sign[0] in "([{"
        depth -= sign[0] in ")]}"
        if depth == 0:
            return code[start : sign.end()]
    return ""
