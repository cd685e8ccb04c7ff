"""The client against the simulator, over real sockets."""

from __future__ import annotations

import gzip
import zlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import brotli
import pytest
import trustme
from scrapy.utils.defer import deferred_f_from_coro_f, maybe_deferred_to_future
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from scrapy_capsolver import __version__
from scrapy_capsolver.api.client import POLL_LONGEST, POLL_SECONDS, CapSolverClient
from scrapy_capsolver.api.patience import Patience
from scrapy_capsolver.api.replies import Balance, Fault
from scrapy_capsolver.api.transport import CONNECT_SECONDS, IDLE_SECONDS, MAX_BODY, MAX_CONNECTIONS, TransportError
from tests import fault_proxy
from tests.crawls import crawl, simulator
from tests.tls import tls_server
from tests.wires import Wire, wires

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path

TASK = {"type": "ReCaptchaV2TaskProxyLess", "websiteURL": "http://127.0.0.1/", "websiteKey": ""}


@asynccontextmanager
async def client_of(capsolver: Any, **kwargs: Any) -> AsyncIterator[CapSolverClient]:
    from twisted.internet import reactor

    client = CapSolverClient(**{"api_key": capsolver.key, "api_url": capsolver.api_url, "reactor": reactor, **kwargs})
    yield client
    await maybe_deferred_to_future(client.close())


async def call(coroutine: Coroutine[Deferred[Any], Any, Any]) -> Any:
    return await maybe_deferred_to_future(Deferred.fromCoroutine(coroutine))


@deferred_f_from_coro_f
async def test_balance() -> None:
    async with simulator(balance=3.25) as capsolver, client_of(capsolver) as client:
        assert await call(client.get_balance()) == Balance(3.25)
        async with client_of(capsolver, api_key="CAP-OTHER") as other:
            fault = await call(other.get_balance())
        assert isinstance(fault, Fault)
        assert fault.code == "ERROR_KEY_DENIED_ACCESS"


@deferred_f_from_coro_f
async def test_feedback() -> None:
    async with simulator(solve_seconds=(0, 0)) as capsolver, client_of(capsolver, app_id="APP-1") as client:
        task = {**TASK, "websiteKey": capsolver.site_keys["recaptcha-v2"]}
        created = await call(client.create_task(task))
        assert await call(client.feedback_task(created.task_id, invalid=True, message="no")) is None
        (feedback,) = capsolver.state()["feedback"]
        assert feedback["result"] == {"invalid": True, "message": "no"}


@deferred_f_from_coro_f
async def test_connections_are_not_logged() -> None:
    """Twisted would write two lines for each."""
    events: list[Any] = []
    globalLogPublisher.addObserver(events.append)
    try:
        async with simulator() as capsolver, client_of(capsolver) as client:
            await call(client.get_balance())
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert not [event for event in events if "HTTP11ClientFactory" in str(event) or "_QuietFactory" in str(event)]


@deferred_f_from_coro_f
async def test_a_task_is_sent_as_it_is_and_connections_are_reused() -> None:
    async with simulator(solve_seconds=(0, 0)) as capsolver, client_of(capsolver) as client:
        task = {**TASK, "websiteKey": capsolver.site_keys["recaptcha-v2"], "isInvisible": True}
        created = await call(client.create_task(task))
        assert capsolver.tasks[created.task_id].fields == task
        for _ in range(5):
            assert (await call(client.get_task_result(created.task_id))).ready
        assert capsolver.state()["api"]["connections"] == 2  # of which the task took one for itself


@deferred_f_from_coro_f
async def test_a_connection_in_use_is_closed_after_its_reply() -> None:
    """A client that is closed keeps none, though the reply comes only then."""
    async with simulator() as capsolver, client_of(capsolver) as client:
        asking = Deferred.fromCoroutine(client.get_balance())
        await maybe_deferred_to_future(client.close())
        assert isinstance(await maybe_deferred_to_future(asking), Balance)
        assert client._transport._pool._connections == {}


@asynccontextmanager
async def answering(*replies: bytes) -> AsyncIterator[tuple[CapSolverClient, list[bytes]]]:
    """A client of a server that gives these replies, one for each call, and the requests that it gets."""
    from twisted.internet import reactor

    received: list[bytes] = []
    left = list(replies)

    async def serve(wire: Wire) -> None:
        while left and await wire.has(lambda data: data.endswith(b"}")):
            received.append(wire.data)
            wire.data = b""
            wire.send(left.pop(0))

    open_ = set[Wire]()
    listen: Any = reactor.listenTCP  # type: ignore[attr-defined]
    port = listen(0, wires(open_, lambda wire: Deferred.fromCoroutine(serve(wire))), interface="127.0.0.1")
    client = CapSolverClient(api_key="CAP-1", api_url=f"http://127.0.0.1:{port.getHost().port}", reactor=reactor)
    yield client, received
    await maybe_deferred_to_future(client.close())
    for wire in list(open_):
        wire.drop("close")
        await maybe_deferred_to_future(wire.gone)
    await maybe_deferred_to_future(port.stopListening())


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    head = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


