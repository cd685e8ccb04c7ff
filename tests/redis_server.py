"""Redis servers on free ports of this machine: one for all tests of a process, and others for tests that stop or break theirs.

``REDIS_SERVER`` names another binary, such as valkey-server.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis

if TYPE_CHECKING:
    from collections.abc import Iterator

BINARY = shutil.which(os.environ.get("REDIS_SERVER", "redis-server"))
needs_redis = pytest.mark.skipif(BINARY is None, reason="there is no redis-server here (Debian's package of that name)")


def on_asyncio() -> bool:
    """redis-py waits on asyncio's event loop; ``pytest --reactor=default`` has none."""
    from twisted.internet import reactor

    return hasattr(reactor, "_asyncioEventloop")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class RedisServer:
    """``options`` are redis-server's own: ``{"maxmemory": "2mb"}``. It keeps nothing on disk, unless they say so."""

    options: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="capsolver-redis-")))
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Returns when it answers."""
        assert BINARY is not None
        options = {"port": str(self.port), "bind": "127.0.0.1", "save": "", "dir": str(self.folder), **self.options}
        arguments = [word for name, value in options.items() for word in (f"--{name}", *value.split(" "))]
        self.process = subprocess.Popen(
            [BINARY, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        with socket_to(self.port, until=time.monotonic() + 10):
            pass

    def kill(self) -> None:
        """At once, as a power cut does."""
        self._signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()
            self.process = None

    def pause(self) -> None:
        """It accepts connections, and answers nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def client(self, **options: Any) -> redis.Redis:
        return redis.Redis(host="127.0.0.1", port=self.port, decode_responses=True, **options)

    def close(self) -> None:
        self.resume()
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _signal(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)


class Route:
    """The way to a server, in this process: it may be slow, and lead to another one from some moment on, as at a fail-over."""

    def __init__(self, port: int) -> None:
        self.to = port
        self.delay = 0.0
        """Seconds, for each piece of data in both directions together."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                near.close()
                continue
            self._pairs.append((near, far))
            threading.Thread(target=self._carry, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._carry, args=(far, near, False), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, slow: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if slow and self.delay:
                    time.sleep(self.delay)
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def lead_to(self, port: int) -> None:
        """From now on, also for who is connected: those connections end."""
        self.to = port
        self.cut()

    def cut(self) -> None:
        for pair in self._pairs:
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        self.cut()
        for pair in self._pairs:
            for end in pair:
                end.close()


@contextmanager
def socket_to(port: int, until: float) -> Iterator[socket.socket]:
    """A connection, as soon as there is one."""
    while True:
        try:
            found = socket.create_connection(("127.0.0.1", port), timeout=1)
        except OSError:
            if time.monotonic() > until:
                raise
            continue
        with found:
            yield found
        return


@contextmanager
def redis_server(**options: str) -> Iterator[RedisServer]:
    server = RedisServer({name.replace("_", "-"): value for name, value in options.items()})
    server.start()
    try:
        yield server
    finally:
        server.close()
