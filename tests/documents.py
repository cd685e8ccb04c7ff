"""The documentation's pages, and the code in them, as the tests see it. Sybil finds the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from sybil.document import Document
from sybil.parsers.markdown import CodeBlockParser as InMarkdown
from sybil.parsers.rest import CodeBlockParser as InRest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sybil.example import Example

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
README = "README.md"
PATHS = {path.relative_to(ROOT).as_posix(): path for path in (ROOT / README, *sorted(DOCS.rglob("*.rst")))}
PAGES = {name: path.read_text("utf-8") for name, path in PATHS.items()}


def blocks(page: str, *languages: str) -> Iterator[tuple[int, str]]:
    """(line, source) of the blocks of code of a page, in their order."""

    def evaluate(example: Example) -> None:  # what they are worth is the business of the tests
        raise NotImplementedError

    parsers = [
        (InMarkdown if page.endswith(".md") else InRest)(language=language, evaluator=evaluate)
        for language in languages
    ]
    for example in Document.parse(str(PATHS[page]), *parsers).examples():
        yield example.line, str(example.parsed)


def described(page: str, directive: str) -> list[str]:
    """The names that ``.. directive:: name`` describes on a page; there may be several below one another."""
    names: list[str] = []
    for found in re.finditer(rf"^ *\.\. {directive}:: (.+\n(?:[ ]+[^ :\n.].*\n)*)", PAGES[page], re.MULTILINE):
        names += [name.strip() for name in found[1].splitlines()]
    return names
