"""The proxy's faults, as bare sockets on both sides see them."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from scrapy.utils.defer import deferred_f_from_coro_f

from tests.crawls import crawl, simulator
from tests.fault_proxy import FAULTS, PLACES, UNPASSED, UNRESOLVABLE, Fault, FaultProxy
from tests.wires import refused_url

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nX-Last: header\r\n\r\n"
PATIENCE = 10  # seconds, after which what does not come is a failure and no hang


def request_of(method: str, task: str = "t-1") -> bytes:
    body = json.dumps({"clientKey": "CAP-1", "taskId": task}).encode()
    return (
        f"POST /{method} HTTP/1.1\r\nHost: api\r\nUser-Agent: t\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    )


def response_of(body: bytes = b'{"errorId": 0, "status": "processing"}') -> bytes:
    return HEAD % len(body) + body


class Peer(asyncio.Protocol):
    """Asyncio's own end of a connection, which shares no code with the proxy's."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.lost: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        self._news = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.chunks.append(data)
        self._news.set()

    def connection_lost(self, error: BaseException | None) -> None:
        self.lost.set_result(error)
        self._news.set()

    @property
    def data(self) -> bytes:
        return b"".join(self.chunks)

    async def has(self, size: int) -> bytes:
        """The bytes of which there are so many, or fewer if the connection has ended."""
        while len(self.data) < size and not self.lost.done():
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), PATIENCE)
        return self.data

    async def asks(self, request: bytes) -> bytes:
        """The response, or what there is of it when the connection ends."""
        start = len(self.data)
        self.transport.write(request)
        while not (found := re.match(rb"(?s).*?\r\nContent-Length: ?(\d+).*?\r\n\r\n", self.data[start:])):
            if self.lost.done():
                return self.data[start:]
            await self.has(len(self.data) + 1)
        return (await self.has(start + found.end() + int(found[1])))[start:]

    async def end(self) -> type[BaseException] | None:
        """None: it was closed in good order."""
        error = await asyncio.wait_for(asyncio.shield(self.lost), PATIENCE)
        return None if error is None else type(error)


class Upstream:
    """A server that answers each request by the next of its responses, then by its last, and keeps what came."""

    def __init__(self, *responses: bytes) -> None:
        self.peers: list[Peer] = []
        self._responses = list(responses)
        self._made = asyncio.Event()

    async def __aenter__(self) -> Upstream:  # noqa: PYI034 - Self is not in Python 3.10
        responses, made = self._responses, self._made

        class Answering(Peer):
            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                made.set()

            def data_received(self, data: bytes) -> None:
                super().data_received(data)
                if self.data.endswith(b"}"):  # the body is an object
                    self.transport.write(responses.pop(0) if responses[1:] else responses[0])

        def peer() -> Peer:
            self.peers.append(Answering())
            return self.peers[-1]

        self._server = await asyncio.get_running_loop().create_server(peer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *args: object) -> None:
        self._server.close()
        for peer in self.peers:
            await peer.end()  # the proxy has left nothing open

    async def peer(self) -> Peer:
        await self._made.wait()
        return self.peers[0]


async def connect(url: str, **kwargs: Any) -> Peer:
    parts = urlsplit(url)
    return (await asyncio.get_running_loop().create_connection(Peer, parts.hostname or "", parts.port or 0, **kwargs))[
        1
    ]


def always(fault: Fault | None) -> Callable[[str, int], Fault | None]:
    return lambda method, number: fault


