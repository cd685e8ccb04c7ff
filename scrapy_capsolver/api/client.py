"""CapSolver's methods. Source: docs.capsolver.com/guide/api-server/ and the page of each method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scrapy_capsolver.api.replies import Balance, Fault, Reply, read_balance, read_envelope, read_reply
from scrapy_capsolver.api.transport import Transport

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

CREATE_SECONDS = 60.0  # recognition tasks are solved before the reply comes
POLL_SECONDS = 5.0  # one that is silent must not hold up a result for long, and costs nothing but a poll
OTHER_SECONDS = 10.0


class CapSolverClient:
    """The API with one account's key.

    Each method fires with what CapSolver answered, errors included, or fails with
    :class:`~scrapy_capsolver.api.transport.TransportError` where there is no answer. Nothing is sent twice.
    """

    def __init__(self, *, api_key: str, api_url: str, reactor: Any, clock: Any = None, app_id: str = "") -> None:
        self._key = api_key
        self._app = {"appId": app_id} if app_id else {}
        self._transport = Transport(api_url, reactor, clock or reactor)

    def __repr__(self) -> str:
        return "<CapSolverClient>"

    async def create_task(self, task: dict[str, Any]) -> Reply:
        """Submit a task. Not idempotent: where this fails after it was sent, a task may exist and be paid."""
        return read_reply(*await self._post("/createTask", {"task": task, **self._app}, CREATE_SECONDS, fresh=True))

    async def get_task_result(self, task_id: str) -> Reply:
        """Ask for a result. CapSolver answers 120 times a task, in its first 5 minutes."""
        return read_reply(*await self._post("/getTaskResult", {"taskId": task_id}, POLL_SECONDS))

    async def get_balance(self) -> Balance | Fault:
        return read_balance(*await self._post("/getBalance", {}, OTHER_SECONDS))

    async def feedback_task(self, task_id: str, *, invalid: bool, message: str = "") -> Fault | None:
        """Tell CapSolver whether the site took the solution. ``invalid``: it did not."""
        result: dict[str, Any] = {"invalid": invalid, **({"message": message} if message else {})}
        reply = await self._post("/feedbackTask", {"taskId": task_id, "result": result, **self._app}, OTHER_SECONDS)
        return read_envelope(*reply)[1]

    def close(self) -> Deferred[None]:
        return self._transport.close()

    async def _post(
        self, path: str, payload: dict[str, Any], timeout: float, *, fresh: bool = False
    ) -> tuple[int, bytes]:
        payload = {"clientKey": self._key, **payload}
        status, body = await self._transport.post_json(path, payload, timeout, fresh=fresh)
        # An error text that quotes the key must not carry it into a log line.
        return status, body.replace(self._key.encode(), b"[key]")
