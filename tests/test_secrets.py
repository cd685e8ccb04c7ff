"""Keys, tokens and passwords are planted, crawls fail in every way, and then everything that they left is searched."""

from __future__ import annotations

import json
import logging
import socket
import sys
import traceback
from itertools import cycle
from typing import TYPE_CHECKING, Any

import pytest
from scrapy import Request
from scrapy.exceptions import CloseSpider
from scrapy.utils.defer import deferred_f_from_coro_f
from twisted.logger import globalLogPublisher, textFileLogObserver
from twisted.web.resource import Resource

from tests.api.test_secrets import FORMS
from tests.crawls import Crawl, crawl, simulator
from tests.fault_proxy import Fault, FaultProxy
from tests.proxies import proxy as running_proxy
from tests.redis_server import RedisServer, needs_redis, on_asyncio, redis_server
from tests.test_security import serving
from tests.tls import unverifiable_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "CAP-PLANTED-0123456789ABCDEF"
USER, PASSWORD = "planted-user", "planted-PASSWORD"
STORE_PASSWORD = "planted-STORE-password"

QUIRKS = [
    (),
    ("create-reply-lost:1", "poll-html-502:2", "solve-failed:1"),
    ("unsolvable",),
    ("create-zero-balance",),
    ("create-bad-request", "feedback-html-502"),
    ("create-rate-limit:1", "poll-truncated-json:1"),
    ("ready-without-token",),
    ("unknown-token",),
    ("bad-key-400", "create-json-list"),
    ("poll-reply-lost",),
    ("create-redirect-307",),
    ("balance-html-403", "create-html-403"),
]


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """All that Python's and Twisted's logging say, at every level."""
    caplog.set_level(logging.DEBUG)
    lines: list[str] = []

    class Lines:
        def write(self, text: str) -> None:
            lines.append(text)

        def flush(self) -> None: ...

    stream: Any = Lines()
    observer = textFileLogObserver(stream)
    globalLogPublisher.addObserver(observer)
    yield lines
    globalLogPublisher.removeObserver(observer)


def searched(done: Crawl, lines: list[str], caplog: pytest.LogCaptureFixture) -> dict[str, str]:
    """The places where a secret could be, as text."""
    places = {
        "log": caplog.text,
        "log arguments": "\n".join(repr((record.msg, record.args, record.exc_text)) for record in caplog.records),
        "Twisted's log": "".join(lines),
        "stats": repr(done.stats),
        "errors": "\n".join(f"{error} {error!r} {vars(error)!r}" for error in done.errors),
        "tracebacks": "\n".join(
            f"{failure.getTraceback()} {''.join(traceback.format_exception(failure.value))}"
            for failure in done.failures
        ),
    }
    assert done.crawler is not None
    middleware = [
        one
        for one in done.crawler.engine.downloader.middleware.middlewares  # type: ignore[union-attr]
        if type(one).__module__.startswith("scrapy_capsolver")
    ]
    assert middleware
    ours = [value for one in middleware for value in vars(one).values()]
    places["repr"] = "\n".join(repr(value) for value in [*middleware, *ours, *vars(middleware[0]._capsolver).values()])
    return places


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def secrets_of(capsolver: Any) -> list[str]:
    """Everything that nobody may see: solutions of all tasks among it."""
    found = [KEY, KEY[4:], PASSWORD, USER]
    for task in capsolver.tasks.values():
        solution = task.solution if isinstance(task.solution, dict) else {"token": task.solution}
        texts = [value for value in solution.values() if isinstance(value, str) and not value.startswith("Mozilla")]
        found += [text[:40] for text in texts if len(text) > 20]
    return found


def assert_clean(places: dict[str, Any], secrets: list[str]) -> None:
    hits = [
        (place, secret)
        for place, text in places.items()
        for secret in secrets
        if (secret.encode() if isinstance(text, bytes) else secret) in text
    ]
    assert hits == []


