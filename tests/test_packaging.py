"""What several files say of versions agrees."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

from packaging.requirements import Requirement

import scrapy_capsolver

ROOT = Path(__file__).parent.parent


def config(name: str) -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.read(ROOT / name, "utf-8")
    return parsed


def versions(text: str, operator: str) -> dict[str, str]:
    found = {}
    for line in text.split("\n"):
        if line.strip() and not line.startswith("#"):
            requirement = Requirement(line)
            (specifier,) = requirement.specifier
            assert specifier.operator == operator, line
            found[requirement.name] = specifier.version
    return found


NEEDED = versions(config("setup.cfg")["options"]["install_requires"], ">=")
REDIS = versions(config("setup.cfg")["options.extras_require"]["redis"], ">=")
PINNED = versions((ROOT / "example_project" / "requirements.txt").read_text("utf-8"), "==")


def test_tox_tests_the_lower_bounds_that_are_promised() -> None:
    assert versions(config("tox.ini")["testenv:min"]["deps"], "==") == {**NEEDED, **REDIS}


def test_the_example_pins_this_version_and_all_that_it_needs() -> None:
    assert PINNED["scrapy-capsolver"] == scrapy_capsolver.__version__
    assert PINNED.keys() >= NEEDED.keys()
    for name, least in NEEDED.items():
        assert Requirement(f"{name}>={least}").specifier.contains(PINNED[name])


def test_the_example_pins_the_scrapy_of_its_stack() -> None:
    stack = re.search(
        r"^stack: scrapy:(\d+\.\d+)-\d{8}$", (ROOT / "example_project/scrapinghub.yml").read_text(), re.MULTILINE
    )
    assert stack is not None
    assert PINNED["Scrapy"].startswith(f"{stack[1]}.")
    assert stack[0] in re.sub(r"^ +", "", (ROOT / "docs" / "scrapy_cloud.rst").read_text("utf-8"), flags=re.MULTILINE)


def test_tox_has_every_python_that_is_promised() -> None:
    promised = re.findall(r"Python :: (3\.\d+)$", config("setup.cfg")["metadata"]["classifiers"], re.MULTILINE)
    names = config("tox.ini")["tox"]["envlist"]
    assert promised[0] == "3.10"
    assert all(f"py{version.replace('.', '')}-" in names for version in promised)


def test_the_changelog_names_its_form() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    dated = r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d"
    assert re.fullmatch(rf"\[\d+\.\d+\.\d+\] - unreleased|{dated}", headings[0])
    assert all(re.fullmatch(dated, heading) for heading in headings[1:])
    kinds = set(re.findall(r"^### (.*)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