REQUEST, RESPONSE = request_of("createTask"), response_of()
WHOLE = len(REQUEST)
START = REQUEST.index(b"{")
HALF = START + (WHOLE - START) // 2
BODY = RESPONSE.index(b"{")
CUTS = {  # what the client must have sent for it; how much of that the API gets, and of its response the client
    "request start": (START, 0, b""),
    "request head": (START, START // 2, b""),
    "request body": (HALF, HALF, b""),
    "request read": (WHOLE, 0, b""),
    "request passed": (WHOLE, WHOLE, b""),
    "status line": (WHOLE, WHOLE, b"HTTP/1.1"),
    "response head": (WHOLE, WHOLE, b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCon"),
    "response body": (WHOLE, WHOLE, RESPONSE[: BODY + (len(RESPONSE) - BODY) // 2]),
    "response end": (WHOLE, WHOLE, RESPONSE),
}


@pytest.mark.parametrize("kind", ["reset", "close"])
@pytest.mark.parametrize("place", PLACES)
@deferred_f_from_coro_f
async def test_the_connection_ends_where_it_was_said(place: str, kind: str) -> None:
    fault = Fault(kind, place)
    due, passed, received = CUTS[place]
    assert fault.passed == (passed == WHOLE)
    async with Upstream(RESPONSE) as upstream, FaultProxy(upstream.url, always(fault)) as proxy:
        client = await connect(proxy.url)
        client.transport.write(REQUEST[:due])
        assert await client.end() is (ConnectionResetError if kind == "reset" else None)
        assert client.data == received
        assert proxy.hits == {str(fault): 1}
        if not passed:
            assert upstream.peers == []
            return
        peer = await upstream.peer()
        if not fault.passed:
            assert await peer.end() is (ConnectionResetError if kind == "reset" else None)
        assert peer.data == REQUEST[:passed]


@pytest.mark.parametrize("fault", [None, Fault("drip")], ids=str)
@deferred_f_from_coro_f
async def test_all_exchanges_of_a_connection_go_over_one_and_what_is_slow_comes_byte_by_byte(
    fault: Fault | None,
) -> None:
    async with Upstream(RESPONSE) as upstream, FaultProxy(upstream.url, always(fault)) as proxy:
        client = await connect(proxy.url)
        for n in (1, 2):
            client.transport.write(REQUEST)
            assert await client.has(n * len(RESPONSE)) == RESPONSE * n
        assert (len(client.chunks) == 2 * len(RESPONSE)) is (fault is not None)
        assert (proxy.calls, proxy.connections, proxy.open) == ({"createTask": 2}, 1, 1)
        assert [peer.data for peer in upstream.peers] == [REQUEST * 2]
        client.transport.close()
        await client.end()
        await upstream.peers[0].end()


@pytest.mark.parametrize("place", ["request read", "request passed"])
@deferred_f_from_coro_f
async def test_silence_lasts_until_the_client_or_the_proxy_ends_the_connection(place: str) -> None:
    fault = Fault("silence", place)
    async with Upstream(RESPONSE) as upstream:
        choose = {"createTask": fault}
        async with FaultProxy(upstream.url, lambda method, n: choose.get(method)) as proxy:
            leaving, staying, other = [await connect(proxy.url) for _ in range(3)]
            leaving.transport.write(REQUEST)
            staying.transport.write(REQUEST)
            for _ in range(5):  # by then, the others would have been answered as well
                assert await other.asks(request_of("getBalance")) == RESPONSE
            assert proxy.hits == {str(fault): 2}
            assert [peer.data for peer in upstream.peers].count(REQUEST) == (2 if fault.passed else 0)
            assert (leaving.data, staying.data, proxy.open) == (b"", b"", 3)
            leaving.transport.close()
            await leaving.end()
            assert await other.asks(request_of("getBalance")) == RESPONSE
            assert proxy.open == 2
        assert await staying.end() is ConnectionResetError


CHANGED = {
    Fault("garbage"): b"\x00\xff not HTTP\r\n\r\n",
    Fault("garbage", "response end"): RESPONSE + b"\x00\xff not HTTP\r\n\r\n",
    Fault("content type"): RESPONSE.replace(b"application/json", b"text/html"),
    Fault("truncated"): response_of(RESPONSE[BODY : BODY + (len(RESPONSE) - BODY) // 2]),
}


@pytest.mark.parametrize("fault", CHANGED, ids=str)
@deferred_f_from_coro_f
async def test_a_response_that_is_changed(fault: Fault) -> None:
    async with Upstream(RESPONSE) as upstream, FaultProxy(upstream.url, always(fault)) as proxy:
        client = await connect(proxy.url)
        client.transport.write(REQUEST)
        assert await client.has(len(CHANGED[fault])) == CHANGED[fault]
        assert upstream.peers[0].data == REQUEST
        assert not client.lost.done()


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.kind == "status"], ids=str)
@deferred_f_from_coro_f
async def test_a_status_takes_the_place_of_the_response_and_the_connection_lives_on(fault: Fault) -> None:
    status, kind = fault.what.split()
    start = {"json": b"{", "html": b"<html>", "empty": b""}[kind]
    async with Upstream(RESPONSE) as upstream:
        async with FaultProxy(upstream.url, lambda method, n: fault if n == 1 else None) as proxy:
            client = await connect(proxy.url)
            early = fault.at == "request start"
            head, _, body = (await client.asks(REQUEST[:START] if early else REQUEST)).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 " + status.encode() + b" ")
            assert body.startswith(start)
            assert bool(body) == bool(start)
            assert kind != "json" or "errorId" not in json.loads(body)
            client.transport.write(REQUEST[START:] if early else b"")
            assert await client.asks(request_of("createTask", "t-2")) == RESPONSE
        assert upstream.peers[0].data == (REQUEST if fault.passed else b"") + request_of("createTask", "t-2")


@deferred_f_from_coro_f
async def test_replies_about_another_task_and_from_before() -> None:
    replies = [response_of(json.dumps({"n": n}).encode()) for n in range(7)]
    faults = [Fault("stale"), None, Fault("stale"), Fault("stale"), Fault("repeat"), Fault("repeat")]
    async with Upstream(*replies) as upstream:
        async with FaultProxy(
            upstream.url, lambda method, n: faults[n - 1] if method == "getTaskResult" else Fault("repeat")
        ) as proxy:
            client = await connect(proxy.url)
            got = [await client.asks(request_of("getTaskResult", task)) for task in ("a", "a", "b", "a", "b", "c")]
            got.append(await client.asks(request_of("createTask", "a")))
        # Where there is no such reply, it is the true one: 0 is the first of all, 5 the first of its task.
        assert [replies.index(reply) for reply in got] == [0, 1, 1, 2, 2, 5, 6]
        assert proxy.hits == {"stale at request passed": 2, "repeat at request passed": 1}


@deferred_f_from_coro_f
async def test_what_is_no_answer_of_the_api_is_passed_on_as_it_ends() -> None:
    """The simulator has faults of its own."""
    quirks = ["create-reply-lost", "balance-short-body"]
    async with simulator(quirks=quirks) as capsolver, FaultProxy(capsolver.api_url, always(None)) as proxy:
        for method, start in (("createTask", b""), ("getBalance", b"HTTP/1.1 400")):
            client = await connect(proxy.url)
            assert (await client.asks(request_of(method)))[:12] == start
            assert await client.end() is None


@deferred_f_from_coro_f
async def test_refused_and_accepted_again() -> None:
    async with Upstream(RESPONSE) as upstream, FaultProxy(upstream.url, always(None)) as proxy:
        before = await connect(proxy.url)
        assert await before.asks(REQUEST) == RESPONSE
        await proxy.refuse()
        assert await before.end() is ConnectionResetError
        with pytest.raises(ConnectionRefusedError):
            await connect(proxy.url)
        proxy.listen()
        assert await (await connect(proxy.url)).asks(REQUEST) == RESPONSE
        await proxy.refuse()  # and so it may stay
    with refused_url() as url, pytest.raises(ConnectionRefusedError):
        await connect(url)


@deferred_f_from_coro_f
async def test_no_tls_and_no_name() -> None:
    async with FaultProxy("http://127.0.0.1:9", always(None)) as proxy:
        assert proxy.tls_url.startswith("https:")
        with pytest.raises(ssl.SSLError, match=r"(?i)wrong.version.number"):
            await connect(proxy.tls_url, ssl=ssl.create_default_context())
        assert not proxy.calls
    with pytest.raises(socket.gaierror):
        await asyncio.get_running_loop().getaddrinfo(urlsplit(UNRESOLVABLE).hostname, 443)


@deferred_f_from_coro_f
async def test_an_error_in_the_choice_is_the_tests_own() -> None:
    def choose(method: str, number: int) -> Fault | None:
        raise LookupError(method)

    with pytest.raises(LookupError, match="createTask"):
        async with Upstream(RESPONSE) as upstream, FaultProxy(upstream.url, choose) as proxy:
            assert await (await connect(proxy.url)).asks(REQUEST) == b""


@deferred_f_from_coro_f
async def test_a_crawl_through_it_is_as_without_and_a_fault_strikes_the_call_that_was_said() -> None:
    async with simulator(solve_seconds=(1, 1)) as capsolver:
        choose = {("createTask", 2): Fault("close", "request body"), ("createTask", 3): Fault("close", "status line")}
        async with FaultProxy(capsolver.api_url, lambda *call: choose.get(call)) as proxy:
            done = await crawl(capsolver, [f"/recaptcha-v2/{n}" for n in range(4)], CAPSOLVER_API_URL=proxy.url)
        assert (len(done.responses), len(done.errors)) == (2, 2)
        assert capsolver.state()["tasks"]["created"] == 3
        seen = capsolver.state()["api"]["calls"]  # one createTask did not get there
        assert proxy.calls == {**seen, "createTask": 4}
        assert proxy.hits == {"close at request body": 1, "close at status line": 1}


def test_faults_are_told_apart_by_their_names() -> None:
    assert len({str(fault) for fault in FAULTS}) == len(set(FAULTS)) == len(FAULTS)
    assert {fault.at for fault in FAULTS} == set(PLACES)
    assert {str(fault) for fault in FAULTS if not fault.passed} == {str(f) for f in FAULTS if f.at in UNPASSED}
