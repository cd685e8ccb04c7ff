from __future__ import annotations

import gc
import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from scrapy.utils.defer import deferred_f_from_coro_f, deferred_from_coro, maybe_deferred_to_future
from twisted.internet.error import CannotListenError

from scrapy_capsolver.simulator import Simulator
from scrapy_capsolver.simulator.__main__ import main

from .visitor import Answer, Caller, Visitor, fetch

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.task import Clock

PAGE = {"websiteURL": "https://shop.example/a", "websiteKey": "6Lx"}


async def control(simulator: Simulator, name: str, **values: Any) -> Answer:
    body = json.dumps(values).encode() if values or name == "reset" else None
    return await fetch("POST" if body else "GET", f"{simulator.api_url}/_simulator/{name}", body)


@deferred_f_from_coro_f
async def test_state_over_http_is_state(caller: Caller, clock: Clock) -> None:
    simulator = caller.simulator
    await caller.task_id()
    clock.advance(10)
    answer = await control(simulator, "state")
    state = answer.json
    # The connection that asks is not counted.
    assert state == json.loads(json.dumps(simulator.state()))
    assert state["api"]["calls"] == {"createTask": 1}
    assert state["api"]["connections"] == 1
    assert state["tasks"]["by_type"] == {"ReCaptchaV2TaskProxyLess": 1}
    assert state["tokens"]["issued"] == 1
    [row] = (await control(simulator, "tasks")).json
    assert row["ready_at"] - row["created"] == pytest.approx(row["seconds"])
    assert (row["status"], row["delivered_at"], row["paid"], row["queries"]) == ("ready", None, 0.0008, 0)
    assert row["fields"] == {"type": "ReCaptchaV2TaskProxyLess", **PAGE}
    assert simulator.key not in answer.text


@deferred_f_from_coro_f
async def test_configure_and_reset(caller: Caller, clock: Clock) -> None:
    simulator = caller.simulator
    first = await caller.task_id()
    answer = await control(simulator, "configure", quirks=["status-null"], speed=10, balance=5, solve_seconds=[2, 2])
    assert answer.json == {
        "quirks": ["status-null"],
        "speed": 10.0,
        "balance": 5.0,
        "solve_seconds": [2.0, 2.0],
        "latency": 0.0,
    }
    created = await caller.create("ReCaptchaV2TaskProxyLess", **PAGE)
    assert created.json["status"] is None
    clock.advance(0.2)
    assert (await caller.poll(created.json["taskId"])).json["status"] == "ready"
    [_, row] = (await control(simulator, "tasks")).json
    assert row["ready_at"] - row["created"] == pytest.approx(0.2)
    assert (await control(simulator, "reset")).json["tasks"]["created"] == 0
    assert simulator.state()["money"] == {"balance": 100.0, "spent": 0.0}
    assert (await caller.poll(first)).json["errorCode"] == "ERROR_TASKID_INVALID"
    assert simulator.state()["quirks"] == ["status-null"]
    # Tasks repeat after a reset, their ids do not.
    assert await caller.task_id() != first


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"quirks": ["nonsense"]}, "allowed: "),
        ({"quirks": "html-502"}, "list"),
        ({"quirks": [7]}, "list"),
        ({"speed": 0}, "above 0"),
        ({"speed": "fast"}, "speed"),
        ({"balance": -1}, "balance"),
        ({"solve_seconds": 3}, "two numbers"),
        ({"solve_seconds": [3, 2]}, "3 is more than 2"),
        ({"latency": True}, "latency"),
        ({"velocity": 1}, "velocity"),
    ],
)
@deferred_f_from_coro_f
async def test_wrong_configuration_changes_nothing(simulator: Simulator, values: dict[str, Any], says: str) -> None:
    answer = await control(simulator, "configure", **{"balance": 3, **values})
    assert answer.status == 400
    assert says in answer.json["error"]
    assert simulator.state()["money"]["balance"] == 100


@deferred_f_from_coro_f
async def test_control_takes_nothing_else(simulator: Simulator) -> None:
    url = simulator.api_url + "/_simulator/"
    assert (await fetch("POST", url + "state", b"{}")).status == 404
    assert (await fetch("GET", url + "nothing")).status == 404
    for body in (b"[]", b"{", b"\xff"):
        assert (await fetch("POST", url + "configure", body)).status == 400


