from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from scrapy.utils.defer import deferred_f_from_coro_f, deferred_from_coro, maybe_deferred_to_future

from .visitor import Caller, fetch

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.task import Clock

    from scrapy_capsolver.simulator import Simulator

PAGE = {"websiteURL": "https://shop.example/a", "websiteKey": "6Lx"}


@deferred_f_from_coro_f
async def test_a_task_is_idle_then_processing_then_ready(caller: Caller, clock: Clock) -> None:
    created = (await caller.create("ReCaptchaV2TaskProxyLess", **PAGE)).json
    assert created == {
        "errorId": 0,
        "errorCode": "",
        "errorDescription": "",
        "status": "idle",
        "taskId": str(uuid.UUID(created["taskId"])),
    }
    assert (await caller.poll(created["taskId"])).json["status"] == "idle"
    task = caller.simulator.tasks[created["taskId"]]
    clock.advance(task.seconds - 0.01)
    assert (await caller.poll(created["taskId"])).json["status"] == "processing"
    clock.advance(0.02)
    ready = await caller.poll(created["taskId"])
    assert ready.status == 200
    assert ready.json["status"] == "ready"
    solution = ready.json["solution"]
    assert solution["gRecaptchaResponse"].startswith("03A")
    assert "Mozilla" in solution["userAgent"]
    assert abs(solution["createTime"] / 1000 - time.time() - task.seconds) < 5
    # A result may be read again.
    assert (await caller.poll(created["taskId"])).json["solution"] == solution
    assert task.fields == {"type": "ReCaptchaV2TaskProxyLess", **PAGE}
    assert (task.queries, task.delivered) == (4, 2)


@deferred_f_from_coro_f
async def test_a_call_without_a_user_agent_is_turned_away(caller: Caller) -> None:
    """As by Cloudflare, which stands before CapSolver: no service, no task, no envelope."""
    body = json.dumps(
        {"clientKey": caller.simulator.key, "task": {"type": "ReCaptchaV2TaskProxyLess", **PAGE}}
    ).encode()
    for headers in ({}, {"User-Agent": ""}):
        url = f"{caller.simulator.api_url}/createTask"
        answer = await fetch("POST", url, body, {"Content-Type": "application/json", **headers})
        assert (answer.status, answer.headers["content-type"]) == (403, "text/html; charset=UTF-8")
    assert caller.simulator.tasks == {}


@deferred_f_from_coro_f
async def test_solutions_of_each_kind(caller: Caller, clock: Clock) -> None:
    turnstile = await caller.task_id("AntiTurnstileTaskProxyLess")
    session = await caller.task_id("ReCaptchaV3TaskProxyLess", isSession=True)
    clock.advance(20)
    solution = (await caller.poll(turnstile)).json["solution"]
    assert solution["token"].startswith("0.")
    assert solution["type"] == "turnstile"
    assert "Mozilla" in solution["userAgent"]
    assert (await caller.poll(session)).json["solution"]["recaptcha-ca-t"]


TYPES = [
    "ReCaptchaV2Task",
    "ReCaptchaV2EnterpriseTask",
    "ReCaptchaV3Task",
    "ReCaptchaV3EnterpriseTask",
    "ReCaptchaV3M1Task",
    "ReCaptchaV3EnterpriseM1Task",
    "AntiTurnstileTask",
]


@deferred_f_from_coro_f
async def test_every_type_with_and_without_a_proxy(caller: Caller) -> None:
    for name in TYPES:
        refused = await caller.create(name, **PAGE)
        assert (refused.status, refused.json["errorCode"]) == (400, "ERROR_INVALID_TASK_DATA")
        assert refused.json["errorDescription"] == "Missing proxy params."
        await caller.task_id(name, proxy="http://user:word@10.0.0.1:3128")
        await caller.task_id(name + "ProxyLess")
        # Any case of letters will do.
        await caller.task_id((name + "Proxyless").lower())


