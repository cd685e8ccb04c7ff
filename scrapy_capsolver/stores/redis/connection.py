"""The way to a Redis server: without blocking, in order, bounded in time, and whole again by itself.

What is asked for in one turn of the event loop goes out together, as one pipeline over one connection. A server that does
not answer is *away*: nothing is asked of it but, now and then, whether it is back.
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
from scrapy_capsolver.stores.redis.waiting import reactor

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from scrapy_capsolver.stores.redis.address import Address

logger = logging.getLogger(__name__)

COMMAND_SECONDS = 3.0  # for an answer, or a connection
_OUTER_SECONDS = 2 * COMMAND_SECONDS + 1  # for all of it, should redis-py's own bounds fail
_PROBE_SECONDS = 0.5  # after the server went away, and then between two looks
_MOST_AT_ONCE = 500  # commands in one pipeline

SCRIPTS = ("apply", "beat", "claim", "reserve", "restore")

_OWN_FAULT = re.compile(r"(ERR )?(user_script|Error running script)|WRONGTYPE")

Call: TypeAlias = "tuple[str, tuple[Any, ...], Deferred[Any]]"


class StoreAwayError(Exception):
    """The server did not answer, or would not do what it was asked for. It may have done it all the same."""


class ScriptError(Exception):
    """The server is there, and one of our scripts failed: a mistake of ours, or keys that somebody else has written."""


def _sources() -> dict[str, str]:
    folder = files("scrapy_capsolver.stores.redis") / "lua"
    prelude = (folder / "prelude.lua").read_text(encoding="utf-8")
    return {name: prelude + (folder / f"{name}.lua").read_text(encoding="utf-8") for name in SCRIPTS}


def client_of(address: Address) -> redis.asyncio.Redis:
    return redis.asyncio.Redis(
        **address.options(),
        decode_responses=True,
        protocol=2,
        socket_timeout=COMMAND_SECONDS,
        socket_connect_timeout=COMMAND_SECONDS,
        retry=Retry(NoBackoff(), 0),  # what may be repeated is known here
    )


class Link:
    """``came`` is run, and waited for, whenever the server is there (again), before anybody else is heard.

    Needs asyncio's event loop, which runs from :meth:`open` on.
    """

    def __init__(self, address: Address, prefix: str, came: Callable[[], Awaitable[None]]) -> None:
        self._address = address
        self._prefix = prefix
        self._came = came
        self._client = client_of(address)
        self._sources = _sources()
        self._digests = {name: hashlib.sha1(text.encode()).hexdigest() for name, text in self._sources.items()}  # noqa: S324 - Redis' own choice
        self._calls: list[Call] = []
        self._waiting: Waiters[None] = Waiters(reactor())
        self._pump: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._fallen = asyncio.Event()
        self._away_since: float | None = None
        self.is_up = False
        self.commands = 0
        """Sent so far."""

    @property
    def is_away(self) -> bool:
        return self._away_since is not None

    def open(self) -> None:
        self._keeper = asyncio.get_running_loop().create_task(self._keep())

    def call(self, name: str, *arguments: str | float) -> Deferred[Any]:
        """Run a script, or a command that is none. Fires with what it returns.

        Fails with :class:`StoreAwayError`, or :class:`ScriptError`.
        """
        answer: Deferred[Any] = Deferred()
        if not self.is_up:
            answer.errback(StoreAwayError("Redis is away"))
            return answer
        self._calls.append((name, arguments, answer))
        if self._pump is None or self._pump.done():
            self._pump = asyncio.get_running_loop().create_task(self._work())
        return answer

    async def ask(self, script: str, *arguments: str | float) -> Any:
        """The same within ``came``: for asyncio, and while the server still counts as away."""
        (answer,) = await self._execute([(script, arguments, Deferred())])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def up(self) -> Deferred[None]:
        """Fires when the server is there; may be cancelled."""
        return succeed(None) if self.is_up else self._waiting.join()

    async def _work(self) -> None:
        """Send all calls, and those that come meanwhile."""
        while self._calls:
            batch, self._calls = self._calls[:_MOST_AT_ONCE], self._calls[_MOST_AT_ONCE:]
            try:
                answers = await self._execute(batch)
            except StoreAwayError as error:
                answers = [error] * len(batch)
            for (_, _, waiting), answer in zip(batch, answers, strict=True):
                if waiting.called:  # nobody wants it any more
                    continue
                if isinstance(answer, Exception):
                    waiting.errback(answer)
                else:
                    waiting.callback(answer)

    async def _execute(self, batch: list[Call]) -> list[Any]:
        """The answers, or errors in their places. Raises :class:`StoreAwayError` where there are none at all."""
        try:
            answers = await asyncio.wait_for(self._pipe(batch), _OUTER_SECONDS)
            unknown = [place for place, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            if unknown:  # a new server, or one that has been restarted
                await asyncio.wait_for(self._load({batch[place][0] for place in unknown}), _OUTER_SECONDS)
                again = await asyncio.wait_for(self._pipe([batch[place] for place in unknown]), _OUTER_SECONDS)
                for place, answer in zip(unknown, again, strict=True):
                    answers[place] = answer
        except (RedisError, OSError, TimeoutError, asyncio.TimeoutError) as error:
            self._fall(error)
            raise StoreAwayError(_why(error)) from None
        for place, answer in enumerate(answers):
            if isinstance(answer, Exception):
                if _OWN_FAULT.match(str(answer)):
                    answers[place] = ScriptError(_why(answer))
                else:  # full, read only, loading ...: it will not do, whoever asks
                    self._fall(answer)
                    answers[place] = StoreAwayError(_why(answer))
        return answers

    async def _pipe(self, batch: list[Call]) -> list[Any]:
        self.commands += len(batch)
        async with self._client.pipeline(transaction=False) as pipe:
            for name, arguments, _ in batch:
                if name in self._digests:
                    pipe.evalsha(self._digests[name], 0, self._prefix, *arguments)
                else:
                    pipe.execute_command(name, *arguments)
            return await pipe.execute(raise_on_error=False)

    async def _load(self, names: set[str]) -> None:
        for name in sorted(names):
            await self._client.script_load(self._sources[name])

    # Away, and back

    def _fall(self, error: Exception) -> None:
        self.is_up = False
        if self._away_since is None:
            self._away_since = asyncio.get_running_loop().time()
            logger.warning(
                "CAPSOLVER_STORE: %s is away (%s). No captcha is solved until it is back; other requests go on",
                self._address,
                self._address.scrub(_why(error)),
            )
        self._fallen.set()

    async def _keep(self) -> None:
        """Have the server there: at first, and whenever it was away."""
        while True:
            self._fallen.clear()
            # What is still to come on an old connection must not be taken for the answer to something else.
            await self._client.connection_pool.disconnect()
            try:
                await self._came()
            except (StoreAwayError, ScriptError) as error:
                self._fall(error)
                await asyncio.sleep(_PROBE_SECONDS)
                continue
            self.is_up = True
            if self._away_since is not None:
                away = asyncio.get_running_loop().time() - self._away_since
                logger.info("CAPSOLVER_STORE: %s is back after %.1f seconds", self._address, away)
                self._away_since = None
            self._waiting.release_all(None)
            await self._fallen.wait()

    async def close(self) -> None:
        self.is_up = False
        for task in (self._keeper, self._pump):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        for _, _, waiting in self._calls:
            if not waiting.called:
                waiting.errback(StoreAwayError("the crawl is over"))
        self._calls = []
        await self._client.aclose()


def _why(error: Exception) -> str:
    """In a few words, without what was sent."""
    if isinstance(error, (TimeoutError, asyncio.TimeoutError, redis.exceptions.TimeoutError)):
        return f"no answer within {COMMAND_SECONDS:g} s"
    return f"{type(error).__name__}: {error}"[:200] if str(error) else type(error).__name__
