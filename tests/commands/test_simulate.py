"""``scrapy capsolver simulate``"""

from __future__ import annotations

import json
import signal
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.commands.shell import scrapy
from tests.processes import ask, running

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

COMMAND = ("-W", "error", "-m", "scrapy", "capsolver", "simulate")


def stopped(process: subprocess.Popen[str], how: signal.Signals) -> tuple[int, str]:
    process.send_signal(how)
    _, errors = process.communicate(timeout=30)
    return process.returncode, errors


def test_addresses_and_settings_and_a_clean_end(tmp_path: Path) -> None:
    with running(*COMMAND, "--key", "CAP-MINE", "--balance", "7") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().rstrip("\n") for _ in range(10)]
        assert lines[9] == "Ctrl-C stops it."
        settings: dict[str, Any] = {}
        exec("\n".join(line.strip() for line in lines if line.startswith("    ")), settings)
        assert lines[0] == f"CapSolver  {settings['CAPSOLVER_API_URL']}"
        assert settings["ADDONS"] == {"scrapy_capsolver.Addon": 500}
        options = [f"{name}={settings[name]}" for name in ("CAPSOLVER_API_URL", "CAPSOLVER_API_KEY")]
        done = scrapy("capsolver", "balance", "-s", options[0], "-s", options[1], at=tmp_path)
        assert done.out.startswith("7.0000 USD\n")
        with socket.create_connection(("127.0.0.1", int(lines[1].rpartition(":")[2]))):
            assert stopped(process, signal.SIGINT) == (0, "")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_as_json(how: signal.Signals) -> None:
    with running(*COMMAND, "--json", "--solve-seconds", "1:2") as process:
        assert process.stdout is not None
        where = json.loads(process.stdout.readline())
        assert where.keys() == {"api", "site", "key"}
        assert ask(f"{where['api']}/_simulator/state")["tasks"]["created"] == 0
        assert stopped(process, how) == (0, "")


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = scrapy("capsolver", "simulate", "--api-port", str(taken.getsockname()[1]), at=tmp_path)
    assert (done.code, done.out) == (1, "")
    assert "in use" in done.err
