"""Asks CapSolver for the balance, outside of a crawl."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from scrapy_capsolver.api.client import CapSolverClient
from scrapy_capsolver.api.replies import Fault
from scrapy_capsolver.api.transport import TransportError
from scrapy_capsolver.errors import CapSolverUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from scrapy_capsolver.api.replies import Balance, Package
    from scrapy_capsolver.settings import CapSolverSettings

    T = TypeVar("T")


def ask_balance(settings: CapSolverSettings) -> Balance:
    """Raises a :class:`~scrapy_capsolver.errors.CaptchaError` that says why there is no answer. Blocks; once a process."""

    async def ask(reactor: Any) -> Balance | Fault:
        client = CapSolverClient(
            api_key=settings.api_key, api_url=settings.api_url, app_id=settings.app_id, reactor=reactor
        )
        try:
            return await client.get_balance()
        finally:
            await client.close()

    try:
        answer = _in_reactor(ask)
    except TransportError as error:
        raise CapSolverUnavailableError(f"getBalance: {error}") from None
    if isinstance(answer, Fault):
        raise answer.rule.error(str(answer), code=answer.code or None)
    return answer


def is_current(package: Package) -> bool:
    return not package.expires or package.expires > time.time()


def describe(balance: Balance) -> str:
    current = sum(map(is_current, balance.packages))
    return f"{balance.usd:.4f} USD, {current or 'no'} package{'' if current == 1 else 's'}"


def _in_reactor(call: Callable[[Any], Coroutine[Deferred[Any], Any, T]]) -> T:
    # Whichever reactor: no crawl is run.
    from twisted.internet import reactor as installed

    reactor: Any = installed
    outcome: list[Any] = []

    def end(result: Any) -> None:
        outcome.append(result)
        if reactor.running:
            reactor.stop()

    def begin() -> None:
        Deferred.fromCoroutine(call(reactor)).addBoth(end)

    reactor.callWhenRunning(begin)
    reactor.run()
    if not outcome:
        raise KeyboardInterrupt
    (result,) = outcome
    if isinstance(result, Failure):
        result.raiseException()
    answer: T = result
    return answer
