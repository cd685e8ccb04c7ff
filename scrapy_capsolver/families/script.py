"""Just enough of JavaScript to find calls in it and read their options. Every step is linear in the script's length."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import chompjs

if TYPE_CHECKING:
    from collections.abc import Iterator

# Strings, templates, regular expressions and comments. No alternative can fail once it has begun (an end that lacks
# is optional), so nothing is read twice; but for the regular expression, which is bounded instead.
_TOKEN = re.compile(
    r"""
      "[^"\\\n]*(?:\\[\s\S][^"\\\n]*)*"?
    | '[^'\\\n]*(?:\\[\s\S][^'\\\n]*)*'?
    | `[^`\\]*(?:\\[\s\S][^`\\]*)*`?
    | //[^\n]* | <!--[^\n]*
    | /\*[^*]*(?:\*(?!/)[^*]*)*(?:\*/)?
    | [(=,:\[!&|?{};+]\s{0,8}/(?![*/])(?:[^/\\\n\[]|\\.|\[(?:[^\]\\\n]|\\.){0,50}\]){1,400}/
    """,
    re.VERBOSE,
)
_BRACKET_OR_COMMA = re.compile(r"[()\[\]{},]")
_IDENTIFIER = re.compile(r"[A-Za-z_$][\w$]{0,63}")
_STRING = re.compile(r"""\s*(["'`])([^"'`\\\n$]*)\1\s*""")
_PAIR = re.compile(r"""[{,\s]["']?([\w-]{1,40})["']?\s{0,8}:\s{0,8}(["'`])([^"'`\\\n$]{0,512})\2""")

_MAX_ARGUMENTS = 4096
_MAX_CALLS = 50


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
    def identifier(self) -> str | None:
        """The first argument, if it is the name of a variable."""
        found = _IDENTIFIER.fullmatch(self.arguments[0].strip()) if self.arguments else None
        return found[0] if found else None

    @cached_property
    def options(self) -> dict[str, Any]:
        """The first argument that is an object. Names of variables in it come out as text, as do functions."""
        for argument in self.arguments:
            source = argument.strip()
            if source.startswith("{"):
                try:
                    options: Any = chompjs.parse_js_object(source)
                except (ValueError, RecursionError):
                    # A spread, an expression: what is written out can be read all the same.
                    return {name: value for name, _, value in _PAIR.findall(source)}
                return options if isinstance(options, dict) else {}
        return {}


class Script:
    """One inline script, ``source`` as it stands in the page."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._constants: dict[str, str | None] = {}

    @cached_property
    def _readings(self) -> tuple[str, str]:
        """The source twice, in equal length: with comments blanked, and with strings blanked as well."""
        code: list[str] = []
        bare: list[str] = []
        position = 0
        for token in _TOKEN.finditer(self.source):
            between = self.source[position : token.start()]
            found, position = token[0], token.end()
            blank = " " * len(found)
            if found[0] in "\"'`":
                code += between, found
                bare += between, blank
            elif found[0] in "/<":
                code += between, blank
                bare += between, blank
            else:  # the sign before a regular expression counts, the expression does not
                code += between, found
                bare += between, found[0] + blank[1:]
        rest = self.source[position:]
        return "".join([*code, rest]), "".join([*bare, rest])

    @property
    def code(self) -> str:
        """The source with its comments blanked."""
        return self._readings[0]

    def calls(self, *names: str) -> Iterator[Call]:
        """Calls of functions with these dotted names, in the order of the script; none from comments or strings."""
        pattern = _call_pattern(names)
        if not pattern.search(self.source):  # before anything is taken apart
            return
        code, bare = self._readings
        for count, found in enumerate(pattern.finditer(bare)):
            if count == _MAX_CALLS:
                return
            name = re.sub(r"[\s?]", "", found[1])
            yield Call(name, tuple(_arguments(code, bare, found.end())))

    def constant(self, name: str) -> str | None:
        """The text that the script first gives to the variable or property ``name``."""
        if name not in self._constants:
            pattern = rf"""(?<![\w$]){re.escape(name)}["']?\s{{0,8}}[=:]\s{{0,8}}(["'`])([^"'`\\\n$]{{1,512}})\1"""
            found = re.search(pattern, self.code) if name in self.source else None
            self._constants[name] = found[2] if found else None
        return self._constants[name]


@lru_cache(maxsize=32)
def _call_pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    dotted = "|".join(r"\s{0,8}(?:\?\.|\.)\s{0,8}".join(map(re.escape, name.split("."))) for name in names)
    return re.compile(rf"(?<![\w$])({dotted})\s{{0,8}}(?:\?\.)?\(")


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
