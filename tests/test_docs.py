"""What the documentation says is what the code does: every name of one is in the other."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from scrapy.settings import Settings
from scrapy.utils.misc import load_object

import scrapy_capsolver
from scrapy_capsolver import captcha
from scrapy_capsolver import settings as settings_module
from scrapy_capsolver._request.flag import META_KEY, OWN_KEYS, parse_flag
from scrapy_capsolver.api.codes import DESCRIPTIONS, INVALID_TASK_DATA, RULES
from scrapy_capsolver.families import FAMILIES, PRICES, RETIRED
from scrapy_capsolver.families.fields import COMMON
from scrapy_capsolver.middleware import CapSolverMiddleware
from scrapy_capsolver.order import ORDER
from tests.documents import DOCS, PAGES, README, ROOT, blocks, described

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SOURCES = [path for path in (ROOT / "scrapy_capsolver").rglob("*.py") if "simulator" not in path.parts]
FAMILY_NAMES = [*(family.name for family in FAMILIES), "raw"]


def agree(what: str, in_code: Iterable[str], in_docs: Iterable[str]) -> None:
    code, docs = set(in_code), set(in_docs)
    assert not code - docs, f"{what} that the documentation lacks: {sorted(code - docs)}"
    assert not docs - code, f"{what} that the code lacks: {sorted(docs - code)}"


def test_every_setting() -> None:
    names = [f"CAPSOLVER_{name}" for name in settings_module._NAMES]
    agree("settings", names, described("docs/settings.rst", "setting"))


@pytest.mark.parametrize("page", PAGES)
def test_no_page_names_a_setting_that_is_none(page: str) -> None:
    named = set(re.findall(r"\bCAPSOLVER_[A-Z][A-Z_]*[A-Z]\b", PAGES[page]))
    known = {f"CAPSOLVER_{name}" for name in settings_module._NAMES}
    told = set(re.findall(r"\b(CAPSOLVER_\w+) is no setting", PAGES[page]))
    assert not named - known - told, f"no settings: {sorted(named - known - told)}"


def test_the_middlewares_place() -> None:
    (shown,) = re.findall(r"DOWNLOADER_MIDDLEWARES = (.*)", PAGES["docs/settings.rst"])
    ((path, order),) = ast.literal_eval(shown).items()
    assert (load_object(path), order) == (CapSolverMiddleware, ORDER)
    base = Settings()["DOWNLOADER_MIDDLEWARES_BASE"]
    for name, number in re.findall(r"``(\w+Middleware)`` +\((\d+)\)", PAGES["docs/settings.rst"]):
        (known,) = [value for cls, value in base.items() if cls.endswith(f".{name}")]
        assert known == int(number)


def pattern(node: ast.expr) -> str | None:
    """The text of a string; what an f-string puts in is ``<>``."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "<>" for part in node.values)
    return None


