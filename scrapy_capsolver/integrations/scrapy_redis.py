"""The scheduler for workers that share a queue by scrapy-redis: what a captcha was solved for stays with who solved it.

Such a request goes with the cookies of one process and from its address, and it may have a token in it. So it waits in
the memory of its worker. What lies in Redis meanwhile is a *bare copy*, without the solution, so that a worker that is
killed loses no more than scrapy-redis does: another one puts the copies into the shared queue.

This is the one module that needs scrapy-redis. Like it, it speaks to Redis synchronously.
"""

from __future__ import annotations

import logging
import uuid
from contextlib import contextmanager
from copy import copy
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

import scrapy_redis.queue  # type: ignore[import-untyped]
import scrapy_redis.scheduler  # type: ignore[import-untyped]
from redis import RedisError, WatchError
from scrapy.utils.request import request_from_dict
from twisted.internet.task import LoopingCall

from scrapy_capsolver._request.state import KEY, bare
from scrapy_capsolver.middleware import CapSolverMiddleware

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from scrapy import Request, Spider
    from scrapy.crawler import Crawler
    from typing_extensions import Self

logger = logging.getLogger(__name__)

# KEYS: the workers, the copies of this one. Redis's own clock is the one that all workers have in common.
_KEEP = """
local now = redis.call("TIME")[1]
redis.call("HSET", KEYS[2], ARGV[4], ARGV[5])
redis.call("EXPIRE", KEYS[2], ARGV[3])
redis.call("ZADD", KEYS[1], now + ARGV[2], ARGV[1])
redis.call("EXPIRE", KEYS[1], ARGV[3])
"""
_RELEASE = """
redis.call("HDEL", KEYS[2], ARGV[2])
if redis.call("EXISTS", KEYS[2]) == 0 then
    redis.call("ZREM", KEYS[1], ARGV[1])
end
"""
# Who has nothing left takes out what it could not when it wanted to. Gives the workers that are gone.
_BEAT = """
local now = redis.call("TIME")[1]
if ARGV[4] == "0" then
    redis.call("DEL", KEYS[2])
    redis.call("ZREM", KEYS[1], ARGV[1])
elseif redis.call("EXISTS", KEYS[2]) == 1 then
    redis.call("EXPIRE", KEYS[2], ARGV[3])
    redis.call("ZADD", KEYS[1], now + ARGV[2], ARGV[1])
    redis.call("EXPIRE", KEYS[1], ARGV[3])
end
return redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", now)
"""


