"""What the documentation's pages show is what the code takes."""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from scrapy_capsolver import captcha
from scrapy_capsolver.families import FAMILIES, PRICES, RETIRED
from scrapy_capsolver.flag import META_KEY, parse_flag

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parent.parent / "docs"
PAGES = {path.relative_to(DOCS).as_posix(): path.read_text("utf-8") for path in sorted(DOCS.rglob("*.rst"))}
BLOCK = re.compile(r"^\.\. code-block:: python\n\n((?:(?: {4}.*)?\n)+)", re.MULTILINE)


def flags() -> Iterator[tuple[str, Any]]:
    """(page, flag): the values of "capsolver" in dicts, those that are assigned to ``capsolver``, and what builders give."""
    for page, text in PAGES.items():
        for block in BLOCK.findall(text):
            for node in ast.walk(ast.parse(textwrap.dedent(block))):
                if isinstance(node, ast.Dict):
                    for key, value in zip(node.keys, node.values, strict=True):
                        if isinstance(key, ast.Constant) and key.value == META_KEY:
                            yield page, evaluated(value)
                elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == META_KEY:
                    if not ast.unparse(node.value).startswith("CapSolver."):
                        yield page, evaluated(node.value)
                elif isinstance(node, ast.Call) and ast.unparse(node.func).startswith("captcha."):
                    yield page, evaluated(node)


def evaluated(node: ast.expr) -> Any:
    if isinstance(node, ast.Call):
        return eval(compile(ast.Expression(node), "docs", "eval"), {"captcha": captcha})
    return ast.literal_eval(node)


def test_every_builder_is_told_of() -> None:
    assert all(f"``{name}``" in PAGES["spiders.rst"] for name in captcha.__all__)


@pytest.mark.parametrize(("page", "flag"), list(flags()))
def test_every_flag_that_is_shown_is_one(page: str, flag: Any) -> None:
    assert parse_flag(flag, page) is not None


def page_of(family: str) -> str:
    """The page that the index names for it."""
    (page,) = re.findall(rf"^``{family}`` +:doc:`(\w+)`", PAGES["families/index.rst"], re.MULTILINE)
    return f"families/{page}.rst"


@pytest.mark.parametrize("family", [*(family.name for family in FAMILIES), "raw"])
def test_every_family_has_its_page_with_an_example(family: str) -> None:
    page = page_of(family)
    assert f"``{family}``" in PAGES[page]
    assert page in {shown for shown, _ in flags()}


@pytest.mark.parametrize(("name", "family"), [(name, family.name) for family in FAMILIES for name in family.types])
def test_every_task_type_is_on_its_page_with_its_price(name: str, family: str) -> None:
    page = PAGES[page_of(family)]
    price = f"{PRICES[name]:.2f}" if name in PRICES else "not published"
    rows = [line for line in page.splitlines() if line.startswith(f"``{name}`` ")]
    assert f"``{name}``" in page
    assert price in (rows[0] if rows and "Price" in page else page)


def test_every_retired_type_is_told() -> None:
    assert all(f"``{name}``" in PAGES["families/unsolvable.rst"] for name in RETIRED)


def test_links_lead_to_pages() -> None:
    for page, text in PAGES.items():
        for target in re.findall(r":doc:`([^`]+)`", text):
            assert ((DOCS / page).parent / f"{target}.rst").resolve().is_file(), (page, target)
