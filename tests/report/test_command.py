from __future__ import annotations

import argparse
import io
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from scrapy.settings import Settings

from scrapy_capsolver.commands import report
from scrapy_capsolver.report.figures import figures_of
from scrapy_capsolver.report.files import read_report, write_report
from tests.commands.shell import environment_of, scrapy
from tests.redis_server import RedisServer, free_port, needs_redis, redis_server
from tests.report.samples import START, crawl_of
from tests.report.test_files import store
from tests.report.test_fleet import PASSWORD, RUN, Seed, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def run(*arguments: str, **settings: Any) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")  # which all subcommands have
    report.add_arguments(parser)
    return report.run(Settings(settings), parser.parse_args(arguments))


@pytest.fixture
def path(tmp_path: Path) -> str:
    write_report(crawl_of(300), str(tmp_path / "report.json"))
    return str(tmp_path / "report.json")


def test_text(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(path) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("Captcha report: shop\n")
    assert "By site" in shown.out
    assert shown.err == ""


def test_json(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(path, "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["figures"]["total"]["solved"]["tasks"] == figures_of(read_report(path)).total.solved.tasks


def test_a_page(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = str(tmp_path / "page.html")
    assert run(path, "-o", page) == 0
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")
    assert capsys.readouterr().out == f"{page}\n"


def test_several_add_up(path: str, tmp_path: Path) -> None:
    both = str(tmp_path / "both.json")
    assert run(path, path, "-o", both) == 0
    one, two = figures_of(read_report(path)), figures_of(read_report(both))
    assert two.total.solved.nano_usd == 2 * one.total.solved.nano_usd
    assert two.runs == 2


def test_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store(tmp_path / "captchas.sqlite")
    assert run(str(tmp_path / "captchas.sqlite")) == 0
    shown = capsys.readouterr().out
    assert "from the ledger of a store" in shown
    assert "Spent            0.0036 USD for 3 solutions" in shown
    assert "Accepted" not in shown
    assert "Tasks that were open when the store was read: 1." in shown


@pytest.mark.parametrize("arguments", [["nothing.json"], ["nothing.json", "-o", "x.html"]])
def test_errors_are_told_aside(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "nothing.json: No such file or directory\n"


def test_what_cannot_be_written_is_told(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = str(tmp_path / "no" / "page.html")
    assert run(path, "-o", target) == 1
    assert capsys.readouterr().err == f"{target}: there is no directory {tmp_path}/no\n"


def test_help_has_examples() -> None:
    assert "scrapy capsolver report captchas.sqlite" in (report.__doc__ or "")


# All workers of a run


@pytest.fixture(scope="module")
def shared() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def seed(shared: RedisServer) -> Iterator[Seed]:
    """A run of three: one works, one has finished, one is lost."""
    with shared.client() as client:
        client.flushall()
        seed = Seed(client)
        for number, name in enumerate("abc"):
            record = snapshot(100, number)
            if name == "b":
                record.endings["finished"] += 1
            seed.worker(name, record, alive=name == "a", finished=name == "b")
            seed.book(record)
        yield seed


@needs_redis
def test_a_fleet_as_text(seed: Seed, shared: RedisServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(shared.url) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert lines[0] == f"Run {RUN}: 3 workers, 1 alive, 1 finished, 1 lost"
    assert "Captcha report: shop" in lines
    assert "3 runs or workers" in lines
    assert "By site" in lines
    assert max(map(len, lines[:5])) <= 100
    assert shown.err == ""


@needs_redis
def test_a_fleet_as_json_and_as_a_page(
    seed: Seed, shared: RedisServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(shared.url, "--json") == 0
    data = json.loads(capsys.readouterr().out)
    (fleet,) = data["fleets"]
    assert (fleet["run"], fleet["workers"], fleet["alive"], fleet["lost"]) == (RUN, 3, 1, 1)
    for name in ("page.html", "report.json"):
        assert run(shared.url, "-o", str(tmp_path / name)) == 0
    assert (tmp_path / "page.html").read_text("utf-8").startswith("<!DOCTYPE html>")
    again = figures_of(read_report(str(tmp_path / "report.json")))
    assert again.total.solved.nano_usd == data["figures"]["total"]["solved"]["nano_usd"] > 0


@needs_redis
def test_a_fleet_and_a_file_add_up(
    seed: Seed, shared: RedisServer, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spent = []
    for names in ([path], [shared.url], [path, shared.url]):
        assert run(*names, "--json") == 0
        spent.append(json.loads(capsys.readouterr().out)["figures"]["total"]["solved"]["nano_usd"])
    assert spent[2] == spent[0] + spent[1]


@needs_redis
def test_the_runs_name_and_the_prefix(seed: Seed, shared: RedisServer, capsys: pytest.CaptureFixture[str]) -> None:
    Seed(seed.redis, "books@1", began=START + 9)
    Seed(seed.redis, "theirs@1", prefix="theirs")
    Seed(seed.redis, "ours@1", prefix="ours")
    for arguments, settings, named in [
        ([], {}, "books@1"),
        (["--run", "shop"], {}, RUN),
        (["--prefix", "theirs"], {"CAPSOLVER_STORE_PREFIX": "ours"}, "theirs@1"),
        ([], {"CAPSOLVER_STORE_PREFIX": "ours"}, "ours@1"),
    ]:
        assert run(shared.url, *arguments, **settings) == 0
        assert capsys.readouterr().out.startswith(f"Run {named}: ")
    assert run(shared.url) == 0
    assert f"\nOther runs (--run): {RUN}\n" in capsys.readouterr().out
    assert run(shared.url, "--run", "none") == 1
    assert capsys.readouterr().err == f"{shared.url}: there is no run none: there are books@1, {RUN}\n"


@needs_redis
def test_without_an_address_it_is_the_settings(
    seed: Seed, shared: RedisServer, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(CAPSOLVER_STORE=shared.url) == 0
    assert capsys.readouterr().out.startswith(f"Run {RUN}: ")
    assert run(path, CAPSOLVER_STORE=shared.url) == 0
    assert capsys.readouterr().out.startswith("Captcha report: shop")


@pytest.mark.parametrize(
    ("arguments", "settings", "said"),
    [
        ([], {}, "it takes a FILE or a STORE"),
        ([], {"CAPSOLVER_STORE": "captchas.sqlite"}, "it takes a FILE or a STORE"),
        ([], {"CAPSOLVER_STORE": 7}, "it takes a FILE or a STORE"),
        (["a.json", "--watch"], {}, "--watch takes one store"),
        (["redis://a", "redis://b", "--watch"], {}, "--watch takes one store"),
        (["redis://a", "--watch", "--json"], {}, "--watch shows text alone"),
        (["redis://a", "--watch", "-o", "a.html"], {}, "--watch shows text alone"),
        (["a.json", "--run", "shop"], {}, "--run and --prefix are of a store in Redis"),
        (["a.json", "--prefix", "shop"], {}, "--run and --prefix are of a store in Redis"),
    ],
)
def test_what_does_not_go_together_is_told(
    arguments: list[str], settings: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments, **settings) == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err.startswith(said)) == ("", True)


@pytest.mark.parametrize("watch", [[], ["--watch"]])
@pytest.mark.parametrize("where", ["argument", "setting"])
def test_the_password_stands_in_no_error(where: str, watch: list[str], tmp_path: Path) -> None:
    """By the whole command, which shows no traceback either."""
    url = f"redis://user:{PASSWORD}@127.0.0.1:{free_port()}/3"
    given = [url] if where == "argument" else ["-s", f"CAPSOLVER_STORE={url}"]
    done = scrapy("capsolver", "report", *given, *watch, at=tmp_path, secrets=(PASSWORD,))
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"{url.replace(f'user:{PASSWORD}@', '')}: no connection: ")
    for wrong in (f"redis://user:{PASSWORD}@host:port", f"redis://{PASSWORD}@"):
        done = scrapy("capsolver", "report", wrong, *watch, at=tmp_path, secrets=(PASSWORD,))
        assert done.code == 1
        assert done.err.startswith("an address of Redis: its address ")


@needs_redis
def test_the_password_stands_in_no_report(tmp_path: Path) -> None:
    with redis_server(requirepass=PASSWORD) as server:
        with server.client(password=PASSWORD) as client:
            Seed(client).spend("solved")
        store = f"CAPSOLVER_STORE=redis://:{PASSWORD}@127.0.0.1:{server.port}"
        for options in ([], ["--json"], ["--watch"], ["-o", "page.html"], ["-o", "report.json"]):
            done = scrapy("capsolver", "report", "-s", store, *options, at=tmp_path, secrets=(PASSWORD,))
            assert done.code == 0, done
    written = [path.read_text("utf-8") for path in tmp_path.iterdir()]
    assert len(written) == 2
    assert not any(PASSWORD in text for text in written)


# Live


def between_looks(monkeypatch: pytest.MonkeyPatch, *steps: Callable[[], Any]) -> list[float]:
    """Instead of waiting do the next of the steps, and the last of them again; gives for how long it would have waited."""
    waited: list[float] = []

    def wait(seconds: float) -> None:
        steps[min(len(waited), len(steps) - 1)]()
        waited.append(seconds)

    monkeypatch.setattr(report, "_wait", wait)
    return waited


@needs_redis
def test_watching_ends_with_the_last_worker(
    seed: Seed, shared: RedisServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A block for each look; a run that begins meanwhile is another."""
    waited = between_looks(
        monkeypatch,
        lambda: Seed(seed.redis, "shop@later", began=START + 9).worker("z"),
        lambda: seed.redis.delete("capsolver:alive:a"),
    )
    assert run(shared.url, "--watch") == 0
    shown = capsys.readouterr().out
    assert re.findall(r"^Run (\S+): (.*)", shown, re.MULTILINE) == [
        (RUN, "3 workers, 1 alive, 1 finished, 1 lost"),
        (RUN, "3 workers, 1 alive, 1 finished, 1 lost"),
        (RUN, "3 workers, 0 alive, 1 finished, 2 lost"),
    ]
    assert shown.count("\n\nRun ") == 2
    assert len(waited) == 2
    assert min(waited) >= 2.0


@needs_redis
def test_a_server_that_is_away_for_a_while_is_waited_for(
    shared: RedisServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with redis_server() as server:

        def come_back() -> None:
            server.start()
            with server.client() as client:
                Seed(client).worker("a", alive=False)

        with server.client() as client:
            Seed(client).worker("a")
        between_looks(monkeypatch, server.kill, lambda: None, come_back)
        assert run(server.url, "--watch") == 0
        shown = capsys.readouterr()
        assert shown.out.count(f"{server.url}: no connection: ") == 2
        assert shown.out.count("1 alive") == 3, "what was known stays in sight"
        assert shown.out.count("0 alive") == 1
        assert shown.err == ""


@needs_redis
def test_a_server_that_stays_away_is_given_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with redis_server() as server:
        with server.client() as client:
            Seed(client).worker("a")
        waited = between_looks(monkeypatch, server.kill)
        assert run(server.url, "--watch") == 1
    assert len(waited) == 15
    assert capsys.readouterr().err.startswith(f"{server.url}: no connection: ")


@needs_redis
def test_of_a_slow_store_no_more_than_half_the_time_is_spent_on_it(
    seed: Seed, shared: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(0, 1000, 9))
    monkeypatch.setattr(report, "time", SimpleNamespace(monotonic=lambda: next(now)))
    waited = between_looks(monkeypatch, lambda: seed.redis.delete("capsolver:alive:a"))
    assert run(shared.url, "--watch") == 0
    assert waited == [9]


@needs_redis
def test_ctrl_c_ends_it_well(seed: Seed, shared: RedisServer, tmp_path: Path) -> None:
    """Of the whole command, without a terminal."""
    process = subprocess.Popen(
        [sys.executable, "-m", "scrapy", "capsolver", "report", shared.url, "--watch"],
        cwd=tmp_path,
        env=environment_of(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(f"Run {RUN}: ")
        while process.stdout.readline() != "\n":  # the head, and then the report
            pass
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0
    assert "\x1b" not in out
    assert err == ""


@needs_redis
def test_on_a_terminal_it_is_drawn_over_and_the_last_stays(seed: Seed, shared: RedisServer, tmp_path: Path) -> None:
    mine, its = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "scrapy", "capsolver", "report", shared.url, "--watch"],
            cwd=tmp_path,
            env=environment_of(TERM="xterm", COLUMNS="60", LINES="12"),
            stdin=its,
            stdout=its,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    finally:
        os.close(its)
    with os.fdopen(mine, "rb", buffering=0) as terminal:
        shown = b""
        try:
            while b"\x1b[J" not in shown:
                shown += terminal.read(4096)
            process.send_signal(signal.SIGINT)
            while True:
                try:
                    some = terminal.read(4096)
                except OSError:  # as Linux says that the other end is closed
                    break
                if not some:
                    break
                shown += some
            _, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, err) == (0, b"")
    text = shown.decode().replace("\r\n", "\n")
    before, drawn, after = re.split(r"\x1b\[\?1049h\x1b\[\?25l|\x1b\[\?25h\x1b\[\?1049l", text)
    assert before == ""
    first = drawn.split("\x1b[J")[0]
    assert first.startswith(f"\x1b[HRun {RUN}: ")
    lines = [line.removesuffix("\x1b[K") for line in first.removeprefix("\x1b[H").splitlines()]
    assert len(lines) == 11
    assert max(map(len, lines)) <= 60
    assert lines[-1].startswith("... Ctrl-C ends it")
    assert after.startswith(f"Run {RUN}: ")
    assert "By site" in after
    assert "\x1b" not in after


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("kind", "live"), [("xterm", True), ("dumb", False)])
@needs_redis
def test_a_terminal_that_cannot_is_not_asked_to(
    kind: str, live: bool, seed: Seed, shared: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", kind)
    between_looks(monkeypatch, lambda: seed.redis.delete("capsolver:alive:a"))
    assert run(shared.url, "--watch") == 0
    assert ("\x1b" in terminal.getvalue()) == live
    assert terminal.getvalue().count("0 alive") == (2 if live else 1), "drawn, and left there"


@needs_redis
def test_what_fits_is_drawn_whole(seed: Seed, shared: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((500, 500)))
    seed.redis.delete("capsolver:alive:a")
    assert run(shared.url, "--watch") == 0
    drawn, left = terminal.getvalue().partition("\x1b[H")[2].split("\x1b[J\x1b[?25h\x1b[?1049l")
    assert drawn.replace("\x1b[K", "") == left
