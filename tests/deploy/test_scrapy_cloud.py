"""Jobs of the example project at Scrapy Cloud, by the real scrapinghub-entrypoint-scrapy."""

from __future__ import annotations

import json
import logging
import re
import signal
import threading
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("sh_scrapy", reason="scrapinghub-entrypoint-scrapy is not installed: tox -e deploy")
pytest.importorskip("shub", reason="shub is not installed: tox -e deploy")

from tests.deploy.cloud_job import Job, run_job
from tests.deploy.conftest import ROOT, SHUB_KEY, environment, tool
from tests.processes import ask, simulator_process

if TYPE_CHECKING:
    from pathlib import Path
    from subprocess import Popen

TOKEN = re.compile(r"[\w-]{60,}")
# Those that CapSolver does not publish, as the simulator has them.
PRICES = {
    "AntiCloudflareTask": 2.0,
    "DatadomeSliderTask": 2.0,
    "MtCaptchaTaskProxyLess": 1.2,
    "AntiBotdeflectorTaskProxyLess": 1.2,
}


def settings(where: dict[str, str], **more: str) -> dict[str, str]:
    """As people fill them in at Scrapy Cloud: all are strings."""
    return {
        "CAPSOLVER_API_KEY": where["key"],
        "CAPSOLVER_API_URL": where["api"],
        "CONCURRENT_REQUESTS_PER_DOMAIN": "4",
        "DOWNLOAD_DELAY": "0",
        **more,
    }


def ours(job: Job) -> dict[str, Any]:
    return {name[10:]: value for name, value in job.stats.items() if name.startswith("capsolver/")}


def assert_nothing_secret(job: Job, *secrets: str) -> None:
    everything = json.dumps(job.lines) + job.output
    for secret in secrets:
        assert secret not in everything
    for line in job.log:
        assert not TOKEN.search(line), line


def test_shub_deploys_the_example_as_it_is(deployed: dict[str, Any], example: Path) -> None:
    assert (deployed["project"], deployed["version"], deployed["stack"]) == ("12345", "7", "scrapy:2.14-20260326")
    assert deployed["requirements"] == (ROOT / "example_project" / "requirements.txt").read_text("utf-8")
    assert SHUB_KEY not in json.dumps(deployed, default=str)
    with zipfile.ZipFile(deployed["egg"]) as egg:
        names = {name for name in egg.namelist() if name.endswith(".py")}
        assert names >= {"shop/settings.py", "shop/items.py", "shop/spiders/shop.py", "shop/spiders/page.py"}
        assert egg.read("EGG-INFO/entry_points.txt").split() == b"[scrapy] settings = shop.settings".split()


def test_a_job_gets_past_all_captchas(
    deployed: dict[str, Any], plugin: Path, forward_proxy: str, tmp_path: Path
) -> None:
    with simulator_process("--solve-seconds", "0.1:1") as where:
        given = settings(
            where,
            CAPSOLVER_ALLOWED_DOMAINS="shop.example, 127.0.0.1",
            CAPSOLVER_AUTO="False",
            CAPSOLVER_CONCURRENCY="20",
            CAPSOLVER_PRICES=json.dumps(PRICES),
        )
        job = run_job(
            tmp_path,
            environment(plugin, deployed["egg"]),
            spider="shop",
            arguments={"site": where["site"], "proxy": forward_proxy},
            settings={"project_settings": given},
        )
        account = ask(where["api"] + "/_simulator/state")
    assert job.exit_code == 0, job.log
    assert job.of("FIN") == [{"outcome": "finished"}]

    items = job.of("ITM")
    assert len(items) == 53
    assert all(item["name"].startswith("Product ") and item["price"] > 0 for item in items)
    assert sum(item["captcha"] for item in items) == 50

    # JOBDIR is forced: requests went over the disk, with all that the plugin keeps in them.
    assert job.stats["scheduler/enqueued/disk"] == job.stats["scheduler/dequeued/disk"] > 53
    assert "scheduler/unserializable" not in job.stats
    stats = ours(job)
    assert stats["tasks"] == account["tasks"]["created"] == 44
    assert sum(value for name, value in stats.items() if name.startswith("solved/")) == account["tasks"]["paid"] == 44
    assert stats["estimated_cost_usd"] == pytest.approx(account["money"]["spent"])
    assert stats["balance_usd"] == 100
    assert "skipped/domain" not in stats
    assert job.stats["log_count/INFO"] > 44

    assert len(job.of("REQ")) > 53
    assert not any(where["api"] in said["url"] for said in job.of("REQ"))
    assert [said for said in job.of("LOG") if said["level"] >= logging.WARNING] == []
    assert sum("Solved " in line for line in job.log) == 44
    assert not any("factory" in line for line in job.log)
    assert job.output == ""
    assert_nothing_secret(job, where["key"], "proxy-password", "job-auth")


