"""``scrapy check`` and ``scrapy shell``, as their users run them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest
from scrapy.contracts import ContractsManager
from scrapy.contracts.default import MetadataContract, UrlContract

from scrapy_capsolver import CapSolverContract
from scrapy_capsolver.testing import RunningSimulator, running_simulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SETTINGS = """
    import tldextract
    from scrapy.downloadermiddlewares import cookies

    cookies._split_domain = tldextract.TLDExtract(suffix_list_urls=())  # or it asks the network for the list

    SPIDER_MODULES = ["shop"]
    ADDONS = {"scrapy_capsolver.Addon": 500}
    SPIDER_CONTRACTS = {"scrapy_capsolver.CapSolverContract": 10}
    TELNETCONSOLE_ENABLED = False
    REMOTE_CONTROL_ENABLED = False
"""
SPIDER = """
    import scrapy

    class ShopSpider(scrapy.Spider):
        name = "shop"

        def parse(self, response):
            '''A product.

            @url {site}/turnstile/7
            {contract}
            @returns items 1 1
            @scrapes title
            '''
            for title in response.css(".product::text").getall():
                yield {{"title": title}}
"""


@pytest.fixture(scope="module")
def simulator() -> Iterator[RunningSimulator]:
    with running_simulator() as running:
        yield running


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "scrapy.cfg").write_text("[settings]\ndefault = settings\n")
    (tmp_path / "settings.py").write_text(textwrap.dedent(SETTINGS))
    (tmp_path / "shop.py").touch()
    return tmp_path


def scrapy(project: Path, simulator: RunningSimulator, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CAPSOLVER_API_KEY": simulator.key, "PYTHONPATH": os.getcwd()}
    where = ["-s", f"CAPSOLVER_API_URL={simulator.api_url}"]
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "scrapy", arguments[0], *where, *arguments[1:]],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("contract", "code", "says", "solved"),
    [
        ("@capsolver", 0, "OK", 1),
        ('@capsolver {"type": "AntiTurnstileTaskProxyLess",  "expect": ".product"}', 0, "OK", 1),
        ("", 1, "HttpError", 0),
        ('@capsolver {"when": "soon"}', 1, '@capsolver has "when": \'soon\': it takes "challenged" or "before"', 0),
        ("@capsolver {'type': 1}", 1, "a flag in JSON is wanted", 0),
    ],
)
def test_scrapy_check(
    project: Path, simulator: RunningSimulator, contract: str, code: int, says: str, solved: int
) -> None:
    simulator.restore()
    (project / "shop.py").write_text(textwrap.dedent(SPIDER).format(site=simulator.site_url, contract=contract))
    done = scrapy(project, simulator, "check")
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert simulator.state()["tasks"]["paid"] == solved


def args_of(doc: str) -> dict[str, Any]:
    class Of:
        name = "of"

        def parse(self) -> None: ...

    Of.parse.__doc__ = doc
    manager = ContractsManager([UrlContract, MetadataContract, CapSolverContract])
    args: dict[str, Any] = {}
    for contract in manager.extract_contracts(Of().parse):
        args = contract.adjust_request_args(args)
    return args


def test_the_contract_adds_to_the_meta() -> None:
    assert args_of('@meta {"cookiejar": 1}\n@capsolver')["meta"] == {"cookiejar": 1, "capsolver": True}
    assert args_of("@capsolver false")["meta"] == {"capsolver": False}


def test_scrapy_shell(project: Path, simulator: RunningSimulator) -> None:
    simulator.restore()
    code = f"""(
        fetch(scrapy.Request("{simulator.site_url}/turnstile/7", meta={{"capsolver": True}})),
        print("title", response.css(".product::text").get(), response.flags, sorted(response.meta["capsolver_solution"])),
    )"""
    done = scrapy(project, simulator, "shell", "-c", code)
    assert done.returncode == 0, done.stderr
    assert "title Product 7 ['capsolver'] ['token', 'type', 'userAgent']" in done.stdout, done.stdout + done.stderr
    assert simulator.state()["tasks"]["paid"] == 1
    assert "Traceback" not in done.stderr


def test_scrapy_shell_with_an_address_of_the_command_line(project: Path, simulator: RunningSimulator) -> None:
    """Its own request has no flag; CAPSOLVER_AUTO stands for one."""
    simulator.restore()
    code = "print('title', response.css('.product::text').get())"
    url = f"{simulator.site_url}/turnstile/7"
    done = scrapy(project, simulator, "shell", "-s", "CAPSOLVER_AUTO=1", "-c", code, url)
    assert done.returncode == 0, done.stderr
    assert "title Product 7" in done.stdout, done.stdout + done.stderr