@deferred_f_from_coro_f
async def test_the_headers_of_each_call() -> None:
    """Cloudflare may turn away who sends no User-Agent; what could not be decoded is not asked for."""
    replies = [http(b'{"errorId": 0, "taskId": "t", "balance": 1}')] * 4
    async with answering(*replies) as (client, received):
        await call(client.create_task(TASK))
        await call(client.get_task_result("t"))
        await call(client.get_balance())
        await call(client.feedback_task("t", invalid=False))
    assert len(received) == 4
    for request in received:
        head = request.partition(b"\r\n\r\n")[0].decode().lower().split("\r\n")[1:]
        headers = dict(line.split(": ", 1) for line in head)
        assert headers["user-agent"] == f"scrapy-capsolver/{__version__}"
        assert headers["accept"] == "application/json"
        assert headers["accept-encoding"] == "gzip"
        assert len(headers) == len(head)  # each once


BODY = b'{"errorId": 0, "status": "ready", "solution": {"token": "t"}}'
RAW = zlib.compressobj(wbits=-15)
ENCODED = {
    "gzip": gzip.compress(BODY),
    "x-gzip": gzip.compress(BODY),
    "deflate": zlib.compress(BODY),
    "Deflate": RAW.compress(BODY) + RAW.flush(),
    "br": brotli.compress(BODY),
    "identity": BODY,
    "deflate, br": brotli.compress(zlib.compress(BODY)),
}


@pytest.mark.parametrize("encoding", ENCODED)
@deferred_f_from_coro_f
async def test_encodings_that_were_not_asked_for_are_undone(encoding: str) -> None:
    async with answering(http(ENCODED[encoding], f"Content-Encoding: {encoding}")) as (client, _):
        assert (await call(client.get_task_result("t"))).solution == {"token": "t"}


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("zstd", BODY),
        ("deflate", BODY),
        ("deflate", zlib.compress(BODY)[:-9]),
        ("br", brotli.compress(BODY)[:-3]),
        ("br", b"\xff" * 9),
        ("deflate", zlib.compress(b"a" * 9_000_000)),
        ("br", brotli.compress(b"a" * 9_000_000)),
        ("\x1b[2J", BODY),
    ],
)
@deferred_f_from_coro_f
async def test_encodings_that_cannot_be_undone_are_no_reply(encoding: str, body: bytes) -> None:
    """Nor what grows to more than a reply may have."""
    async with answering(http(body, f"Content-Encoding: {encoding}")) as (client, _):
        with pytest.raises(TransportError, match=r"^the reply's encoding \((\w+|\?)\) cannot be undone$") as caught:
            await call(client.get_task_result("t"))
        assert caught.value.sent


@deferred_f_from_coro_f
async def test_a_task_id_that_came_as_a_number_goes_back_as_one() -> None:
    """As services want it that CapSolver's clients can be pointed at."""
    replies = [http(b'{"errorId": 0, "taskId": %s}' % given) for given in (b"7654321", b'"123"')]
    async with answering(*replies, *[http(b"{}")] * 3) as (client, received):
        for _ in range(2):
            await call(client.create_task(TASK))
        await call(client.get_task_result("7654321"))
        await call(client.feedback_task("7654321", invalid=True))
        await call(client.get_task_result("123"))
    assert b'"taskId":7654321' in received[2]
    assert b'"taskId":7654321' in received[3]
    assert b'"taskId":"123"' in received[4]


@deferred_f_from_coro_f
async def test_a_task_id_with_a_secret_in_it_is_none() -> None:
    """It would be written into files."""
    async with answering(http(b'{"errorId": 0, "taskId": "id-PASSWORD1"}')) as (client, _):
        created = await call(client.create_task({**TASK, "proxy": "http://user:password1@127.0.0.1:1"}))
    assert (created.task_id, created.fault) == (None, None)


