"""The official SDK, called where the captcha is met: it blocks the reactor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import capsolver
import capsolver.capsolver as sdk

from benchmarks.contenders._gates import again, task_of

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.http import Response

TITLE = "capsolver, blocking"
FLAGGED = False


def set_up(api_url: str, key: str, speed: float) -> None:
    capsolver.api_base, capsolver.api_key = api_url, key
    sdk._DEFAULT_INTERVAL /= speed


def settings() -> dict[str, Any]:
    return {"DOWNLOADER_MIDDLEWARES": {Middleware: 585}}


class Middleware:
    def process_response(self, request: Request, response: Response) -> Response | Request:
        task = task_of(request, response)
        return response if task is None else again(request, response, capsolver.solve(task))
