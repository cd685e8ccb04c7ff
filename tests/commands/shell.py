"""Scrapy's own command line, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

from tests import forks
from tests.processes import ask

ROOT = Path(__file__).parent.parent.parent
SECONDS = "0.3"  # of each solve


class Done:
    """What a command left."""

    def __init__(self, process: subprocess.CompletedProcess[str]) -> None:
        self.code, self.out, self.err = process.returncode, process.stdout, process.stderr

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def __repr__(self) -> str:
        return f"exit code {self.code}\n{self.out}\n--\n{self.err}"


class Project:
    """A directory with a Scrapy project, in which commands are called."""

    def __init__(self, path: Path, where: dict[str, str]) -> None:
        self.path, self.where = path, where
        (path / "shop" / "spiders").mkdir(parents=True)
        (path / "shop" / "__init__.py").touch()
        (path / "shop" / "spiders" / "__init__.py").touch()
        (path / "scrapy.cfg").write_text("[settings]\ndefault = shop.settings\n")

    def configure(self, **settings: Any) -> None:
        settings = {"BOT_NAME": "shop", "SPIDER_MODULES": ["shop.spiders"], **settings}
        lines = "".join(f"{name} = {value!r}\n" for name, value in settings.items())
        (self.path / "shop" / "settings.py").write_text(lines, "utf-8")

    def scrapy(self, *arguments: str, **options: Any) -> Done:
        return scrapy(*arguments, at=self.path, secrets=(self.where["key"],), **options)

    def capsolver(self, *arguments: str, **options: Any) -> Done:
        return self.scrapy("capsolver", *arguments, **options)

    def calls(self) -> dict[str, int]:
        """How often each method of the API was called since the last look."""
        calls: dict[str, int] = ask(f"{self.where['api']}/_simulator/state")["api"]["calls"]
        ask(f"{self.where['api']}/_simulator/reset", again=True)
        return calls


def environment_of(**environment: str) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "PYTHONWARNINGS": "error",
        "TLDEXTRACT_PUBLIC_SUFFIX_LIST_URLS": "",
        "COLUMNS": "100",
        **environment,
    }


def scrapy(
    *arguments: str,
    at: Path,
    secrets: tuple[str, ...] = (),
    stdin: bytes = b"",
    fresh: bool = False,
    **environment: str,
) -> Done:
    """Run ``scrapy``. Whatever it is asked, it shows no secret, no traceback and no control character.

    ``fresh``: in a new Python, as a shell would, which takes a second; otherwise in a fork of one that has imported Scrapy.
    """
    env = environment_of(**environment)
    if fresh or not hasattr(os, "fork") or any(name.startswith("PYTHON") for name in environment):
        process = subprocess.run(
            [sys.executable, "-m", "scrapy", *arguments],
            cwd=at,
            env=env,
            input=stdin,
            capture_output=True,
            timeout=60,
            check=False,
        )
    else:
        process = forks.scrapy(list(arguments), cwd=at, env=env, stdin=stdin)
    done = Done(
        subprocess.CompletedProcess(
            process.args, process.returncode, process.stdout.decode("utf-8"), process.stderr.decode("utf-8")
        )
    )
    text = done.out + done.err
    assert not any(secret in text for secret in secrets), done
    assert "Traceback" not in text, done
    assert not [letter for letter in text if unicodedata.category(letter) in {"Cc", "Cf"} and letter != "\n"], done
    return done
