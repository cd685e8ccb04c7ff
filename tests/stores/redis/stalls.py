"""The way of one worker to a server that stands still, or whose answers get lost, whenever a test says so."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_PING, _PONG = b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"
_MOST = 2**20


class StallingRoute:
    """To the server of that port.

    A server that stands still accepts connections, and reads later what was sent meanwhile, also on connections that have ended by then. So
    does this route between :meth:`stall` and :meth:`resume`. What the server publishes is not held up.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener: asyncio.Server | None = None
        self._connections: list[_Connection] = []
        self._held: list[tuple[_Connection, bytes]] = []
        self._is_stalled = False
        self.is_deaf = False
        """The server's answers get lost."""
        self.url = ""

    async def open(self) -> None:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=_MOST)
        self.url = f"redis://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}/0"

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(writer, lambda: self.is_deaf)
        self._connections.append(connection)
        with suppress(OSError):
            await connection.open(self._to)
            while data := await reader.read(_MOST):
                connection.is_news = connection.is_news or b"SUBSCRIBE" in data
                if self._is_stalled and not connection.is_news:
                    self._held.append((connection, data))
                else:
                    connection.send(data)
        connection.hang_up()
        if not any(one is connection for one, _ in self._held):
            connection.close()

    def stall(self) -> None:
        """Have the server stand still."""
        self._is_stalled = True

    @property
    def held(self) -> int:
        """How often something was sent since the server stands still."""
        return len(self._held)

    async def resume(self, order: Callable[[int], int] = lambda number: 0) -> None:
        """Have the server read what was sent. ``order`` chooses the next of so many connections; each keeps its own order."""
        self._is_stalled = False
        while self._held:
            waiting = list(dict.fromkeys(connection for connection, _ in self._held))
            chosen = waiting[order(len(waiting)) % len(waiting)]
            place = next(place for place, (connection, _) in enumerate(self._held) if connection is chosen)
            _, data = self._held.pop(place)
            await chosen.deliver(data)
        for connection in self._connections:
            if connection.has_hung_up:
                connection.close()

    def cut(self) -> None:
        """End all connections of the worker. The server does not hear of that before it has read what was sent on them."""
        for connection in self._connections:
            if not connection.is_news:
                connection.hang_up()

    async def close(self) -> None:
        self._held.clear()
        for connection in self._connections:
            connection.hang_up()
            connection.close()
        if self._listener is not None:
            self._listener.close()
            await self._listener.wait_closed()
        await asyncio.gather(
            *(connection.reading for connection in self._connections if connection.reading is not None)
        )


class _Connection:
    def __init__(self, worker: asyncio.StreamWriter, is_deaf: Callable[[], bool]) -> None:
        self._worker = worker
        self._server: asyncio.StreamWriter | None = None
        self._is_deaf = is_deaf
        self._answer = b""
        self._answered: asyncio.Event | None = None
        self.reading: asyncio.Task[None] | None = None
        self.has_hung_up = False
        self.is_news = False

    async def open(self, port: int) -> None:
        reader, self._server = await asyncio.open_connection("127.0.0.1", port, limit=_MOST)
        self.reading = asyncio.get_running_loop().create_task(self._read(reader))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with suppress(OSError):
            while data := await reader.read(_MOST):
                if self._answered is None:
                    self._hand_on(data)
                    continue
                self._answer += data
                if self._answer.endswith(_PONG):
                    self._hand_on(self._answer[: -len(_PONG)])
                    self._answered.set()
        if self._answered is not None:
            self._answered.set()
        self.hang_up()

    def _hand_on(self, data: bytes) -> None:
        if not self.has_hung_up and (self.is_news or not self._is_deaf()):
            self._worker.write(data)

    def send(self, data: bytes) -> None:
        if self._server is not None and not self._server.is_closing():
            self._server.write(data)

    async def deliver(self, data: bytes) -> None:
        """Return when the server has done what it was asked for."""
        self._answer, self._answered = b"", asyncio.Event()
        self.send(data + _PING)
        if self._server is not None and not self._server.is_closing():
            await self._answered.wait()
        self._answered = None

    def hang_up(self) -> None:
        if not self.has_hung_up:
            self.has_hung_up = True
            self._worker.close()

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