class Scheduler(scrapy_redis.scheduler.Scheduler):  # type: ignore[misc]
    """scrapy-redis's own, for whose settings see there."""

    BEAT_SECONDS = 5.0
    """Between two signs of life, and two looks at who gives none."""
    ALIVE_SECONDS = 60
    """How long a sign of life holds. A callback that blocks the reactor for longer looks like a death."""
    KEPT_SECONDS = 7 * 24 * 3600
    """How long copies wait for a worker that takes them over."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._crawler: Crawler | None = None
        self._heap: list[tuple[int, int, Request]] = []
        """By falling priority, and then by their number."""
        self._number = 0
        self._run = self._worker = ""
        self._beating = LoopingCall(self._beat)
        self._failing = False
        self._told_of_copies = False

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        scheduler: Self = super().from_crawler(crawler)
        scheduler._crawler = crawler
        return scheduler

    def open(self, spider: Spider) -> None:
        assert self._crawler is not None
        middleware = self._crawler.get_downloader_middleware(CapSolverMiddleware)
        self._run = "" if middleware is None else middleware.run
        self._worker = self._run or uuid.uuid4().hex[:12]
        self._keep = self.server.register_script(_KEEP)
        self._release = self.server.register_script(_RELEASE)
        self._sign_of_life = self.server.register_script(_BEAT)
        super().open(spider)
        self._beat()
        self._beating.start(self.BEAT_SECONDS, now=False)

    def close(self, reason: str) -> None:
        if self._beating.running:
            self._beating.stop()
        if self.persist:
            self._give_back()
        super().close(reason)

    def flush(self) -> None:
        """Drops the copies of all workers too: they were in the shared queue, with scrapy-redis alone."""
        super().flush()
        self._heap.clear()
        workers = (self._copies_of(_text(worker)) for worker in self.server.zrange(self._workers, 0, -1))
        self.server.delete(self._workers, *workers)

    def __len__(self) -> int:
        return len(self._heap) + len(self.queue)

    def has_pending_requests(self) -> bool:
        """Also where others keep something: should they die, it is for those who are still there."""
        return bool(self._heap) or len(self.queue) > 0 or bool(self.server.zcard(self._workers))

    def enqueue_request(self, request: Request) -> bool:
        if not request.dont_filter and self.df.request_seen(request):
            self.df.log(request, self.spider)
            return False
        if self._is_own(request):
            self._put_aside(request)
        else:
            if self.stats:  # not by scrapy-redis's own method, which passes what Scrapy 2.14 deprecates
                self.stats.inc_value("scheduler/enqueued/redis")
            self.queue.push(request)
        return True

    def next_request(self) -> Request | None:
        if not self._heap:
            return self._pop_shared(self.idle_before_close)
        if self._shared_goes_first():
            request = self._pop_shared(0)  # another worker may have been faster
            if request is not None:
                return request
        _, number, request = heappop(self._heap)
        with self._unless_redis_fails():
            self._release(keys=self._keys, args=[self._worker, number])
        return request

    def _is_own(self, request: Request) -> bool:
        return bool(self._run) and request.meta.get(KEY, {}).get("run") == self._run

    def _pop_shared(self, timeout: int) -> Request | None:
        request: Request | None = self.queue.pop(timeout)
        if request is not None and self.stats:
            self.stats.inc_value("scheduler/dequeued/redis")
        return request

    def _shared_goes_first(self) -> bool:
        """Queues without priorities have no say in it."""
        if isinstance(self.queue, scrapy_redis.queue.PriorityQueue):
            with self._unless_redis_fails():
                best = self.server.zrange(self.queue.key, 0, 0, withscores=True)
                return bool(best) and best[0][1] < self._heap[0][0]
        return False

    # What this worker keeps

    def _put_aside(self, request: Request) -> None:
        self._number += 1
        heappush(self._heap, (-request.priority, self._number, request))
        self._count("frontier/kept")
        try:
            encoded = self._encode(bare(request))
        except Exception as error:  # noqa: BLE001 - whatever the serialiser and the author's objects raise
            if not self._told_of_copies:
                self._told_of_copies = True
                logger.warning(
                    "A request that waits to be sent again cannot be serialised (%s): it would be lost if this worker were "
                    "killed. This is said once",
                    type(error).__name__,
                )
            return
        with self._unless_redis_fails():
            self._keep(
                keys=self._keys, args=[self._worker, self.ALIVE_SECONDS, self.KEPT_SECONDS, self._number, encoded]
            )

    def _give_back(self) -> None:
        """This worker ends: others, or its next run, go on."""
        waiting = [bare(request) for _, _, request in sorted(self._heap)]
        with self._unless_redis_fails(), self.server.pipeline() as pipe:
            pushed = self._push(waiting, pipe)
            pipe.delete(self._copies_of(self._worker))
            pipe.zrem(self._workers, self._worker)
            pipe.execute()
            self._heap.clear()
            self._count("frontier/given_back", pushed)

    # What others kept

    def _beat(self) -> None:
        with self._unless_redis_fails():
            args = [self._worker, self.ALIVE_SECONDS, self.KEPT_SECONDS, len(self._heap)]
            for worker in self._sign_of_life(keys=self._keys, args=args):
                self._reclaim(_text(worker))

    def _reclaim(self, worker: str) -> None:
        """All or nothing: of several who try it at once, one does."""
        copies = self._copies_of(worker)
        with self.server.pipeline() as pipe:
            try:
                pipe.watch(copies)
                found = sorted(pipe.hgetall(copies).items(), key=lambda item: int(item[0]))
                pipe.multi()
                pushed = self._push((self._decode(encoded) for _, encoded in found), pipe)
                pipe.delete(copies)
                pipe.zrem(self._workers, worker)
                pipe.execute()
            except WatchError:  # somebody was faster, or it is alive after all
                return
        if pushed:
            self._count("frontier/reclaimed", pushed)
            logger.info("A worker is gone: the %d requests that it kept are in the shared queue", pushed)

    def _encode(self, request: Request) -> Any:
        """Return what scrapy-redis would put into its queue."""
        return self.queue.serializer.dumps(request.to_dict(spider=self.spider))

    def _decode(self, encoded: Any) -> Request | None:
        try:
            request = request_from_dict(self.queue.serializer.loads(encoded), spider=self.spider)
        except Exception as error:  # noqa: BLE001 - whatever the serialiser raises; or it would come up at each beat
            logger.error("A request that another worker kept cannot be read (%s): it is lost", type(error).__name__)
            return None
        return request

    def _push(self, requests: Iterable[Request | None], pipe: Any) -> int:
        """Into the shared queue, within a transaction, whichever queue it is. How many there were."""
        queue = copy(self.queue)
        queue.server = pipe
        return sum(_push_one(queue, request) for request in requests if request is not None)

    # Redis

    @property
    def _workers(self) -> str:
        return f"{self.queue.key}:kept"

    def _copies_of(self, worker: str) -> str:
        return f"{self._workers}:{worker}"

    @property
    def _keys(self) -> list[str]:
        return [self._workers, self._copies_of(self._worker)]

    @contextmanager
    def _unless_redis_fails(self) -> Iterator[None]:
        """What is kept is in memory: without Redis it goes on all the same, only less safely."""
        try:
            yield
        except RedisError as error:
            if not self._failing:
                self._failing = True
                logger.warning(
                    "Redis fails (%s): requests that this worker keeps have no copy there as long as it does", error
                )
        else:
            self._failing = False

    def _count(self, name: str, value: int = 1) -> None:
        if self.stats and value:
            stat = f"capsolver/{name}"
            self.stats.inc_value(stat, value)


def _push_one(queue: Any, request: Request) -> bool:
    try:
        queue.push(request)
    except RedisError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever the serialiser and the author's objects raise
        logger.error("A request that was kept cannot be serialised (%s): it is lost", type(error).__name__)
        return False
    return True


def _text(name: bytes | str) -> str:
    """Redis's clients differ by REDIS_DECODE_RESPONSES."""
    return name.decode() if isinstance(name, bytes) else name
