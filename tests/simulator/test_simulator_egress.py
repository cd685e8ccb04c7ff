"""Tasks whose proxy the simulator goes through."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from scrapy.utils.defer import deferred_f_from_coro_f, deferred_from_coro, maybe_deferred_to_future
from twisted.internet.defer import maybeDeferred
from twisted.internet.protocol import Factory, Protocol

from scrapy_capsolver.simulator import Simulator, egress
from tests.proxies import proxy as running_proxy

from .visitor import Answer, Caller, Visitor, fetch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.proxies import Running

TYPE = "AntiCloudflareTask"


async def address(simulator: Simulator, **proxy: Any) -> str | None:
    """The address that the solver found; nothing if the task failed."""
    ended = await Visitor(simulator).task(TYPE, websiteURL=f"{simulator.site_url}/cloudflare/7", **proxy)
    last = list(simulator.tasks.values())[-1]
    if ended["status"] == "failed":
        assert ended["errorCode"] == "ERROR_CAPTCHA_SOLVE_FAILED"
        assert ended["errorDescription"] == "Failed to solve the captcha: 1001"
        assert last.address is None
    else:
        assert last.address
    return last.address


@pytest.fixture(scope="module")
def plain() -> Iterator[Running]:
    """A proxy whose credentials fit into every form."""
    with running_proxy("127.0.0.30", "user", "word") as running:
        yield running


@deferred_f_from_coro_f
async def test_forms_of_a_proxy(simulator: Simulator, proxy: Running, plain: Running) -> None:
    at = f"{plain.host}:{plain.port}"
    for form in (
        {"proxy": f"{at}:user:word"},
        {"proxy": f"http:{at}:user:word"},
        {"proxy": plain.url},
        plain.fields,
        {"proxy": "", **plain.fields},
    ):
        assert await address(simulator, **form) == plain.source
    for form in ({"proxy": proxy.url}, proxy.fields):
        assert await address(simulator, **form) == proxy.source
    site = simulator.state()["site"]
    assert (site["requests"], site["pages"], site["clients"]) == (0, 0, {})
    assert site["connections"] == 0


@deferred_f_from_coro_f
async def test_proxies_that_are_of_no_use(simulator: Simulator, proxy: Running, plain: Running) -> None:
    at = f"{plain.host}:{plain.port}"
    for form in (
        {"proxy": at},
        {"proxy": f"{at}:user:wrong"},
        {"proxy": f"http://user:wrong@{at}"},
        {**plain.fields, "proxyPassword": "wrong"},
        {**plain.fields, "proxyPassword": ""},
        {**plain.fields, "proxyLogin": None},
        {**proxy.fields, "proxyPassword": "\ud800"},
        {"proxy": "127.0.0.1:1"},
        {"proxy": f"socks5://user:word@{at}"},
        {"proxy": f"https:{at}:user:word"},
        {"proxyType": "http", "proxyAddress": "no host\ud800", "proxyPort": 1},
        # A server that is no proxy.
        {"proxy": simulator.api_url},
        {"proxy": simulator.site_url},
    ):
        assert await address(simulator, **form) is None, form
    assert simulator.state()["money"]["spent"] == 0


@deferred_f_from_coro_f
async def test_who_am_i(simulator: Simulator, proxy: Running) -> None:
    url = simulator.site_url + "/_whoami"
    assert (await fetch("GET", url)).json == {"address": "127.0.0.1"}
    assert (await fetch("GET", url, proxy=proxy)).json == {"address": proxy.source}
    assert simulator.state()["site"]["requests"] == 0
    assert (await Visitor(simulator, proxy=proxy).go("/free/7")).status == 200
    assert simulator.state()["site"]["clients"] == {proxy.source: 1}


@pytest.fixture
def silent() -> Iterator[Any]:
    """A proxy that takes connections, and never answers."""
    from twisted.internet import reactor

    port: Any = reactor.listenTCP(0, _Silent(), interface="127.0.0.1")  # type: ignore[attr-defined]
    yield port
    for protocol in port.factory.connections:
        protocol.transport.abortConnection()
    pytest_twisted.blockon(maybeDeferred(port.stopListening))


class _Silent(Factory):
    noisy = False

    def __init__(self) -> None:
        self.connections: list[Protocol] = []

    def buildProtocol(self, addr: object) -> Protocol:
        protocol = Protocol()
        self.connections.append(protocol)
        return protocol


def create(simulator: Simulator, silent: Any, **more: Any) -> Any:
    """Begin a call of createTask with that proxy."""
    url, proxy = f"{simulator.site_url}/cloudflare/7", f"127.0.0.1:{silent.getHost().port}"
    body = {"clientKey": simulator.key, "task": {"type": TYPE, "websiteURL": url, "proxy": proxy}}
    return deferred_from_coro(Caller(simulator).raw("createTask", json.dumps(body).encode(), **more))


@deferred_f_from_coro_f
async def test_nobody_waits_for_a_proxy_but_its_task(
    simulator: Simulator, silent: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(egress, "_PATIENCE_SECONDS", 0.3)
    call = create(simulator, silent)
    while not silent.factory.connections:
        assert (await Caller(simulator)("getBalance")).status == 200
    assert not call.called
    created: Answer = await maybe_deferred_to_future(call)
    assert created.json["status"] == "idle"
    assert simulator.tasks[created.json["taskId"]].address is None


@deferred_f_from_coro_f
async def test_stopping_in_the_middle(silent: Any) -> None:
    simulator = Simulator(latency=0)
    await maybe_deferred_to_future(simulator.start())
    call = create(simulator, silent)
    while not silent.factory.connections:
        assert (await Caller(simulator)("getBalance")).status == 200
    await maybe_deferred_to_future(simulator.stop())
    with pytest.raises(Exception, match=r"(?i)reset|closed|abort"):
        await maybe_deferred_to_future(call)


@deferred_f_from_coro_f
async def test_a_caller_who_does_not_wait(simulator: Simulator, silent: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress, "_PATIENCE_SECONDS", 0.5)
    with pytest.raises(TimeoutError):
        await maybe_deferred_to_future(create(simulator, silent, timeout=0.2))
    while not simulator.tasks:
        assert (await Caller(simulator)("getBalance")).status == 200
    api = simulator.state()["api"]
    assert api["calls"]["createTask"] == 1
    assert api["statuses"] == {"200": api["calls"]["getBalance"]}
