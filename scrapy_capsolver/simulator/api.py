"""The five methods of CapSolver's API, and the envelope and the HTTP statuses of their replies.

Source: docs.capsolver.com/guide/api-createtask, .../api-gettaskresult, .../api-getToken, .../api-getbalance,
.../api-feedback.html and .../api-error.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import ApiError, invalid_task
from .faults import Reply
from .quirks import ERROR_FAULTS
from .task_types import MICRO, Catalogue, Fields, TaskType

if TYPE_CHECKING:
    from .clock import SimulatedClock
    from .quirks import Quirks
    from .tasks import Task, TaskTable

METHODS = ("createTask", "getTaskResult", "getToken", "getBalance", "feedbackTask")

# The quirk "lock-out". The documentation says "too many errors" of the key, and up to 1000 in a minute of the address.
_KEY_ERRORS, _KEY_SECONDS = 30, 300.0
_ADDRESS_ERRORS, _ADDRESS_SECONDS = 1000, 1800.0


@dataclass(frozen=True)
class Pending:
    """A call of getToken that is answered when its task has ended."""

    task: Task
    manners: frozenset[str]


@dataclass(frozen=True)
class Dialling:
    """A call of createTask that is answered when the address behind the task's proxy is known."""

    type: TaskType
    fields: Fields
    manners: frozenset[str]


