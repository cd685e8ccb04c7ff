from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

import pytest
from scrapy.settings import Settings

from scrapy_capsolver.commands import report
from scrapy_capsolver.report.figures import figures_of
from scrapy_capsolver.report.files import read_report, write_report
from tests.report.samples import crawl_of
from tests.report.test_files import store

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    report.add_arguments(parser)
    return report.run(Settings(), parser.parse_args(arguments))


@pytest.fixture
def path(tmp_path: Path) -> str:
    write_report(crawl_of(300), str(tmp_path / "report.json"))
    return str(tmp_path / "report.json")


def test_text(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(path) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("Captchas of shop\n")
    assert "By site" in shown.out
    assert shown.err == ""


def test_json(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(path, "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["figures"]["total"]["solved"]["tasks"] == figures_of(read_report(path)).total.solved.tasks


def test_a_page(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = str(tmp_path / "page.html")
    assert run(path, "-o", page) == 0
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")
    assert capsys.readouterr().out == f"{page}\n"


def test_several_add_up(path: str, tmp_path: Path) -> None:
    both = str(tmp_path / "both.json")
    assert run(path, path, "-o", both) == 0
    one, two = figures_of(read_report(path)), figures_of(read_report(both))
    assert two.total.solved.nano_usd == 2 * one.total.solved.nano_usd
    assert two.runs == 2


def test_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store(tmp_path / "captchas.sqlite")
    assert run(str(tmp_path / "captchas.sqlite")) == 0
    shown = capsys.readouterr().out
    assert "from the ledger of a store" in shown
    assert "Spent            0.0036 USD for 3 solutions" in shown
    assert "Accepted" not in shown
    assert "Tasks that were open when the store was read: 1." in shown


@pytest.mark.parametrize("arguments", [["nothing.json"], ["nothing.json", "-o", "x.html"]])
def test_errors_are_told_aside(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "nothing.json: No such file or directory\n"


def test_what_cannot_be_written_is_told(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = str(tmp_path / "no" / "page.html")
    assert run(path, "-o", target) == 1
    assert capsys.readouterr().err == f"{target}: there is no directory {tmp_path}/no\n"


def test_help_has_examples() -> None:
    assert "scrapy capsolver report captchas.sqlite" in (report.__doc__ or "")
