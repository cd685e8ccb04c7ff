"""The client against the simulator, over real sockets."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from scrapy.utils.defer import deferred_f_from_coro_f, maybe_deferred_to_future
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher

from scrapy_capsolver.api.client import CapSolverClient
from scrapy_capsolver.api.replies import Balance, Fault
from scrapy_capsolver.api.transport import IDLE_SECONDS, MAX_BODY, MAX_CONNECTIONS, TransportError
from tests.crawls import simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

TASK = {"type": "ReCaptchaV2TaskProxyLess", "websiteURL": "http://127.0.0.1/", "websiteKey": ""}


@asynccontextmanager
async def client_of(capsolver: Any, **kwargs: Any) -> AsyncIterator[CapSolverClient]:
    from twisted.internet import reactor

    client = CapSolverClient(**{"api_key": capsolver.key, "api_url": capsolver.api_url, "reactor": reactor, **kwargs})
    yield client
    await maybe_deferred_to_future(client.close())


async def call(coroutine: Coroutine[Deferred[Any], Any, Any]) -> Any:
    return await maybe_deferred_to_future(Deferred.fromCoroutine(coroutine))


@deferred_f_from_coro_f
async def test_balance() -> None:
    async with simulator(balance=3.25) as capsolver, client_of(capsolver) as client:
        assert await call(client.get_balance()) == Balance(3.25)
        async with client_of(capsolver, api_key="CAP-OTHER") as other:
            fault = await call(other.get_balance())
        assert isinstance(fault, Fault)
        assert fault.code == "ERROR_KEY_DENIED_ACCESS"


@deferred_f_from_coro_f
async def test_feedback() -> None:
    async with simulator(solve_seconds=(0, 0)) as capsolver, client_of(capsolver, app_id="APP-1") as client:
        task = {**TASK, "websiteKey": capsolver.site_keys["recaptcha-v2"]}
        created = await call(client.create_task(task))
        assert await call(client.feedback_task(created.task_id, invalid=True, message="no")) is None
        (feedback,) = capsolver.state()["feedback"]
        assert feedback["result"] == {"invalid": True, "message": "no"}


@deferred_f_from_coro_f
async def test_connections_are_not_logged() -> None:
    """Twisted would write two lines for each."""
    events: list[Any] = []
    globalLogPublisher.addObserver(events.append)
    try:
        async with simulator() as capsolver, client_of(capsolver) as client:
            await call(client.get_balance())
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert not [event for event in events if "HTTP11ClientFactory" in str(event) or "_QuietFactory" in str(event)]


@deferred_f_from_coro_f
async def test_a_task_is_sent_as_it_is_and_connections_are_reused() -> None:
    async with simulator(solve_seconds=(0, 0)) as capsolver, client_of(capsolver) as client:
        task = {**TASK, "websiteKey": capsolver.site_keys["recaptcha-v2"], "isInvisible": True}
        created = await call(client.create_task(task))
        assert capsolver.tasks[created.task_id].fields == task
        for _ in range(5):
            assert (await call(client.get_task_result(created.task_id))).ready
        assert capsolver.state()["api"]["connections"] == 1


@pytest.mark.parametrize("quirk", ["reply-lost", "request-lost", "short-body", "huge-body"])
@deferred_f_from_coro_f
async def test_no_reply_is_one_error_and_the_connection_is_closed(quirk: str) -> None:
    async with simulator(quirks=[quirk]) as capsolver, client_of(capsolver) as client:
        with pytest.raises(TransportError) as caught:
            await call(client.get_balance())
        assert caught.value.sent
        assert (str(MAX_BODY) in str(caught.value)) == (quirk == "huge-body")


@pytest.mark.parametrize("quirk", ["silence", "slow-drip"])
@deferred_f_from_coro_f
async def test_one_deadline_for_headers_and_body(quirk: str) -> None:
    async with simulator(quirks=[quirk]) as capsolver, client_of(capsolver) as client:
        with pytest.raises(TransportError, match=r"no reply within 0\.5 s"):
            await maybe_deferred_to_future(client._transport.post_json("/getBalance", {}, 0.5))
        gone = Deferred[None]()

        def look() -> None:
            if capsolver.state()["api"]["connections_open"]:
                reactor.callLater(0.02, look)  # type: ignore[attr-defined]
            else:
                gone.callback(None)

        from twisted.internet import reactor

        look()
        await maybe_deferred_to_future(gone)  # the server saw the connection go


@deferred_f_from_coro_f
async def test_the_key_is_blotted_out_where_a_reply_quotes_it() -> None:
    async with simulator() as capsolver, client_of(capsolver, api_key="CAP-SECRET") as client:

        async def quoting(*args: Any) -> tuple[int, bytes]:
            return 400, b'{"errorId": 1, "errorCode": "ERROR_X", "errorDescription": "key CAP-SECRET is bad"}'

        client._transport.post_json = quoting  # type: ignore[assignment, method-assign]
        fault = await call(client.get_balance())
        assert "key [key] is bad" in str(fault)
        assert "SECRET" not in repr(client)


def test_the_pool() -> None:
    """Twisted keeps two connections a host by default, and for longer than servers do."""
    from twisted.internet import reactor

    pool = CapSolverClient(api_key="k", api_url="http://127.0.0.1:1", reactor=reactor)._transport._pool
    assert (pool.maxPersistentPerHost, pool.cachedConnectionTimeout) == (MAX_CONNECTIONS, IDLE_SECONDS)
