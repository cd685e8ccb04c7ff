"""The fixtures for tests of spiders, in runs of pytest of their own."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from scrapy_capsolver.testing import running_simulator

pytest_plugins = ["pytester"]

DOCS = (Path(__file__).parent.parent / "docs" / "testing.rst").read_text("utf-8")
FILES = {
    name: textwrap.dedent(body)
    for body, name in (
        (block, block.split("# ", 1)[1].split("\n", 1)[0])
        for block in re.findall(r"^\.\. code-block:: python\n\n((?:(?: {4}.*)?\n)+)", DOCS, re.MULTILINE)
    )
}
ALONE = ("-p", "no:asyncio", "-p", "no:twisted")
# Scrapy's cookie middleware would fetch the public suffix list from the network.
OFFLINE = """
    import tldextract
    from scrapy.downloadermiddlewares import cookies

    cookies._split_domain = tldextract.TLDExtract(suffix_list_urls=())
"""
WORD_OF_MODULES = """
    def test_word():
        import sys
        loaded = {name.split(".")[0] for name in sys.modules}
        assert not {"scrapy", "twisted", "treq", "parsel", "lxml"} & loaded, loaded
        ours = {name for name in sys.modules if name.startswith("scrapy_capsolver")}
        assert ours == {"scrapy_capsolver", "scrapy_capsolver.pytest_plugin"}
"""

pytestmark = pytest.mark.skipif(
    not any(entry.name == "scrapy_capsolver" for entry in entry_points(group="pytest11")),
    reason="the installed package has no pytest plugin: install it anew",
)


@pytest.fixture(autouse=True)
def _as_in_an_active_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's ``scrapy`` is that of the environment which runs the tests, whether or not that was activated."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def files(pytester: pytest.Pytester, *names: str) -> None:
    for name in names:
        (pytester.path / name).write_text(FILES[name])
    spider = pytester.path / "shop.py"
    if spider.exists():
        spider.write_text(textwrap.dedent(OFFLINE) + spider.read_text())


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess("-W", "error", *arguments)


def test_the_example_of_the_documentation(pytester: pytest.Pytester) -> None:
    assert len(FILES["test_shop.py"].split("def ")[1].splitlines()) <= 10
    files(pytester, "shop.py", "test_shop.py", "test_failures.py")
    run(pytester, *ALONE).assert_outcomes(passed=2)


def test_with_pytest_twisted(pytester: pytest.Pytester) -> None:
    pytest.importorskip("pytest_twisted", reason="pytest-twisted is not installed")
    files(pytester, "shop.py", "test_twisted.py", "test_shop.py")
    run(pytester, "-p", "no:asyncio", "--reactor=asyncio").assert_outcomes(passed=2)


def test_with_pytest_asyncio(pytester: pytest.Pytester) -> None:
    pytest.importorskip("pytest_asyncio", reason="pytest-asyncio is not installed")
    files(pytester, "shop.py", "test_asyncio.py", "test_shop.py")
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = session\n")
    run(pytester, "-p", "no:twisted").assert_outcomes(passed=2)


@pytest.mark.skipif(
    not (importlib.util.find_spec("pytest_twisted") and importlib.util.find_spec("pytest_asyncio")),
    reason="pytest-twisted and pytest-asyncio are not both installed",
)
def test_with_both(pytester: pytest.Pytester) -> None:
    """With both at once, neither runs on the loop of the other; ours is on none."""
    files(pytester, "shop.py", "test_shop.py")
    pytester.makepyfile(
        test_both="""
        import asyncio
        import pytest
        import pytest_twisted

        @pytest.mark.asyncio
        async def test_asyncio(capsolver_simulator):
            await asyncio.sleep(0)
            assert capsolver_simulator.tasks() == []

        @pytest_twisted.ensureDeferred
        async def test_twisted(gated_site):
            assert gated_site.state()["requests"] == 0
        """
    )
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    run(pytester).assert_outcomes(passed=3)


def test_each_test_has_it_as_new(pytester: pytest.Pytester) -> None:
    """One process serves them all, whatever they did to it."""
    pytester.makepyfile(
        """
        import urllib.request
        import pytest

        seen = set()

        @pytest.mark.parametrize("number", range(2))
        def test_one(capsolver_simulator, gated_site, number):
            assert gated_site.state()["requests"] == 0
            assert capsolver_simulator.state()["quirks"] == []
            assert capsolver_simulator.state()["money"] == {"balance": 100.0, "spent": 0.0}
            assert urllib.request.urlopen(gated_site.page("free", 7)).status == 200
            assert gated_site.state()["free"] == 1
            capsolver_simulator.configure(balance=1, quirks=["solve-failed:2"], solve_seconds=(1, 2))
            assert capsolver_simulator.state()["quirks"] == ["solve-failed:2"]
            with pytest.raises(ValueError, match="unknown quirk 'nonsense'"):
                capsolver_simulator.configure(quirks=["nonsense"])
            seen.add(capsolver_simulator.api_url)
            assert len(seen) == 1
            assert "SIMULATOR" not in repr(capsolver_simulator) + repr(gated_site)
        """
    )
    run(pytester, *ALONE).assert_outcomes(passed=2)


def test_it_is_light_where_it_is_not_used(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(WORD_OF_MODULES)
    run(pytester, *ALONE).assert_outcomes(passed=1)


def test_fixtures_are_told_of(pytester: pytest.Pytester) -> None:
    done = run(pytester, *ALONE, "--fixtures")
    done.stdout.fnmatch_lines(["capsolver_simulator -- *", "gated_site -- *"])
    assert "_capsolver_simulator_process" not in done.stdout.str()


def gone(url: str) -> None:
    """Wait until the process that listens there is no more."""
    with pytest.raises(ConnectionRefusedError), socket.create_connection((urlsplit(url).hostname, urlsplit(url).port)):
        pass


def test_it_ends_with_its_block() -> None:
    with running_simulator() as simulator:
        assert simulator.state()["api"]["calls"] == {}
    gone(simulator.api_url)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_it_ends_with_who_started_it_in_whatever_way() -> None:
    code = (
        "from scrapy_capsolver.testing import running_simulator\n"
        "with running_simulator() as simulator:\n"
        "    print(simulator.api_url, flush=True)\n"
        "    input()\n"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), timeout=30) as connection:
            process.send_signal(signal.SIGKILL)
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""  # its end, or a timeout
    gone(url)


def test_one_that_does_not_start_says_why() -> None:
    with (
        pytest.raises(RuntimeError, match=r"(?s)the simulator did not start: .*argument --speed"),
        running_simulator("--speed", "-1"),
    ):
        pass
