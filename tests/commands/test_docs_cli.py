"""What docs/cli.rst shows is what the command writes."""

from __future__ import annotations

import re
import shlex
import textwrap
from typing import TYPE_CHECKING

import pytest

from scrapy_capsolver.commands import SUBCOMMANDS
from tests.commands.shell import ROOT, environment_of
from tests.processes import ask, running

if TYPE_CHECKING:
    from tests.commands.shell import Project

PAGE = (ROOT / "docs" / "cli.rst").read_text("utf-8")
BLOCKS = [
    textwrap.dedent(block).strip("\n")
    for block in re.findall(r"^\.\. code-block:: console\n\n((?:(?: {4}.*)?\n)+)", PAGE, re.MULTILINE)
]
API, SITE = "http://127.0.0.1:8090", "http://127.0.0.1:8091"


def same(text: str) -> str:
    """Without what differs from one machine, and from one time, to the next."""
    for varying in (r"(?:Scrapy|capsolver|Python) [\d.]+\w*", r"\d+\.\d s", r"\d polls?", r"of \d+ characters"):
        text = re.sub(varying, "...", text)
    return text


@pytest.mark.parametrize("name", list(SUBCOMMANDS))
def test_every_subcommand_has_its_row_and_its_section(name: str) -> None:
    assert f"\n``{name}`` " in PAGE
    section = PAGE.partition(f"\n{name}\n{'-' * len(name)}\n")[2].partition("\n---")[0]
    assert f"$ scrapy capsolver {name}" in section or ":doc:`" in section, "neither an example nor the page that has it"


@pytest.mark.parametrize("block", [block for block in BLOCKS if " simulate" not in block.splitlines()[0]])
def test_what_is_shown(block: str, project: Project) -> None:
    ask(f"{project.where['api']}/_simulator/reset", again=True)
    command, _, shown = block.partition("\n")
    real = command.replace(API, project.where["api"]).replace(SITE, project.where["site"])
    assert real.startswith("$ scrapy ")
    done = project.scrapy(*shlex.split(real)[2:])
    written = (done.err + done.out).replace(project.where["api"], API).replace(project.where["site"], SITE)
    assert same(written.rstrip("\n")) == same(shown)


def test_what_is_shown_of_the_simulator() -> None:
    (block,) = [block for block in BLOCKS if " simulate" in block.splitlines()[0]]
    command, _, shown = block.partition("\n")
    arguments = [word for word in shlex.split(command)[2:] if word not in {"8090", "8091"} and "-port" not in word]
    assert [word for word in shlex.split(command) if "-port" in word] == ["--api-port", "--site-port"]
    with running("-m", "scrapy", *arguments, COLUMNS=environment_of()["COLUMNS"]) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().rstrip("\n") for _ in shown.splitlines()]
    api, site = (line.split()[1] for line in lines[:2])
    assert "\n".join(lines).replace(api, API).replace(site, SITE) == shown
