from __future__ import annotations

import http.client
from typing import TYPE_CHECKING, Any

import pytest
from scrapy.utils.defer import deferred_f_from_coro_f, maybe_deferred_to_future
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientCreator, Protocol

from scrapy_capsolver.simulator import QUIRKS, Quirk
from scrapy_capsolver.simulator.quirks import Quirks

from .visitor import Answer, Caller, Visitor

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.task import Clock

    from scrapy_capsolver.simulator import Simulator

    Quirky = Callable[..., Caller]

PAGE = {"websiteURL": "https://shop.example/a", "websiteKey": "6Lx"}


@pytest.fixture
def quirky(simulate: Callable[..., Simulator], clock: Clock) -> Quirky:
    return lambda *quirks: Caller(simulate(timer=clock, quirks=quirks))


async def solved(caller: Caller, clock: Clock, **fields: Any) -> Answer:
    task_id = await caller.task_id(**fields)
    clock.advance(10)
    return await caller.poll(task_id)


# The form of a quirk


@pytest.mark.parametrize("text", ["html-502", "poll-html-502:3", "create-reply-lost/7", "silence%2.5", "unsolvable:0"])
def test_a_quirk_is_read_and_written(text: str) -> None:
    assert str(Quirk.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("html-999", "allowed: status-missing, .*html-502"),
        ("create-unsolvable", "unknown quirk"),
        ("html-502:x", "expected NAME"),
        ("", "expected NAME"),
        ("html-502/0", "above 0"),
        ("html-502:1.5", "whole number"),
        ("html-502%101", "100 at most"),
    ],
)
def test_a_quirk_that_is_none(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Quirk.parse(text)


def test_every_quirk_has_a_text() -> None:
    assert all(QUIRKS.values())
    assert {"html-502", "poll-html-502", "create-reply-lost", "poll-reply-lost"} <= QUIRKS.keys()


def test_which_occasions_are_hit() -> None:
    def hits(text: str, seed: int = 0) -> list[int]:
        quirks = Quirks(seed)
        quirks.switch([text])
        return [number for number in range(1, 201) if quirks.fault("getTaskResult")]

    assert hits("html-502:3") == [1, 2, 3]
    assert hits("poll-html-502/50") == [50, 100, 150, 200]
    assert hits("html-502") == list(range(1, 201))
    assert hits("html-502:0") == hits("create-html-502") == []
    some = hits("html-502%10")
    assert 8 <= len(some) <= 35
    assert some == hits("html-502%10")
    assert some != hits("html-502%10", seed=1)


# Manners


@pytest.mark.parametrize(
    ("quirk", "expected"),
    [("status-missing", "absent"), ("status-null", None), ("status-idle", "idle"), ("status-processing", "processing")],
)
@deferred_f_from_coro_f
async def test_the_status_of_a_new_task(quirky: Quirky, quirk: str, expected: str | None) -> None:
    answer = await quirky(quirk).create("ReCaptchaV2TaskProxyLess", **PAGE)
    assert answer.json.get("status", "absent") == expected


@deferred_f_from_coro_f
async def test_the_error_fields_of_success(quirky: Quirky, clock: Clock) -> None:
    for quirk, expected in (("missing", "absent"), ("null", None), ("empty", "")):
        answer = await solved(quirky(f"error-fields-{quirk}"), clock)
        assert answer.json["status"] == "ready"
        assert answer.json.get("errorCode", "absent") == answer.json.get("errorDescription", "absent") == expected


@deferred_f_from_coro_f
async def test_the_other_answers_to_a_bad_key(quirky: Quirky) -> None:
    caller = quirky("bad-key-400")
    balance = await caller("getBalance", clientKey="x")
    assert (balance.status, balance.json["errorCode"]) == (400, "ERROR_KEY_DOES_NOT_EXIST")
    created = await caller("createTask", clientKey="x")
    assert (created.status, created.json["errorCode"]) == (400, "ERROR_INVALID_TASK_DATA")
    assert created.json["errorDescription"] == "clientKey is invalid"


@deferred_f_from_coro_f
async def test_strict_type_names(quirky: Quirky) -> None:
    caller = quirky("strict-type-names")
    await caller.task_id("ReCaptchaV2TaskProxyLess")
    refused = await caller.create("ReCaptchaV2TaskProxyless", **PAGE)
    assert refused.json["errorCode"] == "ERROR_TASK_NOT_SUPPORTED"


@deferred_f_from_coro_f
async def test_a_burst_of_errors_locks_the_key(quirky: Quirky, clock: Clock) -> None:
    caller = quirky("lock-out")
    for _ in range(30):
        assert (await caller.poll("x")).json["errorCode"] == "ERROR_TASKID_INVALID"
    assert (await caller("getBalance")).json["errorCode"] == "ERROR_KEY_TEMP_BLOCKED"
    clock.advance(299)
    assert (await caller("getBalance")).json["errorCode"] == "ERROR_KEY_TEMP_BLOCKED"
    clock.advance(301)
    assert (await caller("getBalance")).status == 200


# Outcomes


@pytest.mark.parametrize(
    ("quirk", "status", "code"),
    [
        ("solve-failed", 400, "ERROR_CAPTCHA_SOLVE_FAILED"),
        ("failed-over-200", 200, "ERROR_CAPTCHA_SOLVE_FAILED"),
        ("failed-over-400", 400, "ERROR_CAPTCHA_SOLVE_FAILED"),
        ("unsolvable", 400, "ERROR_CAPTCHA_UNSOLVABLE"),
        ("proxy-banned", 400, "ERROR_PROXY_BANNED"),
        ("invalid-site-key-late", 400, "ERROR_INVALID_TASK_DATA"),
    ],
)
@deferred_f_from_coro_f
async def test_solves_that_fail(quirky: Quirky, clock: Clock, quirk: str, status: int, code: str) -> None:
    caller = quirky(quirk + ":1")
    failed = await solved(caller, clock)
    assert (failed.status, failed.json["errorCode"], failed.json["status"]) == (status, code, "failed")
    assert failed.json["errorId"] == 1
    assert caller.simulator.state()["money"]["spent"] == 0
    assert (await solved(caller, clock)).json["status"] == "ready"
    tasks = caller.simulator.state()["tasks"]
    assert (tasks["failed"], tasks["ready"], tasks["paid"], tasks["delivered"]) == (1, 1, 1, 1)


@deferred_f_from_coro_f
async def test_a_task_that_is_never_ready(quirky: Quirky, clock: Clock) -> None:
    caller = quirky("task-timeout")
    task_id = await caller.task_id()
    clock.advance(119)
    assert (await caller.poll(task_id)).json["status"] == "processing"
    clock.advance(1)
    assert (await caller.poll(task_id)).json["errorCode"] == "ERROR_TASK_TIMEOUT"


@deferred_f_from_coro_f
async def test_solutions_that_are_none(quirky: Quirky, clock: Clock) -> None:
    async def solution(quirk: str) -> Any:
        answer = (await solved(quirky(quirk), clock)).json
        assert answer["status"] == "ready"
        return answer.get("solution", "absent")

    assert "gRecaptchaResponse" not in await solution("ready-without-token")
    assert (await solution("ready-empty-token"))["gRecaptchaResponse"] == ""
    assert await solution("ready-without-solution") == "absent"
    assert await solution("solution-string") == "ready"


@pytest.mark.parametrize(("quirk", "reason"), [("unknown-token", "unknown"), ("expired-token", "expired")])
@deferred_f_from_coro_f
async def test_tokens_that_no_site_accepts(quirky: Quirky, quirk: str, reason: str) -> None:
    visitor = Visitor(quirky(quirk).simulator)
    token = await visitor.token("recaptcha-v2")
    refused = await visitor.go("/header/recaptcha-v2/7", headers={"X-Captcha-Token": token})
    assert refused.reason == reason


# Faults


@pytest.mark.parametrize(
    ("quirk", "status", "code"),
    [
        ("service-unavailable", 400, "ERROR_SERVICE_UNAVALIABLE"),
        ("service-unavailable-spelt-right", 400, "ERROR_SERVICE_UNAVAILABLE"),
        ("rate-limit", 400, "ERROR_RATE_LIMIT"),
        ("rate-limit-429", 429, "ERROR_RATE_LIMIT"),
        ("key-temp-blocked", 400, "ERROR_KEY_TEMP_BLOCKED"),
        ("ip-banned", 400, "ERROR_IP_BANNED"),
        ("zero-balance", 400, "ERROR_ZERO_BALANCE"),
        ("settlement-failed", 400, "ERROR_SETTLEMENT_FAILED"),
        ("bad-request", 400, "ERROR_BAD_REQUEST"),
        ("task-id-invalid", 400, "ERROR_TASKID_INVALID"),
        ("maintenance", 400, "ERROR_INVALID_TASK_DATA"),
        ("unknown-error", 400, "ERROR_OF_TOMORROW"),
    ],
)
@deferred_f_from_coro_f
async def test_errors_in_place_of_an_answer(quirky: Quirky, quirk: str, status: int, code: str) -> None:
    caller = quirky(f"create-{quirk}:1")
    assert (await caller("getBalance")).status == 200
    refused = await caller.create("ReCaptchaV2TaskProxyLess", **PAGE)
    assert (refused.status, refused.json["errorId"], refused.json["errorCode"]) == (status, 1, code)
    assert not caller.simulator.tasks
    await caller.task_id()
    assert caller.simulator.state()["api"]["faults"] == {quirk: 1}


@pytest.mark.parametrize("status", [403, 429, 500, 502, 503])
@deferred_f_from_coro_f
async def test_pages_of_the_edge(quirky: Quirky, status: int) -> None:
    caller = quirky(f"create-html-{status}:1", f"poll-html-{status}:1")
    page = await caller.create("ReCaptchaV2TaskProxyLess", **PAGE)
    assert (page.status, page.headers["content-type"][:9]) == (status, "text/html")
    assert not caller.simulator.tasks
    task_id = await caller.task_id()
    assert (await caller.poll(task_id)).status == status
    assert (await caller.poll(task_id)).json["status"] == "idle"
    assert caller.simulator.tasks[task_id].queries == 2


@deferred_f_from_coro_f
async def test_redirects(quirky: Quirky) -> None:
    for quirk, status in (("redirect", 302), ("redirect-307", 307)):
        caller = quirky(quirk)
        answer = await caller("getBalance")
        assert (answer.status, answer.headers["location"]) == (status, caller.simulator.site_url + "/redirected")


@deferred_f_from_coro_f
async def test_lost_requests_and_replies(quirky: Quirky) -> None:
    for quirk, created in (("create-request-lost:1", 0), ("create-reply-lost:1", 1)):
        caller = quirky(quirk)
        with pytest.raises((ConnectionError, http.client.BadStatusLine)):
            await caller.create("ReCaptchaV2TaskProxyLess", **PAGE)
        assert len(caller.simulator.tasks) == created
    caller = quirky("poll-reply-lost:1")
    task_id = await caller.task_id()
    with pytest.raises((ConnectionError, http.client.BadStatusLine)):
        await caller.poll(task_id)
    assert (await caller.poll(task_id)).status == 200


@pytest.mark.parametrize(
    ("quirk", "status", "body"),
    [
        ("html-504", 504, b"<!DOCTYPE html>"),
        ("html-200", 200, b"<!DOCTYPE html>"),
        ("truncated-json", 200, b'{"errorId": 0'),
        ("empty-body", 200, b""),
        ("json-list", 200, b'[{"errorId": 0'),
        ("json-null", 200, b"null"),
        ("not-utf8", 200, b'{"errorId": 0, "taskId": "\xff'),
    ],
)
@deferred_f_from_coro_f
async def test_spoilt_replies_of_tasks_that_exist(quirky: Quirky, quirk: str, status: int, body: bytes) -> None:
    caller = quirky(f"create-{quirk}")
    answer = await caller.create("ReCaptchaV2TaskProxyLess", **PAGE)
    assert answer.status == status
    assert answer.body.startswith(body)
    assert (b"taskId" in answer.body) is (quirk in {"json-list", "not-utf8"})
    assert len(caller.simulator.tasks) == 1


@deferred_f_from_coro_f
async def test_a_body_that_ends_too_soon(quirky: Quirky) -> None:
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        await quirky("short-body")("getBalance")


@deferred_f_from_coro_f
async def test_silence(quirky: Quirky) -> None:
    caller = quirky("create-silence")
    with pytest.raises(TimeoutError):
        await caller.raw("createTask", b"{}", timeout=0.2)
    assert caller.simulator.state()["api"]["calls"] == {"createTask": 1}


@deferred_f_from_coro_f
async def test_a_slow_drip(simulate: Callable[..., Simulator], clock: Clock, quirky: Quirky) -> None:
    caller = Caller(simulate(quirks=["slow-drip"]))
    # The reply begins, but does not end in time for the read of the whole.
    with pytest.raises(TimeoutError):
        await caller.raw("getBalance", b"{}", timeout=0.05)


class FirstMegabytes(Protocol):
    """Reads the beginning of a reply, and hangs up."""

    def __init__(self) -> None:
        self.done: Deferred[int] = Deferred()
        self.got = 0

    def connectionMade(self) -> None:
        self.transport.write(b"POST /getBalance HTTP/1.1\r\nHost: x\r\nUser-Agent: x\r\nContent-Length: 0\r\n\r\n")

    def dataReceived(self, data: bytes) -> None:
        self.got += len(data)
        if self.got > 2_000_000:
            self.transport.abortConnection()

    def connectionLost(self, reason: Any = None) -> None:
        self.done.callback(self.got)


@deferred_f_from_coro_f
async def test_a_huge_body(quirky: Quirky) -> None:
    from twisted.internet import reactor

    caller = quirky("huge-body")
    port = int(caller.simulator.api_url.rpartition(":")[2])
    protocol = await maybe_deferred_to_future(ClientCreator(reactor, FirstMegabytes).connectTCP("127.0.0.1", port))
    assert await maybe_deferred_to_future(protocol.done) > 2_000_000
    # Nothing of it is left in the way of others.
    assert (await caller.raw("nothing", b"{}")).status == 404
