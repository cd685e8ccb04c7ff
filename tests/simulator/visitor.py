"""Plain HTTP clients of the simulator: one of its API, and one of its site that fills in forms as a browser does."""

from __future__ import annotations

import http.client
import json
import re
from base64 import b64encode
from dataclasses import dataclass
from html import unescape
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from scrapy.utils.defer import maybe_deferred_to_future
from twisted.internet.threads import deferToThread

from .families import task_for

if TYPE_CHECKING:
    from scrapy_capsolver.simulator import Simulator
    from tests.proxies import Running

FORM = "application/x-www-form-urlencoded"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def reason(self) -> str | None:
        return self.headers.get("x-gate-reason")


def is_product(answer: Answer, number: int = 7) -> bool:
    return answer.status == 200 and f'<h1 class="product">Product {number}</h1>' in answer.text


def _fetch(
    method: str, url: str, body: bytes | None, headers: dict[str, str], timeout: float, proxy: Running | None
) -> Answer:
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    host, port = parts.hostname or "", parts.port
    if proxy is not None:
        host, port, target = proxy.host, proxy.port, url
        credentials = b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
        headers = {**headers, "Proxy-Authorization": f"Basic {credentials}"}
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request(method, target, body, {"Connection": "close", **headers})
        with connection.getresponse() as response:
            received: dict[str, str] = {}
            for name, value in response.getheaders():
                # Of several headers of a name, all, with commas between them.
                received[name.lower()] = f"{received[name.lower()]}, {value}" if name.lower() in received else value
            return Answer(response.status, received, response.read())
    finally:
        connection.close()


async def fetch(
    method: str,
    url: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    timeout: float = 5,
    proxy: Running | None = None,
) -> Answer:
    return await maybe_deferred_to_future(deferToThread(_fetch, method, url, body, headers or {}, timeout, proxy))


class Caller:
    """Calls the API."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator

    async def raw(self, method: str, body: bytes, content_type: str = "application/json", **more: Any) -> Answer:
        headers = {"User-Agent": "Visitor/1", "Content-Type": content_type}
        return await fetch("POST", f"{self.simulator.api_url}/{method}", body, headers, **more)

    async def __call__(self, method: str, **members: Any) -> Answer:
        body = {"clientKey": self.simulator.key, **members}
        return await self.raw(method, json.dumps(body).encode())

    async def create(self, type_: str, **fields: Any) -> Answer:
        return await self("createTask", task={"type": type_, **fields})

    async def task_id(self, type_: str = "ReCaptchaV2TaskProxyLess", **fields: Any) -> str:
        fields = {"websiteURL": "https://shop.example/a", "websiteKey": "6Lx", **fields}
        answer = await self.create(type_, **fields)
        assert answer.status == 200, answer.text
        task_id: str = answer.json["taskId"]
        return task_id

    async def poll(self, task_id: str) -> Answer:
        return await self("getTaskResult", taskId=task_id)


class Visitor:
    """Visits the site under one host name, perhaps through a proxy, and keeps its cookies."""

    def __init__(
        self, simulator: Simulator, host: str | None = None, *, agent: str = "", proxy: Running | None = None
    ) -> None:
        self.simulator = simulator
        self.base = simulator.site_url
        self.host = host or urlsplit(self.base).netloc
        self.agent = agent
        self.proxy = proxy
        self.cookies: dict[str, str] = {}

    def url(self, path: str) -> str:
        return f"http://{self.host}{path}"

    async def go(
        self, path: str, *, method: str = "GET", body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        sent = {"Host": self.host, **({"User-Agent": self.agent} if self.agent else {}), **(headers or {})}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = await fetch(method, self.base + path, body, sent, proxy=self.proxy)
        if cookie := answer.headers.get("set-cookie"):
            for name, value in re.findall(r"(?:^|, )(\w+)=([^;,]+)", cookie):
                self.cookies[name] = value
        return answer

    async def submit(self, page: Answer, **fields: str) -> Answer:
        """Send the page's form with its hidden fields and these, whose names have __ for -."""
        form = re.search(r"<form([^>]*)>(.*?)</form>", page.text, re.DOTALL)
        assert form is not None, page.text
        settings = dict(re.findall(r'(\w+)="([^"]*)"', form[1]))
        values = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form[2]))
        values |= {name.replace("__", "-"): value for name, value in fields.items()}
        action = unescape(settings["action"])
        if settings["method"] == "GET":
            return await self.go(f"{action}?{urlencode(values)}")
        return await self.post(action, values, multipart=settings.get("enctype") == "multipart/form-data")

    async def post(self, path: str, values: dict[str, str], *, multipart: bool = False) -> Answer:
        body, kind = urlencode(values).encode(), FORM
        if multipart:
            parts = "".join(
                f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
                for name, value in values.items()
            )
            body, kind = f"{parts}--edge--\r\n".encode(), "multipart/form-data; boundary=edge"
        return await self.go(path, method="POST", body=body, headers={"Content-Type": kind})

    async def task(self, type_: str, **fields: Any) -> dict[str, Any]:
        """Have a task made and end; return what getTaskResult says of it."""
        caller = Caller(self.simulator)
        created = await caller.create(type_, **fields)
        assert created.status == 200, created.text
        clock: Any = self.simulator._clock._timer
        clock.advance(self.simulator.tasks[created.json["taskId"]].seconds)
        result: dict[str, Any] = (await caller.poll(created.json["taskId"])).json
        return result

    async def solution(self, type_: str, **fields: Any) -> dict[str, Any]:
        result = await self.task(type_, **fields)
        assert result["status"] == "ready", result
        solution: dict[str, Any] = result["solution"]
        return solution

    async def token(self, family: str, **changes: Any) -> str:
        """Have the captcha of that family solved for the host of this visitor; ``changes`` are fields of the task."""
        caller = Caller(self.simulator)
        task = {**task_for(self.simulator, family, f"http://{self.host}/{family}/7"), **changes}
        created = await caller("createTask", task=task)
        assert created.status == 200, created.text
        clock: Any = self.simulator._clock._timer
        clock.advance(30)
        solution = (await caller.poll(created.json["taskId"])).json["solution"]
        token: str = solution.get("gRecaptchaResponse") or solution["token"]
        return token
