"""Worker processes that share a queue, against the simulator."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.processes import running, simulator_process
from tests.redis_server import needs_redis, redis_server

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

pytestmark = needs_redis

OURS = "scrapy_capsolver.integrations.scrapy_redis.Scheduler"
THEIRS = "scrapy_redis.scheduler.Scheduler"
TOKEN = b"g-recaptcha-response"


class Fleet:
    """Workers of one crawl, and what they tell."""

    def __init__(self, where: dict[str, str], redis_url: str, client: Any, scheduler: str) -> None:
        self._where = where
        self._redis_url = redis_url
        self._scheduler = scheduler
        self.client = client

    @contextmanager
    def worker(
        self, me: str, *paths: str, pauses: bool = False, stays: bool = False, **settings: Any
    ) -> Iterator[subprocess.Popen[str]]:
        settings = {"SCHEDULER": self._scheduler, "CAPSOLVER_API_URL": self._where["api"], **settings}
        given = {"me": me, "site": self._where["site"], "redis_url": self._redis_url, "paths": paths, "pauses": pauses}
        arguments = json.dumps({**given, "stays": stays, "settings": settings})
        with running("-m", "tests.scrapy_redis.worker", arguments, CAPSOLVER_API_KEY=self._where["key"]) as process:
            yield process

    def told(self, what: str) -> list[tuple[str, Any]]:
        entries = [json.loads(entry) for entry in self.client.lrange("told", 0, -1)]
        return [(who, value) for kind, who, value in entries if kind == what]

    def wait(self, until: Callable[[], Any], seconds: float = 40) -> None:
        end = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < end, [self.told(what) for what in ("page", "failed", "kept", "sent")]
            time.sleep(0.05)

    def finds_nothing(self, who: str, times: int) -> None:
        """Returns when this worker has asked the queue in vain so often."""
        begun = int(self.client.get(f"{who} found nothing") or 0)
        self.wait(lambda: int(self.client.get(f"{who} found nothing") or 0) >= begun + times)

    def values(self) -> bytes:
        """All that the crawl has in Redis."""
        found: list[bytes] = []
        for key in self.client.scan_iter("shop:*"):
            match self.client.type(key):
                case b"zset":
                    found += self.client.zrange(key, 0, -1)
                case b"hash":
                    found += self.client.hvals(key)
                case b"set":
                    found += self.client.smembers(key)
        return b"\n".join(found)


@contextmanager
def fleet(scheduler: str) -> Iterator[Fleet]:
    with (
        simulator_process("--speed", "10", "--solve-seconds", "1:3", "--latency", "0") as where,
        redis_server() as redis,
    ):
        client = redis.client()
        client.connection_pool.connection_kwargs["decode_responses"] = False
        with client:
            yield Fleet(where, redis.url, client, scheduler)


def test_with_scrapy_redis_alone_another_worker_sends_what_one_has_solved() -> None:
    """Why there is a scheduler of ours. The first worker pauses, so that the other is sure to be faster."""
    with fleet(THEIRS) as crawl, crawl.worker("A", "/recaptcha-v2/1", pauses=True):
        crawl.wait(lambda: crawl.told("kept"))
        ((_, request),) = crawl.told("kept")
        with crawl.worker("B", stays=True):
            crawl.wait(lambda: crawl.told("sent"))
            assert crawl.told("sent") == [("B", request)]


def test_what_a_worker_has_solved_it_sends_itself() -> None:
    # Redirects last: that they lead to a gate is nothing solved yet, and B may take what A was redirected to.
    paths = [f"/{place}/{n}" for place in ("image", "recaptcha-v2", "aws-waf") for n in range(1, 6)]
    paths = [*paths[::4], *(path for path in paths if path not in paths[::4]), "/redirect/turnstile/1"]
    few = {"CONCURRENT_REQUESTS": 4, "CAPSOLVER_MAX_PENDING": 0}
    with fleet(OURS) as crawl, crawl.worker("A", *paths, pauses=True, stays=True, **few) as a:
        crawl.wait(lambda: len(crawl.told("kept")) == 4)  # and the rest in the shared queue
        with crawl.worker("B", stays=True) as b:
            crawl.wait(lambda: len(crawl.told("page")) == len(paths) - 4)
            crawl.finds_nothing("B", 10)  # what A keeps is not for B
            crawl.client.set("go_on", 1)
            crawl.wait(lambda: len(crawl.told("page")) == len(paths))
            crawl.client.set("enough", 1)
            logs = [process.communicate(timeout=30)[1] for process in (a, b)]
        assert not crawl.told("failed")
        assert Counter(who for who, _ in crawl.told("page")) == {"A": 4, "B": len(paths) - 4}
        assert set(crawl.told("sent")) == set(crawl.told("kept"))
        assert not list(crawl.client.scan_iter("shop:requests*"))
        assert [log for log in logs if "Traceback" in log] == []


def test_a_worker_that_is_killed_loses_nothing_that_waited_to_be_sent_again() -> None:
    """The other one ends by itself, and not before it has them."""
    paths = [f"/recaptcha-v2/{n}" for n in range(40)]
    with fleet(OURS) as crawl:
        with crawl.worker("A", *paths, pauses=True) as a:
            crawl.wait(lambda: crawl.client.zcard("shop:requests:kept"))
            ((worker, _),) = crawl.client.zrange("shop:requests:kept", 0, -1, withscores=True)
            kept = f"shop:requests:kept:{worker.decode()}"
            crawl.wait(lambda: crawl.client.hlen(kept) + crawl.client.zcard("shop:requests") == len(paths))
            number = crawl.client.hlen(kept)
            assert number
            assert TOKEN not in crawl.values()
            a.send_signal(signal.SIGKILL)
            a.wait()
        assert not crawl.told("page")
        with crawl.worker("B") as b:
            _, log = b.communicate(timeout=60)
        assert "Spider closed (finished)" in log
        assert not crawl.told("failed")
        assert sorted(crawl.told("page")) == sorted(("B", f"Product {n}") for n in range(len(paths)))
        ((_, stats),) = crawl.told("stats")
        assert stats["capsolver/frontier/reclaimed"] == number
        assert not list(crawl.client.scan_iter("shop:requests*"))


def test_with_scrapy_redis_alone_tokens_lie_in_redis() -> None:
    """And so the test before looks in the right place."""
    with fleet(THEIRS) as crawl, crawl.worker("A", "/recaptcha-v2/1", pauses=True):
        crawl.wait(lambda: crawl.told("kept"))
        crawl.wait(lambda: TOKEN in crawl.values())


def test_a_worker_that_is_stopped_gives_back_what_it_kept() -> None:
    paths = [f"/recaptcha-v2/{n}" for n in range(10)]
    with fleet(OURS) as crawl, crawl.worker("A", *paths, pauses=True) as a:
        crawl.wait(lambda: len(crawl.told("kept")) == len(paths))
        a.send_signal(signal.SIGTERM)
        _, log = a.communicate(timeout=30)
        assert "Traceback" not in log
        assert crawl.client.zcard("shop:requests") == len(paths)
        assert TOKEN not in crawl.values()
        assert not crawl.client.exists("shop:requests:kept")
        ((_, stats),) = crawl.told("stats")
        assert stats["capsolver/frontier/given_back"] == stats["capsolver/frontier/kept"] == len(paths)
