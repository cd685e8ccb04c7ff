"""Beside the real scrapy-zyte-api, which talks to a small server of its API on this machine."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from scrapy_capsolver.testing import RunningSimulator, running_simulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("scrapy_zyte_api", reason="scrapy-zyte-api is not installed")

SPIDER = """
import scrapy
import tldextract
from scrapy.downloadermiddlewares import cookies

cookies._split_domain = tldextract.TLDExtract(suffix_list_urls=())

class S(scrapy.Spider):
    name = "s"
    custom_settings = {
        "ADDONS": {"scrapy_zyte_api.Addon": 500, "scrapy_capsolver.Addon": 600},
        "ZYTE_API_EXPERIMENTAL_COOKIES_ENABLED": True,
        "ZYTE_API_WARN_ON_BAN_SENSITIVE_HEADERS": False,
    }

    async def start(self):
        for number, url in enumerate(self.url.split()):
            flag = {"inject": {"header": "X-Captcha-Token"}} if "/header/" in url else True
            meta = {"capsolver": flag, "zyte_api_automap": True, "cookiejar": number}
            yield scrapy.Request(url, meta=meta, errback=self.failed)

    def parse(self, response):
        yield {
            "title": response.css("h1::text").get(),
            "by": type(response).__name__,
            "flags": response.flags,
            "keys": sorted(response.meta.get("capsolver_solution", ())),
        }

    def failed(self, failure):
        yield {"error": type(failure.value).__name__, "message": str(failure.value)}
"""


class NoRedirects(urllib.request.HTTPErrorProcessor):
    """Any answer is an answer."""

    def http_response(self, request: Any, response: Any) -> Any:
        return response


class Extract(BaseHTTPRequestHandler):
    """POST /extract, as far as HTTP requests go (docs.zyte.com/zyte-api/usage/reference.html)."""

    asked: list[dict[str, Any]]

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(query)
        body = base64.b64decode(query["httpRequestBody"]) if "httpRequestBody" in query else None
        if "httpRequestText" in query:
            body = query["httpRequestText"].encode()
        request = urllib.request.Request(query["url"], data=body, method=query.get("httpRequestMethod", "GET"))
        for header in query.get("customHttpRequestHeaders", ()):
            request.add_header(header["name"], header["value"])
        sent = query.get("requestCookies") or query.get("experimental", {}).get("requestCookies") or []
        if sent:
            request.add_header("Cookie", "; ".join(f"{one['name']}={one['value']}" for one in sent))
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirects())
        with opener.open(request, timeout=30) as response:
            cookies = [
                {
                    "name": pair.partition("=")[0],
                    "value": pair.partition("=")[2],
                    "domain": urlsplit(query["url"]).hostname,
                }
                for value in response.headers.get_all("Set-Cookie") or ()
                for pair in [value.partition(";")[0]]
            ]
            headers = [{"name": name, "value": value} for name, value in response.headers.items()]
            answer = {
                "url": response.url,
                "statusCode": response.status,
                "httpResponseBody": base64.b64encode(response.read()).decode(),
                "httpResponseHeaders": headers,
                "responseCookies": cookies,
            }
        text = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args: Any) -> None:
        """Nothing."""


@contextmanager
def zyte_api() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    asked: list[dict[str, Any]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Extract,), {"asked": asked}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1/", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def process() -> Iterator[RunningSimulator]:
    with running_simulator() as running:
        yield running


@pytest.mark.parametrize(
    ("path", "key", "paid"),
    [
        ("/turnstile/{}", "token", 2),
        ("/header/recaptcha-v2/{}", "gRecaptchaResponse", 2),
        ("/free/{}", "", 0),
    ],
)
def test_a_flagged_request_goes_through_zyte_api_again(
    tmp_path: Path, process: RunningSimulator, path: str, key: str, paid: int
) -> None:
    items, log, asked = crawl(tmp_path, process, path.format(7), path.format(8))
    assert sorted(item.get("title", "") for item in items) == ["Product 7", "Product 8"], (items, log)
    assert {item["by"] for item in items} == {"ZyteAPITextResponse"}
    assert all((key in item["keys"]) == ("capsolver" in item["flags"]) == bool(key) for item in items)
    state = process.state()
    assert state["tasks"]["paid"] == paid
    assert state["site"]["requests"] == len(asked)
    assert state["site"]["refused"] == {}


def test_clearances_are_not_paid_for(tmp_path: Path, process: RunningSimulator) -> None:
    items, log, asked = crawl(tmp_path, process, "/aws-waf/7")
    assert [item["error"] for item in items] == ["UnsupportedCaptchaError"], log
    assert "came through Zyte API" in items[0]["message"]
    assert process.tasks() == []
    assert len(asked) == 1


def crawl(tmp_path: Path, process: RunningSimulator, *paths: str) -> tuple[list[Any], str, list[dict[str, Any]]]:
    """The items, the log, and what Zyte API was asked for."""
    process.restore()
    (tmp_path / "spider.py").write_text(SPIDER)
    settings = {key: value for key, value in process.settings.items() if key != "ADDONS"}
    with zyte_api() as (url, asked):
        settings |= {"ZYTE_API_URL": url, "ZYTE_API_KEY": "a" * 32}
        done = subprocess.run(
            [
                *(sys.executable, "-m", "scrapy", "runspider", "spider.py", "-O", "items.json"),
                *("-a", "url=" + " ".join(process.site_url + path for path in paths)),
                *(part for key, value in settings.items() for part in ("-s", f"{key}={value}")),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return json.loads((tmp_path / "items.json").read_text()), done.stderr, asked
