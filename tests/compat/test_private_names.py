"""Outside of ``_compat`` the package touches no private name of Scrapy, Twisted, treq and w3lib.

A name is private if it begins with an underscore, or if ``_compat`` lists it. What a module reads, calls, imports,
overrides or hides is found in its source; the package's own private names are those that it defines outside of ``_compat``.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import scrapy_capsolver
from scrapy_capsolver._compat.check import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(scrapy_capsolver.__file__).parent
FOREIGN = {"parsel", "scrapy", "treq", "twisted", "w3lib"}
MODULES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))
OUTSIDE = [name for name in MODULES if not name.startswith("_compat/")]
TREES = {name: ast.parse((ROOT / name).read_text("utf-8")) for name in MODULES}

# Words that the package has for things of its own as well; where each may stand.
SHARED_WORDS = {
    "queue": {"integrations/scrapy_redis.py"},  # the queue of scrapy-redis's scheduler
    "slots": {"_crawl/service.py"},
}


DOCUMENTED = {"_replace"}
"""By Python, of its named tuples."""


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in DOCUMENTED


def defined(tree: ast.AST) -> Iterator[str]:
    """The names that classes give to their own attributes and methods."""
    for node in (inner for cls in ast.walk(tree) if isinstance(cls, ast.ClassDef) for inner in ast.walk(cls)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_self(node.value):
            yield node.attr
        elif isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == "__slots__" for t in node.targets
        ):
            yield from ast.literal_eval(node.value)


def is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in {"self", "cls"}


def touched(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Attributes by name, whichever object they are of: ``x.name``, ``getattr(x, "name")`` and the like."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) > 1:
            name = node.args[1]
            if node.func.id in {"getattr", "hasattr", "setattr", "delattr"} and isinstance(name, ast.Constant):
                yield node.lineno, str(name.value)


OWN = {name for module in OUTSIDE for name in defined(TREES[module]) if is_private(name)}
LISTED = {name.path.rpartition(".")[2] for name in NAMES} | {
    part for name in NAMES for part in name.path.split(".") if is_private(part)
}


@pytest.mark.parametrize("module", OUTSIDE)
def test_imports(module: str) -> None:
    for node in ast.walk(TREES[module]):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            root, *parts = name.split(".")
            assert root not in FOREIGN or not any(map(is_private, parts)), f"{module}:{node.lineno} imports {name}"


@pytest.mark.parametrize("module", OUTSIDE)
def test_attributes(module: str) -> None:
    for line, name in touched(TREES[module]):
        assert not is_private(name) or name in OWN, f"{module}:{line} touches {name}, which is nothing of its own"
        listed = name in LISTED and module not in SHARED_WORDS.get(name, ())
        assert not listed, f"{module}:{line} touches {name}, which is for _compat"


def test_compat_imports_nothing_else_of_the_package() -> None:
    for module in set(MODULES) - set(OUTSIDE):
        for node in ast.walk(TREES[module]):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("scrapy_capsolver"):
                assert str(node.module).startswith("scrapy_capsolver._compat"), f"{module}:{node.lineno}"


def classes() -> Iterator[type]:
    """All classes of the package that are derived from one of Scrapy's, Twisted's or treq's."""
    for found in pkgutil.walk_packages([str(ROOT)], "scrapy_capsolver."):
        if found.name.endswith("__main__"):
            continue
        module = importlib.import_module(found.name)
        for cls in vars(module).values():
            if inspect.isclass(cls) and cls.__module__ == found.name and foreign_bases(cls):
                yield cls


def foreign_bases(cls: type) -> list[type]:
    return [base for base in cls.__mro__ if base.__module__.partition(".")[0] in FOREIGN]


def test_overrides() -> None:
    """A class of the package neither overrides a private name of its base nor sets one by accident."""
    found: list[Any] = list(classes())
    assert len(found) > 10
    for cls in found:
        source = inspect.getsource(cls)
        own = {name for name in defined(ast.parse(textwrap.dedent(source))) if is_private(name)}
        for base in foreign_bases(cls):
            theirs = {name for name in dir(base) if is_private(name)} | set(
                re.findall(r"\bself\.(_[a-zA-Z]\w*)", inspect.getsource(base))
            )
            assert not own & theirs, f"{cls.__qualname__} has {own & theirs} of {base.__qualname__}"


def test_the_search_finds_what_it_is_for() -> None:
    """In the modules in which these names are allowed, each is found."""
    names = {name for module in MODULES if module.startswith("_compat/") for _, name in touched(TREES[module])}
    assert names >= LISTED - {"slot"}
    assert {"_slot", "_encoding"} <= names & LISTED
    assert "_encoding" not in OWN
