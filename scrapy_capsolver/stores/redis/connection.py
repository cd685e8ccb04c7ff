"""The connection to a Redis server: it never blocks, keeps the order of what it sends, and reconnects by itself.

What is sent in one turn of the event loop goes out as one pipeline. A server that does not answer is *away*: until a new connection has
been made, every call fails at once.

Each connection has a number. A server that stood still reads what was sent on connections that have ended since; the scripts refuse
that by the number, so whatever failed here has not been done later than the next connection was made.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any, TypeAlias

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError
from twisted.internet.defer import Deferred, succeed

from scrapy_capsolver._utils.waiters import Waiters
from scrapy_capsolver.stores.redis.waiting import end_, reactor

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from scrapy_capsolver.stores.redis.address import Address
    from scrapy_capsolver.stores.redis.timings import Timings

logger = logging.getLogger(__name__)

_MOST_AT_ONCE = 100  # commands in one pipeline, and callers that hear of an answer in one turn of the event loop

SCRIPTS = ("apply", "beat", "claim", "reserve", "restore")

_OWN_FAULT = re.compile(r"(ERR )?(user_script|Error running script)|WRONGTYPE")

Call: TypeAlias = "tuple[str, tuple[Any, ...], Deferred[Any]]"


class StoreAwayError(Exception):
    """The server did not answer, or refused. Until the next connection is made it may still do what it was asked for."""


class ScriptError(Exception):
    """The server is there, and a script of this package failed, or a command found a key of another type."""


def _sources() -> dict[str, str]:
    folder = files("scrapy_capsolver.stores.redis") / "lua"
    prelude = (folder / "prelude.lua").read_text(encoding="utf-8")
    return {name: prelude + (folder / f"{name}.lua").read_text(encoding="utf-8") for name in SCRIPTS}


def client_of(address: Address, answer_seconds: float) -> redis.asyncio.Redis:
    """Return a client that tries everything once. What is no UTF-8 is read as damaged text."""
    return redis.asyncio.Redis(
        **address.options(),
        decode_responses=True,
        encoding_errors="replace",
        protocol=2,
        socket_timeout=answer_seconds,
        socket_connect_timeout=answer_seconds,
        retry=Retry(NoBackoff(), 0),
    )


class Link:
    """The connection of one worker. ``came`` runs whenever a connection was made, before any other call.

    ``damaged`` is called with what scripts found damaged. Needs asyncio's event loop from :meth:`open` on.
    """

    def __init__(
        self,
        address: Address,
        prefix: str,
        worker: str,
        timings: Timings,
        came: Callable[[], Awaitable[None]],
        damaged: Callable[[Sequence[str]], None],
    ) -> None:
        self._address = address
        self._prefix = prefix
        self._worker = worker
        self._timings = timings
        self._came = came
        self._damaged = damaged
        self._client = client_of(address, timings.answer)
        self._sources = _sources()
        self._digests = {name: hashlib.sha1(text.encode()).hexdigest() for name, text in self._sources.items()}  # noqa: S324 - Redis' own choice
        self._calls: list[Call] = []
        self._called = asyncio.Event()
        self._waiting: Waiters[None] = Waiters(reactor())
        self._running: asyncio.Task[None] | None = None
        self._away_since: float | None = None
        self.connection = 0
        """Number of the connection."""
        self.is_up = False
        self.commands = 0
        """Sent so far."""

    @property
    def is_away(self) -> bool:
        """True if the server did not answer, or refused, until a connection is made again."""
        return self._away_since is not None

    def open(self) -> None:
        """Connect, and stay connected."""
        self._running = asyncio.get_running_loop().create_task(self._run())

    def call(self, name: str, *arguments: str | float) -> Deferred[Any]:
        """Run a script, or a command of Redis, and fire with its answer.

        Fails with :class:`StoreAwayError` or :class:`ScriptError`.
        """
        answer: Deferred[Any] = Deferred()
        if self.is_up:
            self._calls.append((name, arguments, answer))
            self._called.set()
        else:
            answer.errback(StoreAwayError("Redis is away"))
        return answer

    async def ask(self, script: str, *arguments: str | float) -> Any:
        """Do the same within ``came``, while other calls still fail."""
        (answer,) = await self._execute([(script, arguments, Deferred())])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def up(self) -> Deferred[None]:
        """Fire when the server is there. May be cancelled."""
        return succeed(None) if self.is_up else self._waiting.join()

    # One connection after the other

    async def _run(self) -> None:
        while True:
            await self._client.connection_pool.disconnect()
            self.connection += 1
            try:
                await self._came()
                self._rise()
                await self._serve()
            except (StoreAwayError, ScriptError) as error:
                was_up = self.is_up
                self._fall(error)
                if not was_up:
                    await asyncio.sleep(self._timings.retry)
            except Exception as error:
                logger.exception("CAPSOLVER_STORE: %s answered what is not understood", self._address)
                self._fall(error)
                await asyncio.sleep(self._timings.retry)

    def _rise(self) -> None:
        self.is_up = True
        if self._away_since is not None:
            away = asyncio.get_running_loop().time() - self._away_since
            logger.info("CAPSOLVER_STORE: %s is back after %.1f seconds", self._address, away)
            self._away_since = None
        self._waiting.release_all(None)

    def _fall(self, error: Exception) -> None:
        self.is_up = False
        if self._away_since is None:
            self._away_since = asyncio.get_running_loop().time()
            logger.warning(
                "CAPSOLVER_STORE: %s is away (%s). No captcha is solved until it is back; other requests go on",
                self._address,
                self._address.scrub(str(error) or type(error).__name__),
            )
        calls, self._calls = self._calls, []
        self._fail(calls)

    def _fail(self, calls: list[Call]) -> None:
        some, rest = calls[:_MOST_AT_ONCE], calls[_MOST_AT_ONCE:]
        self._deliver(some, [StoreAwayError("Redis is away")] * len(some))
        if rest:
            asyncio.get_running_loop().call_soon(self._fail, rest)

    async def _serve(self) -> None:
        """Send what is called. Raises :class:`StoreAwayError` when the server is away."""
        while True:
            await self._called.wait()
            self._called.clear()
            while self._calls:
                batch, self._calls = self._calls[:_MOST_AT_ONCE], self._calls[_MOST_AT_ONCE:]
                try:
                    answers = await self._execute(batch)
                except BaseException:  # it is away, or is closed
                    self._calls = batch + self._calls
                    raise
                refusal = next((one for one in answers if isinstance(one, StoreAwayError)), None)
                if refusal is not None:
                    self._fall(refusal)  # before its caller hears of it, and asks again
                self._deliver(batch, answers)
                if refusal is not None:
                    raise refusal

    @staticmethod
    def _deliver(calls: Sequence[Call], answers: Sequence[Any]) -> None:
        for (_, _, waiting), answer in zip(calls, answers, strict=True):
            if waiting.called:  # cancelled
                continue
            if isinstance(answer, Exception):
                waiting.errback(answer)
            else:
                waiting.callback(answer)

    # One pipeline

    async def _execute(self, batch: list[Call]) -> list[Any]:
        """Return the answers, with errors in their places. Raises :class:`StoreAwayError` if there are none at all."""
        try:
            answers = await self._timed(self._pipe(batch))
            unknown = [place for place, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            if unknown:  # a new server, or one that has been restarted
                await self._timed(self._load({batch[place][0] for place in unknown}))
                again = await self._timed(self._pipe([batch[place] for place in unknown]))
                for place, answer in zip(unknown, again, strict=True):
                    answers[place] = answer
        except (RedisError, OSError, TimeoutError, asyncio.TimeoutError) as error:
            raise StoreAwayError(self._why(error)) from None
        return [self._read(name, answer) for (name, _, _), answer in zip(batch, answers, strict=True)]

    async def _timed(self, sending: Awaitable[Any]) -> Any:
        """Bound the whole, should redis-py's own bounds fail."""
        return await asyncio.wait_for(sending, 2 * self._timings.answer + 1)

    def _read(self, name: str, answer: Any) -> Any:
        if isinstance(answer, Exception):
            why = self._why(answer)
            # What is full, read-only or loading will not do, whoever asks.
            return ScriptError(why) if _OWN_FAULT.match(str(answer)) else StoreAwayError(why)
        if name not in self._digests:
            return answer
        if answer[0] == "stale":
            return StoreAwayError("it knows a newer connection of this worker")
        if len(answer) > 2:
            self._damaged(answer[2:])
        return answer[1]

    async def _pipe(self, batch: list[Call]) -> list[Any]:
        self.commands += len(batch)
        common = (self._prefix, self._worker, self.connection, self._timings.alive)
        async with self._client.pipeline(transaction=False) as pipe:
            for name, arguments, _ in batch:
                if name in self._digests:
                    pipe.evalsha(self._digests[name], 0, *common, *arguments)
                else:
                    pipe.execute_command(name, *arguments)
            return await pipe.execute(raise_on_error=False)

    async def _load(self, names: set[str]) -> None:
        for name in sorted(names):
            await self._client.script_load(self._sources[name])

    def _why(self, error: Exception) -> str:
        """Return the error in a few words, without what was sent."""
        if isinstance(error, (TimeoutError, asyncio.TimeoutError, redis.exceptions.TimeoutError)):
            return f"no answer within {self._timings.answer:g} s"
        return f"{type(error).__name__}: {error}"[:200] if str(error) else type(error).__name__

    async def close(self) -> None:
        """Disconnect. Calls that have no answer yet fail."""
        self.is_up = False
        if self._running is not None:
            await end_(self._running)
        calls, self._calls = self._calls, []
        self._deliver(calls, [StoreAwayError("the crawl is over")] * len(calls))
        await self._client.aclose()
