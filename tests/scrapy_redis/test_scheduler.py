"""The scheduler against a Redis of its own: what it keeps, in which order, and who gets it when it is gone."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import scrapy_redis.queue
import scrapy_redis.scheduler
from redis.backoff import NoBackoff
from redis.retry import Retry
from scrapy import FormRequest, Request, Spider
from scrapy.utils.defer import deferred_f_from_coro_f
from scrapy.utils.test import get_crawler

from scrapy_capsolver._request.flag import parse_flag
from scrapy_capsolver._request.state import KEY, RequestState, bare, fingerprint, note_origin
from scrapy_capsolver.integrations.scrapy_redis import Scheduler
from tests.crawls import crawl, simulator
from tests.documents import blocks
from tests.redis_server import RedisServer, needs_redis, redis_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Make = Callable[..., Any]

# scrapy-redis's own: where it finds a queue that is not empty.
pytestmark = [needs_redis, pytest.mark.filterwarnings("ignore:Spider.log")]

KEPT = "shop:requests:kept"
QUEUES = ("PriorityQueue", "FifoQueue", "LifoQueue")
TOKEN = "TOKEN-OF-A-CAPTCHA"
RECEIPT = {"task": "t", "family": "turnstile", "site": "shop.example", "nano": 1_200_000}


class ShopSpider(Spider):
    name = "shop"

    def parse(self, response: Any) -> None: ...

    def failed(self, failure: Any) -> None: ...


@pytest.fixture(scope="module")
def a_server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def server(a_server: RedisServer) -> RedisServer:
    with a_server.client() as client:
        client.flushall()
    return a_server


@pytest.fixture
def client(server: RedisServer) -> Iterator[Any]:
    with server.client() as client:
        client.connection_pool.connection_kwargs["decode_responses"] = False
        yield client


@pytest.fixture(params=["pickle", "json"])
def serializer(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """scrapy-redis's own, and the one of the documentation."""
    if request.param == "pickle":
        return "scrapy_redis.picklecompat"
    (source,) = [block for _, block in blocks("docs/scrapy_redis.rst", "python") if "queue_json.py" in block]
    (tmp_path / "queue_json.py").write_text(source, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return "queue_json"


@pytest.fixture
def opened(server: RedisServer) -> Iterator[Make]:
    """Makes the scheduler of a worker, whose middleware's run has this name, with a connection of its own."""
    made: list[Any] = []

    def make(run: str = "a", *, cls: type = Scheduler, **settings: Any) -> Any:
        crawler = get_crawler(
            ShopSpider,
            {
                "REDIS_URL": server.url,
                "DUPEFILTER_CLASS": "scrapy_redis.dupefilter.RFPDupeFilter",
                "SCHEDULER_PERSIST": True,
                "REDIS_PARAMS": {"retry": Retry(NoBackoff(), 0)},
                **settings,
            },
        )
        middleware = SimpleNamespace(run=run) if run else None
        crawler.get_downloader_middleware = lambda cls: middleware  # type: ignore[method-assign]
        scheduler = cls.from_crawler(crawler)  # type: ignore[attr-defined]
        scheduler.open(ShopSpider.from_crawler(crawler))
        made.append(scheduler)
        return scheduler

    yield make
    for scheduler in made:
        if getattr(scheduler, "_beating", None) is not None and scheduler._beating.running:
            scheduler._beating.stop()
        scheduler.server.close()


def dies(scheduler: Any, client: Any) -> None:
    """It gives no sign of life any more, and its last one was long ago."""
    scheduler._beating.stop()
    client.zadd(KEPT, {scheduler._worker: 1}, xx=True)


def page(number: int, priority: int = 0, flag: Any = True, **values: Any) -> Request:
    """As a spider asks for it."""
    return Request(f"https://shop.example/{number}", priority=priority, meta={"capsolver": flag}, **values)


def solved(scheduler: Any, number: int = 1, priority: int = 0, *, run: str | None = None, **values: Any) -> Request:
    """The same as the middleware sends it again, with a token."""
    flag = values.pop("flag", True)
    asked = page(
        number, priority, flag, callback=scheduler.spider.parse, errback=scheduler.spider.failed, **values
    ).replace(dont_filter=True)
    asked.meta["dont_cache"] = True
    again = asked.replace(
        url=f"https://shop.example/gate?next={number}&captcha={TOKEN}",
        method="POST",
        body=f"g-recaptcha-response={TOKEN}",
        headers={**asked.headers, "Content-Type": "application/x-www-form-urlencoded", "X-Captcha": TOKEN},
        cookies=[{"name": "session", "value": "of this process"}],
    )
    state = RequestState(1, note_origin(asked, ["Content-Type", "X-Captcha"]), solution_id="t1", receipt=RECEIPT)
    state.carrier_fingerprint, state.expires, state.uncached, state.priority_raised = (
        fingerprint(again),
        time.time() + 100,
        True,
        True,
    )
    state.run = scheduler._run if run is None else run
    state.write(again)
    return again


def cleared(scheduler: Any, number: int, priority: int = 0) -> Request:
    """The same without a token: its clearance is put on when it is sent."""
    again = page(number, priority, callback=scheduler.spider.parse).replace(dont_filter=True)
    RequestState(1, cleared=True, allow_clearances=True, priority_raised=True, run=scheduler._run).write(again)
    return again


def numbers(scheduler: Any) -> list[str]:
    """What comes out of it, to its end."""
    found = iter(scheduler.next_request, None)
    return [request.url.partition("&")[0].replace("gate?next=", "").rpartition("/")[2] for request in found]


def copies(scheduler: Any, client: Any) -> list[bytes]:
    return [encoded for _, encoded in sorted(client.hgetall(f"{KEPT}:{scheduler._worker}").items())]


def everything(client: Any) -> bytes:
    values: list[bytes] = []
    for key in client.scan_iter():
        read = {b"zset": lambda k: client.zrange(k, 0, -1), b"hash": client.hvals, b"set": client.smembers}
        values += read.get(client.type(key), lambda k: client.lrange(k, 0, -1))(key)
    return b"\n".join(values)


def told(scheduler: Any) -> dict[str, Any]:
    """Its stats, without those that Scrapy's own log has."""
    stats: dict[str, Any] = scheduler.stats.get_stats()
    return {name: value for name, value in stats.items() if not name.startswith("log_count/")}


def test_what_was_solved_here_stays_here(opened: Make, client: Any) -> None:
    a, b = opened("a"), opened("b")
    request = solved(a)
    assert a.enqueue_request(request)
    assert not client.exists("shop:requests")
    assert b.next_request() is None
    assert a.next_request() is request
    assert a.next_request() is None
    assert not list(client.scan_iter())
    assert told(a) == {"capsolver/frontier/kept": 1}


@pytest.mark.parametrize("run", ["", "b"])
def test_what_was_not_solved_here_goes_through_the_shared_queue(opened: Make, client: Any, run: str) -> None:
    a = opened("a")
    request = page(1)
    RequestState(1, allow_clearances=True, run=run).write(request)
    for one in (request, page(2)):
        a.enqueue_request(one)
    assert client.zcard("shop:requests") == 2
    assert not client.exists(KEPT)
    assert sorted(numbers(a)) == ["1", "2"]
    assert told(a) == {"scheduler/enqueued/redis": 2, "scheduler/dequeued/redis": 2}


def test_without_the_middleware_it_is_scrapy_rediss_own(opened: Make, client: Any) -> None:
    a = opened("")
    a.enqueue_request(page(1))
    assert client.zcard("shop:requests") == 1
    assert numbers(a) == ["1"]


def test_higher_priorities_go_first_and_among_equals_who_came_first(opened: Make) -> None:
    a = opened("a")
    for number, priority in enumerate([0, 5, 0, 9, 5, -1, 0]):
        a.enqueue_request(solved(a, number, priority))
    assert numbers(a) == ["3", "1", "4", "0", "2", "6", "5"]


def test_the_dupe_filter_is_asked_as_ever(opened: Make) -> None:
    a = opened("a")
    again = cleared(a, 1)
    assert a.enqueue_request(again.replace(dont_filter=False))
    assert not a.enqueue_request(again.replace(dont_filter=False))
    assert a.enqueue_request(again)
    assert not a.enqueue_request(page(1))
    assert len(a) == 2


# The bare copy


@pytest.mark.parametrize(
    "flag",
    [
        True,
        {"expect": "h1.title", "proxied": True},
        {"type": "ImageToTextTask", "selector": "img#captcha", "inject": {"form": "answer"}},
        {"type": "ReCaptchaV2TaskProxyLess", "websiteKey": "kéy", "when": "before"},
    ],
    ids=str,
)
def test_the_copy_in_redis_asks_anew_and_has_no_token(opened: Make, client: Any, serializer: str, flag: Any) -> None:
    a = opened("a", SCHEDULER_SERIALIZER=serializer)
    headers = {"X-Own": [b"\xe9", "ö"], "Accept": "text/html"}
    asked = page(1, 7, flag, headers=headers, cookies={"own": "1"}, cb_kwargs={"n": [1, None]}, flags=["f"])
    values = {"headers": headers, "cookies": {"own": "1"}, "cb_kwargs": {"n": [1, None]}, "flags": ["f"], "flag": flag}
    a.enqueue_request(solved(a, 1, 7, **values))
    assert TOKEN.encode() not in everything(client)
    assert b"of this process" not in everything(client)
    (encoded,) = copies(a, client)
    copy = a.queue._decode_request(encoded)
    for name in ("url", "method", "body", "headers", "cookies", "cb_kwargs", "flags", "priority"):
        assert getattr(copy, name) == getattr(asked, name), name
    assert copy.callback == a.spider.parse
    assert copy.errback == a.spider.failed
    assert copy.dont_filter
    assert copy.meta["capsolver"] == flag
    assert parse_flag(copy.meta["capsolver"], "meta") == parse_flag(flag, "meta")
    state = RequestState.of(copy)
    assert state == RequestState(1, state.origin, uncached=True, priority_raised=True)
    assert state.origin == RequestState.of(solved(a, 1, 7, **values)).origin


def test_a_body_and_a_class_of_its_own_come_back(opened: Make, client: Any, serializer: str) -> None:
    a = opened("a", SCHEDULER_SERIALIZER=serializer)
    asked = FormRequest("https://shop.example/1", formdata={"q": "é"}, method="POST", dont_filter=True)
    again = asked.replace(body=asked.body + f"&token={TOKEN}\xff".encode("latin-1"))
    RequestState(2, note_origin(asked), carrier_fingerprint=fingerprint(again), run="a", priority_raised=True).write(
        again
    )
    a.enqueue_request(again)
    (encoded,) = copies(a, client)
    copy = a.queue._decode_request(encoded)
    assert (type(copy), copy.body, copy.headers) == (FormRequest, asked.body, asked.headers)
    assert RequestState.of(copy).attempts == 2


def test_a_redirect_of_what_carried_the_token_is_copied_without(opened: Make, client: Any) -> None:
    """With 307 the body goes along, and a header in any case."""
    a = opened("a")
    redirect = solved(a).replace(url=f"https://shop.example/welcome?token={TOKEN}")
    redirect.meta.update(redirect_urls=[f"https://shop.example/gate?captcha={TOKEN}"], redirect_times=1)
    redirect.headers["Referer"] = "https://shop.example/1"
    a.enqueue_request(redirect)
    assert TOKEN.encode() not in everything(client)
    copy = a.queue._decode_request(*copies(a, client))
    assert (copy.url, copy.method) == ("https://shop.example/1", "GET")
    assert "redirect_urls" not in copy.meta


def test_an_answer_that_is_for_the_spider_is_asked_for_anew_elsewhere(opened: Make, client: Any) -> None:
    """It is in the memory of this process alone."""
    a = opened("a")
    again = page(1).replace(dont_filter=True)
    RequestState(1, solution_id="t1", returned_to_spider=True, priority_raised=True, uncached=True, run="a").write(
        again
    )
    a.enqueue_request(again)
    copy = a.queue._decode_request(*copies(a, client))
    assert RequestState.of(copy) == RequestState(1, priority_raised=True, uncached=True)
    assert RequestState.of(a.next_request()).returned_to_spider


def test_without_a_token_the_copy_is_the_request_with_its_open_task(opened: Make, client: Any, serializer: str) -> None:
    a = opened("a", SCHEDULER_SERIALIZER=serializer)
    again = cleared(a, 1)
    task = {**RECEIPT, "mark": "m", "created": 1.5, "queries": 2}
    RequestState(1, cleared=True, open_task=task, stopped=True, run="a").write(again)
    a.enqueue_request(again)
    copy = a.queue._decode_request(*copies(a, client))
    assert copy.to_dict(spider=a.spider) == again.to_dict(spider=a.spider)


def test_a_copy_leaves_the_request_as_it_is(opened: Make) -> None:
    a = opened("a")
    request = solved(a)
    before = request.to_dict(spider=a.spider), dict(request.meta)
    bare(request)
    assert (request.to_dict(spider=a.spider), dict(request.meta)) == before


def test_redis_forgets_copies_after_a_week(opened: Make, client: Any) -> None:
    a = opened("a")
    a.enqueue_request(solved(a))
    for key in (KEPT, f"{KEPT}:a"):
        assert 7 * 86400 - 5 < client.ttl(key) <= 7 * 86400
        client.expire(key, 100)
    a._beat()
    assert all(client.ttl(key) > 100 for key in (KEPT, f"{KEPT}:a"))


def test_what_cannot_be_serialised_is_sent_all_the_same(
    opened: Make, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    a = opened("a")
    for number in (1, 2):
        request = solved(a, number)
        request.meta["browser"] = lambda: None
        a.enqueue_request(request)
    assert not client.exists(KEPT)
    assert numbers(a) == ["1", "2"]
    (said,) = [record.getMessage() for record in caplog.records if "cannot be serialised" in record.getMessage()]
    assert TOKEN not in said


# Beside the shared queue


@pytest.mark.parametrize(
    ("queue", "first"),
    [("PriorityQueue", ["3", "10", "1", "2", "11", "12"]), ("FifoQueue", None), ("LifoQueue", None)],
)
def test_how_it_stands_to_the_shared_queue(
    opened: Make, queue: str, first: list[str] | None, caplog: pytest.LogCaptureFixture
) -> None:
    a = opened("a", SCHEDULER_QUEUE_CLASS=f"scrapy_redis.queue.{queue}")
    for number, priority in ((10, 5), (11, 0), (12, -5)):
        a.enqueue_request(page(number, priority))
    for number, priority in ((1, 5 - 1), (2, 0), (3, 9)):
        a.enqueue_request(solved(a, number, priority))
    shared = ["10", "11", "12"] if queue == "FifoQueue" else ["12", "11", "10"]
    assert numbers(a) == (first or ["3", "1", "2", *shared])
    assert "Redis fails" not in caplog.text


def test_what_another_worker_took_meanwhile_is_not_waited_for(opened: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    a = opened("a")
    a.enqueue_request(solved(a, 1, 0))
    a.enqueue_request(page(10, 9))
    monkeypatch.setattr(a.queue, "pop", lambda timeout: None)
    assert [a.next_request().url[-1]] == [solved(a, 1).url[-1]]


@pytest.mark.parametrize("queue", QUEUES)
def test_a_blocking_pop_does_not_hold_up_what_waits_here(opened: Make, queue: str) -> None:
    a = opened("a", SCHEDULER_QUEUE_CLASS=f"scrapy_redis.queue.{queue}", SCHEDULER_IDLE_BEFORE_CLOSE=1)
    a.enqueue_request(solved(a))
    began = time.monotonic()
    assert a.next_request() is not None
    assert time.monotonic() - began < 0.9
    assert a.next_request() is None
    assert time.monotonic() - began > 0.9 or queue == "PriorityQueue"


def test_a_blocking_pop_is_not_begun_where_something_waits_here(opened: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    a = opened("a", SCHEDULER_IDLE_BEFORE_CLOSE=9)
    asked: list[int] = []
    monkeypatch.setattr(a.queue, "pop", asked.append)
    a.enqueue_request(solved(a, 1, 0))
    a.queue.push(page(10, 9))
    assert a.next_request() is not None
    assert a.next_request() is None
    assert asked == [0, 9]


@pytest.mark.parametrize("queue", QUEUES)
def test_it_costs_no_more_commands_than_scrapy_redis(opened: Make, client: Any, queue: str) -> None:
    """Where nothing was solved."""

    def commands(scheduler: Any) -> dict[str, int]:
        client.config_resetstat()
        for number in (1, 2):
            scheduler.enqueue_request(page(number))
        list(iter(scheduler.next_request, None))
        return {name: of["calls"] for name, of in client.info("commandstats").items() if "config" not in name}

    settings = {"SCHEDULER_QUEUE_CLASS": f"scrapy_redis.queue.{queue}"}
    ours = commands(opened("a", **settings))
    client.flushall()
    theirs = opened("b", cls=scrapy_redis.scheduler.Scheduler, **settings)
    theirs.stats = None  # it would warn of what Scrapy deprecates
    assert ours == commands(theirs)


def test_what_waits_here_counts(opened: Make) -> None:
    a = opened("a")
    assert (len(a), a.has_pending_requests()) == (0, False)
    a.enqueue_request(solved(a))
    assert (len(a), a.has_pending_requests()) == (1, True)
    a.enqueue_request(page(2))
    assert len(a) == 2


def test_no_worker_ends_before_what_others_keep_is_safe(opened: Make, client: Any) -> None:
    a, b = opened("a"), opened("b")
    a.enqueue_request(solved(a))
    assert b.has_pending_requests()
    assert b.next_request() is None
    a.next_request()
    assert not b.has_pending_requests()


# A worker that is gone


@pytest.mark.parametrize("queue", QUEUES)
def test_another_worker_takes_over_what_a_dead_one_kept(opened: Make, client: Any, serializer: str, queue: str) -> None:
    settings = {"SCHEDULER_QUEUE_CLASS": f"scrapy_redis.queue.{queue}", "SCHEDULER_SERIALIZER": serializer}
    a, b = opened("a", **settings), opened("b", **settings)
    for number in range(1, 13):
        a.enqueue_request(solved(a, number, number))
    a.next_request()  # what is on its way is lost, as with scrapy-redis
    b._beat()
    assert len(b.queue) == 0  # it is alive
    dies(a, client)
    b._beat()
    assert not [key for key in client.scan_iter() if key.startswith(KEPT.encode())]
    assert b.stats.get_value("capsolver/frontier/reclaimed") == 11
    rising = [str(number) for number in range(1, 12)]
    # Of equal age: they came in their order, and go as the queue has it.
    assert numbers(b) == (rising if queue == "FifoQueue" else rising[::-1])
    b._beat()
    assert b.stats.get_value("capsolver/frontier/reclaimed") == 11


def test_the_next_run_finds_at_its_start_what_a_dead_worker_kept(opened: Make, client: Any) -> None:
    a = opened("a")
    a.enqueue_request(solved(a))
    dies(a, client)
    assert numbers(opened("restarted")) == ["1"]


def test_a_sign_of_life_holds_by_the_clock_of_redis(opened: Make, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 5.0)  # a machine whose clock is wrong
    a, b = opened("a"), opened("b")
    a.enqueue_request(solved(a))
    seconds, _ = client.time()
    assert seconds + 55 < client.zscore(KEPT, "a") <= seconds + 60
    client.zadd(KEPT, {"a": seconds + 5})
    a._beat()
    b._beat()
    assert client.zscore(KEPT, "a") > seconds + 55
    assert len(b.queue) == 0


def test_the_beat_goes_by_itself(opened: Make) -> None:
    a = opened("a")
    assert a._beating.running
    assert a._beating.interval == 5
    a.close("finished")
    assert not a._beating.running


def test_of_two_who_take_over_at_once_one_does(
    opened: Make, client: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    a, b, c = opened("a"), opened("b"), opened("c")
    for number in (1, 2):
        a.enqueue_request(solved(a, number))
    dies(a, client)
    decode = b._decode

    def while_another_does(encoded: Any) -> Any:
        c._beat()
        return decode(encoded)

    monkeypatch.setattr(b, "_decode", while_another_does)
    b._beat()
    assert numbers(b) == ["1", "2"]
    assert b.stats.get_value("capsolver/frontier/reclaimed") is None
    assert c.stats.get_value("capsolver/frontier/reclaimed") == 2
    assert "Redis fails" not in caplog.text


def test_who_is_alive_after_all_loses_no_copy(opened: Make, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = opened("a"), opened("b")
    a.enqueue_request(solved(a, 1))
    client.zadd(KEPT, {"a": 1})
    decode = b._decode

    def while_it_wakes(encoded: Any) -> Any:
        a.enqueue_request(solved(a, 2))
        return decode(encoded)

    monkeypatch.setattr(b, "_decode", while_it_wakes)
    b._beat()
    assert len(b.queue) == 0
    assert len(copies(a, client)) == 2
    assert numbers(a) == ["1", "2"]


def test_who_was_taken_for_dead_goes_on(opened: Make, client: Any) -> None:
    """What it kept is asked for twice then; better than never."""
    a, b = opened("a"), opened("b")
    a.enqueue_request(solved(a, 1))
    client.zadd(KEPT, {"a": 1})
    b._beat()
    a.enqueue_request(solved(a, 2))
    assert len(copies(a, client)) == 1
    assert sorted(numbers(a)) == ["1", "1", "2"]
    assert not client.exists(KEPT)


def test_a_copy_that_nobody_can_read_does_not_hold_up_the_others(
    opened: Make, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = opened("a"), opened("b")
    a.enqueue_request(solved(a, 1))
    client.hset(f"{KEPT}:a", "0", b"nonsense")
    dies(a, client)
    b._beat()
    assert numbers(b) == ["1"]
    assert "cannot be read" in caplog.text
    assert not client.exists(f"{KEPT}:a")


def test_with_texts_for_answers_it_goes_as_well(opened: Make, client: Any, serializer: str) -> None:
    if serializer == "scrapy_redis.picklecompat":
        pytest.skip("pickles are no texts")
    settings = {"SCHEDULER_SERIALIZER": serializer, "REDIS_DECODE_RESPONSES": True}
    a, b = opened("a", **settings), opened("b", **settings)
    a.enqueue_request(solved(a, 1))
    dies(a, client)
    b._beat()
    assert numbers(b) == ["1"]
    b.flush()


# The end


@pytest.mark.parametrize("queue", QUEUES)
def test_at_its_end_a_worker_gives_back_what_it_kept(opened: Make, client: Any, serializer: str, queue: str) -> None:
    settings = {"SCHEDULER_QUEUE_CLASS": f"scrapy_redis.queue.{queue}", "SCHEDULER_SERIALIZER": serializer}
    a = opened("a", **settings)
    for number, priority in ((1, 5), (2, 9)):
        a.enqueue_request(solved(a, number, priority))
    a.close("shutdown")
    assert TOKEN.encode() not in everything(client)
    assert list(client.scan_iter()) == [b"shop:requests"]
    assert a.stats.get_value("capsolver/frontier/given_back") == 2
    b = opened("b", **settings)
    found = [b.next_request() for _ in range(2)]
    assert [request.priority for request in found] == ([5, 9] if queue == "LifoQueue" else [9, 5])
    assert {request.url for request in found} == {"https://shop.example/1", "https://shop.example/2"}


def test_at_its_end_a_worker_says_what_it_cannot_give_back(
    opened: Make, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    a = opened("a")
    request = solved(a, 1)
    request.meta["browser"] = lambda: None
    a.enqueue_request(request)
    a.enqueue_request(solved(a, 2))
    a.close("shutdown")
    assert client.zcard("shop:requests") == 1
    assert "it is lost" in caplog.text


@pytest.mark.parametrize("way", ["close", "flush_on_start"])
def test_without_persistence_all_is_dropped(opened: Make, client: Any, way: str) -> None:
    a = opened("a", SCHEDULER_PERSIST=False)
    gone = opened("gone")
    gone.enqueue_request(solved(gone, 1))
    dies(gone, client)
    a.enqueue_request(solved(a, 2))
    a.enqueue_request(page(3))
    if way == "close":
        a.close("finished")
        assert len(a) == 0
    else:
        opened("next", SCHEDULER_FLUSH_ON_START=True)
    assert not list(client.scan_iter())


# Redis fails


def test_without_redis_it_sends_what_it_keeps_and_says_so_once(caplog: pytest.LogCaptureFixture, opened: Make) -> None:
    def warnings() -> int:
        return sum("Redis fails" in record.getMessage() for record in caplog.records)

    with redis_server() as server:
        a = opened("a", REDIS_URL=server.url)
        for number in (1, 2):
            a.enqueue_request(solved(a, number))
        server.kill()
        a._beat()
        assert a.next_request() is not None
        assert a.enqueue_request(solved(a, 3))
        assert a.has_pending_requests()
        assert warnings() == 1
        server.start()
        a._beat()
        assert numbers(a) == ["2", "3"]
        server.kill()
        a._beat()
        assert warnings() == 2
        a.close("finished")
        assert warnings() == 2


def test_what_could_not_be_taken_out_is_taken_out_later(
    opened: Make, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = opened("a")
    a.enqueue_request(solved(a))
    with monkeypatch.context() as patch:
        patch.setattr(a, "_release", lambda **_: None)
        a.next_request()
    assert client.exists(KEPT)
    a._beat()
    assert not list(client.scan_iter())


# In a crawl


@deferred_f_from_coro_f
async def test_a_crawl_with_it(server: RedisServer, client: Any, serializer: str) -> None:
    """Warnings are errors here: none of what Scrapy deprecates is used."""
    async with simulator() as capsolver:
        done = await crawl(
            capsolver,
            ["/recaptcha-v2/1", "/redirect/turnstile/2", "/aws-waf/3", "/free/4"],
            SCHEDULER="scrapy_capsolver.integrations.scrapy_redis.Scheduler",
            DUPEFILTER_CLASS="scrapy_redis.dupefilter.RFPDupeFilter",
            SCHEDULER_SERIALIZER=serializer,
            SCHEDULER_PERSIST=True,
            REDIS_URL=server.url,
        )
    assert not done.errors
    assert len(done.responses) == 4
    assert done.ours()["frontier/kept"] >= 3
    assert KEY not in json.dumps([list(response.meta) for response in done.responses])
    assert list(client.scan_iter()) == [b"one:dupefilter"]
