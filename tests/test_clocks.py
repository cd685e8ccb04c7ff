"""The time of the tests: it jumps, and never past anything that is to come before."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from scrapy.utils.asyncio import is_asyncio_available
from scrapy.utils.defer import deferred_f_from_coro_f, maybe_deferred_to_future
from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from tests.clocks import virtual_time
from tests.wires import wires

if TYPE_CHECKING:
    from tests.wires import Wire

HOUR = 3600.0


def reactor() -> Any:
    from twisted.internet import reactor

    return reactor


async def sleep(seconds: float) -> None:
    await maybe_deferred_to_future(deferLater(reactor(), seconds))


async def connected(near: set[Wire], far: set[Wire]) -> Any:
    """A port, and a connection to it with one end in each of the sets."""
    port = reactor().listenTCP(0, wires(far), interface="127.0.0.1")
    await maybe_deferred_to_future(TCP4ClientEndpoint(reactor(), "127.0.0.1", port.getHost().port).connect(wires(near)))
    while not far:
        await sleep(0)
    return port


async def has(wire: Wire, size: int) -> bool:
    return await maybe_deferred_to_future(Deferred.fromCoroutine(wire.has(lambda data: len(data) == size)))


async def end(port: Any, *ends: set[Wire]) -> None:
    await maybe_deferred_to_future(port.stopListening())
    for wire in [wire for one in ends for wire in one]:
        wire.drop("reset")
        await maybe_deferred_to_future(wire.gone)


@deferred_f_from_coro_f
async def test_hours_pass_at_once_and_on_every_clock() -> None:
    """The clocks agree on what has passed."""
    with virtual_time():
        fired: list[float] = []
        clocks = [time.time, time.monotonic, reactor().seconds]
        if is_asyncio_available():
            clocks.append(asyncio.get_running_loop().time)
        began = [clock() for clock in clocks]
        reactor().callLater(2 * HOUR, lambda: fired.append(2))
        reactor().callLater(HOUR, lambda: fired.append(1))
        await sleep(3 * HOUR)
        assert fired == [1, 2]
        assert [clock() - one for clock, one in zip(clocks, began, strict=True)] == [pytest.approx(3 * HOUR)] * len(
            clocks
        )


def test_time_is_real_outside_of_the_block() -> None:
    with virtual_time():
        first = time.monotonic(), time.time()
        assert (time.monotonic(), time.time()) == first
    assert time.monotonic() > first[0]
    assert time.time() > first[1]


@deferred_f_from_coro_f
async def test_no_jump_while_a_thread_works() -> None:
    with virtual_time():
        released, seen = threading.Event(), list[str]()
        work = deferToThread(released.wait)
        work.addCallback(lambda _: seen.append("work"))
        timer = deferLater(reactor(), HOUR, seen.append, "timer")
        for _ in range(20):
            await sleep(0)
        threading.Thread(target=released.set).start()
        await maybe_deferred_to_future(timer)
        assert seen == ["work", "timer"]


@pytest.mark.skipif("not config.getoption('--reactor') == 'asyncio'")
@deferred_f_from_coro_f
async def test_no_jump_while_an_executor_works() -> None:
    with virtual_time():
        loop, seen = asyncio.get_running_loop(), list[str]()
        released = threading.Event()
        work = loop.run_in_executor(None, released.wait)
        work.add_done_callback(lambda _: seen.append("work"))
        timer = deferLater(reactor(), HOUR, seen.append, "timer")
        released.set()
        await maybe_deferred_to_future(timer)
        assert seen == ["work", "timer"]


@deferred_f_from_coro_f
async def test_no_jump_past_bytes_that_the_kernel_holds_back() -> None:
    """Nagle's algorithm keeps the second of two small writes until the first is acknowledged, some 40 ms later."""
    with virtual_time():
        near, far = set[Any](), set[Any]()
        port = await connected(near, far)
        (client,), (server,) = near, far
        client.transport.setTcpNoDelay(False)
        for number in range(40):  # a new connection is acknowledged at once for a while
            client.send(b"a")
            client.send(b"b")
            await sleep(HOUR)
            assert len(server.data) == 2 * (number + 1)
            server.send(b"c")
            await sleep(HOUR)
            assert len(client.data) == number + 1
        await end(port, near, far)


@deferred_f_from_coro_f
async def test_no_jump_past_the_end_of_a_connection() -> None:
    for kind in ("reset", "close"):
        with virtual_time():
            near, far = set[Any](), set[Any]()
            port = await connected(near, far)
            (client,), (server,) = near, far
            client.drop(kind)
            await sleep(HOUR)
            assert server.gone.called
            await end(port, near, far)


@deferred_f_from_coro_f
async def test_bytes_that_nothing_reads_hold_no_time_up() -> None:
    with virtual_time():
        near, far = set[Any](), set[Any]()
        port = await connected(near, far)
        (client,), (server,) = near, far
        server.transport.pauseProducing()
        client.send(b"a")
        client.transport.write(b"a" * 10_000_000)
        await sleep(HOUR)
        assert server.data == b""
        server.transport.resumeProducing()
        assert await has(server, 10_000_001)
        await end(port, near, far)


@deferred_f_from_coro_f
async def test_a_connection_that_is_never_accepted_times_out() -> None:
    with virtual_time(), socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        with socket.create_connection(listener.getsockname()):  # which fills the queue
            connecting = TCP4ClientEndpoint(reactor(), *listener.getsockname(), timeout=HOUR).connect(wires(set()))
            with pytest.raises(error.TimeoutError):
                await maybe_deferred_to_future(connecting)


@deferred_f_from_coro_f
async def test_time_is_real_while_another_thread_may_do_anything() -> None:
    """Here it is a server; the same goes for connections to other processes."""
    with virtual_time(), socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def serve() -> None:
            with listener.accept()[0] as one:
                one.sendall(one.recv(1000)[::-1])
                one.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        near: set[Any] = set()
        client = await maybe_deferred_to_future(
            TCP4ClientEndpoint(reactor(), *listener.getsockname()).connect(wires(near))
        )
        client.send(b"abc")
        timer = deferLater(reactor(), HOUR)
        assert await has(client, 3)
        assert not timer.called
        timer.cancel()
        timer.addErrback(lambda _: None)
        client.drop("close")
        await maybe_deferred_to_future(client.gone)
        thread.join()
