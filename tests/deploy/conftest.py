"""The example project as Scrapy Cloud and scrapyd get it, and the plugin as they install it.

``tox -e deploy`` has all that these tests need.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from email import message_from_bytes
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent.parent
SHUB_KEY = "0123456789abcdef0123456789abcdef"


def environment(*path: Path, **values: str) -> dict[str, str]:
    """For a process that has the packages at ``path``, and nothing of this checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CAPSOLVER_", "PYTHON", "SHUB_"))}
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(map(str, path)),
        "TLDEXTRACT_PUBLIC_SUFFIX_LIST_URLS": "",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        **values,
    }


def tool(name: str, *arguments: str, cwd: Path, env: dict[str, str]) -> str:
    """What a command of this Python's environment prints; it must end well."""
    command = [str(Path(sys.executable).parent / name), *arguments]
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def plugin_sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, so that nothing is built beside the sources."""
    copy = tmp_path_factory.mktemp("plugin")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    shutil.copytree(ROOT / "scrapy_capsolver", copy / "scrapy_capsolver", ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture(scope="session")
def plugin_egg(plugin_sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As docs/scrapy_cloud.rst says."""
    folder = tmp_path_factory.mktemp("egg")
    build = "import setuptools; setuptools.setup()"
    tool("python", "-c", build, "bdist_egg", "--dist-dir", str(folder), cwd=plugin_sources, env=environment())
    (egg,) = folder.iterdir()
    return egg


@pytest.fixture(scope="session")
def plugin_wheel(plugin_sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Installed into a folder of its own."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet")
    tool("pip", "wheel", *options, "--wheel-dir", str(folder), ".", cwd=plugin_sources, env=environment())
    (wheel,) = folder.iterdir()
    tool("pip", "install", "--no-deps", "--no-index", "--target", "site", wheel.name, cwd=folder, env=environment())
    return folder / "site"


@pytest.fixture(params=["egg", "wheel"])
def plugin(request: pytest.FixtureRequest) -> Path:
    where: Path = request.getfixturevalue(f"plugin_{request.param}")
    said = tool(
        "python", "-c", "import scrapy_capsolver as p; print(p.__file__)", cwd=where.parent, env=environment(where)
    )
    assert said.startswith(str(where)), "another one is imported"
    return where


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(
        ROOT / "example_project",
        tmp_path_factory.mktemp("example") / "project",
        ignore=shutil.ignore_patterns("__pycache__", "*.jsonl", "setup.py", "build", "*.egg-info"),
    )


@pytest.fixture(scope="session")
def deployed(example: Path, plugin_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Scrapy Cloud is sent by ``shub deploy 12345``: the fields of its form, and where the egg is."""
    folder = tmp_path_factory.mktemp("scrapy_cloud")
    with receiving() as (url, forms):
        (folder / "shub.yml").write_text(f"endpoints:\n  default: {url}/api/\napikeys:\n  default: {SHUB_KEY}\n")
        env = environment(plugin_wheel, SHUB_GLOBAL_CONFIG=str(folder / "shub.yml"), SHUB_DISABLE_UPDATE_CHECK="1")
        tool("shub", "deploy", "12345", "--version", "7", cwd=example, env=env)
    ((path, form),) = forms
    assert path == "/api/scrapyd/addversion.json"
    egg = folder / "project.egg"
    egg.write_bytes(form.pop("egg"))
    return {**{name: value.decode() for name, value in form.items()}, "egg": egg}


class receiving:  # noqa: N801 - used as a function
    """A server that takes forms with files, and says of each that it was deployed."""

    def __enter__(self) -> tuple[str, list[tuple[str, dict[str, bytes]]]]:
        forms: list[tuple[str, dict[str, bytes]]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
                body = message_from_bytes(head + self.rfile.read(int(self.headers["Content-Length"])), policy=HTTP)
                fields = {}
                for part in body.iter_parts():  # type: ignore[attr-defined]
                    fields[part.get_param("name", header="Content-Disposition")] = part.get_payload(decode=True)
                forms.append((self.path, fields))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b'{"status": "ok", "project": 12345, "version": "7", "spiders": 2}\n')

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the server's name
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        return f"http://127.0.0.1:{self.server.server_port}", forms

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def forward_proxy() -> Iterator[str]:
    """The example's, by an address with a password, which it does not ask for."""
    command = [sys.executable, str(ROOT / "example_project" / "forward_proxy.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip().replace("http://", "http://user:proxy-password@")
        finally:
            process.kill()