@deferred_f_from_coro_f
async def test_extra_hosts_share_the_port_of_the_site(simulate: Callable[..., Simulator]) -> None:
    simulator = simulate(extra_hosts=("127.0.0.2", "127.0.0.3"))
    assert simulator.site_hosts == ("127.0.0.1", "127.0.0.2", "127.0.0.3")
    for host in simulator.site_hosts:
        url = simulator.site_url.replace("127.0.0.1", host)
        assert (await fetch("GET", f"{url}/free/1")).status == 200


# Twisted before 26 leaves the socket that could not be bound to the garbage collector, which is why it is called here.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
@deferred_f_from_coro_f
async def test_a_port_that_is_taken(simulate: Callable[..., Simulator]) -> None:
    taken = int(simulate().api_url.rpartition(":")[2])
    second = Simulator(api_port=0, site_port=taken)
    with pytest.raises(CannotListenError):
        await maybe_deferred_to_future(second.start())
    await maybe_deferred_to_future(second.stop())
    gc.collect()


@deferred_f_from_coro_f
async def test_stop_leaves_nothing_behind() -> None:
    from twisted.internet import reactor

    before = set(reactor.getDelayedCalls()), set(reactor.getReaders())
    simulator = Simulator(latency=60, quirks=["create-silence", "balance-slow-drip", "feedback-huge-body"])
    await maybe_deferred_to_future(simulator.start())
    caller, visitor = Caller(simulator), Visitor(simulator)
    calls = [
        deferred_from_coro(coroutine)
        for coroutine in (
            caller.create("ReCaptchaV2TaskProxyLess", **PAGE),
            caller("getToken", task={"type": "ReCaptchaV2TaskProxyLess", **PAGE}),
            caller("getBalance"),
            caller("feedbackTask"),
            visitor.go("/free/1"),
        )
    ]
    while sum(simulator.state()["api"]["calls"].values()) < 4 or not simulator.state()["site"]["requests"]:
        assert (await control(simulator, "state")).status == 200
    await maybe_deferred_to_future(simulator.stop())
    for call in calls:
        with pytest.raises(Exception, match=r"(?i)reset|closed|read|abort"):
            await maybe_deferred_to_future(call)
    assert set(reactor.getDelayedCalls()) <= before[0]
    assert set(reactor.getReaders()) <= before[1]
    assert simulator.state()["api"]["connections_open"] == 0
    # Stopped twice, and started again.
    await maybe_deferred_to_future(simulator.stop())
    await maybe_deferred_to_future(simulator.start())
    assert (await control(simulator, "state")).status == 200
    await maybe_deferred_to_future(simulator.stop())


def test_wrong_arguments_of_the_constructor() -> None:
    for options in (
        {"speed": 0},
        {"balance": -1},
        {"latency": float("nan")},
        {"solve_seconds": (5, 1)},
        {"quirks": ["nonsense"]},
    ):
        with pytest.raises(ValueError, match=r"speed|balance|latency|solve_seconds|nonsense"):
            Simulator(**options)  # type: ignore[arg-type]


def run(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "scrapy_capsolver.simulator", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@deferred_f_from_coro_f
async def test_the_process(number: signal.Signals) -> None:
    with run(
        "--speed", "50", "--key", "CAP-own", "--solve-seconds", "1:2", "--quirk", "status-null", "html-502:1"
    ) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        assert told["key"] == "CAP-own"
        state = await fetch("GET", told["api"] + "/_simulator/state")
        assert state.json["quirks"] == ["status-null", "html-502:1"]
        assert (await fetch("GET", told["site"] + "/free/1")).status == 200
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--speed", "0"], "argument --speed: invalid positive number value: '0'"),
        (["--api-port", "99999"], "argument --api-port: invalid port value: '99999'"),
        (["--solve-seconds", "5:1"], r"argument --solve-seconds: invalid MIN[:MAX] value: '5:1'"),
        (["--quirk", "nonsense"], "argument --quirk: unknown quirk 'nonsense'"),
    ],
)
def test_the_process_with_wrong_arguments(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert not out
    assert says in err


def test_the_process_at_a_port_that_is_taken(simulate: Callable[..., Simulator]) -> None:
    taken = simulate().api_url.rpartition(":")[2]
    with run("--api-port", taken) as process:
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (1, "")
    assert taken in err
    assert "Traceback" not in err