@pytest.mark.parametrize(
    ("pause", "ends"), [(POLL_SECONDS - 0.1, POLL_LONGEST), (0.5, POLL_LONGEST), (POLL_SECONDS + 0.1, POLL_SECONDS)]
)
def test_a_reply_that_keeps_coming_is_waited_for(pause: float, ends: float) -> None:
    """Longer than for one that is silent, and not for ever."""
    clock = Clock()  # type: ignore[no-untyped-call]
    patience = Patience(clock, POLL_SECONDS, POLL_LONGEST)
    waiting: Deferred[None] = Deferred()
    outcome: list[Any] = []
    patience.limit(waiting, TransportError("no reply", sent=True))
    waiting.addErrback(outcome.append)
    while not outcome:
        clock.advance(pause)
        patience.heard()
    assert clock.seconds() == pytest.approx(ends, abs=pause)
    assert outcome[0].check(TransportError)
    assert clock.getDelayedCalls() == []


@deferred_f_from_coro_f
async def test_a_result_that_drips_is_read() -> None:
    """Though it takes longer than a poll that is silent may take."""
    from twisted.internet import reactor

    clock, body = Clock(), http(BODY)  # type: ignore[no-untyped-call]
    start = len(body) - len(BODY)
    pieces = [body[:start], *(body[at : at + 6] for at in range(start, len(body), 6))]

    async def serve(wire: Wire) -> None:
        await wire.has(lambda data: data.endswith(b"}"))
        for piece in pieces:
            wire.send(piece)
            seen: Deferred[None] = Deferred()
            reactor.callLater(0, seen.callback, None)  # type: ignore[attr-defined]
            await seen
            clock.advance(1)

    open_ = set[Wire]()
    listen: Any = reactor.listenTCP  # type: ignore[attr-defined]
    port = listen(0, wires(open_, lambda wire: Deferred.fromCoroutine(serve(wire))), interface="127.0.0.1")
    url = f"http://127.0.0.1:{port.getHost().port}"
    client = CapSolverClient(api_key="CAP-1", api_url=url, reactor=reactor, clock=clock)
    reply = await call(client.get_task_result("t"))
    assert reply.solution == {"token": "t"}
    assert clock.seconds() > POLL_SECONDS
    await maybe_deferred_to_future(client.close())
    await maybe_deferred_to_future(port.stopListening())


@pytest.mark.parametrize("quirk", ["reply-lost", "request-lost", "short-body", "huge-body"])
@deferred_f_from_coro_f
async def test_no_reply_is_one_error_and_the_connection_is_closed(quirk: str) -> None:
    async with simulator(quirks=[quirk]) as capsolver, client_of(capsolver) as client:
        with pytest.raises(TransportError) as caught:
            await call(client.get_balance())
        assert caught.value.sent
        assert (str(MAX_BODY) in str(caught.value)) == (quirk == "huge-body")


@pytest.mark.parametrize("quirk", ["silence", "slow-drip"])
@deferred_f_from_coro_f
async def test_one_deadline_for_headers_and_body(quirk: str) -> None:
    async with simulator(quirks=[quirk]) as capsolver, client_of(capsolver) as client:
        with pytest.raises(TransportError, match=r"no reply within 0\.5 s"):
            await maybe_deferred_to_future(client._transport.post_json("/getBalance", {}, 0.5))
        gone = Deferred[None]()

        def look() -> None:
            if capsolver.state()["api"]["connections_open"]:
                reactor.callLater(0.2, look)  # type: ignore[attr-defined]
            else:
                gone.callback(None)

        from twisted.internet import reactor

        look()
        await maybe_deferred_to_future(gone)  # the server saw the connection go


@deferred_f_from_coro_f
async def test_the_key_is_blotted_out_where_a_reply_quotes_it() -> None:
    async with simulator() as capsolver, client_of(capsolver, api_key="CAP-SECRET") as client:

        async def quoting(*args: Any, **kwargs: Any) -> tuple[int, bytes]:
            return 400, b'{"errorId": 1, "errorCode": "ERROR_X", "errorDescription": "key CAP-SECRET is bad"}'

        client._transport.post_json = quoting  # type: ignore[assignment, method-assign]
        fault = await call(client.get_balance())
        assert "key [key] is bad" in str(fault)
        assert "SECRET" not in repr(client)


def test_the_pool() -> None:
    """Twisted keeps two connections a host by default, and for longer than servers do."""
    from twisted.internet import reactor

    pool = CapSolverClient(api_key="k", api_url="http://127.0.0.1:1", reactor=reactor)._transport._pool
    assert (pool.maxPersistentPerHost, pool.cachedConnectionTimeout) == (MAX_CONNECTIONS, IDLE_SECONDS)


