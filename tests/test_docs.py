"""What the documentation's pages show is what the code takes."""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from scrapy_capsolver.families import FAMILIES, PRICES, RETIRED
from scrapy_capsolver.flag import META_KEY, parse_flag

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parent.parent / "docs"
PAGES = {path.relative_to(DOCS).as_posix(): path.read_text("utf-8") for path in sorted(DOCS.rglob("*.rst"))}
OF_FAMILIES = {name: text for name, text in PAGES.items() if name.startswith("families/")}
BLOCK = re.compile(r"^\.\. code-block:: python\n\n((?:(?: {4}.*)?\n)+)", re.MULTILINE)


def flags() -> Iterator[tuple[str, Any]]:
    """(page, flag): the values of "capsolver" in dicts, and those that are assigned to ``capsolver``."""
    for page, text in PAGES.items():
        for block in BLOCK.findall(text):
            for node in ast.walk(ast.parse(textwrap.dedent(block))):
                if isinstance(node, ast.Dict):
                    for key, value in zip(node.keys, node.values, strict=True):
                        if isinstance(key, ast.Constant) and key.value == META_KEY:
                            yield page, ast.literal_eval(value)
                elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == META_KEY:
                    yield page, ast.literal_eval(node.value)


@pytest.mark.parametrize(("page", "flag"), list(flags()))
def test_every_flag_that_is_shown_is_one(page: str, flag: Any) -> None:
    assert parse_flag(flag, page) is not None


def test_every_family_has_its_page_with_an_example() -> None:
    index = OF_FAMILIES["families/index.rst"]
    shown = {page for page, _ in flags()}
    for name in (*(family.name for family in FAMILIES), "raw"):
        (page,) = re.findall(rf"^``{name}`` +:doc:`(\w+)`", index, re.MULTILINE)
        assert f"``{name}``" in OF_FAMILIES[f"families/{page}.rst"]
        assert f"families/{page}.rst" in shown


def test_every_task_type_is_on_a_page_with_its_price() -> None:
    everything = "".join(OF_FAMILIES.values())
    for family in FAMILIES:
        for name in family.types:
            (row,) = re.findall(rf"^``{name}`` .*$|^``{name}``, .*$", everything, re.MULTILINE)[:1] or [""]
            assert row, name
            price = PRICES.get(name)
            if family.kind.value != "answer":
                assert "not published" in everything if price is None else f"{price:.2f}" in row, row
    assert all(f"``{name}``" in OF_FAMILIES["families/unsolvable.rst"] for name in RETIRED)


def test_links_lead_to_pages() -> None:
    for page, text in PAGES.items():
        for target in re.findall(r":doc:`([^`]+)`", text):
            assert ((DOCS / page).parent / f"{target}.rst").resolve().is_file(), (page, target)
