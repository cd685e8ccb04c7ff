"""capsolver-core, awaited in the middleware; one client for the crawl."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from capsolver_core import CapsolverClient

from benchmarks.contenders._gates import again, task_of

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.http import Response

TITLE = "capsolver-core"
FLAGGED = False

_api: dict[str, Any] = {}


def set_up(api_url: str, key: str, speed: float) -> None:
    client = CapsolverClient(api_key=key, service=api_url, default_timeout=120 / speed, polling_interval=5 / speed)
    client._http._retry_backoff /= speed
    _api["client"] = client


def settings() -> dict[str, Any]:
    return {"DOWNLOADER_MIDDLEWARES": {Middleware: 585}}


class Middleware:
    async def process_response(self, request: Request, response: Response) -> Response | Request:
        task = task_of(request, response)
        if task is None:
            return response
        client: CapsolverClient = _api["client"]
        # Its own classes know no AWS WAF, so the client that they use is called.
        state = await client.create_task_result(task)
        return again(request, response, state["solution"])
