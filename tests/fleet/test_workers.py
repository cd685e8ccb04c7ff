"""Worker processes that share a Redis server act as one: one clearance, one budget, one breaker, no paid task forgotten."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from scrapy_capsolver.report.cluster import read_fleet
from tests.fleet.fleet import sliced, summed, worker, workers
from tests.processes import ask, simulator_process
from tests.proxies import proxy as running_proxy
from tests.redis_server import RedisServer, needs_redis

if TYPE_CHECKING:
    from tests.fleet.fleet import Worker

pytestmark = needs_redis


def settings(server: RedisServer, where: dict[str, str], **others: Any) -> dict[str, Any]:
    return {
        "CAPSOLVER_STORE": server.url,
        "CAPSOLVER_API_URL": where["api"],
        "CAPSOLVER_API_KEY": where["key"],
        **others,
    }


def tasks(where: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = ask(f"{where['api']}/_simulator/state")["tasks"]
    return found


def endings(all_workers: list[Worker]) -> Counter[int]:
    """How many requests ended how often."""
    ended: Counter[str] = Counter()
    for one in all_workers:
        ended.update(one.endings)
    return Counter(ended.values())


def told(all_workers: list[Worker], word: str) -> int:
    return sum(len(one.of(word)) for one in all_workers)


def pages(where: dict[str, str], path: str, number: int) -> list[str]:
    return [f"{where['site']}/{path.format(n)}" for n in range(number)]


def ledger(server: RedisServer) -> Counter[str]:
    """Tasks by account."""
    client = server.client()
    found: Counter[str] = Counter()
    for key in client.keys("capsolver:ledger:*"):
        for field, value in client.hgetall(key).items():
            account, kind = field.split("/")[-2:]
            if kind == "tasks":
                found[account] += int(value)
    return +found


def test_one_clearance_for_all_who_leave_from_one_address(server: RedisServer) -> None:
    with simulator_process("--solve-seconds", "1:2", "--latency", "0.01") as where:
        urls = pages(where, "aws-waf/{}?style=first-address", 60)
        with workers(sliced(urls, 3), **settings(server, where)) as found:
            assert [one.wait() for one in found] == [0, 0, 0]
            assert (told(found, "page"), endings(found)) == (60, {1: 60})
        assert tasks(where)["created"] == 1


def test_one_for_each_address_and_a_name_says_which_are_one(server: RedisServer) -> None:
    """The gate binds what it gave to the first address that brings it."""
    with simulator_process("--solve-seconds", "1:2", "--latency", "0.01") as where:
        urls = pages(where, "aws-waf/{}?style=first-address", 40)
        apart = [{"DOWNLOAD_BIND_ADDRESS": f"127.0.0.{number + 20}"} for number in range(2)]
        with workers(sliced(urls, 2), *apart, **settings(server, where)) as found:
            assert [one.wait() for one in found] == [0, 0]
            assert (told(found, "page"), endings(found)) == (40, {1: 40})
        assert tasks(where)["created"] == 2
        named = [{"CAPSOLVER_EGRESS": f"network{number}"} for number in range(2)]
        with workers(sliced(urls, 2), *named, **settings(server, where, CAPSOLVER_STORE_PREFIX="other")) as found:
            assert [one.wait() for one in found] == [0, 0]
            assert told(found, "page") == 40
        assert tasks(where)["created"] == 4


def test_one_for_all_behind_one_proxy(server: RedisServer) -> None:
    with (
        simulator_process("--solve-seconds", "1:2", "--latency", "0.01") as where,
        running_proxy(source="127.0.0.77") as proxy,
    ):
        urls = pages(where, "cloudflare/{}", 40)
        apart = [{"DOWNLOAD_BIND_ADDRESS": f"127.0.0.{number + 20}"} for number in range(2)]
        agent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/146.0.0.0 Safari/537.36"
        shared = settings(server, where, USER_AGENT=agent)
        with (
            worker(sliced(urls, 2)[0], {**shared, **apart[0]}, meta={"proxy": proxy.url}) as one,
            worker(sliced(urls, 2)[1], {**shared, **apart[1]}, meta={"proxy": proxy.url}) as other,
        ):
            assert [one.wait(), other.wait()] == [0, 0]
            assert (told([one, other], "page"), endings([one, other])) == (40, {1: 40})
        assert tasks(where)["created"] == 1


@pytest.mark.parametrize("how", ["killed", "paused"])
def test_a_worker_that_dies_leaves_its_task_to_the_one_that_waits(server: RedisServer, how: str) -> None:
    """One that was only paused for so long finds that others have seen to it, and is as good as they are."""
    with simulator_process("--solve-seconds", "14", "--latency", "0.01") as where:
        (url,) = pages(where, "aws-waf/{}", 1)
        with worker([url], settings(server, where)) as first:
            first.until("started")
            until_open(server, 1)
            with worker([url], settings(server, where)) as second:
                second.until("started")
                if how == "killed":
                    first.process.kill()
                else:
                    first.pause()
                assert second.wait() == 0
                assert second.endings == {url: 1}
                assert second.stats["capsolver/tasks/resumed"] == 1
            if how == "paused":
                first.resume()
                assert first.wait() == 0
                assert first.endings == {url: 1}
        assert (tasks(where)["created"], tasks(where)["paid"]) == (1, 1)
        assert ledger(server) == {"solved": 1}


def test_a_token_s_task_is_taken_over_by_the_worker_that_was_restarted(server: RedisServer) -> None:
    with simulator_process("--solve-seconds", "14", "--latency", "0.01") as where:
        urls = pages(where, "recaptcha-v2/{}", 5)
        with worker(urls, settings(server, where)) as first:
            until_open(server, 5)
            first.process.kill()
            first.wait()
        client = server.client()
        (known,) = client.keys("capsolver:workers:*")
        for name in client.zrange(known, 0, -1):
            client.zincrby("capsolver:seen", -3, name)  # as if the restart had taken three seconds
        with worker(urls, settings(server, where)) as again:
            assert again.wait() == 0
            assert again.endings == dict.fromkeys(urls, 1)
            assert again.stats["capsolver/tasks/resumed"] == 5
        assert (tasks(where)["created"], tasks(where)["paid"]) == (5, 5)
        assert ledger(server) == {"solved": 5}


def until_open(server: RedisServer, number: int) -> None:
    """Wait until so many tasks are known to be open at CapSolver: each is told with a write, and those are watched."""
    client = server.client()
    with client.monitor() as watch:
        for _ in watch.listen():
            if open_tasks(server) >= number:
                return


def open_tasks(server: RedisServer) -> int:
    client = server.client()
    return sum('"state":"open"' in (client.get(key) or "") for key in client.keys("capsolver:task:*"))


def test_the_budget_of_all_is_spent_to_the_last_and_never_more(server: RedisServer) -> None:
    with simulator_process("--solve-seconds", "0.5:1.5", "--latency", "0.01") as where:
        urls = pages(where, "recaptcha-v2/{}", 90)
        limits = {"CAPSOLVER_MAX_SOLVES": 20, "CAPSOLVER_BUDGET": 1}
        with workers(sliced(urls, 3), **settings(server, where, **limits)) as found:
            assert [one.wait() for one in found] == [0, 0, 0]
            assert endings(found) == {1: 90}
            assert (told(found, "page"), told(found, "error")) == (20, 70)
            assert {line.split(" ")[1] for one in found for line in one.of("error")} == {"CaptchaBudgetError"}
            assert summed(found, "tasks") == 20
        assert (tasks(where)["created"], tasks(where)["paid"]) == (20, 20)
        record = read_fleet(server.url, "capsolver", None).record
        assert sum(row["solved"].tasks for row in record.rows.values() if "solved" in row) == 20


def test_a_budget_is_kept_though_workers_are_killed(server: RedisServer) -> None:
    with simulator_process("--solve-seconds", "1:2", "--latency", "0.01") as where:
        urls = pages(where, "recaptcha-v2/{}", 120)
        with workers(sliced(urls, 3), **settings(server, where, CAPSOLVER_MAX_SOLVES=25)) as found:
            found[0].until("page", 2)
            found[0].process.kill()
            assert [one.wait() for one in found[1:]] == [0, 0]
            assert endings(found[1:]) == {1: 80}
        paid, booked = tasks(where)["paid"], ledger(server)
        # What the dead one had open was asked after; a createTask without an answer counts, as nobody knows.
        assert paid <= 25
        assert booked["solved"] + booked["possibly_paid"] + booked["abandoned"] == 25
        assert booked["solved"] <= paid <= 25


def test_limits_of_a_domain_and_of_another_run(server: RedisServer) -> None:
    with simulator_process("--solve-seconds", "0.5", "--latency", "0.01", "--extra-host", "127.0.0.9") as where:
        urls = pages(where, "recaptcha-v2/{}", 8)
        urls += [url.replace("127.0.0.1", "127.0.0.9") for url in urls]
        limited = settings(server, where, CAPSOLVER_MAX_SOLVES_PER_DOMAIN=3)
        with workers(sliced(urls, 2), **limited) as found:
            assert [one.wait() for one in found] == [0, 0]
            assert (told(found, "page"), endings(found)) == (6, {1: 16})
        with workers([urls[:4]], **limited, CAPSOLVER_RUN="another") as found:
            assert [one.wait() for one in found] == [0]
            assert told(found, "page") == 3
        with workers([urls[:4]], **limited) as found:  # the run goes on, and has nothing left
            assert [one.wait() for one in found] == [0]
            assert told(found, "page") == 0


def test_what_stops_one_stops_all(server: RedisServer) -> None:
    """A balance that is used up is told to the first that asks, and the others do not ask."""
    with simulator_process("--solve-seconds", "1", "--latency", "0.01", "--balance", "0.0120") as where:
        urls = pages(where, "recaptcha-v2/{}", 60)
        with workers(sliced(urls, 3), **settings(server, where, CAPSOLVER_CONCURRENCY=4)) as found:
            assert [one.wait() for one in found] == [0, 0, 0]
            assert endings(found) == {1: 60}
            stops = [line for one in found for line in one.log if "No more captchas are solved" in line]
            assert len(stops) == 3
            refused = summed(found, "tasks/refused/ERROR_ZERO_BALANCE")
        assert 1 <= refused <= 12  # those that were on their way


def test_a_pause_of_one_is_a_pause_of_all(server: RedisServer) -> None:
    with simulator_process(
        "--solve-seconds", "1", "--latency", "0.01", "--quirk", "create-key-temp-blocked:1"
    ) as where:
        urls = pages(where, "recaptcha-v2/{}", 6)
        with workers(sliced(urls, 2), **settings(server, where)) as found:
            for one in found:
                one.until("started")
            for one in found:
                one.until_log("captchas are solved for")
            pauses = [line for one in found for line in one.log if "captchas are solved for" in line]
            assert sum("Another worker was told to wait" in line for line in pauses) == 1
