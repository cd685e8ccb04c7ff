"""A crawl's report says what its stats say, to the nano-dollar; and nothing that nobody may see."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from scrapy import Request
from scrapy.utils.defer import deferred_f_from_coro_f

from scrapy_capsolver.report.figures import figures_of
from scrapy_capsolver.report.files import read_report
from scrapy_capsolver.solving.ledger import NANO
from tests.crawls import crawl, simulator
from tests.proxies import proxy as running_proxy
from tests.test_secrets import KEY, PASSWORD, USER, assert_clean, secrets_of

if TYPE_CHECKING:
    from pathlib import Path

    from scrapy_capsolver.report.figures import Figures
    from tests.crawls import Crawl

GATES = ["/recaptcha-v2/{}", "/turnstile/{}", "/aws-waf/{}", "/reject/turnstile/{}", "/recaptcha-v3/{}"]
FAULTS = ("create-reply-lost/7", "poll-html-502:3", "solve-failed/5", "create-rate-limit:1")


def check(figures: Figures, done: Crawl) -> None:
    """Each figure against its stat."""
    stats = done.ours()

    def nano(name: str) -> int:
        return round(stats.get(name, 0) * NANO)

    def under(kind: str) -> dict[str, Any]:
        return {name[len(kind) :]: value for name, value in stats.items() if name.startswith(kind)}

    total = figures.total
    assert total.solved.nano_usd == nano("estimated_cost_usd")
    assert total.possible.nano_usd == nano("possible_cost_usd")
    assert {one.reason: one.tasks for one in figures.waste} == under("wasted/")
    assert {one.reason: one.nano_usd for one in figures.waste} == {
        reason: nano(f"wasted_usd/{reason}") for reason in under("wasted_usd/")
    }
    assert {line.name: line.solved.nano_usd for line in figures.families if line.solved.nano_usd} == {
        family: nano(f"cost_usd/family/{family}") for family in under("cost_usd/family/")
    }
    assert {line.name: line.solved.nano_usd for line in figures.sites if line.solved.tasks} == {
        site: nano(f"cost_usd/site/{site}") for site in under("cost_usd/site/")
    }
    for kind in ("accepted", "rejected"):
        families = {name: times for name, times in under(f"{kind}/").items() if "/" not in name}
        assert {line.name: getattr(line, kind) for line in figures.families if getattr(line, kind)} == families
    assert {one.family: one.number for one in figures.solves if one.family} == under("solved/")
    mean = figures.solves[0].mean * figures.solves[0].number
    assert mean == pytest.approx(sum(under("solve_seconds/").values()), abs=1e-3)
    failed: dict[str, int] = {}
    for one in figures.failures:
        failed[one.error] = failed.get(one.error, 0) + one.requests
    assert failed == under("failed/")
    assert figures.requests_failed == len(done.errors)
    assert {one.code: one.refused for one in figures.refusals if one.refused} == under("tasks/refused/")
    assert {one.code: one.failed for one in figures.refusals if one.failed} == under("tasks/failed/")
    assert sum(step.solved for step in figures.steps) == total.solved.tasks
    assert sum(step.nano_usd for step in figures.steps) == total.solved.nano_usd
    assert sum(step.failed for step in figures.steps) == figures.requests_failed
    assert sum(step.wasted for step in figures.steps) == total.wasted.tasks
    assert figures.counters["tasks"] == stats["tasks"]
    assert sum(figures.unpriced.values()) == stats.get("unpriced", 0)


@deferred_f_from_coro_f
async def test_its_figures_are_the_stats(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    async with simulator(quirks=FAULTS, solve_seconds=(2, 6)) as capsolver:
        paths = [gate.format(n) for gate in GATES for n in range(5)]
        done = await crawl(capsolver, paths, CAPSOLVER_REPORT=str(path), CAPSOLVER_RETRY_TIMES=1)
        assert len(done.responses) + len(done.errors) == len(paths)
        assert done.responses
        assert done.errors
        figures = figures_of(read_report(str(path)))
        spent = capsolver.state()["money"]["spent"]
    check(figures, done)
    assert figures.total.rejected
    assert figures.total.possible.tasks
    assert figures.refusals
    assert len(figures.families) == 4
    assert (figures.spiders, figures.endings) == (("one",), {"finished": 1})
    sure = figures.total.solved.nano_usd
    assert sure <= round(spent * NANO) <= sure + figures.total.possible.nano_usd
    assert 0 < figures.pick_ups[0].number <= figures.solves[0].number


@deferred_f_from_coro_f
async def test_a_page_at_the_end_and_nothing_secret_in_it(tmp_path: Path) -> None:
    for name in ("report.html", "report.json"):
        path = tmp_path / name
        async with simulator(
            key=KEY, quirks=["solve-failed:1", "create-reply-lost/4"], solve_seconds=(1, 2)
        ) as capsolver:
            with running_proxy(user=USER, password=PASSWORD) as proxy:
                flag = {"type": "ReCaptchaV2Task"}
                requests: list[Any] = [
                    Request(
                        capsolver.site_url + f"/recaptcha-v2/{n}?secret=PLANTED-QUERY",
                        meta={"capsolver": flag, "proxy": proxy.url},
                    )
                    for n in range(4)
                ]
                requests += ["/datadome/1", "/turnstile/1", "/reject/turnstile/2"]
                done = await crawl(capsolver, requests, CAPSOLVER_REPORT=str(path), CAPSOLVER_RETRY_TIMES=0)
            assert done.errors
            secrets = [*secrets_of(capsolver), "PLANTED-QUERY"]
        assert len(secrets) > 6
        text = path.read_text("utf-8")
        assert "UnsolvableCaptchaError" in text
        assert_clean({name: text}, secrets)


@deferred_f_from_coro_f
async def test_a_report_that_cannot_be_written_harms_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()

    def parse(*_: object) -> None:
        folder.rmdir()

    async with simulator() as capsolver:
        settings = {"CAPSOLVER_REPORT": str(folder / "report.html")}
        done = await crawl(capsolver, ["/recaptcha-v2/1"], parse=parse, **settings)
    assert done.response.css(".product::text").get() == "Product 1"
    assert done.stats["finish_reason"] == "finished"
    (line,) = [one.getMessage() for one in caplog.records if "CAPSOLVER_REPORT" in one.getMessage()]
    assert f"there is no directory {folder}" in line


@deferred_f_from_coro_f
async def test_a_wrong_setting_is_told_before_the_crawl(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with simulator() as capsolver:
        await crawl(capsolver, ["/free/1"], CAPSOLVER_REPORT=str(tmp_path / "no" / "report.html"))
    (line,) = [one.getMessage() for one in caplog.records if "CAPSOLVER_REPORT" in one.getMessage()]
    assert "CAPSOLVER_REPORT is '" in line
    assert "it takes the path of a .html or .json file" in line
    assert f"there is no directory {tmp_path}/no" in line


@deferred_f_from_coro_f
async def test_nothing_is_recorded_where_no_report_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def recorder(*_: object) -> None:
        raise AssertionError("a recorder")

    monkeypatch.setattr("scrapy_capsolver.middleware.Recorder", recorder)
    async with simulator() as capsolver:
        done = await crawl(capsolver, ["/recaptcha-v2/1"])
    assert done.response.css(".product::text").get() == "Product 1"


def test_the_extra_is_not_loaded_for_it() -> None:
    import subprocess

    code = (
        "import sys, scrapy_capsolver.middleware, scrapy_capsolver.commands.report\n"
        "print([name for name in ('jinja2',) if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@deferred_f_from_coro_f
async def test_requests_without_a_flag_are_not_in_it(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    async with simulator() as capsolver:
        requests = [Request(f"{capsolver.site_url}/free/{n}") for n in range(3)]
        await crawl(capsolver, requests, CAPSOLVER_REPORT=str(path))
    record = json.loads(path.read_text())["record"]
    assert (record["rows"], record["failures"], record["timeline"]["steps"]) == ([], [], [])
