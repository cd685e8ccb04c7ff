"""``scrapy capsolver check``"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest
import scrapy as scrapy_package

import scrapy_capsolver
from scrapy_capsolver.commands.check import _versions
from tests.commands.shell import Done, Project, scrapy
from tests.processes import simulator_process
from tests.redis_server import needs_redis, redis_server

if TYPE_CHECKING:
    from pathlib import Path

ADDONS = {"scrapy_capsolver.Addon": 500}
NAME = "scrapy_capsolver.CapSolverMiddleware"
BROKEN = "class Broken:\n    def update_settings(self, settings):\n        raise OSError('broken')\n"


def wrong(done: Done) -> dict[str, str]:
    """What is to be mended, by the line's name."""
    return {line["name"]: line["text"] for line in done.json["lines"] if not line["ok"]}


def test_all_is_well(project: Project) -> None:
    project.calls()
    done = project.capsolver("check")
    assert (done.code, done.err) == (0, ""), done
    lines = done.out.splitlines()
    assert all(line.startswith("ok   ") for line in lines)
    assert [line.split()[1] for line in lines] == [
        "versions",
        "reactor",
        "middleware",
        "settings",
        "store",
        "key",
        "account",
    ]
    assert f"Scrapy {scrapy_package.__version__}, scrapy-capsolver {scrapy_capsolver.__version__}" in lines[0]
    assert "at 585, in its place" in lines[2]
    assert lines[6].endswith("100.0000 USD, no packages")
    assert project.calls() == {"getBalance": 1}


def test_as_json(project: Project) -> None:
    done = project.capsolver("check", "--json")
    assert (done.code, done.json["ok"], wrong(done)) == (0, True, {})
    assert {"name": "settings", "text": "CAPSOLVER_API_URL", "ok": True} in done.json["lines"]


def test_offline_asks_nobody(project: Project) -> None:
    project.calls()
    done = project.capsolver("check", "--offline")
    assert done.code == 0
    assert "account" not in done.out
    assert project.calls() == {}


def test_outside_of_a_project(tmp_path: Path, capsolver: dict[str, str]) -> None:
    options = ("-s", 'ADDONS={"scrapy_capsolver.Addon": 500}', "-s", f"CAPSOLVER_API_URL={capsolver['api']}")
    key = capsolver["key"]
    done = scrapy("capsolver", "check", *options, at=tmp_path, secrets=(key,), CAPSOLVER_API_KEY=key)
    assert done.code == 0, done
    assert "from the environment" in done.out
    done = scrapy("capsolver", "check", at=tmp_path)
    assert done.code == 1
    assert 'FIX  middleware  the plugin is not enabled: write ADDONS = {"scrapy_capsolver.Addon": 500}' in done.out
    assert "FIX  key         CAPSOLVER_API_KEY is missing" in done.out


@pytest.mark.parametrize(
    ("settings", "line", "said"),
    [
        ({"ADDONS": {}}, "middleware", "the plugin is not enabled"),
        ({"DOWNLOADER_MIDDLEWARES": {NAME: None}}, "middleware", "the plugin is not enabled"),
        ({"DOWNLOADER_MIDDLEWARES": {NAME: 540}}, "middleware", "at 540, before RetryMiddleware"),
        ({"DOWNLOADER_MIDDLEWARES": {NAME: 760}}, "middleware", "after CookiesMiddleware"),
        ({"ADDONS": {}, "DOWNLOADER_MIDDLEWARES": {NAME: 585, "shop.no.There": 5}}, "middleware", "cannot be loaded"),
        ({"CAPSOLVER_ENABLED": False}, "middleware", "CAPSOLVER_ENABLED is False: set it to True"),
        ({"ADDONS": {"shop.addon.Broken": 1, **ADDONS}}, "add-ons", "an add-on of ADDONS fails (OSError: broken)"),
        ({"TWISTED_REACTOR": "twisted.internet.nothing.Reactor"}, "reactor", "cannot be loaded"),
        ({"TWISTED_REACTOR_ENABLED": False}, "reactor", "set it to True"),
        ({"CAPSOLVER_TIMEOUT": "soon"}, "setting", "CAPSOLVER_TIMEOUT is 'soon': it takes seconds"),
        ({"CAPSOLVER_ENABLED": "perhaps"}, "setting", "CAPSOLVER_ENABLED is 'perhaps': it takes True or False"),
        ({"CAPSOLVER_RETRYTIMES": 1}, "setting", "did you mean CAPSOLVER_RETRY_TIMES?"),
        ({"CAPSOLVER_STORE": "no/such/directory/file"}, "store", "cannot be used"),
        ({"CAPSOLVER_API_KEY": "  "}, "key", "CAPSOLVER_API_KEY is blank"),
        ({"CAPSOLVER_API_KEY": "CAP-0123 456789"}, "key", "CAPSOLVER_API_KEY holds spaces"),
        ({"CAPSOLVER_API_KEY": "CAP-WRONG-0123456789"}, "account", "the API key is wrong: check CAPSOLVER_API_KEY"),
    ],
)
def test_what_is_to_be_mended(project: Project, settings: dict[str, Any], line: str, said: str) -> None:
    before = {"CAPSOLVER_API_URL": project.where["api"], "CAPSOLVER_API_KEY": project.where["key"], "ADDONS": ADDONS}
    project.configure(**{**before, **settings})
    (project.path / "shop" / "addon.py").write_text(BROKEN)
    done = project.capsolver("check", "--json")
    assert done.code == 1
    assert list(wrong(done)) == [line]
    assert said in wrong(done)[line]
    assert "0123" not in done.out


