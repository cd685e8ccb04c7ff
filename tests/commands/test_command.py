"""The command itself: light to load, readable help, options before and after."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

from scrapy_capsolver import commands
from tests.commands.shell import Project, environment_of, scrapy

if TYPE_CHECKING:
    from pathlib import Path


def test_scrapy_pays_nothing_for_it() -> None:
    code = (
        "import sys, scrapy.cmdline\n"
        "before = set(sys.modules)\n"
        "import scrapy_capsolver.commands\n"
        "scrapy_capsolver.commands.Command().short_desc()\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment_of(), capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["scrapy_capsolver", "scrapy_capsolver.commands"]


def test_every_module_is_a_subcommand_with_its_own_help() -> None:
    modules = {one.name for one in pkgutil.iter_modules(commands.__path__) if not one.name.startswith("_")}
    assert modules == {*commands.SUBCOMMANDS}
    for name, short in commands.SUBCOMMANDS.items():
        module = import_module(f"scrapy_capsolver.commands.{name}")
        lines = (module.__doc__ or "").splitlines()
        assert lines[0] == f"{short}."
        assert any(line.startswith("  ") and f"scrapy capsolver {name}" in line for line in lines), "an example"


def test_scrapy_lists_it(project: Project) -> None:
    done = project.scrapy("-h")
    assert done.code == 0
    assert "  capsolver     Check the set-up, detect and solve captchas, simulate CapSolver\n" in done.out
    assert project.scrapy("list").code == 0


@pytest.mark.parametrize("arguments", [(), ("-h",)])
def test_its_help_names_all_subcommands(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = scrapy("capsolver", *arguments, at=tmp_path)
    assert done.code == (0 if arguments else 2)
    for name, short in commands.SUBCOMMANDS.items():
        assert f"  {name:<8}  {short}\n" in done.out


@pytest.mark.parametrize("name", list(commands.SUBCOMMANDS))
def test_help_of_a_subcommand(name: str, tmp_path: Path) -> None:
    done = scrapy("capsolver", name, "--help", at=tmp_path)
    assert done.code == 0, done
    assert done.out.startswith(f"Usage\n=====\n  scrapy capsolver {name} [-h] [--json]")
    assert f"\n\n{commands.SUBCOMMANDS[name]}.\n\n" in done.out
    assert f"\n  scrapy capsolver {name}" in done.out.partition("\n\n")[2], "an example on a line of its own"
    assert "--json" in done.out
    assert "-s NAME=VALUE" in done.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("chekc",), "there is no subcommand 'chekc': they are check, detect"),
        (("--json",), "there is no subcommand '--json'"),
        (("check", "more"), "unrecognized arguments: more"),
        (("detect",), "required: URL|FILE"),
        (("check", "-s", "CAPSOLVER_BUDGET"), "Invalid -s value"),
        (("simulate", "--speed", "0"), "invalid positive number value: '0'"),
    ],
)
def test_wrong_usage_is_told_on_standard_error(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = scrapy("capsolver", *arguments, at=tmp_path)
    assert (done.code, done.out) == (2, ""), done
    assert said in done.err


def test_scrapys_options_before_and_after_the_subcommand(project: Project) -> None:
    done = project.capsolver(
        *("-s", "CAPSOLVER_BUDGET=lots", "-L", "DEBUG", "check", "--offline", "--json", "-s", "CAPSOLVER_TIMEOUT=0")
    )
    wrong = [line["text"] for line in done.json["lines"] if not line["ok"]]
    assert [text.partition(" ")[0] for text in wrong] == ["CAPSOLVER_BUDGET", "CAPSOLVER_TIMEOUT"]
    assert project.capsolver("check", "--offline", "-s", "CAPSOLVER_BUDGET=5").code == 0


def test_ascii_terminals_get_escapes(project: Project) -> None:
    (project.path / "page.html").write_text("<div class=g-recaptcha data-sitekey=6L\u00fc>", "utf-8")
    done = project.capsolver("detect", "page\u00fc.html", PYTHONIOENCODING="ascii")
    assert done.code == 1
    assert "page\\xfc.html" in done.err
