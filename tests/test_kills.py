"""A crawl that is killed at any moment loses nothing that it had told, and the next one goes on with its store.

Not with its JOBDIR: Scrapy's queues on disk may be unreadable after a kill.

``KILLS=50 python -m pytest tests/test_kills.py`` kills more often.
"""

from __future__ import annotations

import os
import random
import re
import signal
import sqlite3
import textwrap
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from scrapy_capsolver.stores import open_store
from tests.processes import ask, running, simulator_process

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

KILLS = int(os.environ.get("KILLS", "10"))
RUNS_PER_FILE = 5  # crawls that go on with the same store

SPIDER = """
    import sys, scrapy, tldextract
    from scrapy.crawler import CrawlerProcess
    from scrapy.downloadermiddlewares import cookies
    from scrapy_capsolver._crawl.service import Service
    from scrapy_capsolver.solving.clearances import Clearances

    cookies._split_domain = tldextract.TLDExtract(suffix_list_urls=())  # or it asks the network for the list

    api, site, folder, job, first, last = sys.argv[1:]

    class S(scrapy.Spider):
        name = "s"

        async def start(self):
            for n in range(int(first), int(last)):
                # Clearances, each of a site of its own, beside tokens.
                host = site.replace("127.0.0.1", f"127.0.0.{n // 2 % 100 + 2}")
                url = f"{site}/recaptcha-v2/{n}" if n % 2 else f"{host}/aws-waf/{n}"
                yield scrapy.Request(url, errback=self.failed, meta={"capsolver": True}, priority=n % 2)

        def parse(self, response):
            if "capsolver" in response.flags and "aws-waf" in response.url:
                self.logger.info("Cleared %s", response.url.split("/")[2])

        def failed(self, failure):
            self.logger.info("Failed %s", failure.value)

    process = CrawlerProcess({
        "ADDONS": {"scrapy_capsolver.Addon": 500}, "CAPSOLVER_API_URL": api, "JOBDIR": f"{folder}/{job}",
        "CAPSOLVER_STORE": f"{folder}/store.sqlite", "TELNETCONSOLE_ENABLED": False, "REMOTE_CONTROL_ENABLED": False,
        "CONCURRENT_REQUESTS_PER_DOMAIN": 16, "DOWNLOAD_DELAY": 0, "LOG_LEVEL": "INFO",
    })
    process.crawl(S)
    process.start()
"""
SOLVED = re.compile(r"Solved (\w+) at")
CLEARED = re.compile(r"Cleared ([\d.]+):")


def read_until(process: subprocess.Popen[str], lines: int) -> list[str]:
    """The log, up to so many lines that tell of something solved or of the end."""
    assert process.stderr is not None
    log: list[str] = []
    while lines > 0:
        line = process.stderr.readline()
        if not line:
            break
        log.append(line)
        lines -= "Solved " in line or "Cleared " in line
    return log


def rest(process: subprocess.Popen[str]) -> list[str]:
    """The log to its end. Not by ``communicate``, which leaves out what was read ahead."""
    assert process.stderr is not None
    log = process.stderr.readlines()
    process.wait(60)
    return log


def kept(path: Path) -> tuple[Counter[str], Counter[str], set[str]]:
    """Solves in the ledger and tasks that are open there, by family, and hosts with a clearance; the file must be whole."""
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = file.execute("SELECT family, sum(tasks) FROM ledger WHERE account = 'solved' GROUP BY family").fetchall()
        tasks = file.execute("SELECT family, count(*) FROM tasks GROUP BY family").fetchall()
        hosts = {host for (host,) in file.execute("SELECT host FROM clearances")}
    return Counter(dict(rows)), Counter(dict(tasks)), hosts


@pytest.mark.parametrize("seed", range(-(-KILLS // RUNS_PER_FILE)))
def test_a_killed_crawl_loses_nothing_that_it_told(seed: int, tmp_path: Path) -> None:
    script, store, dice = tmp_path / "spider.py", tmp_path / "store.sqlite", random.Random(seed)
    script.write_text(textwrap.dedent(SPIDER))
    hosts = [option for n in range(100) for option in ("--extra-host", f"127.0.0.{n + 2}")]
    told, cleared, died = Counter[str](), set[str](), 0
    with simulator_process("--speed", "10", "--solve-seconds", "1:8", "--latency", "0", *hosts) as where:
        arguments = (str(script), where["api"], where["site"], str(tmp_path))

        for n in range(RUNS_PER_FILE):
            with running(
                *arguments, f"job{n}", str(n * 40), str(n * 40 + 40), CAPSOLVER_API_KEY=where["key"]
            ) as spider:
                log = read_until(spider, dice.randint(1, 40))
                if dice.random() < 0.3:
                    # Twice, as from an impatient keyboard: the second has Scrapy drop everything.
                    spider.send_signal(signal.SIGINT)
                    log += read_until(spider, dice.randint(0, 2))
                    spider.send_signal(signal.SIGINT)
                    log += rest(spider)
                else:
                    spider.send_signal(signal.SIGKILL)
                    log += rest(spider)
                    died += spider.returncode == -signal.SIGKILL
            told.update(SOLVED.findall("".join(log)))
            cleared.update(CLEARED.findall("".join(log)))
            solved, still_open, hosts_kept = kept(store)
            open_store(str(store)).close()
            # The ledger is written a moment after the log; until then its task is open there.
            assert solved + still_open >= told, (solved, still_open, told)
            assert hosts_kept >= cleared
        with running(*arguments, "job", "1000", "1002", CAPSOLVER_API_KEY=where["key"]) as spider:
            _, ended = spider.communicate(timeout=60)
        assert "Spider closed (finished)" in ended
        assert "Traceback" not in ended
        assert "Failed" not in ended
        paid = ask(f"{where['api']}/_simulator/state")["tasks"]["paid"]
    solved, still_open, _ = kept(store)
    assert told.total() <= (solved + still_open).total()
    assert solved.total() <= paid
    assert died
