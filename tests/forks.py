"""Scrapy's command line in a process of its own, which is forked from one that has imported it: that takes no second.

``python -m tests.forks`` is the one to fork from. It never installs a reactor, so that each child has its own.
"""

from __future__ import annotations

import atexit
import importlib
import io
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parent.parent
# What a crawl of one page and the subcommands import.
_MODULES = (
    "scrapy.commands",
    "scrapy.core.downloader.contextfactory",
    "scrapy.core.downloader.handlers.http11",
    "scrapy.core.engine",
    "scrapy.core.scheduler",
    "scrapy.crawler",
    "scrapy.extensions.corestats",
    "scrapy.extensions.telnet",
    "scrapy.http.cookies",
    "scrapy.pipelines",
    "scrapy.pqueues",
    "scrapy.squeues",
    *(f"scrapy_capsolver.commands.{name}" for name in ("balance", "check", "detect", "report", "simulate", "solve")),
    "scrapy_capsolver.addon",
    "scrapy_capsolver.simulator",
)


@cache
def _parent() -> subprocess.Popen[str]:
    parent = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "tests.forks"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(parent.communicate)
    return parent


def scrapy(
    arguments: list[str], *, cwd: Path, env: Mapping[str, str], stdin: bytes
) -> subprocess.CompletedProcess[bytes]:
    """As ``subprocess.run`` does it with ``python -m scrapy``. ``env`` changes nothing about Python itself."""
    parent = _parent()
    assert parent.stdin is not None
    assert parent.stdout is not None
    with TemporaryDirectory() as folder:
        names = [os.path.join(folder, name) for name in ("in", "out", "err")]
        Path(names[0]).write_bytes(stdin)
        order = {"arguments": arguments, "cwd": str(cwd), "env": dict(env), "files": names}
        parent.stdin.write(json.dumps(order) + "\n")
        parent.stdin.flush()
        code = int(parent.stdout.readline())
        return subprocess.CompletedProcess(arguments, code, Path(names[1]).read_bytes(), Path(names[2]).read_bytes())


def main() -> None:
    import scrapy.cmdline
    from scrapy.settings.default_settings import DOWNLOADER_MIDDLEWARES_BASE, EXTENSIONS_BASE, SPIDER_MIDDLEWARES_BASE
    from scrapy.utils.misc import load_object

    for name in _MODULES:
        importlib.import_module(name)
    for path in (*DOWNLOADER_MIDDLEWARES_BASE, *SPIDER_MIDDLEWARES_BASE, *EXTENSIONS_BASE):
        load_object(path)
    assert "twisted.internet.reactor" not in sys.modules
    for line in sys.stdin:
        child = os.fork()
        if child:
            _, status = os.waitpid(child, 0)
            sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
            sys.stdout.flush()
            continue
        order = json.loads(line)
        os.chdir(order["cwd"])
        os.environ.clear()
        os.environ.update(order["env"])
        for number, (name, flags) in enumerate(
            zip(order["files"], (os.O_RDONLY, *[os.O_WRONLY | os.O_CREAT] * 2), strict=True)
        ):
            os.dup2(os.open(name, flags), number)
        sys.stdin, sys.stdout, sys.stderr = (
            io.TextIOWrapper(os.fdopen(number, mode, closefd=False), "utf-8", write_through=number == 2)
            for number, mode in enumerate(("rb", "wb", "wb"))
        )
        sys.path[0] = order["cwd"]
        sys.exit(scrapy.cmdline.execute(["scrapy", *order["arguments"]]))


if __name__ == "__main__":
    main()
