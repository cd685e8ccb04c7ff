"""The example project on a real scrapyd."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

pytest.importorskip("scrapyd", reason="scrapyd is not installed: tox -e deploy")
pytest.importorskip("scrapyd_client", reason="scrapyd-client is not installed: tox -e deploy")

from tests.deploy.conftest import environment, tool
from tests.processes import ask, simulator_process

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG = """
[scrapyd]
items_dir = items
jobs_dir = jobs
poll_interval = 0.1
"""


def wait_for(process: subprocess.Popen[str], *words: str) -> str:
    """The log's next line with one of these words."""
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if any(word in line for word in words):
            return line
    raise AssertionError("".join(seen))


@contextmanager
def scrapyd(folder: Path, env: dict[str, str]) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Its address, and its process."""
    (folder / "scrapyd.conf").write_text(CONFIG)
    for _ in range(5):  # it takes no port of the system's choice, and another process may take what was free
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with subprocess.Popen(
            [Path(sys.executable).parent / "scrapyd"],
            cwd=folder,
            env={**env, "SCRAPYD_HTTP_PORT": str(port), "SCRAPYD_BIND_ADDRESS": "127.0.0.1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                if "starting" in wait_for(process, "Site starting on", "CannotListenError"):
                    yield f"http://127.0.0.1:{port}/", process
                    return
            finally:
                process.kill()
    raise AssertionError("no port stayed free")


def test_scrapyd_runs_the_example(example: Path, plugin: Path, tmp_path: Path) -> None:
    with (
        simulator_process("--solve-seconds", "0.1") as where,
        # In a setting of schedule.json the key would stand in the command line, for all on the machine to see.
        scrapyd(tmp_path, environment(plugin, CAPSOLVER_API_KEY=where["key"])) as (url, process),
    ):
        (tmp_path / "scrapy.cfg").write_text(f"[deploy]\nurl = {url}\nproject = shop\n")
        env = environment(plugin, XDG_CONFIG_HOME=str(tmp_path))
        assert '"spiders": 2' in tool("scrapyd-deploy", "--version", "7", cwd=example, env=env)
        settings = [
            ("CAPSOLVER_API_URL", where["api"]),
            ("DOWNLOAD_DELAY", "0"),
            ("CONCURRENT_REQUESTS_PER_DOMAIN", "4"),
        ]
        fields = [("project", "shop"), ("spider", "shop"), ("site", where["site"]), ("jobid", "one")]
        fields += [("setting", f"{name}={value}") for name, value in settings]
        with urlopen(Request(f"{url}schedule.json", data=urlencode(fields).encode())) as response:
            assert json.load(response)["status"] == "ok"
        wait_for(process, "Process finished", "Process died")
        account = ask(where["api"] + "/_simulator/state")

    log = (tmp_path / "logs" / "shop" / "shop" / "one.log").read_text("utf-8")
    assert "Spider closed (finished)" in log
    assert "Traceback" not in log
    items = [
        json.loads(line) for line in (tmp_path / "items" / "shop" / "shop" / "one.jl").read_text("utf-8").splitlines()
    ]
    assert len(items) == 47
    assert sum(item["captcha"] for item in items) == 44
    assert f"'capsolver/tasks': {account['tasks']['created']}," in log
    assert account["tasks"]["paid"] > 30
    # With jobs_dir there is a JOBDIR: all requests went over the disk.
    assert "'scheduler/dequeued/disk'" in log
    assert "scheduler/unserializable" not in log
    assert where["key"] not in log