def stats_in(source: str) -> Iterator[str]:
    """What is given to functions named ``count`` or ``_count``, and what is written out as ``capsolver/...``."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        name = pattern(node.args[0])
        if name is None:
            continue
        if called.lstrip("_") == "count" and re.fullmatch(r"[a-z_]+(/([a-z_]+|<>))*", name):
            yield f"capsolver/{name}"
        elif called in {"inc_value", "set_value", "max_value", "min_value"} and name.startswith("capsolver/"):
            yield name


def test_every_stat() -> None:
    counted = {name for path in SOURCES for name in stats_in(path.read_text("utf-8"))}
    assert len(counted) > 30
    documented = {re.sub(r"<[^>]*>", "<>", name) for name in described("docs/stats.rst", "stat")}
    agree("stats", counted, documented)


def test_every_reason_of_waste() -> None:
    code = "".join(path.read_text("utf-8") for path in SOURCES)
    reasons = set(re.findall(r'(?:wasted|unknown)\([^()]*(?:\(.*?\))*[^()]*"([a-z_]+)"\)', code))
    assert reasons >= {"rejected", "expired", "abandoned", "unusable", "no_solution", "undelivered"}
    told = re.findall(r"^ +- ``([a-z_]+)``:", PAGES["docs/stats.rst"], re.MULTILINE)
    reasons |= {"already_sent", "possibly_paid"}
    agree("reasons of waste", reasons, told)
    accounts = PAGES["docs/cost.rst"].split("``account`` says for what:")[1].split("\n\n")[1]
    agree("accounts of the ledger", reasons | {"solved", "failed"}, set(re.findall(r"``(\w+)``", accounts)))


def test_every_error() -> None:
    errors = {f"scrapy_capsolver.{name}" for name in scrapy_capsolver.__all__ if name.endswith("Error")}
    agree("errors", errors, described("docs/errors.rst", "py:exception"))


def test_every_attribute_of_errors() -> None:
    error = scrapy_capsolver.CaptchaError("why")
    assert set(described("docs/errors.rst", "py:attribute")) == vars(error).keys()


@pytest.mark.parametrize(
    ("table", "rules"), [("codes", RULES), ("descriptions", {**INVALID_TASK_DATA, **DESCRIPTIONS})]
)
def test_every_error_of_the_api_says_what_to_do(table: str, rules: dict[str, Any]) -> None:
    (body,) = re.findall(rf"^\.\. api-errors:: {table}\n\n((?: +.*\n)+)", PAGES["docs/errors.rst"], re.MULTILINE)
    advice = dict(re.findall(r"^ +:([^:]+): +(.*\S)", body, re.MULTILINE))
    agree(f"{table} of API errors", rules, advice)


def test_every_key_of_a_flag() -> None:
    own = {name for family in FAMILIES for task_type in family.types.values() for name in task_type.own}
    agree("keys of a flag", {*OWN_KEYS, *own, *COMMON}, described("docs/flags.rst", "flag-key"))


def keys_of(family: Any) -> set[str]:
    """All keys that a flag may give for the types of a family, but for those that every task has."""
    return {
        name
        for task_type in family.types.values()
        for name in task_type.required.union(task_type.optional, task_type.own, *task_type.one_of)
    } - COMMON.keys()


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_key_is_on_its_familys_page(family: Any) -> None:
    page = page_of(family.name)
    lacking = sorted(name for name in keys_of(family) if f"``{name}``" not in PAGES[page])
    assert not lacking, f"{page} lacks {lacking}"


def test_every_name_that_spiders_see() -> None:
    """In meta, flags, state and close reasons: all that the code spells ``capsolver...``."""
    spelled = {
        node.value
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"_?capsolver(_[a-z]+)*", node.value)
    }
    agree("names in meta, flags and state", spelled, described("docs/flags.rst", "result"))


def page_of(family: str) -> str:
    """The page that the index names for it."""
    (page,) = re.findall(rf"^``{family}`` +:doc:`(\w+)`", PAGES["docs/families/index.rst"], re.MULTILINE)
    return f"docs/families/{page}.rst"


def flags() -> Iterator[tuple[str, Any]]:
    """(page, flag): the values of "capsolver" in dicts, those that are assigned to ``capsolver``, as far as they are written out, and what builders give."""
    for page in PAGES:
        for _, source in blocks(page, "python"):
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.Dict):
                    given = [
                        value
                        for key, value in zip(node.keys, node.values, strict=True)
                        if isinstance(key, ast.Constant) and key.value == META_KEY
                    ]
                else:
                    assigned = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == META_KEY
                    given = [node.value] if assigned else []
                if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("captcha."):
                    yield page, eval(compile(ast.Expression(node), page, "eval"), {"captcha": captcha})
                for value in given:
                    if not any(isinstance(part, (ast.Call, ast.Name)) for part in ast.walk(value)):
                        yield page, ast.literal_eval(value)


def test_every_builder_is_told_of() -> None:
    assert all(f"``{name}``" in PAGES["docs/spiders.rst"] for name in captcha.__all__)


@pytest.mark.parametrize(("page", "flag"), list(flags()))
def test_every_flag_that_is_shown_is_one(page: str, flag: Any) -> None:
    assert parse_flag(flag, page) is not None or flag in (False, None)


@pytest.mark.parametrize("family", FAMILY_NAMES)
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
    assert all(f"``{name}``" in PAGES["docs/families/unsolvable.rst"] for name in RETIRED)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_pages(page: str) -> None:
    targets = re.findall(r":doc:`(?:[^`<]*<)?([^`>]+)>?`", PAGES[page])
    if page == README:
        targets = [path for path in re.findall(r"\]\(([^)#]+)[^)]*\)", PAGES[page]) if "://" not in path]
    for target in targets:
        name = target if page == README else f"{target}.rst"
        assert ((ROOT / page).parent / name).resolve().exists(), (page, target)


def test_every_page_is_in_a_table_of_contents() -> None:
    listed = set()
    for page, text in PAGES.items():
        for body in re.findall(r"^\.\. toctree::\n((?: .*\n|\n)+)", text, re.MULTILINE):
            entries = re.findall(r"^ +([\w/]+)$", body, re.MULTILINE)
            listed |= {((ROOT / page).parent / f"{entry}.rst").relative_to(DOCS).as_posix() for entry in entries}
    pages = {Path(page).relative_to("docs").as_posix() for page in PAGES if page != README}
    assert pages - listed == {"index.rst"}