class Api:
    """The service behind the HTTP: takes bodies, and makes replies."""

    def __init__(
        self, clock: SimulatedClock, tasks: TaskTable, quirks: Quirks, types: tuple[TaskType, ...], *, key: str
    ) -> None:
        self._clock = clock
        self._tasks = tasks
        self._quirks = quirks
        self._catalogue = Catalogue(types)
        self._key = key
        self.reset()

    def reset(self) -> None:
        self.calls: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.faults: Counter[str] = Counter()
        self.unknown_paths = 0
        self.feedback: list[dict[str, Any]] = []
        self._error_times: deque[float] = deque(maxlen=_ADDRESS_ERRORS)
        self._locked: tuple[str, float] | None = None

    def handle(self, method: str, body: bytes, content_type: str, fault: str | None) -> Reply | Pending | Dialling:
        """Answer a call. What is pending, after getToken, has to be waited for: see :meth:`token`.

        Before a task can be made for what is dialling, somebody has to go through its proxy: see :meth:`dialled`.

        ``fault`` is a name of quirks.ERROR_FAULTS if that is to be the answer.
        """
        manners = self._quirks.manners(method)
        try:
            self._check_lock(manners)
            if fault is not None:
                code, description, status = ERROR_FAULTS[fault]
                self._count_query(method, body)
                raise ApiError(code, description, status=status)
            request = _read(body, content_type)
            self._check_key(request, method, manners)
            if method == "createTask":
                return self._create(request, manners)
            if method == "getTaskResult":
                return self._result(request, manners)
            if method == "getToken":
                return Pending(self._begin(*self._checked(request, manners, by_get_token=True)), manners)
            if method == "getBalance":
                self._tasks.settle()
                return _success(manners, balance=self._tasks.balance / MICRO, packages=[])
            return self._take_feedback(request, manners)
        except ApiError as error:
            return self._failure(error)

    def dialled(self, call: Dialling, address: str | None) -> Reply:
        """Answer a call of createTask after its proxy was tried."""
        try:
            return self._created(self._begin(call.type, call.fields, address), call.manners)
        except ApiError as error:
            return self._failure(error)

    def token(self, pending: Pending) -> Reply:
        """Answer a call of getToken whose task has ended."""
        self._tasks.settle()
        task = pending.task
        if task.open:  # The simulator was reset meanwhile, and nobody works on the task any more.
            return self._failure(ApiError("ERROR_TASKID_INVALID", "Task ID is invalid or no longer exists"))
        return self._ended(task, pending.manners)

    def note_edge_fault(self, method: str, body: bytes) -> None:
        """Note a call that does not reach the service. Whether it counts among a task's queries is unknown: it does."""
        self._count_query(method, body)

    def _create(self, request: Fields, manners: frozenset[str]) -> Reply | Dialling:
        type_, fields = self._checked(request, manners)
        if type_.dials:
            return Dialling(type_, fields, manners)
        return self._created(self._begin(type_, fields), manners)

    def _created(self, task: Task, manners: frozenset[str]) -> Reply:
        if task.type.seconds is None:
            return _success(manners, status="ready", solution=task.solution, taskId=task.id)
        if "status-missing" in manners:
            return _success(manners, taskId=task.id)
        status = "processing" if "status-processing" in manners else None if "status-null" in manners else "idle"
        return _success(manners, status=status, taskId=task.id)

    def _checked(
        self, request: Fields, manners: frozenset[str], *, by_get_token: bool = False
    ) -> tuple[TaskType, Fields]:
        fields = request.get("task")
        if not isinstance(fields, dict):
            raise invalid_task("invalid task data: task is required")
        type_ = self._catalogue.find(fields.get("type"), strict="strict-type-names" in manners)
        if by_get_token and not type_.by_get_token:
            raise ApiError("ERROR_TASK_NOT_SUPPORTED", "Task type is not supported by getToken")
        type_.validate(fields)
        return type_, fields

    def _begin(self, type_: TaskType, fields: Fields, address: str | None = None) -> Task:
        outcome = self._quirks.outcome() if type_.seconds is not None else None
        return self._tasks.create(type_, fields, outcome, address)

    def _result(self, request: Fields, manners: frozenset[str]) -> Reply:
        task = self._tasks.query(request.get("taskId"))
        if not task.open:
            return self._ended(task, manners)
        return _success(manners, status=task.status(self._clock.now()), taskId=task.id)

    def _ended(self, task: Task, manners: frozenset[str]) -> Reply:
        if task.failure is not None:
            return self._failure(task.failure, taskId=task.id, status="failed")
        self._tasks.note_delivery(task)
        if task.outcome == "ready-without-solution":
            return _success(manners, status="ready", taskId=task.id)
        return _success(manners, status="ready", solution=task.solution, taskId=task.id)

    def _take_feedback(self, request: Fields, manners: frozenset[str]) -> Reply:
        result, task_id = request.get("result"), request.get("taskId")
        if not isinstance(task_id, str) or task_id not in self._tasks.by_id:
            raise ApiError("ERROR_TASKID_INVALID", "Task ID is invalid or no longer exists")
        if not isinstance(result, dict) or not isinstance(result.get("invalid"), bool):
            raise ApiError("ERROR_BAD_REQUEST", "result.invalid is required")
        self.feedback.append({"taskId": task_id, "result": result})
        return _success(manners, message="okay")

    def _check_key(self, request: Fields, method: str, manners: frozenset[str]) -> None:
        if request.get("clientKey") == self._key:
            return
        if "bad-key-400" not in manners:
            raise ApiError("ERROR_KEY_DENIED_ACCESS", "Your account key is wrong", status=401)
        if method in {"createTask", "getToken"}:
            raise invalid_task("clientKey is invalid")
        raise ApiError("ERROR_KEY_DOES_NOT_EXIST", "clientKey is invalid")

    def _count_query(self, method: str, body: bytes) -> None:
        if method == "getTaskResult":
            task_id = _parse(body).get("taskId")
            task = self._tasks.by_id.get(task_id) if isinstance(task_id, str) else None
            if task is not None:
                task.queries += 1

    def _check_lock(self, manners: frozenset[str]) -> None:
        if "lock-out" not in manners or self._locked is None:
            return
        fault, until = self._locked
        if self._clock.now() < until:
            code, description, status = ERROR_FAULTS[fault]
            raise ApiError(code, description, status=status)
        self._locked = None

    def _failure(self, error: ApiError, **more: object) -> Reply:
        self.errors[error.code] += 1
        now = self._clock.now()
        self._error_times.append(now)
        times = self._error_times
        if len(times) == _ADDRESS_ERRORS and now - times[0] < 60:
            self._locked = "ip-banned", now + _ADDRESS_SECONDS
        elif self._locked is None and len(times) >= _KEY_ERRORS and now - times[-_KEY_ERRORS] < 60:
            self._locked = "key-temp-blocked", now + _KEY_SECONDS
        return _reply(
            error.status, {"errorId": 1, "errorCode": error.code, "errorDescription": error.description, **more}
        )


def _parse(body: bytes) -> Fields:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _read(body: bytes, content_type: str) -> Fields:
    request = _parse(body) if "json" in content_type.lower() else {}
    if not request:
        raise invalid_task("request body must be a json raw")
    return request


def _success(manners: frozenset[str], **members: object) -> Reply:
    envelope: dict[str, object] = {"errorId": 0}
    if "error-fields-missing" not in manners:
        empty = None if "error-fields-null" in manners else ""
        envelope |= {"errorCode": empty, "errorDescription": empty}
    return _reply(200, envelope | members)


def _reply(status: int, value: object) -> Reply:
    return Reply(status, json.dumps(value).encode("ascii"))
