"""The inline scripts of a page: what they call, set and name. They are untrusted, in length and number."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from scrapy_capsolver.families._page.javascript import Allowance, Call, Script, segments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MAX_SCRIPT = 256 * 1024
"""Characters of one script. Longer ones are a site's whole program or its data."""

MAX_ALL_SCRIPTS = 512 * 1024
MAX_SCRIPTS = 200
MAX_PLACES = 500
"""Places of one word in all scripts that are looked at."""

MAX_CALLS = 20
MAX_NAMES = 8
"""Variables whose values are looked for."""

_MAX_ARGUMENTS = 16 * 1024
_MAX_OBJECTS = 64 * 1024
_MAX_OF_NAME = 5000


class Scripts:
    """``sources`` are read in their order until there are too many of them; ``skip`` is called with what is left out."""

    def __init__(self, sources: Iterable[str], skip: Callable[[str], None]) -> None:
        self._skip = skip
        self._allowance = Allowance(skip=skip)
        self._scripts = tuple(self._read(sources))
        self._places: dict[str, tuple[tuple[Script, int], ...]] = {}
        self._calls: dict[tuple[str, ...], tuple[Call, ...]] = {}
        self._constants: dict[str, str | None] = {}

    def _read(self, sources: Iterable[str]) -> Iterator[Script]:
        left = MAX_ALL_SCRIPTS
        for count, source in enumerate(sources):
            if count == MAX_SCRIPTS:
                self._skip(f"it has more than {MAX_SCRIPTS} scripts")
                return
            if len(source) > min(MAX_SCRIPT, left):
                self._skip(f"a script has {len(source)} characters")
                continue
            left -= len(source)
            yield Script(source, self._allowance)

    def __iter__(self) -> Iterator[Script]:
        return iter(self._scripts)

    def __len__(self) -> int:
        return len(self._scripts)

    def places(self, word: str) -> tuple[tuple[Script, int], ...]:
        """Return where ``word`` stands in the sources: the first :data:`MAX_PLACES`, comments and strings included."""
        if word not in self._places:
            self._places[word] = tuple(islice(self._find(word), MAX_PLACES))
            if len(self._places[word]) == MAX_PLACES:
                self._skip(f"its scripts have {word!r} more than {MAX_PLACES} times")
        return self._places[word]

    def _find(self, word: str) -> Iterator[tuple[Script, int]]:
        for script in self._scripts:
            if script.source.rfind(word) < 0:  # which is quick
                continue
            place = script.source.find(word)
            while place >= 0:
                yield script, place
                place = script.source.find(word, place + len(word))

    def matches(
        self, word: str, pattern: re.Pattern[str] | None = None, *, bare: bool = False
    ) -> Iterator[re.Match[str]]:
        """Yield where ``pattern`` matches, which begins with ``word``, outside of comments; ``bare``: and of strings.

        Without a pattern, the word itself.
        """
        return (found for _, found in self._matches(word, pattern or _literal(word), bare=bare))

    def texts(self, word: str, pattern: re.Pattern[str] | None = None, *, bare: bool = False) -> set[str]:
        """Return the scripts in which there is such a match."""
        return {found.string for found in self.matches(word, pattern, bare=bare)}

    def has(self, word: str, pattern: re.Pattern[str] | None = None, *, bare: bool = False) -> bool:
        """Return whether there is such a match."""
        return next(self.matches(word, pattern, bare=bare), None) is not None

    def _matches(self, word: str, pattern: re.Pattern[str], *, bare: bool) -> Iterator[tuple[Script, re.Match[str]]]:
        for script, place in self.places(word):
            if not pattern.match(script.source, place):  # before anything is taken apart
                continue
            if found := pattern.match(script.bare if bare else script.code, place):
                yield script, found

    def calls(self, *names: str) -> tuple[Call, ...]:
        """Return the calls of functions with these dotted names; none from comments or strings."""
        if names not in self._calls:
            self._calls[names] = tuple(self._read_calls(names))
        return self._calls[names]

    def _read_calls(self, names: tuple[str, ...]) -> Iterator[Call]:
        heads = dict.fromkeys(name.partition(".")[0] for name in names)
        found = (one for head in heads for one in self._matches(head, _call_pattern(head, names), bare=True))
        left = _MAX_ARGUMENTS
        for count, (script, call) in enumerate(found):
            if count == MAX_CALLS or left <= 0:
                self._skip(f"its scripts call {names[0]} too often")
                return
            yield (read := Call(re.sub(r"[\s?]", "", call[1]), tuple(script.arguments(call.end()))))
            left -= sum(map(len, read.arguments))

    def objects(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield the objects that are given to the variable or property ``name``: ``name = {...}``."""
        left = _MAX_OBJECTS
        for count, (script, found) in enumerate(self._matches(name, _object_pattern(name), bare=True)):
            if count == MAX_CALLS or left <= 0:
                self._skip(f"its scripts set {name} too often")
                return
            if source := script.object_at(found.end() - 1):
                left -= len(source)
                yield Call(name, (source,)).options

    def resolve(self, reference: str) -> str | None:
        """Return the text that is given to a variable or property, ``key`` or ``conf.key``."""
        names = segments(reference)
        if len(names) > 1:
            for found in self.objects(names[-2]):
                if isinstance(value := found.get(names[-1]), str):
                    return value
        return self.constant(names[-1]) if names else None

    def constant(self, name: str) -> str | None:
        """Return the text that is first given to the variable or property ``name``."""
        if name not in self._constants:
            if len(self._constants) == MAX_NAMES:
                return None
            self._constants[name] = self._read_constant(name)
        return self._constants[name]

    def _read_constant(self, name: str) -> str | None:
        left = _MAX_OF_NAME
        pattern = re.compile(rf"""{_word(name)}["']?\s{{0,8}}[=:]\s{{0,8}}(["'`])([^"'`\\\n$]{{1,512}})\1""")
        for script in self._scripts:
            count = script.source.count(name)
            if count > left:
                self._skip(f"its scripts name {name!r} too often")
                return None
            left -= count
            if count and pattern.search(script.source) and (found := pattern.search(script.code)):
                return found[2]
        return None


# Patterns begin with the word itself, which is searched for much faster than what a lookbehind in front lets through.
def _word(name: str) -> str:
    """Return a pattern for ``name`` that does not end a longer word."""
    escaped = re.escape(name)
    return rf"{escaped}(?<![\w$]{escaped})"


@lru_cache(maxsize=64)
def _literal(word: str) -> re.Pattern[str]:
    return re.compile(re.escape(word))


@lru_cache(maxsize=64)
def _object_pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf"{_word(name)}\s{{0,8}}=\s{{0,8}}\{{")


@lru_cache(maxsize=64)
def _call_pattern(head: str, names: tuple[str, ...]) -> re.Pattern[str]:
    split = [name.split(".") for name in names if name.partition(".")[0] == head]
    dotted = "|".join(
        r"\s{0,8}(?:\?\.|\.)\s{0,8}".join([_word(first), *map(re.escape, rest)]) for first, *rest in split
    )
    return re.compile(rf"({dotted})\s{{0,8}}(?:\?\.)?\(")
