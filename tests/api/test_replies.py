from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scrapy_capsolver.api.codes import INVALID_TASK_DATA, RULES, Action
from scrapy_capsolver.api.replies import MAX_DESCRIPTION, Balance, Fault, Package, read_balance, read_reply

TASK = "37223a89-06ed-442c-a0b8-22067b79c5b4"

# Every code of docs.capsolver.com/guide/api-error, and those that were only observed.
ACTIONS = {
    "ERROR_SERVICE_UNAVALIABLE": Action.WAIT,
    "ERROR_SERVICE_UNAVAILABLE": Action.WAIT,
    "ERROR_RATE_LIMIT": Action.WAIT,
    "ERROR_INVALID_TASK_DATA": Action.REQUEST,
    "ERROR_BAD_REQUEST": Action.NEW,
    "ERROR_TASKID_INVALID": Action.NEW,
    "ERROR_TASK_TIMEOUT": Action.NEW,
    "ERROR_SETTLEMENT_FAILED": Action.WAIT,
    "ERROR_KEY_DENIED_ACCESS": Action.CRAWL,
    "ERROR_KEY_DOES_NOT_EXIST": Action.CRAWL,
    "ERROR_ZERO_BALANCE": Action.CRAWL,
    "ERROR_TASK_NOT_SUPPORTED": Action.CRAWL,
    "ERROR_CAPTCHA_UNSOLVABLE": Action.NEW,
    "ERROR_CAPTCHA_SOLVE_FAILED": Action.NEW,
    "ERROR_UNKNOWN_QUESTION": Action.REQUEST,
    "ERROR_PROXY_BANNED": Action.REQUEST,
    "ERROR_INVALID_IMAGE": Action.REQUEST,
    "ERROR_PARSE_IMAGE_FAIL": Action.REQUEST,
    "ERROR_IP_BANNED": Action.WAIT,
    "ERROR_KEY_TEMP_BLOCKED": Action.WAIT,
    "ERROR_TASK_NOT_FOUND": Action.NEW,
    "ERROR_OF_TOMORROW": Action.NEW,
}


def read(http_status: int = 200, /, **envelope: Any) -> Any:
    return read_reply(http_status, json.dumps(envelope).encode())


def test_the_table_holds_every_known_code() -> None:
    assert RULES.keys() == ACTIONS.keys() - {"ERROR_OF_TOMORROW"}


@pytest.mark.parametrize("http_status", [200, 400, 401, 429, 503])
@pytest.mark.parametrize("code", ACTIONS)
def test_an_error_is_read_from_the_body_whatever_the_http_status(code: str, http_status: int) -> None:
    fault = read(http_status, errorId=1, errorCode=code, errorDescription="why").fault
    assert (fault.code, fault.description, fault.in_envelope) == (code, "why", True)
    assert fault.rule.action is ACTIONS[code]


@pytest.mark.parametrize(
    ("description", "action"),
    [
        ("clientKey is invalid", Action.CRAWL),
        ("request body must be a json raw", Action.CRAWL),
        ("invalid task data: Missing proxy params.", Action.CRAWL),
        ("Not found FunCaptcha access. Please contact our support", Action.CRAWL),
        ("Deny access", Action.CRAWL),
        ("This website is currently under maintenance", Action.REQUEST),
        ("Invalid site key", Action.REQUEST),
        ("question empty", Action.REQUEST),
        ("captcha render unexpect status code 403", Action.NEW),
        ("timeout metering, your parameters have expired", Action.NEW),
        ("something else", Action.REQUEST),
    ],
)
def test_the_causes_hidden_in_descriptions(description: str, action: Action) -> None:
    fault = read(400, errorId=1, errorCode="ERROR_INVALID_TASK_DATA", errorDescription=description).fault
    assert fault.rule.action is action
    assert any(part in description.lower() for part in INVALID_TASK_DATA) or fault.rule.action is not Action.CRAWL


@pytest.mark.parametrize(
    ("http_status", "action"), [(400, Action.NEW), (401, Action.CRAWL), (429, Action.WAIT), (503, Action.WAIT)]
)
def test_an_envelope_without_a_code_goes_by_the_http_status(http_status: int, action: Action) -> None:
    fault = read(http_status, errorId=1, errorDescription="no").fault
    assert (fault.rule.action, fault.in_envelope) == (action, True)


