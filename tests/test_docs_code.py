"""The code in the documentation runs: Python blocks are executed and their spiders crawl the simulator, shell blocks are what
the programs in them take. One mechanism for all pages: a page needs no test of its own."""

from __future__ import annotations

import ast
import inspect
import logging
import os
import pkgutil
import re
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.metadata import entry_points, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import scrapy
import scrapy.commands
from packaging.requirements import Requirement
from scrapy.settings import Settings
from scrapy.utils.defer import deferred_f_from_coro_f, maybe_deferred_to_future
from scrapy.utils.test import get_crawler

from scrapy_capsolver._request.flag import META_KEY, parse_flag
from scrapy_capsolver.settings import read_settings, unknown_settings
from scrapy_capsolver.stores import Spend
from scrapy_capsolver.stores.sqlite import SQLiteStore
from tests.crawls import run, settings_for, simulator
from tests.documents import PAGES, ROOT, blocks
from tests.processes import simulator_process
from tests.proxies import proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

# Where the addresses in the examples lead, on the simulator's site: on all pages, or on one.
PLACES = {"/products": "/recaptcha-v2/7", "/picture": "/image/3"}
PLACES_OF = {"docs/families/cloudflare_challenge.rst": {"/": "/cloudflare/7"}}
PROXY = "http://user:password@proxy.example:8000"
# Programs that are none of ours: that the shell can read the line is all that is asked.
FOREIGN = {"cat", "cd", "curl", "docker", "export", "git", "pytest", "scrapyd", "scrapyd-deploy", "shub", "unset"}

PYTHON = [page for page in PAGES if next(blocks(page, "python"), None)]
SHELL = [page for page in PAGES if next(blocks(page, "bash", "console"), None)]


def test_every_page_with_python_in_it_is_run() -> None:
    """Under another name it would not be found: ``py``, ``python3``, a fence without one."""
    for page, text in PAGES.items():
        written = re.findall(r"^ *(?:```|\.\. (?:code|code-block|sourcecode):: *)([\w-]+) *$", text, re.MULTILINE)
        assert not {"py", "py3", "python3", "sh", "shell", "zsh"} & set(written), page
        assert not re.search(r"^\.\. (code|sourcecode|testcode)::", text, re.MULTILINE), page
        assert written.count("python") == len(list(blocks(page, "python"))), page


def spiders_of(scope: dict[str, Any], known: set[Any]) -> list[Any]:
    """Those that the blocks define, and do not import."""
    return [
        value
        for value in scope.values()
        if inspect.isclass(value)
        and issubclass(value, scrapy.Spider)
        and value.__module__ == scope["__name__"]
        and value not in known
    ]


@pytest.fixture(scope="module")
def way_out() -> Iterator[str]:
    """The proxy of the examples."""
    with proxy(user="user", password="password") as running:
        yield running.url


def on_the_simulator(source: str, page: str, site: str, way_out: str) -> str:
    places = PLACES | PLACES_OF.get(page, {})
    source = source.replace(PROXY, way_out)
    return re.sub(
        r"(?:https://shop\.example|http://127\.0\.0\.1:8080)(/[\w-]*)",
        lambda found: site + places.get(found[1], found[1]),
        source,
    )


@pytest.mark.parametrize("page", PYTHON)
@deferred_f_from_coro_f
async def test_the_python_of_each_page(
    page: str, way_out: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    scope: dict[str, Any] = {"__name__": "example", "scrapy": scrapy}
    known: set[Any] = set()
    async with simulator() as capsolver:
        for line, source in blocks(page, "python"):
            where = f"{page}, line {line}"
            scope.pop("meta", None)
            # A file, as Scrapy reads the source of callbacks; with the name that its first line gives, for others to import.
            name = re.match(r"# (\w+\.py)\n", source)
            path = tmp_path / (name[1] if name else f"line_{line}.py")
            path.write_text(on_the_simulator(source, page, capsolver.site_url, way_out), "utf-8")
            code = compile(path.read_text("utf-8"), path, "exec")
            if path.name.startswith("test_"):  # pytest's business, in a run of its own
                assert has_a_test_of_its_own(page), where
                continue
            exec(code, scope)
            check_flags(scope.get("meta"), where)
            check_settings({name: scope[name] for name in assigned(source) if name.isupper()}, where)
            for spider in spiders_of(scope, known):
                known.add(spider)
                if "self.url" in source:  # it takes an argument, which page is known to the test that runs it
                    assert has_a_test_of_its_own(page), where
                else:
                    await check_spider(spider, capsolver, where)
    for name, module in list(sys.modules.items()):
        if str(tmp_path) in str(getattr(module, "__file__", "")):
            del sys.modules[name]  # another page may have one of this name
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


def assigned(source: str) -> set[str]:
    """The names that the block itself gives a value, at its top."""
    targets = [target for node in ast.parse(source).body if isinstance(node, ast.Assign) for target in node.targets]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def check_flags(meta: Any, where: str) -> None:
    if meta is not None and META_KEY in meta:
        parse_flag(meta[META_KEY], where)


def check_settings(values: dict[str, Any], where: str) -> None:
    settings = Settings({"CAPSOLVER_API_KEY": "k", **values})
    assert unknown_settings(settings) == [], where
    read_settings(settings)


def has_a_test_of_its_own(page: str) -> bool:
    tests = [path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)]
    return any(f'"{Path(page).name}"' in path.read_text("utf-8") for path in tests)


