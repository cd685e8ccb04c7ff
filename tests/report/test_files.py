from __future__ import annotations

import json
import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scrapy.settings import Settings
from scrapy.utils.defer import deferred_f_from_coro_f, maybe_deferred_to_future
from twisted.internet.defer import Deferred

from scrapy_capsolver.report import files
from scrapy_capsolver.report.figures import figures_of
from scrapy_capsolver.report.files import ReportError, check_target, read_report, write_report
from scrapy_capsolver.settings import SettingError, read_settings
from scrapy_capsolver.stores import Spend, SQLiteStore, TaskRow
from tests.report.samples import crawl_of


def store(path: Path) -> None:
    """A ledger of a crawl that is killed with a task open."""
    one = SQLiteStore(str(path))
    for account, tasks in (("solved", 3), ("rejected", 1)):
        Deferred.fromCoroutine(
            one.spend(Spend("s", "shop.example", "turnstile", account, tasks, tasks * 1_200_000), closes="")
        )
    Deferred.fromCoroutine(one.open_task(TaskRow("t", "s", "shop.example", "turnstile", "T", 1_200_000)))
    one.close()


def test_json_can_be_read_again(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    record = crawl_of(300)
    write_report(record, str(path))
    assert figures_of(read_report(str(path))) == figures_of(record)
    data = json.loads(path.read_text())
    assert data["figures"]["total"]["solved"]["nano_usd"] == figures_of(record).total.solved.nano_usd
    assert (data["format"], data["version"]) == ("scrapy-capsolver report", 1)


def test_a_store_s_ledger_is_read_and_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "captchas.sqlite"
    store(path)
    before = path.read_bytes()
    figures = figures_of(read_report(str(path)))
    assert (figures.total.solved.nano_usd, figures.total.wasted.tasks, figures.total.open) == (3_600_000, 1, 1)
    assert figures.from_ledger
    assert path.read_bytes() == before
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE tasks SET opened = 0")
    figures = figures_of(read_report(str(path)))
    assert (figures.total.open, figures.total.possible.tasks) == (0, 1)


@deferred_f_from_coro_f
async def test_a_crawl_may_write_to_its_store_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "captchas.sqlite"
    one = SQLiteStore(str(path))
    Deferred.fromCoroutine(one.spend(Spend("s", "a.example", "turnstile", "solved", 1, 5), closes=""))
    await maybe_deferred_to_future(one.database.written())
    assert figures_of(read_report(str(path))).total.solved.nano_usd == 5
    one.close()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "neither a report"),
        (b"{}", "neither a report"),
        (b"[]", "neither a report"),
        (b'{"format": "scrapy-capsolver report", "version": 2}', "version is 2"),
        (b'{"format": "scrapy-capsolver report", "version": 1}', "neither a report"),
        (b'{"format": "scrapy-capsolver report", "version": 1, "record": []}', "neither a report"),
        (b"[" * 100_000, "neither a report"),
        (b"\xff\xfe\x00", "neither a report"),
        (b" <!DOCTYPE html>", "a page"),
        (b"SQLite format 3\0 and no more", "cannot be read"),
    ],
)
def test_what_is_no_report_is_told(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(content)
    with pytest.raises(ReportError, match=said):
        read_report(str(path))


@given(st.binary(max_size=300))
def test_any_bytes_are_a_report_or_one_error(content: bytes) -> None:
    path = Path("/dev/shm" if os.path.isdir("/dev/shm") else "/tmp") / f"capsolver-report-{os.getpid()}"
    path.write_bytes(content)
    try:
        with pytest.raises(ReportError):
            read_report(str(path))
    finally:
        path.unlink()


def test_another_sqlite_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE a (b)")
    with pytest.raises(ReportError, match="version is 0"):
        read_report(str(path))


def test_there_is_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="No such file"):
        read_report(str(tmp_path / "nothing.json"))


def test_a_report_that_is_there_stays_until_the_new_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(ReportError, match="No space left"):
            write_report(crawl_of(10), str(path))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    write_report(crawl_of(10), str(path))
    assert list(tmp_path.iterdir()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~files._umask()


def test_the_target_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_target(str(tmp_path / "report.html"))
    check_target(str(tmp_path / "report.JSON"))
    (tmp_path / "folder.html").mkdir()
    wrong = {
        str(tmp_path / "report.txt"): "ends with .html or .json",
        str(tmp_path / "missing" / "report.html"): f"no directory {tmp_path}/missing",
        str(tmp_path / "folder.html"): "a directory",
    }
    for path, said in wrong.items():
        with pytest.raises(ReportError, match=said):
            check_target(path)
    monkeypatch.setattr(os, "access", lambda *_: False)  # the superuser may write anywhere
    with pytest.raises(ReportError, match="no file can be written"):
        check_target(str(tmp_path / "report.html"))


def test_a_page_needs_the_extra_and_json_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "find_spec", lambda name: None if name == "jinja2" else object())
    with pytest.raises(ReportError, match=r"an .html report needs jinja2: pip install 'scrapy-capsolver\[report\]'"):
        check_target(str(tmp_path / "report.html"))
    write_report(crawl_of(10), str(tmp_path / "report.json"))


def test_the_setting_is_one_clear_error(tmp_path: Path) -> None:
    def read(value: Any) -> str:
        return read_settings(Settings({"CAPSOLVER_API_KEY": "k", "CAPSOLVER_REPORT": value})).report

    assert read(str(tmp_path / "report.html")) == str(tmp_path / "report.html")
    assert read("") == read(None) == ""
    with pytest.raises(SettingError) as caught:
        read(str(tmp_path / "no" / "report.html"))
    assert str(caught.value).startswith("CAPSOLVER_REPORT is ")
    assert f"there is no directory {tmp_path}/no" in str(caught.value)
    with pytest.raises(SettingError, match="CAPSOLVER_REPORT is 7: it takes a text"):
        read(7)
