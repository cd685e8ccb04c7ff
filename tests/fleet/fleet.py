"""Several workers as processes, and what came of all of them."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WORKER = str(Path(__file__).with_name("worker.py"))
PATIENCE = 120.0  # seconds that a test waits for something before it fails


@dataclass
class Worker:
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    news: queue.Queue[str] = field(default_factory=queue.Queue)
    logged: queue.Queue[str] = field(default_factory=queue.Queue)

    def __post_init__(self) -> None:
        # Both pipes are read all the time, or a worker would stand still.
        pipes = ((self.process.stdout, self.lines, self.news), (self.process.stderr, self.log, self.logged))
        self._readers = [threading.Thread(target=self._read, args=pipe, daemon=True) for pipe in pipes]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: Any, into: list[str], news: queue.Queue[str]) -> None:
        with stream:
            for line in stream:
                into.append(line.rstrip("\n"))
                news.put(into[-1])
        news.put("")

    def until(self, word: str, times: int = 1) -> None:
        """Wait for so many lines of its output that begin with ``word``."""
        until = time.monotonic() + PATIENCE
        while sum(line.startswith(word) for line in self.lines) < times:
            line = self.news.get(timeout=max(until - time.monotonic(), 0.01))
            ended = not line and sum(line.startswith(word) for line in self.lines) < times
            assert not ended, f"it ended before: {self.lines[-3:]} {self.log[-20:]}"

    def until_log(self, text: str) -> None:
        """Wait for a line of its log with this in it."""
        until = time.monotonic() + PATIENCE
        while not any(text in line for line in list(self.log)):
            self.logged.get(timeout=max(until - time.monotonic(), 0.01))

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def wait(self) -> int:
        code = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        return code

    def of(self, word: str) -> list[str]:
        return [line.split(" ", 1)[1] for line in self.lines if line.startswith(f"{word} ")]

    @property
    def endings(self) -> Counter[str]:
        return Counter(line.split(" ")[1] for line in self.lines if line.startswith(("page", "error", "status")))

    @property
    def stats(self) -> dict[str, Any]:
        stats = self.of("stats")
        found: dict[str, Any] = json.loads(stats[0]) if stats else {}
        return found


@contextmanager
def worker(urls: Sequence[str], settings: dict[str, Any], *, script: str = WORKER, **config: Any) -> Iterator[Worker]:
    text = json.dumps({"urls": list(urls), "settings": settings, **config})
    process = subprocess.Popen(
        [sys.executable, script, text],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    found = Worker(process)
    try:
        yield found
    finally:
        process.kill()
        found.wait()


@contextmanager
def workers(slices: Sequence[Sequence[str]], *configs: dict[str, Any], **settings: Any) -> Iterator[list[Worker]]:
    """One for each slice of the addresses; ``configs`` are further settings of each, or of all."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(worker(one, {**settings, **(configs[number % len(configs)] if configs else {})}))
            for number, one in enumerate(slices)
        ]


def sliced(urls: Sequence[str], number: int) -> list[list[str]]:
    return [list(urls[place::number]) for place in range(number)]


def summed(all_workers: Sequence[Worker], stat: str) -> float:
    return sum(one.stats.get(f"capsolver/{stat}", 0) for one in all_workers)
