"""Crawl the shop of this project and show what came of its captchas.

    python example_project/run.py

starts a shop, a CapSolver and a forward proxy of its own on this machine: it needs no key and costs nothing.

    CAPSOLVER_API_KEY=CAP-... python example_project/run.py --url https://...

fetches a page of yours instead, with the real CapSolver. ``--expect`` takes a CSS selector of something that only the
page itself has, and not the captcha in its place.

It exits with 1 if pages are missing or the accounts disagree, and with 2 if it was called the wrong way.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from scrapy.crawler import CrawlerProcess
from scrapy.utils.project import get_project_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scrapy.crawler import Crawler

HERE = Path(__file__).resolve().parent

# Limits for a site that is our own.
OUR_OWN = {"CONCURRENT_REQUESTS_PER_DOMAIN": 4, "DOWNLOAD_DELAY": 0.05}

# Simulated solves, in seconds. Real ones take up to 30, and nobody wants to watch that.
SOLVE_SECONDS = "1:12"

# USD per 1000 solves, as the simulator has it, of the types for which CapSolver publishes no price. Without a price, a
# solve is counted as "unpriced", and not in the estimated cost.
PRICES = {
    "AntiCloudflareTask": 2.0,
    "DatadomeSliderTask": 2.0,
    "MtCaptchaTaskProxyLess": 1.2,
    "AntiBotdeflectorTaskProxyLess": 1.2,
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Crawl a simulated shop, or a page of yours.")
    parser.add_argument("--url", help="a page of yours, with the real CapSolver and your CAPSOLVER_API_KEY")
    parser.add_argument("--expect", default="", help="CSS selector: the page is behind a captcha where it is missing")
    options = parser.parse_args()
    if not options.url:
        return crawl_shop()
    if not options.url.startswith(("http://", "https://")):
        parser.exit(2, "--url takes a whole address, such as https://example.com/\n")
    if not os.environ.get("CAPSOLVER_API_KEY", "").strip():
        parser.exit(2, "--url needs your CapSolver API key in the environment: CAPSOLVER_API_KEY=CAP-...\n")
    return crawl_page(options.url, options.expect)


def crawl_shop() -> int:
    # The shop has a number for a name: Scrapy's cookies need no fresh list of public suffixes from the network, and it
    # is reached by no proxy but the one that the spider names.
    os.environ["TLDEXTRACT_PUBLIC_SUFFIX_LIST_URLS"] = ""
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    with (
        started("-m", "scrapy_capsolver.simulator", "--solve-seconds", SOLVE_SECONDS) as line,
        started(str(HERE / "forward_proxy.py")) as proxy,
    ):
        where = json.loads(line)
        low, _, high = SOLVE_SECONDS.partition(":")
        say(f"A shop at {where['site']}, a CapSolver at {where['api']}, a proxy at {proxy}.")
        say(f"Solves take {low} to {high} seconds; real ones take 1 to 30.")
        crawler = crawl(
            "shop",
            {"site": where["site"], "proxy": proxy},
            {
                **OUR_OWN,
                "CAPSOLVER_API_KEY": where["key"],
                "CAPSOLVER_API_URL": where["api"],
                "CAPSOLVER_PRICES": PRICES,
            },
        )
        account = state_of(where["api"])
    spider: Any = crawler.spider
    parts = {**spider.flags, **spider.proxied_flags}
    wanted = spider.products * len(parts) + len(list(spider.other_ways()))
    complete = report(crawler, wanted=wanted)
    return 0 if agrees(crawler, account) and complete else 1


def crawl_page(url: str, expect: str) -> int:
    crawler = crawl("page", {"url": url, "expect": expect}, {})
    return 0 if report(crawler, wanted=1) else 1


def crawl(spider: str, arguments: dict[str, str], settings: dict[str, Any]) -> Crawler:
    """Crawl with the project's own settings, and a shorter log."""
    os.chdir(HERE)  # where scrapy.cfg is, and where the items go
    project = get_project_settings()
    log = {"LOG_FORMAT": "%(asctime)s %(message)s", "LOG_DATEFORMAT": "%H:%M:%S"}
    project.setdict({**log, **settings}, priority="cmdline")
    logging.getLogger("scrapy.utils.log").addFilter(lambda _: False)  # versions
    process = CrawlerProcess(project)
    logging.getLogger("scrapy").setLevel(logging.WARNING)
    # What these say of a page that fails is in the table as well.
    for name in (spider, "scrapy.downloadermiddlewares.robotstxt"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    crawler = process.create_crawler(spider)
    process.crawl(crawler, **arguments)
    process.start()
    return crawler


@contextmanager
def started(*command: str) -> Iterator[str]:
    """A program of Python's that says in its first line where it listens."""
    # A session of its own: Ctrl-C is for the crawl, which needs the others to the end.
    with subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, start_new_session=True) as process:  # noqa: S603
        try:
            assert process.stdout is not None
            line = process.stdout.readline().decode().strip()
            if not line:
                sys.exit(f"{' '.join(command)} did not start.")
            yield line
        finally:
            process.kill()  # it has nothing to save


