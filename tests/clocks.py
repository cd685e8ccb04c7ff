"""Time for tests: it stands still while anything can happen, and jumps to the next timer when nothing can.

Within ``virtual_time`` the reactor, asyncio's event loop, ``time.time`` and ``time.monotonic`` share one time. No computing
takes any of it, so a test sees the same times on a busy machine as on an idle one.
"""

from __future__ import annotations

import selectors
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from twisted.python.threadpool import ThreadPool

from tests.loopback import Loopback

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Collection, Iterator

_REAL: dict[str, Callable[[], float]] = {"time": time.time, "monotonic": time.monotonic}
_MODULES = ("scrapy", "twisted", "tests", "benchmarks")  # which may have imported the functions themselves
_MILLISECOND = 0.001
_STUCK_SECONDS = 2.0  # real ones, after which bytes that do not come hold no time up


class VirtualTime:
    """The time of a reactor: asyncio's or epoll's."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._loop = getattr(reactor, "_asyncioEventloop", None)
        self._loopback = Loopback()
        self._ahead = 0.0
        """Seconds by which the reactor is ahead of the real time, since the process began: its time never goes back."""
        self._began_ahead = 0.0
        self._stopped: dict[str, float] | None = None
        """The real times when the block began, without which time is real."""
        self._pace = 1.0
        self._stuck_since = 0.0
        self._threads = set(threading.enumerate())
        self._pools: list[ThreadPool] = []
        self._executors: set[Any] = set()
        self._calls: set[asyncio.Future[Any]] = set()

    def install(self) -> None:
        """For the rest of the process. Outside of ``stopped`` time runs as ever."""
        self._loopback.install()
        self._reactor.seconds = lambda: self._real("time") + self._ahead
        self._watch_pools()
        if self._loop is None:
            self._reactor._poller = _Poller(self._reactor._poller, self)
        else:
            self._loop.time = lambda: self._real("monotonic") + self._ahead
            self._watch_executors()
            select = self._loop._selector.select
            self._loop._selector.select = lambda timeout=None: self.wait(select, timeout)
        # Unix time does not know how far earlier tests have jumped.
        stand_ins = {
            _REAL["time"]: lambda: self._real("time") + (self._ahead - self._began_ahead if self._stopped else 0.0),
            _REAL["monotonic"]: lambda: self._real("monotonic") + self._ahead,
        }
        for module in list(sys.modules.values()):
            if module is time or getattr(module, "__name__", "").startswith(_MODULES):
                for name, value in list(vars(module).items()):
                    if value in _REAL.values():
                        setattr(module, name, stand_ins[value])

    def _watch_pools(self) -> None:
        start = ThreadPool.start

        def started(pool: ThreadPool) -> None:
            self._pools.append(pool)
            start(pool)

        ThreadPool.start = started  # type: ignore[method-assign]
        if self._reactor.threadpool is not None:
            self._pools.append(self._reactor.threadpool)

    def _watch_executors(self) -> None:
        run_in_executor = self._loop.run_in_executor

        def run(executor: Any, *args: Any) -> asyncio.Future[Any]:
            call: asyncio.Future[Any] = run_in_executor(executor, *args)
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
            self._executors.add(executor or self._loop._default_executor)
            return call

        self._loop.run_in_executor = run

    def _real(self, kind: str) -> float:
        return _REAL[kind]() if self._stopped is None else self._stopped[kind]

    @contextmanager
    def stopped(self, pace: float) -> Iterator[None]:
        """Have time stand and jump within the block."""
        if self._stopped is not None:
            yield
            return
        self._stopped = {kind: real() for kind, real in _REAL.items()}
        self._began_ahead, self._pace = self._ahead, pace
        try:
            yield
        finally:
            self._stopped = None

    def wait(self, poll: Callable[[float | None], list[Any]], timeout: float | None) -> list[Any]:
        """Poll for so many seconds, for ever if None. Without an event time has passed all the same."""
        if self._stopped is None or (timeout is not None and timeout <= 0):
            return poll(timeout)
        # In this order: a thread that is done has woken the reactor before.
        computes = self._computes()
        if events := poll(0):
            self._stuck_since = 0.0
            return events
        if computes:
            return poll(_MILLISECOND)
        readers, writers = self._descriptors()
        if self._has_strangers(readers | writers):
            return self._pass(poll, timeout)
        if self._loopback.in_flight(readers):
            now = _REAL["monotonic"]()
            self._stuck_since = self._stuck_since or now
            return poll(_MILLISECOND) if now - self._stuck_since < _STUCK_SECONDS else self._pass(poll, timeout)
        self._stuck_since = 0.0
        if timeout is None:
            return poll(None)
        self._ahead += timeout
        return []

    def _pass(self, poll: Callable[[float | None], list[Any]], timeout: float | None) -> list[Any]:
        began = _REAL["monotonic"]()
        events = poll(timeout and timeout / self._pace)
        passed = (_REAL["monotonic"]() - began) * self._pace
        self._ahead += passed if timeout is None or events else timeout
        return events

    def _computes(self) -> bool:
        """Return whether a thread has work whose end the reactor waits for."""
        stats = [pool._team.statistics() for pool in self._pools if pool.started]
        return bool(self._calls) or any(one.busyWorkerCount or one.backloggedWorkCount for one in stats)

    def _has_strangers(self, descriptors: set[int]) -> bool:
        """Return whether something may come that this time cannot know of: from other processes and threads."""
        workers = {thread for one in (*self._pools, *self._executors) for thread in _threads_of(one)}
        return bool(set(threading.enumerate()) - self._threads - workers) or self._loopback.has_strangers(descriptors)

    def _descriptors(self) -> tuple[set[int], set[int]]:
        """Return those that are read from, and those that are written to."""
        if self._loop is None:
            return self._reactor._reads, self._reactor._writes
        keys = self._loop._selector.get_map().values()
        return (
            {key.fd for key in keys if key.events & selectors.EVENT_READ},
            {key.fd for key in keys if key.events & selectors.EVENT_WRITE},
        )


def _threads_of(pool: Any) -> Collection[threading.Thread]:
    found: Collection[threading.Thread] = pool.threads if isinstance(pool, ThreadPool) else pool._threads
    return found


class _Poller:
    """What a reactor polls with, and what it does meanwhile is up to the time."""

    def __init__(self, epoll: Any, time: VirtualTime) -> None:
        self._epoll, self._time = epoll, time

    def __getattr__(self, name: str) -> Any:
        return getattr(self._epoll, name)

    def poll(self, timeout: float, most: int) -> list[Any]:
        def poll(seconds: float | None) -> list[Any]:
            events: list[Any] = self._epoll.poll(-1 if seconds is None else seconds, most)
            return events

        return self._time.wait(poll, None if timeout < 0 else timeout)


_installed: list[VirtualTime] = []


def install() -> None:
    """Make ready for ``virtual_time``, before any test has patched a socket."""
    from twisted.internet import reactor

    if not _installed:
        _installed.append(VirtualTime(reactor))
        _installed[0].install()


@contextmanager
def virtual_time(*, pace: float = 1.0) -> Iterator[None]:
    """Have the reactor's time, asyncio's and Python's jump from timer to timer within the block.

    ``pace``: how many seconds pass in a real one while this process is connected to another, or runs a thread of its own.
    """
    install()
    with _installed[0].stopped(pace):
        yield
