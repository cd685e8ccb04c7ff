"""What this process has sent to itself over TCP and has not read yet.

Whether a socket is readable does not say it: the kernel may hold the last bytes of a message back for some milliseconds
until the other end has acknowledged the ones before (Nagle's algorithm). So what goes in and what comes out is counted.
"""

from __future__ import annotations

import socket
import weakref
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_Address = tuple[str, int]


@dataclass
class _End:
    """One end of a connection."""

    socket: weakref.ref[socket.socket]
    here: _Address
    there: _Address
    sent: int = 0
    read: int = 0
    closed: bool = False
    """Whether this end sends no more: it is closed, or its sending half is."""

    @property
    def fd(self) -> int:
        one = self.socket()
        return -1 if one is None else one.fileno()


class Loopback:
    """Counts the bytes of each TCP connection that begins after ``install``."""

    def __init__(self) -> None:
        self._ends: dict[tuple[_Address, _Address], _End] = {}
        self._end_of: weakref.WeakKeyDictionary[socket.socket, _End] = weakref.WeakKeyDictionary()
        self._listening: weakref.WeakValueDictionary[_Address, socket.socket] = weakref.WeakValueDictionary()

    def install(self) -> None:
        counts: dict[str, Callable[..., None]] = {
            "send": self._sent,
            "sendmsg": self._sent,
            "sendall": lambda one, _, data, *flags: self._sent(one, memoryview(data).nbytes),
            "recv": lambda one, data, *_: self._read(one, len(data)),
            "recv_into": self._read,
            "shutdown": lambda one, _, how: how == socket.SHUT_RD or self._closed(one),
            "connect": self._connected,
            "connect_ex": self._connected,
            "accept": lambda _, accepted: self._add(*accepted),
            "listen": lambda one, *_: self._listening.__setitem__(one.getsockname()[:2], one),
        }
        for name, count in counts.items():
            if not hasattr(socket.socket, name):  # sendmsg, on Windows
                continue
            setattr(socket.socket, name, _counted(getattr(socket.socket, name), count))
        close = socket.socket.close

        def closed(one: socket.socket) -> None:
            self._closed(one)
            close(one)

        socket.socket.close = closed  # type: ignore[method-assign]

    def in_flight(self, readers: Collection[int]) -> bool:
        """Return whether one of these file descriptors will soon be readable, because of what this process has sent."""
        return any(self._is_to_come(end, readers) for end in list(self._ends.values()))

    def has_strangers(self, descriptors: Collection[int]) -> bool:
        """Return whether one of these file descriptors is connected, or connects, to another process."""
        return any(
            end.fd in descriptors and (end.there, end.here) not in self._ends and self._listener(end.there) is None
            for end in list(self._ends.values())
        )

    def _is_to_come(self, end: _End, readers: Collection[int]) -> bool:
        other = self._ends.get((end.there, end.here))
        if other is not None:
            return end.fd in readers and (other.sent > end.read or other.closed)
        # It is not accepted yet. If nothing reads from the listener, that is what the test wants.
        listener = self._listener(end.there)
        return listener is not None and listener.fileno() in readers and not end.closed

    def _listener(self, address: _Address) -> socket.socket | None:
        found = (self._listening.get((host, address[1])) for host in (address[0], "0.0.0.0", "::"))
        return next((one for one in found if one is not None and one.fileno() != -1), None)

    def _add(self, one: socket.socket, there: Any) -> None:
        end = _End(weakref.ref(one), one.getsockname()[:2], there[:2])
        self._ends[end.here, end.there] = self._end_of[one] = end

    def _connected(self, one: socket.socket, _: object, there: Any) -> None:
        with suppress(OSError):  # it was refused at once
            self._add(one, there)

    def _sent(self, one: socket.socket, size: int, *_: object) -> None:
        if one in self._end_of:
            self._end_of[one].sent += size

    def _read(self, one: socket.socket, size: int, *_: object) -> None:
        if one in self._end_of:
            self._end_of[one].read += size

    def _closed(self, one: socket.socket) -> None:
        end = self._end_of.get(one)
        if end is None:
            return
        end.closed = True
        other = self._ends.get((end.there, end.here))
        if other.closed if other is not None else self._listener(end.there) is None:
            self._ends.pop((end.here, end.there), None)
            self._ends.pop((end.there, end.here), None)


def _counted(call: Callable[..., Any], count: Callable[..., object]) -> Callable[..., Any]:
    def counted(one: socket.socket, *args: Any) -> Any:
        outcome: Any = None
        try:
            outcome = call(one, *args)
        except BlockingIOError:
            if call.__name__ != "connect":  # which goes on by itself
                raise
            count(one, outcome, *args)
            raise
        if one.family in {socket.AF_INET, socket.AF_INET6} and one.type == socket.SOCK_STREAM:
            count(one, outcome, *args)
        return outcome

    return counted
