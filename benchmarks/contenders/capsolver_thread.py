"""The official SDK in a thread: the reactor runs on, while each open solve holds one of CONCURRENT_REQUESTS and a thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import capsolver
from scrapy.utils.defer import maybe_deferred_to_future
from twisted.internet.threads import deferToThread

from benchmarks.contenders._gates import again, task_of
from benchmarks.contenders.capsolver_blocking import set_up

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.http import Response

__all__ = ["FLAGGED", "TITLE", "set_up", "settings"]

TITLE = "capsolver, in a thread"
FLAGGED = False


def settings() -> dict[str, Any]:
    # A thread for each request that may wait, or Scrapy's DNS lookups would wait behind the solves.
    return {"DOWNLOADER_MIDDLEWARES": {Middleware: 585}, "REACTOR_THREADPOOL_MAXSIZE": 32}


class Middleware:
    async def process_response(self, request: Request, response: Response) -> Response | Request:
        task = task_of(request, response)
        if task is None:
            return response
        return again(request, response, await maybe_deferred_to_future(deferToThread(capsolver.solve, task)))
