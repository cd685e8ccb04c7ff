"""What all middlewares of users have in common: to see a captcha, and to send the request again with its solution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scrapy.http import FormRequest, HtmlResponse, TextResponse

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.http import Response


def task_of(request: Request, response: Response) -> dict[str, Any] | None:
    """The task that gets past this response, None where it is no captcha or one that came again."""
    if not isinstance(response, TextResponse) or request.meta.get("solved"):
        return None
    if response.headers.get("x-amzn-waf-action"):
        return {"type": "AntiAwsWafTaskProxyLess", "websiteURL": response.url}
    key = response.css(".g-recaptcha::attr(data-sitekey)").get()
    if key is None:
        return None
    return {"type": "ReCaptchaV2TaskProxyLess", "websiteURL": response.url, "websiteKey": key}


def again(request: Request, response: Response, solution: dict[str, Any]) -> Request:
    """The request with the solution: in the page's form, or as a cookie, which stays in the jar for later requests."""
    meta = {**request.meta, "solved": True}
    if "cookie" in solution:
        return request.replace(
            cookies={"aws-waf-token": solution["cookie"]}, meta=meta, dont_filter=True, priority=request.priority + 1
        )
    assert isinstance(response, HtmlResponse)
    return FormRequest.from_response(
        response,
        formdata={"g-recaptcha-response": solution["gRecaptchaResponse"]},
        meta=meta,
        callback=request.callback,
        errback=request.errback,
        cb_kwargs=request.cb_kwargs,
        dont_filter=True,
        priority=request.priority + 1,
    )