@pytest.mark.parametrize("quirks", QUIRKS, ids=lambda quirks: " ".join(quirks) or "none")
@deferred_f_from_coro_f
async def test_after_failures(
    quirks: tuple[str, ...], everything_logged: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    async with simulator(key=KEY, quirks=quirks, solve_seconds=(1, 2)) as capsolver:
        with running_proxy(user=USER, password=PASSWORD) as proxy:
            urls: list[Any] = ["/recaptcha-v2/1", "/turnstile/1", "/reject/turnstile/2"]
            for path in ("/datadome/1", "/recaptcha-v2/3"):
                flag: Any = True if "datadome" in path else {"type": "ReCaptchaV2Task"}
                urls.append(Request(capsolver.site_url + path, meta={"capsolver": flag, "proxy": proxy.url}))
            done = await crawl(capsolver, urls, CAPSOLVER_TIMEOUT=20, LOG_LEVEL="DEBUG")
        assert len(done.responses) + len(done.errors) == 5
        secrets = secrets_of(capsolver)
        if not quirks:
            assert len(secrets) > 6  # tokens are among them
            assert len(done.responses) == 4
        assert_clean(searched(done, everything_logged, caplog), secrets)


@deferred_f_from_coro_f
async def test_after_faults_below_http(everything_logged: list[str], caplog: pytest.LogCaptureFixture) -> None:
    faults = {
        ("createTask", 1): Fault("reset", "request body"),
        ("createTask", 2): Fault("close", "response body"),
        ("getTaskResult", 1): Fault("garbage", "request passed"),
        ("getTaskResult", 2): Fault("truncated"),
    }
    async with simulator(key=KEY, solve_seconds=(1, 2)) as capsolver:
        async with FaultProxy(capsolver.api_url, lambda *call: faults.get(call)) as proxy:
            paths = [f"/recaptcha-v2/{n}" for n in range(6)]
            done = await crawl(capsolver, paths, CAPSOLVER_API_URL=proxy.url, LOG_LEVEL="DEBUG")
            assert proxy.hits
        with unverifiable_server() as (url, _):
            refused = await crawl(capsolver, ["/recaptcha-v2/1"], CAPSOLVER_API_URL=url, LOG_LEVEL="DEBUG")
        assert (len(done.responses), len(done.errors), len(refused.errors)) == (4, 2, 1)
        for one in (done, refused):
            assert_clean(searched(one, everything_logged, caplog), secrets_of(capsolver))


QUOTED_USER, QUOTED_PASSWORD = "zq-user7%4x", "Vw9!kPq%2fR mT3&lt;"


class Quoting(Resource):
    """A CapSolver that quotes what it is sent, in each of ``FORMS``, where ``place`` says."""

    isLeaf = True  # noqa: N815

    def __init__(self, place: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.place = place
        self.login = ":"
        self.forms = cycle(FORMS.values())

    def render(self, request: Any) -> bytes:
        asked = json.loads(request.content.read())
        task = asked.get("task", {})
        if "proxyLogin" in task:
            self.login = f"{task['proxyLogin']}:{task['proxyPassword']}"
        form = next(self.forms)
        quoted = " ".join(form(secret) for secret in (asked["clientKey"], *self.login.partition(":")[::2], self.login))
        answer = self.answer(request.path.decode(), quoted)
        return json.dumps(answer).encode()

    def answer(self, path: str, quoted: str) -> dict[str, Any]:
        error = {"errorId": 1, "errorCode": "ERROR_PROXY_BANNED", "errorDescription": "x" * 150 + quoted}
        created = {"errorId": 0, "taskId": "t"}
        if path == "/getBalance":
            return {"errorId": 0, "balance": 10, "packages": [{"title": quoted, "numberOfCalls": 1, "expireTime": 0}]}
        if path == "/feedbackTask":
            return error
        if self.place == "code":
            return {**error, "errorCode": quoted}
        if self.place == "task id":
            return {**created, "taskId": quoted.replace(" ", "")[:100]}
        if self.place == "solution":
            return {**created, "status": "ready", "solution": {quoted: "a", f"x{quoted}"[:40]: "b", "box": [{}]}}
        if self.place == "result" and path == "/createTask":
            return created
        return error


@pytest.mark.parametrize("place", ["description", "code", "result", "task id", "solution"])
@deferred_f_from_coro_f
async def test_what_capsolver_quotes_is_nowhere(
    place: str, everything_logged: list[str], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Not six characters of it, in whichever form: not in a log line, an exception, a stat, a report or a file."""
    async with simulator() as capsolver, serving(Quoting(place)) as (port,):
        with running_proxy(user=QUOTED_USER, password=QUOTED_PASSWORD) as proxy:
            flag = {"type": "VisionEngineX", "proxied": True, "websiteKey": "k", "inject": {"form": "f"}}
            urls: list[Any] = [
                Request(f"{capsolver.site_url}/turnstile/{number}", meta={"capsolver": flag, "proxy": proxy.url})
                for number in range(len(FORMS))
            ]
            done = await crawl(
                capsolver,
                urls,
                CAPSOLVER_API_KEY=KEY,
                CAPSOLVER_API_URL=f"http://127.0.0.1:{port}",
                CAPSOLVER_RETRY_TIMES=0,
                CAPSOLVER_MAX_REJECTIONS=0,
                CAPSOLVER_TIMEOUT=20,
                CAPSOLVER_REPORT=str(tmp_path / "report.json"),
                CAPSOLVER_STORE=str(tmp_path / "store.sqlite"),
                LOG_LEVEL="DEBUG",
            )
        assert len(done.responses) + len(done.errors) == len(urls)
        assert done.errors
        places = {
            **searched(done, everything_logged, caplog),
            **{n: t.decode("latin-1") for n, t in files(tmp_path).items()},
        }
        for secret in (KEY, QUOTED_USER, QUOTED_PASSWORD):
            parts = {secret[at : at + 6].casefold() for at in range(len(secret) - 5)}
            hits = [(name, part) for name, text in places.items() for part in parts if part in text.casefold()]
            assert hits == []
        named = [name for name in done.ours() if name.startswith(("tasks/refused/", "tasks/failed/"))]
        assert set(named) <= {
            "tasks/refused/ERROR_PROXY_BANNED",
            "tasks/failed/ERROR_PROXY_BANNED",
            "tasks/refused/unknown",
        }


# Scrapy 2.13 does not close the empty queues that it looks for on disk.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@deferred_f_from_coro_f
async def test_on_disk(everything_logged: list[str], caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """Stopped with open tasks; with the HTTP cache and a store. What may be there is a queued retry's own solution."""

    def stop(done: Crawl, spider: Any, response: Any) -> None:
        if "/free/" in response.url:
            raise CloseSpider("enough")

    async with simulator(key=KEY, solve_seconds=(1, 1)) as capsolver:
        common: dict[str, Any] = {
            "HTTPCACHE_ENABLED": True,
            "HTTPCACHE_DIR": str(tmp_path / "cache"),
            "CAPSOLVER_STORE": str(tmp_path / "store.sqlite"),
            "LOG_LEVEL": "DEBUG",
        }
        with running_proxy(user=USER, password=PASSWORD) as proxy:
            urls: list[Any] = ["/recaptcha-v2/1", "/turnstile/1"]
            urls.append(
                Request(f"{capsolver.site_url}/aws-waf/1", meta={"capsolver": {"proxied": True}, "proxy": proxy.url})
            )
            done = await crawl(capsolver, urls, **common)
            assert len(done.responses) == 3
            capsolver.configure(solve_seconds=(100, 100))
            urls = [f"/recaptcha-v2/{n}" for n in range(5)]
            urls.append(Request(f"{capsolver.site_url}/free/1", priority=-1))
            stopped = await crawl(capsolver, urls, parse=stop, JOBDIR=str(tmp_path / "job"), **common)
        assert stopped.ours()["stopped"] == 5
        assert (tmp_path / "job").stat().st_mode & 0o777 == 0o700  # whatever waits in its queue
        found = files(tmp_path)
        assert any(b"open_task" in text for text in found.values())  # the ids of open tasks are in the queue
        stores = {name: found.pop(name) for name in list(found) if name.startswith("store.sqlite")}
        assert_clean(found, secrets_of(capsolver))
        assert_clean(stores, [KEY, KEY[4:], USER, PASSWORD])  # clearances are what it is for
        for one in (done, stopped):
            assert_clean(searched(one, everything_logged, caplog), secrets_of(capsolver))
        assert "job/capsolver.sqlite" in found
    assert sys.exc_info() == (None, None, None)


@needs_redis
@pytest.mark.skipif(not on_asyncio(), reason="redis-py waits on asyncio's event loop")
@deferred_f_from_coro_f
async def test_on_a_server(everything_logged: list[str], caplog: pytest.LogCaptureFixture) -> None:
    """What goes to Redis, all that is there, and what is said of it. Clearances are there, and tokens are not."""
    with redis_server() as server, running_proxy(user=USER, password=PASSWORD) as proxy:
        server.client().acl_setuser(
            "store", enabled=True, passwords=[f"+{STORE_PASSWORD}"], categories=["+@all"], keys=["*"], channels=["*"]
        )
        sent = Sent(server.port)
        async with simulator(key=KEY, quirks=["solve-failed:1"], solve_seconds=(1, 2)) as capsolver:
            urls: list[Any] = ["/recaptcha-v2/1", "/turnstile/1", "/reject/turnstile/2"]
            clearance = Request(f"{capsolver.site_url}/datadome/1", meta={"capsolver": True, "proxy": proxy.url})
            done = await crawl(
                capsolver,
                [*urls, clearance],
                CAPSOLVER_STORE=f"redis://store:{STORE_PASSWORD}@127.0.0.1:{server.port}/0",
                CAPSOLVER_BUDGET=5,
                CAPSOLVER_PRICES={"DatadomeSliderTask": 1},
                LOG_LEVEL="DEBUG",
            )
            assert len(done.responses) == 3
            secrets = secrets_of(capsolver)
            cookies = {secret for secret in secrets if secret.startswith("datadome=")}
            assert cookies
        kept = {key: repr(read(server, key)) for key in server.client().keys("*")}
        kept["sent"] = sent.stop()
        assert "evalsha" in kept["sent"].lower()
        assert_clean(kept, [STORE_PASSWORD, *(secret for secret in secrets if secret not in cookies)])
        assert_clean(searched(done, everything_logged, caplog), [STORE_PASSWORD, *secrets])


def read(server: RedisServer, key: str) -> Any:
    client = server.client()
    readers: dict[str, Any] = {
        "string": client.get,
        "hash": client.hgetall,
        "set": client.smembers,
        "zset": lambda name: client.zrange(name, 0, -1),
        "list": lambda name: client.lrange(name, 0, -1),
    }
    return readers[str(client.type(key))](key)


class Sent:
    """All commands that a server is given, but for AUTH, which it does not show."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.sendall(b"MONITOR\r\n")
        assert self._socket.recv(5) == b"+OK\r\n"

    def stop(self) -> str:
        self._socket.sendall(b"QUIT\r\n")
        data = b""
        while piece := self._socket.recv(1 << 16):
            data += piece
        self._socket.close()
        return data.decode("latin-1")