@pytest.mark.parametrize(
    ("proxy", "right"),
    [
        ({"proxy": "10.0.0.1:3128"}, True),
        ({"proxy": "10.0.0.1:3128:user:word"}, True),
        ({"proxy": "socks5:10.0.0.1:3128:user:word"}, True),
        ({"proxy": "socks5://user:word@proxy.example:3128"}, True),
        ({"proxyType": "http", "proxyAddress": "10.0.0.1", "proxyPort": 3128}, True),
        ({"proxy": "user:word@10.0.0.1:3128"}, False),
        ({"proxy": "10.0.0.1"}, False),
        ({"proxy": "10.0.0.1:99999"}, False),
        ({"proxy": 3128}, False),
        ({"proxyType": "gopher", "proxyAddress": "10.0.0.1", "proxyPort": 3128}, False),
        ({"proxyType": ["http"], "proxyAddress": "10.0.0.1", "proxyPort": 3128}, False),
        ({"proxyType": "http", "proxyAddress": "10.0.0.1", "proxyPort": "3128"}, False),
        ({"proxyType": "http", "proxyAddress": "10.0.0.1"}, False),
    ],
)
@deferred_f_from_coro_f
async def test_proxy_forms(caller: Caller, proxy: dict[str, Any], right: bool) -> None:
    answer = await caller.create("ReCaptchaV2Task", **PAGE, **proxy)
    assert (answer.json["errorId"] == 0) is right
    if not right:
        assert "proxy" in answer.json["errorDescription"]


@pytest.mark.parametrize(
    ("task", "code", "description"),
    [
        (None, "ERROR_INVALID_TASK_DATA", "task is required"),
        ([], "ERROR_INVALID_TASK_DATA", "task is required"),
        ({}, "ERROR_INVALID_TASK_DATA", "type is required"),
        ({"type": 7}, "ERROR_INVALID_TASK_DATA", "type is required"),
        ({"type": "NoSuchTask"}, "ERROR_TASK_NOT_SUPPORTED", "not supported"),
        ({"type": "HearingEngine"}, "ERROR_TASK_NOT_SUPPORTED", "not supported"),
        (
            {"type": "hcaptchatask"},
            "ERROR_INVALID_TASK_DATA",
            "Not found HCaptchaTask access. please contact our support",
        ),
        ({"type": "ReCaptchaV2TaskProxyLess"}, "ERROR_INVALID_TASK_DATA", "websiteURL is required"),
        ({"type": "ReCaptchaV2TaskProxyLess", **PAGE, "websiteKey": ""}, "ERROR_INVALID_TASK_DATA", "websiteKey is"),
        ({"type": "ReCaptchaV2TaskProxyLess", **PAGE, "websiteKey": 7}, "ERROR_INVALID_TASK_DATA", "websiteKey is"),
        ({"type": "ReCaptchaV2TaskProxyLess", **PAGE, "websiteURL": "a"}, "ERROR_INVALID_TASK_DATA", "websiteURL is"),
        (
            {"type": "ReCaptchaV2TaskProxyLess", **PAGE, "websiteURL": "http://[::1"},
            "ERROR_INVALID_TASK_DATA",
            "websiteURL is",
        ),
        ({"type": "ReCaptchaV2TaskProxyLess", **PAGE, "isInvisible": "yes"}, "ERROR_INVALID_TASK_DATA", "isInvisible"),
        ({"type": "AntiTurnstileTaskProxyLess", **PAGE, "metadata": {"a": 1}}, "ERROR_INVALID_TASK_DATA", "metadata"),
        ({"type": "ReCaptchaV2TaskProxyLess", **PAGE, "cookies": [{}]}, "ERROR_INVALID_TASK_DATA", "cookies"),
        ({"type": "\ud800"}, "ERROR_TASK_NOT_SUPPORTED", "not supported"),
    ],
)
@deferred_f_from_coro_f
async def test_refused_tasks(caller: Caller, task: object, code: str, description: str) -> None:
    answer = await caller("createTask", task=task)
    assert (answer.status, answer.json["errorId"], answer.json["errorCode"]) == (400, 1, code)
    assert description in answer.json["errorDescription"]
    assert caller.simulator.state()["api"]["errors"] == {code: 1}