def state_of(api: str) -> dict[str, Any]:
    """What the simulator itself has counted."""
    connection = HTTPConnection(urlsplit(api).netloc, timeout=10)
    try:
        connection.request("GET", "/_simulator/state")
        return json.load(connection.getresponse())
    finally:
        connection.close()


def report(crawler: Crawler, *, wanted: int) -> bool:
    """Show what came of the crawl; tell whether all pages that were wanted are there."""
    spider: Any = crawler.spider
    path = HERE / f"{spider.name}.jsonl"
    items = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    stats = stats_of(crawler)

    families = sorted(name.partition("/")[2] for name in stats if name.startswith("challenges/"))
    say(f"\n{'Captchas':<28}{'met':>8}{'solved':>8}{'mean':>9}")
    rows = [
        (
            family,
            stats[f"challenges/{family}"],
            stats.get(f"solved/{family}", 0),
            stats.get(f"solve_seconds/{family}", 0),
        )
        for family in families
    ]
    rows.append(("all", *(sum(row[column] for row in rows) for column in (1, 2, 3))))
    for name, met, solved, seconds in rows:
        say(f"{name:<28}{met:>8}{solved:>8}{mean(seconds, solved)}")
    say("")

    behind = sum(item["captcha"] for item in items)
    say(f"Pages      {len(items)} of {wanted}: {len(items) - behind} free, {behind} behind a captcha")
    for item in items if spider.name == "page" else ():
        say(f"           {item['status']} {item['title']!r}")
    say(f"Items      {path.relative_to(HERE.parent)}")
    say(f"Time       {stats_of(crawler, '').get('elapsed_time_seconds', 0):.1f} s")
    say(
        f"CapSolver  {stats.get('tasks', 0)} tasks, {stats.get('polls', 0)} polls, "
        f"estimated cost {stats.get('estimated_cost_usd', 0):.4f} USD"
    )
    wasted = [f"{value} {name.partition('/')[2]}" for name, value in stats.items() if name.startswith("wasted/")]
    if wasted:
        say(f"Wasted     {', '.join(wasted)}")
    clearances = {name: stats.get(f"clearances/{name}", 0) for name in ("shared", "awaited", "reused", "renewed")}
    if any(clearances.values()):
        say(
            f"Clearances {clearances['shared']} requests shared a solve, {clearances['awaited']} waited for one; "
            f"{clearances['reused']} pages took one that was held, {clearances['renewed']} issued it anew"
        )
    say(f"Failures   {len(spider.failures) or 'none'}")
    for url, reason in spider.failures:
        say(f"           {url}: {reason}")
    return len(items) == wanted and not spider.failures


def agrees(crawler: Crawler, account: dict[str, Any]) -> bool:
    """Show what the simulator was paid, and tell whether that is what the plugin says."""
    stats = stats_of(crawler)
    tasks, money = account["tasks"], account["money"]
    undecided = sum(
        stats.get(f"wasted/{reason}", 0) for reason in ("possibly_paid", "abandoned")
    )  # tasks that were given up before they ended
    solved = sum(value for name, value in stats.items() if name.startswith("solved/"))
    agreed = (
        0 <= tasks["created"] - stats.get("tasks", 0) <= undecided
        and 0 <= tasks["paid"] - solved <= undecided
        and (undecided or abs(money["spent"] - stats.get("estimated_cost_usd", 0)) < 1e-6)
    )
    say(
        f"Account    {tasks['created']} tasks, {tasks['paid']} solves paid, {money['spent']:.4f} USD: "
        + ("agrees" if agreed else "DOES NOT AGREE with what the plugin counted")
    )
    return bool(agreed)


def stats_of(crawler: Crawler, prefix: str = "capsolver/") -> dict[str, Any]:
    assert crawler.stats is not None
    stats = crawler.stats.get_stats().items()
    return {name[len(prefix) :]: value for name, value in sorted(stats) if name.startswith(prefix)}


def mean(seconds: float | None, count: int) -> str:
    return f"{'-':>9}" if seconds is None or not count else f"{seconds / count:>7.1f} s"


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
