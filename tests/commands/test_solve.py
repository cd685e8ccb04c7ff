"""``scrapy capsolver solve``"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from scrapy_capsolver.commands.solve import shape
from tests.commands.shell import Done, Project, environment_of
from tests.processes import running, simulator_process

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = re.compile(r"[\w.-]{60,}")


def test_one_page_behind_a_captcha(project: Project) -> None:
    project.calls()
    url = f"{project.where['site']}/recaptcha-v2/7"
    done = project.capsolver("solve", url)
    assert done.code == 0, done
    assert done.err.splitlines() == ["met recaptcha_v2", "task created", "solved", "page received"]
    assert re.fullmatch(
        r"solved     in \d\.\d s, \d+ polls?\n"
        rf"page       200 {re.escape(url)} Product 7\n"
        r"(?:solution   \w+: .*\n)*"
        r"solution   gRecaptchaResponse: text of \d+ characters\n"
        r"cost       0\.0008 USD, by the price table\n",
        done.out,
    ), done
    assert not TOKEN.search(done.out + done.err)
    assert project.calls()["createTask"] == 1


def test_as_json_and_the_token_where_it_is_asked_for(project: Project) -> None:
    url = f"{project.where['site']}/turnstile/7"
    told = project.capsolver("solve", url, "--json").json
    assert told["page"] == {"url": url, "status": 200, "title": "Product 7"}
    assert (told["tasks"], told["estimated_cost_usd"], told["possible_cost_usd"]) == (1, 0.0012, 0.0)
    assert told["solve_seconds"] > 0.2
    assert re.fullmatch(r"text of \d+ characters", told["solution"]["token"])
    told = project.capsolver("solve", url, "--json", "--show-token").json
    assert TOKEN.match(told["solution"]["token"])
    assert TOKEN.search(project.capsolver("solve", url, "--show-token").out)


def test_a_widget_by_its_type(project: Project) -> None:
    url = f"{project.where['site']}/recaptcha-v2/7?style=widget"
    done = project.capsolver("solve", url)
    assert done.code == 1
    assert "UnsupportedCaptchaError: no captcha stood in the way" in done.err
    # Its form has a field that nobody filled in: the token comes with the page, and nothing is submitted.
    done = project.capsolver("solve", url, "--type", "ReCaptchaV2TaskProxyLess", "--json")
    assert (done.code, done.json["tasks"]) == (0, 1), done


def test_a_token_in_an_address_is_not_shown(project: Project) -> None:
    url = f"{project.where['site']}/query/turnstile/7"
    done = project.capsolver("solve", url, "--flag", '{"inject": {"query": "captcha"}}')
    assert f"page       200 {url}?... Product 7\n" in done.out
    assert not TOKEN.search(done.out + done.err)


def test_a_clearance(project: Project) -> None:
    url = f"{project.where['site']}/aws-waf/7"
    store = ("-s", "CAPSOLVER_STORE=captchas.sqlite")
    assert "solution   cookies: object of aws-waf-token\n" in project.capsolver("solve", url, *store).out
    again = project.capsolver("solve", url, *store)
    assert again.code == 0
    assert again.out.startswith("opened by a clearance that was held: nothing was solved\n")
    assert again.out.endswith("cost       0.0000 USD, by the price table\n")


def test_one_solve_and_no_more(project: Project) -> None:
    project.calls()
    limits = ("-s", "CAPSOLVER_RETRY_TIMES=5", "-s", "CAPSOLVER_MAX_SOLVES=10", "-s", "CAPSOLVER_ON_ERROR=pass")
    done = project.capsolver("solve", f"{project.where['site']}/reject/recaptcha-v2/7", *limits, "--json")
    assert project.calls()["createTask"] == 1
    assert (done.code, done.json["error"]["type"], done.json["error"]["attempts"]) == (1, "UnsolvableCaptchaError", 1)
    assert done.json["estimated_cost_usd"] == 0.0008
    done = project.capsolver("solve", f"{project.where['site']}/reject/recaptcha-v2/7")
    assert done.err.endswith("It cost 0.0008 USD, by the price table.\n")


def test_a_limit_of_none_is_kept(project: Project) -> None:
    project.calls()
    done = project.capsolver("solve", f"{project.where['site']}/recaptcha-v2/7", "-s", "CAPSOLVER_MAX_SOLVES=0")
    assert done.code == 1
    assert "CaptchaBudgetError: recaptcha_v2 at " in done.err
    assert "createTask" not in project.calls()


@pytest.mark.parametrize(
    ("path", "options", "said"),
    [
        ("/recaptcha-v2/7", ("-s", "CAPSOLVER_API_KEY=CAP-WRONG"), "CapSolverAccountError: recaptcha_v2 at 127.0.0.1"),
        ("/datadome/7", (), "CaptchaProxyError: datadome at "),
        ("/hcaptcha/7", (), "UnsupportedCaptchaError: hcaptcha at "),
        ("/free/7", (), "UnsupportedCaptchaError: no captcha stood in the way"),
        ("/free/7", ("-s", "CAPSOLVER_ALLOWED_DOMAINS=a.example"), "(or CAPSOLVER_ALLOWED_DOMAINS leaves it out)"),
        ("/free/7", ("-s", "CAPSOLVER_ENABLED=no"), "CAPSOLVER_ENABLED is False: the plugin solves nothing"),
        ("/free/7", ("-s", "CAPSOLVER_TIMEOUT=soon"), "CAPSOLVER_TIMEOUT is 'soon'"),
        ("/free/7", ("--type", "Recaptcha"), "CaptchaConfigurationError: the flag: type: 'Recaptcha' is no"),
        ("/free/7", ("--flag", "[1]"), "CaptchaConfigurationError: the flag is of type list"),
        ("/free/7", ("-s", "DOWNLOADER=shop.Nothing"), "the crawl did not start: NameError: Module 'shop'"),
    ],
)
def test_errors_are_typed_and_readable(project: Project, path: str, options: tuple[str, ...], said: str) -> None:
    done = project.capsolver("solve", project.where["site"] + path, *options, "--json")
    assert done.code == 1, done
    assert said in done.err
    assert done.json["error"]["message"] in done.err
    assert "CAP-WRONG" not in done.out + done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("shop.example",), "an address begins with http:// or https://"),
        (("http://shop.example", "--flag", "{"), "--flag is no JSON"),
        (("http://shop.example", "--flag", "1", "--type", "x"), "--flag is no object"),
    ],
)
def test_wrong_usage(project: Project, arguments: tuple[str, ...], said: str) -> None:
    done = project.capsolver("solve", *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_nobody_is_there_and_the_proxys_password_stays_secret(project: Project) -> None:
    done = project.capsolver("solve", "http://shop.example/", "--proxy", "http://me:hunter2@127.0.0.1:1", "--json")
    assert done.code == 1
    assert done.json["error"]["message"].startswith("the page did not come: ")
    assert "hunter2" not in done.out + done.err


def test_outside_of_a_project_and_on_another_reactor(tmp_path: Path, project: Project) -> None:
    away = Project(tmp_path / "away", project.where)
    (away.path / "scrapy.cfg").unlink()
    done = away.capsolver(
        *("solve", f"{project.where['site']}/turnstile/7", "-s", f"CAPSOLVER_API_URL={project.where['api']}"),
        *("-s", "TWISTED_REACTOR=twisted.internet.selectreactor.SelectReactor"),
        CAPSOLVER_API_KEY=project.where["key"],
    )
    assert done.code == 0, done


def test_the_projects_own_files_stay_as_they_are(project: Project) -> None:
    items = project.path / "items.json"
    items.write_text("[1]")
    settings = (project.path / "shop" / "settings.py").read_text("utf-8")
    (project.path / "shop" / "settings.py").write_text(
        settings + "FEEDS = {'items.json': {'format': 'json', 'overwrite': True}}\nJOBDIR = 'job'\n"
        "ITEM_PIPELINES = {'shop.nothing.Pipeline': 1}\n",
        "utf-8",
    )
    done = project.capsolver("solve", f"{project.where['site']}/turnstile/7")
    assert done.code == 0, done
    assert items.read_text() == "[1]"
    assert not (project.path / "job").exists()


def arguments_of(where: dict[str, str]) -> list[str]:
    return [
        *("-m", "scrapy", "capsolver", "solve", f"{where['site']}/turnstile/7"),
        *("-s", f"CAPSOLVER_API_URL={where['api']}", "-s", f"CAPSOLVER_API_KEY={where['key']}"),
    ]


def read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # the other end is closed
        return b""


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are Unix's")
def test_a_live_line_on_a_terminal(project: Project) -> None:
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, *arguments_of(project.where)],
        cwd=project.path,
        env=environment_of(),
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    written = b"".join(iter(lambda: read(ours), b""))
    os.close(ours)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert b"page       200" in out
    frames = written.decode().split("\r\x1b[K")
    for step in ("asking for the page", "task created"):
        assert any(re.fullmatch(rf"{step}, waiting \d+ s", frame) for frame in frames), frames
    assert frames[-1] == "", "the line is gone at the end"
    assert "\n" not in written.decode()


def test_ctrl_c_ends_the_wait() -> None:
    with (
        simulator_process("--solve-seconds", "60") as where,
        running(
            *arguments_of(where), **{k: environment_of()[k] for k in ("TLDEXTRACT_PUBLIC_SUFFIX_LIST_URLS",)}
        ) as it,
    ):
        assert it.stderr is not None
        assert [it.stderr.readline() for _ in range(2)] == ["met turnstile\n", "task created\n"]
        it.send_signal(signal.SIGINT)
        out, errors = it.communicate(timeout=30)
        done = Done(subprocess.CompletedProcess([], it.returncode, out, errors))
    assert (done.code, done.out) == (1, ""), done
    assert "CaptchaCancelledError: " in done.err
    assert "perhaps 0.0012 USD more" in done.err


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("abc", "text of 3 characters"),
        ({"cf_clearance": "secret"}, "object of cf_clearance"),
        ({}, "empty object"),
        ([1, 2], "list of 2"),
        (True, "true or false"),
        (1.5, "number"),
        (None, "nothing"),
    ],
)
def test_shapes(value: object, said: str) -> None:
    assert shape(value) == said