def test_an_old_scrapy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _versions().ok
    monkeypatch.setattr("scrapy.version_info", (2, 12, 0))
    assert not _versions().ok
    assert _versions().text.endswith("Scrapy 2.13 or newer is needed")


def test_a_builtin_middleware_that_is_named_by_its_class(project: Project) -> None:
    settings = project.path / "shop" / "settings.py"
    settings.write_text(
        "from scrapy.downloadermiddlewares.retry import RetryMiddleware\n"
        + settings.read_text("utf-8")
        + "DOWNLOADER_MIDDLEWARES = {RetryMiddleware: 590}\n",
        "utf-8",
    )
    done = project.capsolver("check", "--offline", "--json")
    assert wrong(done)["middleware"].startswith("at 585, before RetryMiddleware (")


def test_every_wrong_setting_is_told_at_once(project: Project) -> None:
    done = project.capsolver("check", "-s", "CAPSOLVER_BUDGET=-1", "-s", "CAPSOLVER_CONCURRENCY=0")
    assert done.code == 1
    assert [line.split()[2] for line in done.out.splitlines() if line.startswith("FIX")] == [
        "CAPSOLVER_BUDGET",
        "CAPSOLVER_CONCURRENCY",
    ]


def test_a_password_in_the_stores_address_is_not_shown(project: Project) -> None:
    done = project.capsolver("check", "--offline", "-s", "CAPSOLVER_STORE=x://me:hunter2@host/0")
    assert "hunter2" not in done.out + done.err


def test_nobody_answers(project: Project) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        done = project.capsolver("check", "--json", "-s", f"CAPSOLVER_API_URL={url}")
    assert done.code == 1
    assert wrong(done)["account"].startswith("getBalance: ")


def test_an_empty_account(project: Project) -> None:
    with simulator_process("--balance", "0") as where:
        done = project.capsolver("check", "--json", "-s", f"CAPSOLVER_API_URL={where['api']}")
    assert (done.code, wrong(done)) == (1, {"account": "0.0000 USD, no packages: charge the account at CapSolver"})


@needs_redis
def test_a_redis_store_is_looked_at(project: Project) -> None:
    with redis_server() as server:
        server.client().config_set("requirepass", "SECRET")
        url = f"redis://:SECRET@127.0.0.1:{server.port}/2"
        here = project.capsolver("check", "--offline", "-s", f"CAPSOLVER_STORE={url}")
        assert f"ok   store       redis://127.0.0.1:{server.port}/2\n" in here.out
        on_another = project.capsolver("check", "--offline", "-s", f"CAPSOLVER_STORE={url}", "-s", "TWISTED_REACTOR=")
        assert "FIX  store" in on_another.out
        assert "needs asyncio: set TWISTED_REACTOR" in on_another.out
    gone = project.capsolver("check", "--offline", "-s", f"CAPSOLVER_STORE={url}")
    assert "FIX  store       CAPSOLVER_STORE: redis://127.0.0.1:" in gone.out
    assert "cannot be used: ConnectionError" in gone.out
    for one in (here, on_another, gone):
        assert "SECRET" not in one.out + one.err
