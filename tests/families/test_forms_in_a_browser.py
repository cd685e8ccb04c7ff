"""Forms submitted by the plugin and by Chromium to one server: the same method, address, type and body.

Known differences, none of them in the pages here: a colour input whose value is a CSS name (Chromium computes it), ``wrap=hard``
(depends on the layout), a form within a form (its parser drops the inner one), and the "?" of a query without fields.
"""

from __future__ import annotations

import queue
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from playwright.sync_api import sync_playwright
from scrapy.http import HtmlResponse

from scrapy_capsolver.families._page.page import Page
from scrapy_capsolver.families._page.submission import submission
from tests.families.form_pages import FORMS, WRITTEN
from tests.report.browser import CHROMIUM

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium on this machine: apt-get install chromium"
)

GENERATED = 250

# Press the first button that submits the form; what a person would have to correct first is of no interest here.
PRESS = """() => {
  const form = document.querySelector("form");
  const buttons = [...form.elements, ...form.querySelectorAll("input[type=image]")].filter(
    one => ["submit", "image"].includes(one.type) && !one.matches(":disabled"));
  buttons.sort((a, b) => a.compareDocumentPosition(b) & Node.DOCUMENT_POSITION_FOLLOWING ? -1 : 1);
  form.noValidate = true;
  if (!buttons.length) form.submit();
  else { buttons[0].formNoValidate = true; buttons[0].click(); }
}"""


class Sent(NamedTuple):
    method: str
    target: str
    content_type: str
    body: bytes


def comparable(method: str, target: str, content_type: str, body: bytes) -> Sent:
    """Return the request with its boundary, which is random in a browser, replaced."""
    boundary = re.search("boundary=(.*)", content_type)
    if boundary is not None:
        body = body.replace(boundary[1].encode(), b"BOUNDARY")
        content_type = content_type.replace(boundary[1], "BOUNDARY")
    return Sent(method, target.removesuffix("?"), content_type, body)


class Server(ThreadingHTTPServer):
    """Serves ``pages`` and keeps what is sent to any other address."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages: list[bytes] = []
        self.sent: queue.Queue[Sent] = queue.Queue()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if page := re.fullmatch(r"/page/(\d+)", self.path):
            self.answer(self.server.pages[int(page[1])])
        elif self.path == "/favicon.ico":
            self.answer(b"")
        else:
            self.keep(b"")

    def do_POST(self) -> None:
        self.keep(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def keep(self, body: bytes) -> None:
        self.server.sent.put(comparable(self.command, self.path, self.headers.get("Content-Type") or "", body))
        self.answer(b"ok")

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def page_of(body: str) -> bytes:
    return f"<!DOCTYPE html><html><head><meta charset=utf-8></head><body>{body}</body></html>".encode()


def by_chromium(server: Server) -> list[Sent]:
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=CHROMIUM) as browser:
        tab = browser.new_page()
        found = []
        for number in range(len(server.pages)):
            tab.goto(server.url(f"/page/{number}"))
            with tab.expect_navigation():
                tab.evaluate(PRESS)
            found.append(server.sent.get(timeout=60))
        return found


def by_the_plugin(server: Server) -> Iterable[Sent]:
    for number, body in enumerate(server.pages):
        headers = {"Content-Type": "text/html; charset=utf-8"}
        page = Page(HtmlResponse(server.url(f"/page/{number}"), body=body, headers=headers))
        form = page.root.find(".//form")
        assert form is not None
        made = submission(page, form)
        assert made is not None
        target = made.url.removeprefix(server.url(""))
        yield comparable(made.method, target, dict(made.headers).get("Content-Type", ""), made.body)


def compare(server: Server, bodies: list[str]) -> None:
    server.pages = [page_of(body) for body in bodies]
    with ThreadPoolExecutor(1) as pool:  # the tests' own thread has an event loop that runs
        expected = pool.submit(by_chromium, server).result()
    for body, mine, theirs in zip(bodies, by_the_plugin(server), expected, strict=True):
        assert mine == theirs, body


def test_written_forms(server: Server) -> None:
    assert len(WRITTEN) >= 40
    compare(server, list(WRITTEN.values()))


def test_generated_forms(server: Server) -> None:
    """The same forms in each run, so that a failure can be repeated."""
    bodies: dict[str, None] = {}

    @seed(20261127)
    @settings(max_examples=GENERATED, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(FORMS)
    def collect(body: str) -> None:
        bodies[body] = None

    collect()
    assert len(bodies) >= 200
    compare(server, list(bodies))
