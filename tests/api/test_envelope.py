"""Replies in every shape that a client of CapSolver's is known to read, and in shapes that nobody reads."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrapy_capsolver.api.envelope import Envelope, read_envelope
from scrapy_capsolver.api.replies import Balance, Fault, read_balance, read_reply

TASK = "37223a89-06ed-442c-a0b8-22067b79c5b4"
SOLUTION = {"token": "T-SECRET"}
HUGE = "1" + "0" * 5000


def read(http_status: int = 200, /, **members: Any) -> Any:
    return read_reply(http_status, json.dumps(members).encode())


def ready(**members: Any) -> dict[str, Any]:
    return {"errorId": 0, "status": "ready", "taskId": TASK, "solution": SOLUTION, **members}


@pytest.mark.parametrize("error_id", [0, 0.0, -0.0, False, None, "", "0", " 0 ", "0.0", "false", "null", float("nan")])
def test_error_ids_that_say_no_error(error_id: object) -> None:
    """An errorId may come as text or be empty, and is an error only if it says so."""
    assert read(**ready(errorId=error_id)).ready
    created = read(errorId=error_id, taskId=TASK)
    assert (created.fault, created.task_id, created.ready) == (None, TASK, False)


@pytest.mark.parametrize("error_id", [1, 2.5, True, "1", "-1", "yes", [1], {"a": 1}, float("inf"), 10**400])
def test_error_ids_that_say_an_error(error_id: object) -> None:
    """A solution beside an error is none."""
    reply = read(**ready(errorId=error_id))
    assert reply.fault is not None
    assert (reply.ready, reply.solution) == (False, None)


@pytest.mark.parametrize("code", ["SUCCESS", "success", "0", 0, "", None, "OK", "ERROR_SETTLEMENT_FAILED"])
def test_a_solution_without_an_error_id_is_one_whatever_the_code(code: object) -> None:
    """What is ready beside errorId 0 is a solution."""
    assert read(**ready(errorCode=code)).solution == SOLUTION
    assert read(503, **ready(errorCode=code)).ready


@pytest.mark.parametrize("code", ["SUCCESS", "0", "ok", " none "])
def test_codes_of_success_are_no_errors_while_a_task_is_open(code: str) -> None:
    assert read(errorId=0, errorCode=code, status="processing").fault is None


def test_a_code_is_an_error_while_there_is_no_solution() -> None:
    for members in ({"status": "processing"}, {"status": "ready"}, {"solution": SOLUTION}):
        assert read(errorId=0, errorCode="ERROR_ZERO_BALANCE", **members).fault.code == "ERROR_ZERO_BALANCE"
    assert read(errorId=1, errorCode=" error_zero_balance ").fault.code == "ERROR_ZERO_BALANCE"


@pytest.mark.parametrize("status", ["ready", "Ready", "READY", "ready ", "\tready\n"])
def test_a_status_in_any_case_and_padded(status: str) -> None:
    assert read(**ready(status=status)).ready


@pytest.mark.parametrize("status", [None, "", " ", 7, [], "missing"])
def test_a_solution_needs_no_status(status: object) -> None:
    members = ready(status=status)
    if status == "missing":
        del members["status"]
    assert read(**members).ready


@pytest.mark.parametrize("status", ["processing", "idle", "Processing", "queued"])
def test_a_status_that_is_not_ready(status: str) -> None:
    assert not read(errorId=0, status=status).ready
    assert not read(**ready(status=status)).ready


@pytest.mark.parametrize("status", ["failed", "Failed", " FAILED "])
def test_a_task_that_failed(status: str) -> None:
    reply = read(errorId=0, status=status, taskId=TASK)
    assert (reply.ended, reply.fault.code) == (True, "")


@pytest.mark.parametrize(
    ("given", "task_id", "numeric"),
    [
        (TASK, TASK, False),
        (f" {TASK}\n", TASK, False),
        (7654321, "7654321", True),
        (7654321.0, "7654321", True),
        ("7654321", "7654321", False),
        (0, "0", True),
        (-1, None, False),
        (2**64, None, False),
        (10**400, None, False),
        (float("nan"), None, False),
        (True, None, False),
        ("", None, False),
        ("a b", None, False),
        ("ä", None, False),
        ("a\r\nX: y", None, False),
        ("x" * 129, None, False),
        ([TASK], None, False),
    ],
)
def test_task_ids(given: object, task_id: str | None, numeric: bool) -> None:
    reply = read(errorId=0, taskId=given)
    assert (reply.task_id, reply.numeric) == (task_id, numeric)


@pytest.mark.parametrize(
    ("echoed", "asked", "other"),
    [
        (TASK, TASK, False),
        (TASK.upper(), TASK, False),
        ("another", TASK, True),
        (None, TASK, False),
        ("", TASK, False),
        (7654321, TASK, False),
        (7654321, "7654321", False),
        (7654322, "7654321", True),
    ],
)
def test_whose_reply_it_is(echoed: object, asked: str, other: bool) -> None:
    """A task id may come back in another case, or as the number that it is elsewhere."""
    assert read(**ready(taskId=echoed)).is_of_another(asked) == other


@pytest.mark.parametrize(
    ("given", "solution"),
    [
        (SOLUTION, SOLUTION),
        (json.dumps(SOLUTION), SOLUTION),
        (f" {json.dumps(SOLUTION)}\n", SOLUTION),
        (json.dumps([SOLUTION]), SOLUTION),
        ([SOLUTION], SOLUTION),
        ("T-SECRET", SOLUTION),
        ('"T-SECRET"', SOLUTION),
        ({}, None),
        (None, None),
        ("", None),
        ("ready", None),
        ("unsolvable", None),
        ('"solved"', None),
        ("not solved 1", None),
        ("{", None),
        ("[1, 2]", None),
        ([1, 2], None),
        ([], None),
        (7, None),
        ("x" * 200_000, None),
    ],
)
def test_solutions(given: object, solution: object) -> None:
    reply = read(**ready(solution=given))
    assert reply.ready
    assert reply.solution == solution
    assert reply.empty == (solution is None)


def test_members_in_other_spellings() -> None:
    assert read(error_id=0, task_id=TASK).task_id == TASK
    assert read(errorid=1, ErrorCode="ERROR_ZERO_BALANCE").fault.code == "ERROR_ZERO_BALANCE"
    assert read(taskid="b", taskId="a").task_id == "a"
    assert read(taskId="a", taskid="b").task_id == "a"
    assert read(data=ready()).solution == SOLUTION
    assert read(429, message="Too Many Requests").fault.in_envelope is False


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.encode("utf-16"),
        lambda text: b"\r\n\n " + text.encode() + b"\n\0",
        lambda text: text.replace("{", '{"errorDescription": "Erreur: é", ', 1).encode("latin-1"),
    ],
    ids=["byte order mark", "utf-16", "blanks and zeros", "broken utf-8"],
)
def test_bytes_around_and_within(spoil: Any) -> None:
    assert read_reply(200, spoil(json.dumps(ready()))).solution == SOLUTION


@pytest.mark.parametrize("number", [HUGE, f"-{HUGE}", "1e99999", "NaN", "-Infinity", "-0.0", "1" * 641])
def test_numbers_of_any_size(number: str) -> None:
    """No reply is lost for a number that nobody needs."""
    body = json.dumps(ready(solution={**SOLUTION, "createTime": "NUMBER"})).replace('"NUMBER"', number)
    assert read_reply(200, body.encode()).solution["token"] == "T-SECRET"  # type: ignore[index]
    balance = read_balance(200, f'{{"errorId": 0, "balance": {number}}}'.encode())
    assert balance == Balance(0.0) if number == "-0.0" else isinstance(balance, Fault)


@pytest.mark.parametrize(
    ("given", "usd"), [(5, 5.0), ("12.5", 12.5), (" 3 ", 3.0), (-1, -1.0), (1e300, None), ("much", None), (True, None), ([1], None)]
)  # fmt: skip
def test_balances(given: object, usd: float | None) -> None:
    balance = read_balance(200, json.dumps({"balance": given}).encode())
    assert balance == Balance(usd) if usd is not None else isinstance(balance, Fault)


@pytest.mark.parametrize(
    ("given", "number"), [(7, 7), ("7", 7), (7.0, 7), (7.5, 0), (None, 0), (True, 0), ("x", 0), (10**400, 10**400)]
)
def test_numbers_of_packages(given: object, number: int) -> None:
    package = {"title": 5, "numberOfCalls": given, "expireTime": given}
    balance = read_balance(200, json.dumps({"balance": 1, "packages": [package, 7, None]}).encode())
    assert isinstance(balance, Balance)
    (found,) = balance.packages
    assert (found.title, found.calls, found.expires) == ("", number, number)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("HUGE"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
NAMES = ("errorId", "errorCode", "errorDescription", "status", "taskId", "solution", "balance", "packages", "task_id")
WORDS = st.sampled_from(
    ["ready", "Failed", "idle", "ERROR_RATE_LIMIT", TASK, 0, 1, "0", "", '{"token": "t"}', "SUCCESS"]
)


def dumped(value: object) -> bytes:
    """As JSON, also numbers of more digits than Python writes."""
    return json.dumps(value).replace('"HUGE"', HUGE).encode()


BODIES = (
    st.dictionaries(st.sampled_from(NAMES), JSON | WORDS).map(dumped)
    | JSON.map(dumped)
    | st.binary()
    | st.dictionaries(st.sampled_from(NAMES), JSON | WORDS).map(lambda value: dumped({"data": value}))
)


@given(BODIES)
def test_any_bytes_are_an_envelope_or_none(body: bytes) -> None:
    envelope = read_envelope(body)
    if envelope is None:
        return
    assert isinstance(envelope, Envelope)
    assert envelope.status == envelope.status.lower().strip()
    assert envelope.solution is None or envelope.solution
    assert isinstance(envelope.task_id, (str, int, type(None)))
    assert not isinstance(envelope.task_id, bool)


@given(st.integers(100, 999), BODIES)
def test_any_bytes_are_a_reply(http_status: int, body: bytes) -> None:
    reply = read_reply(http_status, body)
    assert not (reply.ready and reply.fault)
    assert reply.fault is None or (str(reply.fault).isprintable() and reply.solution is None)
    assert reply.task_id is None or (reply.task_id.isprintable() and " " not in reply.task_id)
    assert isinstance(read_balance(http_status, body), (Balance, Fault))
