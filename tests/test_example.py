"""The example project, as its users run it: in a process of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import simulator_process

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, so that nothing is written beside the sources."""
    return shutil.copytree(
        ROOT / "example_project",
        tmp_path_factory.mktemp("example") / "project",
        ignore=shutil.ignore_patterns("__pycache__", "*.jsonl"),
    )


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "PYTHONWARNINGS": "error",
        "TLDEXTRACT_PUBLIC_SUFFIX_LIST_URLS": "",
        "NO_PROXY": "127.0.0.1",
    }


def run(project: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=project,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_it_ends_with_all_items_and_a_table_and_accounts_that_agree(project: Path) -> None:
    done = run(project, "run.py")
    output = done.stdout + done.stderr
    assert done.returncode == 0, output

    items = [json.loads(line) for line in (project / "shop.jsonl").read_text("utf-8").splitlines()]
    assert len(items) == 53
    assert sorted(item["name"] for item in items if not item["captcha"]) == ["Product 1", "Product 2", "Product 3"]
    assert all(item["captcha"] for item in items if "/free/" not in item["url"])
    assert all(item["name"].startswith("Product ") and item["price"] > 0 for item in items)

    for row in [
        r"aws_waf +[123] +1 .*",
        r"botdeflector +3 +3 .*",
        r"cloudflare_challenge +[123] +1 .*",
        r"datadome +[123] +1 .*",
        r"geetest +4 +4 .*",
        r"image_to_text +3 +3 .*",
        r"mtcaptcha +3 +3 .*",
        r"recaptcha_v2 +11 +11 .*",
        r"recaptcha_v2_classification +3 +3 .*",
        r"recaptcha_v3 +6 +6 .*",
        r"turnstile +4 +4 .*",
        r"vision_engine +4 +4 .*",
        r"all +(4[4-9]|50) +44 +\d+\.\d s",
        r"Pages +53 of 53: 3 free, 50 behind a captcha",
        r"Items +project/shop.jsonl",
        r"Time +\d+\.\d s",
        r"CapSolver +44 tasks, \d+ polls, estimated cost 0\.0482 USD",
        r"Clearances +\d requests shared a solve, \d waited for one; \d pages took one that was held, \d issued it anew",
        r"Failures +none",
        r"Account +44 tasks, 44 solves paid, 0\.0482 USD: agrees",
    ]:
        assert re.search(f"^{row}$", done.stdout, re.MULTILINE), (row, done.stdout)

    assert "Traceback" not in output
    assert "Warning" not in output
    assert "CAP-" not in output
    assert not re.search(r"[\w.-]{60,}", output), "a token"


def test_the_page_spider_takes_one_page_behind_a_captcha(project: Path) -> None:
    with simulator_process("--solve-seconds", "0.1") as where:
        done = run(
            project,
            *("-m", "scrapy", "crawl", "page", "-a", f"url={where['site']}/recaptcha-v3/2", "-a", "expect=.product"),
            *("-s", f"CAPSOLVER_API_URL={where['api']}", "-s", f"CAPSOLVER_API_KEY={where['key']}"),
        )
    assert done.returncode == 0, done.stderr
    items = [json.loads(line) for line in (project / "page.jsonl").read_text("utf-8").splitlines()]
    assert [(item["title"], item["status"], item["captcha"]) for item in items] == [("Product 2", 200, True)]
    assert where["key"] not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("url", "said"),
    [("https://example.com/", "CAPSOLVER_API_KEY=CAP-"), ("example.com", "https://")],
)
def test_a_page_of_ones_own_needs_a_key_and_a_whole_address(project: Path, url: str, said: str) -> None:
    done = run(project, "run.py", "--url", url)
    assert done.returncode == 2
    assert done.stdout == ""
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_scrapy_lists_its_spiders(project: Path) -> None:
    done = run(project, "-m", "scrapy", "list")
    assert (done.returncode, done.stdout.split()) == (0, ["page", "shop"]), done.stderr
