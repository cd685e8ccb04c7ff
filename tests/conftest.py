from __future__ import annotations

import asyncio
import ipaddress
import logging
import random
import signal
import socket
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
import tldextract

from tests import clocks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.redis_server import RedisServer

TESTS = Path(__file__).parent
# Markers by folder or file.
GROUPS = {
    "unit": (
        "api",
        "families",
        "solving",
        "test_captcha.py",
        "test_flag.py",
        "test_settings.py",
        "test_tasks.py",
        "test_urls.py",
    ),
    "process": (
        "deploy",
        "test_beside_zyte_api.py",
        "test_benchmarks.py",
        "test_commands_of_scrapy.py",
        "test_docs_code.py",
        "test_example.py",
        "test_kills.py",
        "test_pytest_plugin.py",
        "test_reactors.py",
    ),
    "redis": (
        "fleet",
        "report/test_fleet.py",
        "scrapy_redis",
        "stores/redis",
        "stores/test_every_store.py",
        "stores/test_redis_address.py",
    ),
    "browser": ("families/test_forms_in_a_browser.py", "report/test_page_in_a_browser.py", "test_beside_playwright.py"),
    "soak": ("test_soak.py", "test_state_machine.py"),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        path = item.path.relative_to(TESTS) if item.path.is_relative_to(TESTS) else item.path
        for marker, places in GROUPS.items():
            if any(path.is_relative_to(place) for place in places):
                item.add_marker(marker)


# Another process may have the processor: how long an example takes says nothing.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


# A shell that starts the tests in the background has them ignore SIGINT, and so would the processes that they send it to.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def time_that_can_stop() -> None:
    clocks.install()


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """A Redis server for all tests of this process. Each uses keys of its own: see :func:`redis_prefix`."""
    from tests.redis_server import BINARY, redis_server

    if BINARY is None:
        pytest.skip("there is no redis-server here (Debian's package of that name)")
    with redis_server() as server:
        yield server


@pytest.fixture
def redis_prefix(request: pytest.FixtureRequest) -> str:
    """What the keys of this test begin with."""
    return f"{request.node.originalname}-{uuid.uuid4().hex[:8]}"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CAPSOLVER_API_KEY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(autouse=True)
def same_chances(request: pytest.FixtureRequest) -> None:
    """Each run of a test throws the same dice: those of jitters, delays and solve times."""
    random.seed(request.node.nodeid)


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection leaves this machine; Scrapy's cookie middleware would fetch the public suffix list otherwise."""
    monkeypatch.setattr(
        "scrapy.downloadermiddlewares.cookies._split_domain",
        tldextract.TLDExtract(suffix_list_urls=(), include_psl_private_domains=True),
    )
    for name in ("connect", "connect_ex"):
        original = getattr(socket.socket, name)

        def guarded(self: socket.socket, address: object, original: object = original) -> object:
            if self.family in {socket.AF_INET, socket.AF_INET6}:
                assert isinstance(address, tuple)
                assert ipaddress.ip_address(address[0]).is_loopback, f"a connection to {address}"
            return original(self, address)  # type: ignore[operator]

        monkeypatch.setattr(socket.socket, name, guarded)


@pytest.fixture(autouse=True)
def nothing_left_behind(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No error went unheard, and no timer and no task is left."""
    caplog.set_level(logging.INFO)
    yield
    for record in caplog.get_records("call"):
        text = record.getMessage()
        assert "Unhandled error in Deferred" not in text, record.exc_text
        assert "never retrieved" not in text, text
    from twisted.internet import reactor

    # What is due already is no timer: Scrapy leaves its last word to the reactor's next turn.
    now = reactor.seconds()  # type: ignore[attr-defined]
    assert [call for call in reactor.getDelayedCalls() if call.getTime() > now] == []  # type: ignore[attr-defined]
    if hasattr(reactor, "_asyncioEventloop"):  # pytest --reactor=default runs without
        assert asyncio.all_tasks(reactor._asyncioEventloop) == set()
