"""CapSolver's methods. Source: docs.capsolver.com/guide/api-server/ and the page of each method."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from scrapy_capsolver.api.envelope import read_envelope
from scrapy_capsolver.api.replies import Balance, Fault, Reply, fault_of, read_balance, read_reply
from scrapy_capsolver.api.secrets import Secrets
from scrapy_capsolver.api.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted.internet.defer import Deferred

CREATE_SECONDS = 60.0  # recognition tasks are solved before the reply comes
POLL_SECONDS = 5.0  # one that is silent must not hold up a result for long, and costs nothing but a poll
POLL_LONGEST = 30.0  # while a reply comes in, however slowly
OTHER_SECONDS = 10.0
_NUMBERS_KEPT = 10_000


class CapSolverClient:
    """The API with one account's key.

    Each method returns what CapSolver answered, errors included, or fails with
    :class:`~scrapy_capsolver.api.transport.TransportError` if there is no answer. Nothing is sent twice, and no error
    text that is returned holds a secret.
    """

    def __init__(self, *, api_key: str, api_url: str, reactor: Any, clock: Any = None, app_id: str = "") -> None:
        self._key = api_key
        self._app = {"appId": app_id} if app_id else {}
        self._transport = Transport(api_url, reactor, clock or reactor)
        self._secrets = Secrets(api_key)
        self._numbers: OrderedDict[str, None] = OrderedDict()  # task ids that came as numbers, and go back as such

    def __repr__(self) -> str:
        return "<CapSolverClient>"

    async def create_task(self, task: dict[str, Any]) -> Reply:
        """Submit a task. Not idempotent: if this fails after it was sent, a task may exist and be paid."""
        self._secrets.learn_task(task)
        payload = {"task": task, **self._app}
        reply = self._read(*await self._post("/createTask", payload, CREATE_SECONDS, fresh=True))
        if reply.task_id is not None and self._secrets.hides(reply.task_id):
            return replace(reply, task_id=None)  # a task id goes into files
        if reply.numeric and reply.task_id is not None:
            self._numbers[reply.task_id] = None
            if len(self._numbers) > _NUMBERS_KEPT:
                self._numbers.popitem(last=False)
        return reply

    async def get_task_result(self, task_id: str) -> Reply:
        """Ask for a result. CapSolver answers 120 times a task, in its first 5 minutes."""
        payload = {"taskId": self._id(task_id)}
        return self._read(*await self._post("/getTaskResult", payload, POLL_SECONDS, longest=POLL_LONGEST))

    async def get_balance(self) -> Balance | Fault:
        return read_balance(*await self._post("/getBalance", {}, OTHER_SECONDS), self._secrets)

    async def feedback_task(self, task_id: str, *, invalid: bool, message: str = "") -> Fault | None:
        """Tell CapSolver whether the site took the solution. ``invalid``: it did not."""
        result: dict[str, Any] = {"invalid": invalid, **({"message": message} if message else {})}
        payload = {"taskId": self._id(task_id), "result": result, **self._app}
        status, body = await self._post("/feedbackTask", payload, OTHER_SECONDS)
        return fault_of(status, body, read_envelope(body), self._secrets)

    def learn_task(self, task: Mapping[str, Any]) -> None:
        """Keep the proxy login of a task that an earlier run created out of what CapSolver says of it."""
        self._secrets.learn_task(task)

    def close(self) -> Deferred[None]:
        return self._transport.close()

    def _id(self, task_id: str) -> str | int:
        """Return the id as it came."""
        return int(task_id) if task_id in self._numbers else task_id

    def _read(self, status: int, body: bytes) -> Reply:
        reply = read_reply(status, body, self._secrets)
        if reply.solution is not None:
            self._secrets.learn_solution(reply.solution)
        return reply

    async def _post(
        self,
        path: str,
        payload: dict[str, Any],
        timeout: float,
        *,
        longest: float | None = None,
        fresh: bool = False,
    ) -> tuple[int, bytes]:
        payload = {"clientKey": self._key, **payload}
        status, body = await self._transport.post_json(path, payload, timeout, longest=longest, fresh=fresh)
        return status, body.replace(self._key.encode(), b"[key]")  # it must not go on to a site within a solution
