"""Processes of their own: the simulator, and crawls that end or begin in ways a test's own process cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def running(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def simulator_process(*options: str) -> Iterator[dict[str, str]]:
    """Its addresses and its key."""
    with running("-W", "error", "-m", "scrapy_capsolver.simulator", *options) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        assert line, f"the simulator did not start: {process.stderr.read()}"
        yield json.loads(line)


def ask(url: str, **values: Any) -> Any:
    body = json.dumps(values).encode() if values else None
    with urllib.request.urlopen(urllib.request.Request(url, data=body)) as response:
        return json.load(response)