@deferred_f_from_coro_f
async def test_bodies_that_are_no_calls(caller: Caller) -> None:
    for body in (b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b"9" * 10_000):
        answer = await caller.raw("createTask", body)
        assert answer.status == 400
        assert answer.json["errorDescription"] == "request body must be a json raw"
    good = json.dumps({"clientKey": caller.simulator.key}).encode()
    assert (await caller.raw("getBalance", good, "text/plain")).status == 400
    assert (await caller.raw("getBalance", good, "application/json; charset=utf-8")).status == 200


@deferred_f_from_coro_f
async def test_paths_and_verbs(caller: Caller) -> None:
    url = caller.simulator.api_url
    assert (await fetch("GET", url + "/createTask")).status == 405
    assert (await caller.raw("nothing", b"{}")).status == 404
    assert caller.simulator.state()["api"]["unknown_paths"] == 1


@deferred_f_from_coro_f
async def test_a_wrong_key(caller: Caller) -> None:
    for key in ("CAP-wrong", None, 7, ""):
        answer = await caller("getBalance", clientKey=key)
        assert (answer.status, answer.json["errorCode"]) == (401, "ERROR_KEY_DENIED_ACCESS")


@deferred_f_from_coro_f
async def test_the_121st_query_loses_the_result(caller: Caller) -> None:
    task_id = await caller.task_id()
    for _ in range(120):
        assert (await caller.poll(task_id)).status == 200
    lost = await caller.poll(task_id)
    assert (lost.status, lost.json["errorCode"]) == (400, "ERROR_TASKID_INVALID")
    assert caller.simulator.state()["tasks"]["queries"] == {"max": 121, "mean": 121.0}


@deferred_f_from_coro_f
async def test_a_result_is_lost_after_five_minutes(caller: Caller, clock: Clock) -> None:
    task_id = await caller.task_id()
    clock.advance(299)
    assert (await caller.poll(task_id)).json["status"] == "ready"
    clock.advance(1)
    assert (await caller.poll(task_id)).json["errorCode"] == "ERROR_TASKID_INVALID"


@deferred_f_from_coro_f
async def test_unknown_task_ids(caller: Caller) -> None:
    for task_id in ("", "x", None, 7, {}, []):
        answer = await caller("getTaskResult", taskId=task_id)
        assert (answer.status, answer.json["errorCode"]) == (400, "ERROR_TASKID_INVALID")


@deferred_f_from_coro_f
async def test_a_task_times_out_after_two_minutes(simulate: Callable[..., Simulator], clock: Clock) -> None:
    caller = Caller(simulate(timer=clock, solve_seconds=(200, 200)))
    task_id = await caller.task_id()
    clock.advance(119)
    assert (await caller.poll(task_id)).json["status"] == "processing"
    clock.advance(1)
    answer = await caller.poll(task_id)
    assert (answer.status, answer.json["errorCode"]) == (400, "ERROR_TASK_TIMEOUT")
    assert answer.json["status"] == "failed"
    assert caller.simulator.state()["money"]["spent"] == 0


@deferred_f_from_coro_f
async def test_money(simulate: Callable[..., Simulator], clock: Clock) -> None:
    caller = Caller(simulate(timer=clock, balance=0.0018))
    first = await caller.task_id("ReCaptchaV2TaskProxyLess")
    await caller.task_id("ReCaptchaV3TaskProxyLess")
    # The money for open tasks is set aside, but not spent.
    assert (await caller("getBalance")).json["balance"] == 0.0018
    refused = await caller.create("ReCaptchaV2TaskProxyLess", **PAGE)
    assert refused.json["errorCode"] == "ERROR_ZERO_BALANCE"
    clock.advance(10)
    # What is ready is paid, whether or not somebody asks for it.
    balance = (await caller("getBalance")).json
    assert (balance["balance"], balance["packages"]) == (0, [])
    state = caller.simulator.state()
    assert state["money"] == {"balance": 0.0, "spent": 0.0018}
    assert (state["tasks"]["paid"], state["tasks"]["delivered"]) == (2, 0)
    await caller.poll(first)
    assert caller.simulator.state()["tasks"]["delivered"] == 1