async def check_spider(spider: Any, capsolver: Any, where: str) -> None:
    """Its flag and settings are some; and where it has pages to begin with, all of them come."""
    check_flags({META_KEY: spider.capsolver} if hasattr(spider, META_KEY) else None, where)
    check_settings(
        {name: value for name, value in (spider.custom_settings or {}).items() if "CAPSOLVER" in name}, where
    )
    if not getattr(spider, "start_urls", ()) and "start" not in vars(spider):
        return
    items: list[Any] = []

    class Keep:
        def process_item(self, item: Any, spider: Any = None) -> Any:
            items.append(item)
            return item

    crawler = get_crawler(spider, settings_for(capsolver, ITEM_PIPELINES={Keep: 1}))
    await maybe_deferred_to_future(run(crawler))
    assert crawler.stats is not None
    stats = crawler.stats.get_stats()
    assert stats["finish_reason"] == "finished", where
    assert stats.get("capsolver/delivered", 0) > 0, where
    assert items, where
    assert all(value is not None for item in items for value in dict(item).values()), (where, items)


@pytest.mark.parametrize("page", SHELL)
def test_the_shell_lines_of_each_page(page: str, tmp_path: Path) -> None:
    for line, shown in blocks(page, "bash", "console"):
        where = f"{page}, line {line}"
        # In a console, what is typed stands behind a prompt, and the rest is what came of it.
        typed = re.findall(r"^\$ (.*)", shown, re.MULTILINE)
        source = "\n".join(typed) if typed else shown
        read = subprocess.run(["bash", "-n"], input=source, capture_output=True, text=True, check=False)
        assert read.returncode == 0, (where, read.stderr)
        for command in commands(source):
            check_command(command, where, tmp_path)


def commands(source: str) -> Iterator[list[str]]:
    """The words of each command, without the variables that are set for it."""
    lexer = shlex.shlex(source, posix=True, punctuation_chars=";&|\n")
    lexer.whitespace = " \t"
    lexer.whitespace_split = True
    lexer.commenters = ""  # they would take the end of the line along
    words: list[str] = []
    comment = False
    for word in [*lexer, "\n"]:
        if not word.strip(";&|\n"):
            if words:
                yield words
            words, comment = [], comment and "\n" not in word
        elif word.startswith("#") or comment:
            comment = True
        elif words or not re.match(r"\w+=", word):
            words.append(word)


def check_command(words: list[str], where: str, tmp_path: Path) -> None:
    program, *rest = words
    match Path(program).name, rest:
        case "pip", ["install", *wanted]:
            for name in wanted:
                check_requirement(name, where)
        case "python", ["-m", "scrapy_capsolver.simulator", *options]:
            with simulator_process(*free_ports(options)) as started:
                assert started["site"], where
        case "python", [path, *_] if not path.startswith("-"):
            assert (ROOT / path).is_file(), (where, words)
        case "python", ["-m", module, *_]:
            assert (ROOT / module / "__main__.py").is_file(), (where, words)
        case "make", targets:
            known = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
            assert set(targets) <= known, (where, words)
        case "scrapy", [name, *_]:
            own = {module.name for module in pkgutil.iter_modules(scrapy.commands.__path__)}
            assert name in own | {point.name for point in entry_points(group="scrapy.commands")}, (where, words)
        case "sqlite3", [_, query]:
            check_query(query, where, tmp_path)
        case name, _:
            assert name in FOREIGN, (where, words, "say in check_command how it is checked")


def free_ports(options: list[str]) -> list[str]:
    """The same with ports that nobody has."""
    return re.sub(r"(-port )\d+", r"\g<1>0", " ".join(options)).split()


def check_requirement(name: str, where: str) -> None:
    wanted = Requirement(name)
    assert wanted.name == "scrapy-capsolver", where
    assert wanted.extras <= set(metadata("scrapy-capsolver").get_all("Provides-Extra", ())), (where, name)


def check_query(query: str, where: str, tmp_path: Path) -> None:
    """It finds what a crawl leaves in its store."""
    path = tmp_path / "captchas.sqlite"
    if not path.exists():
        store = SQLiteStore(str(path))
        for account in ("solved", "rejected"):
            with pytest.raises(StopIteration):
                store.spend(Spend("shop", "shop.example", "turnstile", account, 1, 1_200_000), closes="").send(None)
        store.close()
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(query).fetchall()
    assert rows, where
    assert any("shop.example" in row and 0.0012 in row for row in rows), (where, rows)


def test_start_in_five_minutes_as_its_page_says(tmp_path: Path) -> None:
    """Its commands in a shell, one after the other; and what it says that they print is what they print."""
    (spider,) = [source for _, source in blocks("docs/start.rst", "python")]
    shells = [source for _, source in blocks("docs/start.rst", "bash") if "runspider" in source]
    shown = [source for _, source in blocks("docs/start.rst", "text")]
    with simulator_process("--solve-seconds", "0.1") as where:
        (tmp_path / "shop.py").write_text(spider.replace("http://127.0.0.1:8080", where["site"]), "utf-8")
        script = "\n".join(shells).replace("http://127.0.0.1:8081", where["api"])
        done = subprocess.run(
            ["bash", "-e", "-c", script],
            cwd=tmp_path,
            env={
                **os.environ,
                "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
                "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
                "TLDEXTRACT_PUBLIC_SUFFIX_LIST_URLS": "",
                "NO_PROXY": "127.0.0.1",
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    printed = without_numbers(done.stderr)
    for line in (line for block in shown for line in block.splitlines() if line.strip("., ")):
        assert without_numbers(line) in printed, (line, done.stderr)


def without_numbers(text: str) -> str:
    return re.sub(r"\d+(\.\d+)?", "0", text)