@asynccontextmanager
async def tls_port(then: Callable[[Wire], Any]) -> AsyncIterator[tuple[CapSolverClient, Clock]]:
    """A client of a port with which no TLS connection comes about, and its time."""
    from twisted.internet import reactor

    clock, open_ = Clock(), set[Wire]()  # type: ignore[no-untyped-call]
    listen: Any = reactor.listenTCP  # type: ignore[attr-defined]
    port = listen(0, wires(open_, then), interface="127.0.0.1")
    url = f"https://127.0.0.1:{port.getHost().port}"
    client = CapSolverClient(api_key="CAP-1", api_url=url, reactor=reactor, clock=clock)
    yield client, clock
    for wire in list(open_):
        await maybe_deferred_to_future(wire.gone)  # the client has hung up
    await maybe_deferred_to_future(port.stopListening())


ALERT = bytes.fromhex("15 0303 0002 02 28")  # handshake_failure
ON_CONNECTION = {"close": b"", "reset": b""}
ON_HELLO = {
    **ON_CONNECTION,
    "an alert": ALERT,
    "plain HTTP": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "garbage": b"\x00\xff no TLS",
    "half a handshake": bytes.fromhex("16 0303 0040 02"),
}


@pytest.mark.parametrize(
    ("when", "what"),
    [*(("at once", what) for what in ON_CONNECTION), *(("on the hello", what) for what in ON_HELLO)],
)
@deferred_f_from_coro_f
async def test_what_fails_before_the_tls_handshake_is_done_was_not_sent(when: str, what: str) -> None:
    """So that createTask can be sent again, and no page is given up as possibly paid."""

    async def serve(wire: Wire) -> None:
        if when == "on the hello":
            await wire.has(lambda data: len(data) > 0)
        wire.send(ON_HELLO[what])
        wire.drop("reset" if what == "reset" else "close")

    async with tls_port(lambda wire: Deferred.fromCoroutine(serve(wire))) as (client, _):
        for _ in range(2):
            with pytest.raises(TransportError, match=r"^no (TLS )?connection") as caught:
                await call(client.create_task(TASK))
            assert not caught.value.sent


@deferred_f_from_coro_f
async def test_a_silent_tls_handshake_is_no_connection() -> None:
    """And not a reply that is awaited for as long as a task may take."""
    hello = Deferred[Wire]()
    async with tls_port(hello.callback) as (client, clock):
        creating = Deferred.fromCoroutine(client.create_task(TASK))
        wire = await maybe_deferred_to_future(hello)
        assert await maybe_deferred_to_future(Deferred.fromCoroutine(wire.has(lambda data: len(data) > 0)))
        clock.advance(CONNECT_SECONDS)
        with pytest.raises(TransportError, match=f"^no connection within {CONNECT_SECONDS:g} s$") as caught:
            await maybe_deferred_to_future(creating)
        assert not caught.value.sent
        assert clock.getDelayedCalls() == []


@deferred_f_from_coro_f
async def test_a_call_that_is_given_up_during_the_tls_handshake_hangs_up() -> None:
    hello = Deferred[Wire]()
    async with tls_port(hello.callback) as (client, clock):
        creating = Deferred.fromCoroutine(client.create_task(TASK))
        await maybe_deferred_to_future(hello)
        creating.cancel()
        with pytest.raises(CancelledError):
            await maybe_deferred_to_future(creating)
        assert clock.getDelayedCalls() == []


@deferred_f_from_coro_f
async def test_what_fails_after_the_tls_handshake_may_have_been_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    monkeypatch.setattr("tests.tls._REPLY", b"")
    from twisted.internet import reactor

    with tls_server(authority.issue_cert("127.0.0.1"), "127.0.0.1") as (url, received):
        client = CapSolverClient(api_key="CAP-1", api_url=url, reactor=reactor)
        with pytest.raises(TransportError, match=r"^the connection was lost") as caught:
            await call(client.create_task(TASK))
        assert caught.value.sent
    assert received[0].startswith(b"POST /createTask HTTP/1.1\r\n")


@pytest.mark.parametrize("kind", ["close", "reset"])
@deferred_f_from_coro_f
async def test_no_task_goes_out_on_a_connection_that_the_server_is_closing(kind: str) -> None:
    """Where it does, nobody knows whether it was paid."""
    fault = fault_proxy.Fault(kind, "response end")
    async with simulator(solve_seconds=(1, 1)) as capsolver:
        async with fault_proxy.FaultProxy(capsolver.api_url, lambda *_: fault) as proxy:
            pages = [f"/recaptcha-v2/{n}" for n in range(8)]
            done = await crawl(capsolver, pages, CAPSOLVER_API_URL=proxy.url, CAPSOLVER_CONCURRENCY=1)
        assert not done.errors
        assert len(done.responses) == proxy.calls["createTask"] == capsolver.state()["tasks"]["created"] == 8
        assert "possibly_paid" not in done.ours()