def test_a_jobs_settings_go_before_its_projects(deployed: dict[str, Any], plugin: Path, tmp_path: Path) -> None:
    with simulator_process("--solve-seconds", "0.1") as where:
        job = run_job(
            tmp_path,
            environment(plugin, deployed["egg"]),
            spider="shop",
            arguments={"site": where["site"], "products": "1"},
            settings={
                "project_settings": settings(where, CAPSOLVER_MAX_SOLVES="1000", CAPSOLVER_ON_LIMIT="raise"),
                "spider_settings": {"CAPSOLVER_MAX_SOLVES": "100"},
                "job_settings": {"CAPSOLVER_MAX_SOLVES": "2", "CAPSOLVER_ON_LIMIT": "close"},
            },
        )
        account = ask(where["api"] + "/_simulator/state")
    assert job.exit_code == 0, job.log
    assert job.of("FIN") == [{"outcome": "capsolver_budget"}]
    assert account["tasks"]["paid"] == 2
    assert_nothing_secret(job, where["key"])


def test_a_token_that_a_site_takes_in_its_address_is_in_no_line_of_the_log(
    deployed: dict[str, Any], plugin_egg: Path, tmp_path: Path
) -> None:
    with simulator_process("--solve-seconds", "0.1") as where:
        job = run_job(
            tmp_path,
            environment(plugin_egg, deployed["egg"]),
            spider="page",
            arguments={"url": where["site"] + "/recaptcha-v2/2?style=get-form"},
            settings={"project_settings": settings(where)},
        )
    assert [(item["title"], item["captcha"]) for item in job.of("ITM")] == [("Product 2", True)]
    assert any(TOKEN.search(said["url"]) for said in job.of("REQ"))
    assert_nothing_secret(job, where["key"])


def test_a_setting_that_is_wrong_is_one_line_of_the_log(
    deployed: dict[str, Any], plugin_egg: Path, tmp_path: Path
) -> None:
    with simulator_process() as where:
        job = run_job(
            tmp_path,
            environment(plugin_egg, deployed["egg"]),
            spider="page",
            arguments={"url": where["site"] + "/free/1"},
            settings={"project_settings": settings(where, CAPSOLVER_BUDGET="much")},
        )
    assert job.of("FIN") == [{"outcome": "finished"}]
    assert [item["title"] for item in job.of("ITM")] == ["Product 1"]
    (line,) = (said["message"] for said in job.of("LOG") if said["level"] >= logging.WARNING)
    assert "CAPSOLVER_BUDGET is 'much'" in line
    assert_nothing_secret(job, where["key"])


def test_a_job_that_is_stopped_ends_at_once_and_says_what_it_left(
    deployed: dict[str, Any], plugin_egg: Path, tmp_path: Path
) -> None:
    with simulator_process("--solve-seconds", "100") as where:
        gates: list[str] = []

        def stop(kind: str, said: dict[str, Any], process: Popen[str]) -> None:
            if kind == "REQ" and "/recaptcha-v2/" in said["url"]:
                gates.append(said["url"])
                if len(gates) == 2:
                    # Not while it writes: sh_scrapy's writer holds a lock then, which Scrapy's signal handler would wait for, as
                    # it tells of the signal, for ever. With all requests at their gates there is nothing more to write.
                    threading.Timer(2.0, process.send_signal, [signal.SIGTERM]).start()

        job = run_job(
            tmp_path,
            environment(plugin_egg, deployed["egg"]),
            spider="shop",
            arguments={"site": where["site"]},
            settings={"project_settings": settings(where)},
            heard=stop,
        )
    assert job.exit_code == 0, job.log
    assert job.of("FIN") == [{"outcome": "shutdown"}]
    assert ours(job)["stopped"] >= 2
    assert_nothing_secret(job, where["key"])


def test_an_image_tells_its_spiders(deployed: dict[str, Any], plugin: Path, tmp_path: Path) -> None:
    env = environment(plugin, deployed["egg"], SCRAPY_SETTINGS_MODULE="shop.settings")
    said = tool("shub-image-info", cwd=tmp_path, env=env)
    assert json.loads(said) == {"project_type": "scrapy", "spiders": ["page", "shop"]}
