"""python3-capsolver's asyncio interface, awaited in the middleware."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from python3_capsolver.aws_waf import AwsWaf
from python3_capsolver.core.enum import CaptchaTypeEnm
from python3_capsolver.recaptcha import ReCaptcha

from benchmarks.contenders._gates import again, task_of

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.http import Response

TITLE = "python3-capsolver, aio"
FLAGGED = False

_api: dict[str, Any] = {}


def set_up(api_url: str, key: str, speed: float) -> None:
    _api.update(api_key=key, request_url=api_url, sleep_time=5 / speed)


def settings() -> dict[str, Any]:
    return {"DOWNLOADER_MIDDLEWARES": {Middleware: 585}}


class Middleware:
    async def process_response(self, request: Request, response: Response) -> Response | Request:
        task = task_of(request, response)
        if task is None:
            return response
        solver = AwsWaf if "AwsWaf" in task["type"] else ReCaptcha
        instance = solver(captcha_type=CaptchaTypeEnm(task.pop("type")), **_api)
        result = await instance.aio_captcha_handler(task_payload=task)
        if result["errorId"]:
            raise RuntimeError(f"{result['errorCode']}: {result['errorDescription']}")
        return again(request, response, result["solution"])
