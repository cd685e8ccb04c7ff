"""A job of Scrapy Cloud: ``start-crawl`` in its own process, and what it writes into the pipe that Scrapy Cloud reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Job:
    """``lines`` are (LOG, REQ, ITM, STA or FIN, what it says)."""

    exit_code: int = -1
    lines: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    output: str = ""
    """What it wrote past the pipe."""

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [said for other, said in self.lines if other == kind]

    @property
    def stats(self) -> dict[str, Any]:
        """The last that were sent."""
        stats: dict[str, Any] = self.of("STA")[-1]["stats"]
        return stats

    @property
    def log(self) -> list[str]:
        return [said["message"] for said in self.of("LOG")]


def run_job(
    folder: Path,
    env: dict[str, str],
    *,
    spider: str,
    arguments: dict[str, str],
    settings: dict[str, dict[str, str]],
    heard: Callable[[str, dict[str, Any], subprocess.Popen[str]], None] | None = None,
) -> Job:
    """``settings`` by level: ``project_settings``, ``spider_settings``, ``job_settings``. ``heard`` is called with each line."""
    job, pipe = Job(), folder / "pipe"
    os.mkfifo(pipe)
    data = {"key": "12345/1/7", "auth": "job-auth", "spider": spider, "spider_args": arguments}
    with subprocess.Popen(
        [Path(sys.executable).parent / "start-crawl"],
        cwd=folder,  # Scrapy Cloud starts it in a folder that is empty as well
        env={
            **env,
            "SHUB_FIFO_PATH": str(pipe),
            "SHUB_JOB_DATA": json.dumps(data),
            "SHUB_SETTINGS": json.dumps(settings),
            "SCRAPY_SETTINGS_MODULE": "shop.settings",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:

        def read() -> None:
            with pipe.open(encoding="utf-8") as lines:
                for line in lines:
                    kind, _, said = line.partition(" ")
                    job.lines.append((kind, json.loads(said)))
                    if heard is not None:
                        heard(*job.lines[-1], process)

        reader = threading.Thread(target=read)
        reader.start()
        try:
            job.output, _ = process.communicate(timeout=90)
        finally:
            process.kill()
            with suppress(OSError):  # the reader still waits where the process never opened the pipe
                os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
            reader.join()
    job.exit_code = process.returncode
    return job