@pytest.mark.parametrize("status", [None, "idle", "processing", "missing"])
def test_statuses_without_a_solution(status: str | None) -> None:
    reply = read(errorId=0, taskId=TASK, **({} if status == "missing" else {"status": status}))
    assert (reply.ready, reply.fault, reply.task_id) == (False, None, TASK)


def test_ready() -> None:
    reply = read(errorId=0, errorCode="", status="ready", solution={"token": "T-SECRET"})
    assert reply.ready
    assert reply.solution == {"token": "T-SECRET"}
    assert "SECRET" not in repr(reply)


@pytest.mark.parametrize("http_status", [200, 400])
def test_failed(http_status: int) -> None:
    reply = read(http_status, errorId=1, errorCode="ERROR_CAPTCHA_SOLVE_FAILED", status="failed", taskId=TASK)
    assert (reply.ready, reply.fault.code, reply.task_id) == (False, "ERROR_CAPTCHA_SOLVE_FAILED", TASK)


def test_an_error_code_is_an_error_even_where_error_id_says_none() -> None:
    assert read(errorId=0, errorCode="ERROR_ZERO_BALANCE").fault.code == "ERROR_ZERO_BALANCE"
    assert read(errorId=2, status="ready", solution={}).fault is not None
    assert read(errorId=0, status="failed").fault is not None


@pytest.mark.parametrize(
    ("http_status", "action"),
    [
        (200, Action.POLL),
        (408, Action.POLL),
        (429, Action.POLL),
        (500, Action.POLL),
        (502, Action.POLL),
        (503, Action.POLL),
        (403, Action.CRAWL),
        (401, Action.CRAWL),
        (404, Action.CRAWL),
        (405, Action.CRAWL),
        (302, Action.CRAWL),
    ],
)
@pytest.mark.parametrize(
    "body", [b"<html>no</html>", b"", b"[]", b"null", b'{"errorId": 0, "sta', b"\xff\xfe", b"[" * 99999]
)
def test_replies_without_an_envelope(http_status: int, action: Action, body: bytes) -> None:
    fault = read_reply(http_status, body).fault
    assert fault is not None
    assert (fault.in_envelope, fault.rule.action) == (False, action)
    assert f"HTTP {http_status}" in str(fault)
    assert len(str(fault)) < 200


def test_descriptions_are_fit_for_a_log_line() -> None:
    fault = read(errorId=1, errorCode="ERROR_X\n\x1b[2J", errorDescription="a\r\nb\x00" + "c" * 9999).fault
    assert fault.description.startswith("a b c")
    assert len(fault.description) <= MAX_DESCRIPTION
    assert str(fault).isprintable()


def test_balance() -> None:
    package = {"title": "v2 500K", "numberOfCalls": 7, "expireTime": 1700000000, "token": "CAP-SECRET", "status": 1}
    balance = read_balance(200, json.dumps({"errorId": 0, "balance": 48.6361, "packages": [package, 5]}).encode())
    assert balance == Balance(48.6361, (Package("v2 500K", 7, 1700000000),))
    assert "SECRET" not in repr(balance)
    for body in (b"{}", b'{"balance": "much"}', b'{"balance": true}', b"no"):
        assert isinstance(read_balance(200, body), Fault)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
_ENVELOPES = st.fixed_dictionaries(
    {},
    optional={
        name: _JSON | st.sampled_from(["ready", "failed", "idle", "ERROR_RATE_LIMIT", TASK, 0, 1, "0"])
        for name in ("errorId", "errorCode", "errorDescription", "status", "taskId", "solution", "balance", "packages")
    },
)


@example(400, b'{"errorCode": "0\\u00a00", "errorDescription": "a\\u2028b"}')
@given(
    st.integers(100, 599),
    _ENVELOPES.map(lambda e: json.dumps(e).encode()) | _JSON.map(lambda v: json.dumps(v).encode()) | st.binary(),
)
def test_any_bytes_are_a_reply(http_status: int, body: bytes) -> None:
    reply = read_reply(http_status, body)
    assert not (reply.ready and reply.fault)
    assert reply.solution is None or isinstance(reply.solution, dict)
    assert reply.task_id is None or reply.task_id.isprintable()
    if reply.fault is not None:
        assert str(reply.fault).isprintable()
        assert reply.solution is None
    assert isinstance(read_balance(http_status, body), (Balance, Fault))
