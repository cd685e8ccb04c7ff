"""Redis fails while workers crawl: no request is lost, unflagged ones go on, and no limit is overshot."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.fleet.fleet import sliced, worker, workers
from tests.fleet.test_workers import endings, ledger, pages, settings, tasks, told
from tests.processes import simulator_process
from tests.redis_server import RedisServer, Route, needs_redis, redis_server

if TYPE_CHECKING:
    from tests.fleet.fleet import Worker

pytestmark = needs_redis


def lines(one: Worker, text: str) -> list[str]:
    return [line for line in one.log if text in line]


def test_a_server_that_cannot_be_reached_at_the_start_is_one_clear_line(server: RedisServer) -> None:
    with simulator_process("--latency", "0.01") as where:
        server.kill()
        urls = [*pages(where, "recaptcha-v2/{}", 2), f"{where['site']}/open/1"]
        with worker(
            urls, {**settings(server, where), "CAPSOLVER_STORE": server.url.replace("//", "//u:secret@")}
        ) as one:
            assert one.wait() == 0
        assert one.endings == dict.fromkeys(urls, 1)
        (line,) = lines(one, "CAPSOLVER_STORE")
        assert f"CAPSOLVER_STORE is 'redis://127.0.0.1:{server.port}/0'" in line
        assert "cannot be used: ConnectionError" in line
        assert not lines(one, "secret")
        assert tasks(where)["created"] == 0


def test_another_reactor_is_one_clear_line(server: RedisServer) -> None:
    with simulator_process("--latency", "0.01") as where:
        urls = pages(where, "recaptcha-v2/{}", 1)
        with worker(urls, settings(server, where, TWISTED_REACTOR=None)) as one:
            assert one.wait() == 0
        assert one.endings == {urls[0]: 1}
        (line,) = lines(one, "CAPSOLVER_STORE")
        assert "needs Twisted's asyncio reactor" in line


@pytest.mark.parametrize("how", ["killed", "paused"])
def test_it_fails_and_comes_back(server: RedisServer, how: str) -> None:
    """What was paid meanwhile is delivered, nothing new is bought, and afterwards the limits are what they were."""
    with simulator_process("--solve-seconds", "1:2", "--latency", "0.02") as where:
        urls = pages(where, "recaptcha-v2/{}", 80)
        with (
            workers(
                sliced(urls, 2), **settings(server, where, CAPSOLVER_MAX_SOLVES=40, CAPSOLVER_CONCURRENCY=5)
            ) as found,
        ):
            for one in found:
                one.until("page", 3)
            if how == "killed":
                server.kill()
            else:
                server.pause()
            for one in found:
                one.until_log("is away")
            before = tasks(where)["created"]
            # It has been away for as long as it takes to crawl this, and no task has come of it.
            plain = [f"{where['site']}/open/{n}" for n in range(50)]
            with worker(plain, {}, flag=False) as unflagged:
                assert unflagged.wait() == 0
            assert tasks(where)["created"] <= before + 10  # those that were on their way
            if how == "killed":
                server.start()
            else:
                server.resume()
            assert [one.wait() for one in found] == [0, 0]
            assert endings(found) == {1: 80}
            assert tasks(where)["created"] == tasks(where)["paid"] == told(found, "page") == 40
            for one in found:
                assert len(lines(one, "is away")) == len(lines(one, "is back after")) == 1
                assert not lines(one, "Traceback")
        if how == "paused":
            assert ledger(server) == {"solved": 40}


def test_unflagged_requests_do_not_wait_for_it(server: RedisServer) -> None:
    with simulator_process("--latency", "0.01") as where:
        route = Route(server.port)
        urls = [f"{where['site']}/open/{n}" for n in range(200)]
        with worker(urls, settings(server, where) | {"CAPSOLVER_STORE": route.url}, flag=False) as one:
            one.until("started")
            server.pause()
            assert one.wait() == 0
            assert one.endings == dict.fromkeys(urls, 1)
        server.resume()
        route.close()


@pytest.mark.parametrize("seed", range(2))
def test_workers_are_killed_and_paused_at_random(server: RedisServer, seed: int) -> None:
    """Sums over all of them: endings, money, clearances."""
    dice = random.Random(seed)
    with simulator_process("--solve-seconds", "0.5:2", "--latency", "0.02") as where:
        urls = pages(where, "recaptcha-v2/{}", 60) + pages(where, "aws-waf/{}", 60)
        dice.shuffle(urls)
        with workers(sliced(urls, 4), **settings(server, where, CAPSOLVER_MAX_SOLVES=45)) as found:
            victims = dice.sample(found, 2)
            for one in victims:
                one.until("page", dice.randint(1, 5))
            victims[0].process.kill()
            victims[1].pause()
            survivors = [one for one in found if one not in victims]
            survivors[0].until("page", 12)
            victims[1].resume()
            assert [one.wait() for one in found if one is not victims[0]] == [0, 0, 0]
            living = [one for one in found if one is not victims[0]]
            assert set(endings(living)) == {1}
            assert sum(endings(living).values()) == 90
        paid, booked = tasks(where)["paid"], ledger(server)
        assert paid <= 45
        assert booked["solved"] <= paid <= booked["solved"] + booked["possibly_paid"] + booked["abandoned"] <= 45


def test_keys_that_are_evicted_are_written_again() -> None:
    """A server that forgets whatever it likes: limits are kept by those who remember them."""
    with (
        redis_server() as server,
        simulator_process("--solve-seconds", "0.5:1", "--latency", "0.02") as where,
    ):
        urls = pages(where, "recaptcha-v2/{}", 60)
        with workers(
            sliced(urls, 2), **settings(server, where, CAPSOLVER_MAX_SOLVES=30, CAPSOLVER_CONCURRENCY=4)
        ) as found:
            client = server.client()
            for number in range(1, 5):
                found[0].until("page", 3 * number)
                for key in client.keys("capsolver:*"):
                    if number % 2 or "limits" in key:
                        client.delete(key)
            assert [one.wait() for one in found] == [0, 0]
            assert endings(found) == {1: 60}
        assert tasks(where)["created"] <= 30


def test_a_local_allowance_is_all_that_is_bought_without_a_ledger(server: RedisServer) -> None:
    with simulator_process("--solve-seconds", "1", "--latency", "0.02") as where:
        urls = pages(where, "recaptcha-v2/{}", 20)
        limited: dict[str, Any] = {"CAPSOLVER_OFFLINE_SOLVES": 3, "CAPSOLVER_TIMEOUT": 8, "CAPSOLVER_CONCURRENCY": 20}
        with worker(urls, settings(server, where, **limited)) as one:
            one.until("started")
            server.kill()
            assert one.wait() == 0
            assert one.endings == dict.fromkeys(urls, 1)
            assert len(one.of("page")) == tasks(where)["created"] >= 3
            assert one.stats["capsolver/store/offline_solves"] == 3
            assert {line.split(" ")[1] for line in one.of("error")} == {"CaptchaStoreError"}