@deferred_f_from_coro_f
async def test_solve_times_follow_from_the_seed_and_the_task_alone(simulate: Callable[..., Simulator]) -> None:
    async def seconds(seed: int, *, disturbed: bool = False) -> list[float]:
        caller = Caller(simulate(seed=seed))
        for name in ("ReCaptchaV2TaskProxyLess", "AntiTurnstileTaskProxyLess", "ReCaptchaV3TaskProxyLess"):
            task_id = await caller.task_id(name)
            if disturbed:
                await caller.poll(task_id)
                await caller("getBalance")
        return [task.seconds for task in caller.simulator.tasks.values()]

    first = await seconds(1)
    assert first == await seconds(1, disturbed=True)
    assert first != await seconds(2)
    assert all(1 <= each <= limit for each, limit in zip(first, (10, 20, 10), strict=True))


@deferred_f_from_coro_f
async def test_get_token_waits_for_the_solution(caller: Caller, clock: Clock) -> None:
    call = deferred_from_coro(caller("getToken", task={"type": "ReCaptchaV2TaskProxyLess", **PAGE}))
    while not clock.getDelayedCalls():
        await fetch("GET", caller.simulator.api_url + "/_simulator/state")
    assert not call.called
    clock.advance(10)
    answer = await maybe_deferred_to_future(call)
    assert answer.json["status"] == "ready"
    assert answer.json["solution"]["gRecaptchaResponse"]
    assert not clock.getDelayedCalls()
    refused = await caller("getToken", task={"type": "AntiTurnstileTaskProxyLess", **PAGE})
    assert refused.json["errorCode"] == "ERROR_TASK_NOT_SUPPORTED"


@deferred_f_from_coro_f
async def test_get_token_with_a_speed(simulate: Callable[..., Simulator]) -> None:
    caller = Caller(simulate(speed=200))
    answer = await caller("getToken", task={"type": "ReCaptchaV2TaskProxyLess", **PAGE})
    assert answer.json["solution"]["gRecaptchaResponse"]


@deferred_f_from_coro_f
async def test_feedback(caller: Caller) -> None:
    task_id = await caller.task_id()
    result = {"invalid": True, "code": 1001}
    answer = await caller("feedbackTask", taskId=task_id, result=result)
    assert (answer.status, answer.json["message"]) == (200, "okay")
    assert caller.simulator.state()["feedback"] == [{"taskId": task_id, "result": result}]
    for wrong in ({"taskId": "x", "result": result}, {"taskId": task_id}, {"taskId": task_id, "result": {}}):
        assert (await caller("feedbackTask", **wrong)).status == 400


@deferred_f_from_coro_f
async def test_the_wrong_version_for_a_site_key_fails(caller: Caller, clock: Clock) -> None:
    keys = caller.simulator.site_keys
    for name, family in (
        ("ReCaptchaV2TaskProxyLess", "recaptcha-v3"),
        ("ReCaptchaV3TaskProxyLess", "recaptcha-v2"),
        ("ReCaptchaV2TaskProxyLess", "turnstile"),
        ("AntiTurnstileTaskProxyLess", "recaptcha-v2"),
    ):
        task_id = await caller.task_id(name, websiteKey=keys[family])
        clock.advance(20)
        answer = await caller.poll(task_id)
        assert (answer.status, answer.json["errorCode"]) == (400, "ERROR_CAPTCHA_SOLVE_FAILED")
        assert answer.json["status"] == "failed"
