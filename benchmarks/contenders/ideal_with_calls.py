"""The floor for whoever asks CapSolver over treq: ideal, and one createTask and one poll for each page, sent when they would be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scrapy.utils.defer import maybe_deferred_to_future
from twisted.internet.defer import Deferred

from benchmarks.contenders import ideal
from benchmarks.contenders._gates import task_of
from scrapy_capsolver.api.client import CapSolverClient

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.http import Response

TITLE = "ideal, with two calls over treq"
FLAGGED = False

_api: dict[str, Any] = {}


def set_up(api_url: str, key: str, speed: float) -> None:
    from twisted.internet import reactor

    ideal.set_up(api_url, key, speed)
    _api["client"] = CapSolverClient(api_key=key, api_url=api_url, reactor=reactor)


def settings() -> dict[str, Any]:
    return {"DOWNLOADER_MIDDLEWARES": {Middleware: 585}}


class Middleware(ideal.Middleware):
    async def process_response(self, request: Request, response: Response) -> Response | Request:
        task = task_of(request, response)
        if task is None:
            return response
        client: CapSolverClient = _api["client"]
        created = await maybe_deferred_to_future(Deferred.fromCoroutine(client.create_task(task)))
        again = await super().process_response(request, response)
        await maybe_deferred_to_future(Deferred.fromCoroutine(client.get_task_result(created.task_id or "")))
        return again
