"""The API over HTTP: paths, quirks of the wire, and the simulator's own control under ``/_simulator/``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from twisted.web.server import NOT_DONE_YET

from . import faults
from .api import METHODS, Api, Dialling, Pending
from .connections import set_aside
from .faults import Reply
from .quirks import EDGE_FAULTS, ERROR_FAULTS, Quirks
from .twisted_types import cancel, reading, when_gone

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred

    from .clock import SimulatedClock
    from .task_types import Fields
    from .twisted_types import DelayedCall, Request

_METHODS_BY_PATH = {f"/{method}".encode("ascii"): method for method in METHODS}

# What a control path does with the posted object; a GET path takes none.
Control = dict[tuple[str, str], "Callable[[dict[str, Any]], object]"]


class ApiResource:
    """``control`` maps HTTP method and name below ``/_simulator/`` to what is done; ValueError is answered with 400.

    ``dial`` goes through the proxy of a task's fields, and finds the address that the site sees, or nothing.
    """

    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(
        self,
        api: Api,
        quirks: Quirks,
        clock: SimulatedClock,
        control: Control,
        dial: Callable[[Fields], Deferred[str | None]],
    ) -> None:
        self._api = api
        self._quirks = quirks
        self._clock = clock
        self._control = control
        self._dial = dial
        self._dialling: set[Deferred[str | None]] = set()
        self.site_url = ""

    def render(self, request: Request) -> int:
        path = request.uri.partition(b"?")[0]
        method = _METHODS_BY_PATH.get(path)
        if path.startswith(b"/_simulator/"):
            set_aside(request)
            faults.send(request, self._controlled(request, path.decode("latin-1")), None, self._clock)
        elif method is None:
            self._api.unknown_paths += 1
            faults.send(request, Reply(404, b"404 page not found", "text/plain"), None, self._clock)
        elif request.method != b"POST":
            faults.send(request, Reply(405, b"405 method not allowed", "text/plain"), None, self._clock)
        else:
            self._call(request, method)
        return NOT_DONE_YET

    def _call(self, request: Request, method: str) -> None:
        api = self._api
        api.calls[method] += 1
        body = reading(request)
        if not request.getHeader("user-agent"):  # as Cloudflare, which stands before CapSolver, may do
            self._send(request, faults.html_reply(403), None)
            return
        fault = self._quirks.fault(method)
        if fault is not None:
            api.faults[fault] += 1
        if fault in EDGE_FAULTS:
            api.note_edge_fault(method, body)
            reply = faults.edge_reply(fault, self.site_url)
            if reply is None:
                faults.drop(request)
            else:
                self._send(request, reply, None)
            return
        error = fault if fault in ERROR_FAULTS else None
        answer = api.handle(method, body, request.getHeader("content-type") or "", error)
        if isinstance(answer, Pending):
            self._send_when_ended(request, answer, fault)
        elif isinstance(answer, Dialling):
            self._send_when_dialled(request, answer, fault)
        else:
            self._send(request, answer, None if error else fault)

    def _send(self, request: Request, reply: Reply, fault: str | None) -> None:
        self._api.statuses[reply.status] += 1
        faults.send(request, reply, fault, self._clock)

    def _send_when_dialled(self, request: Request, call: Dialling, fault: str | None) -> None:
        """Hold a call of createTask until its proxy was tried. There is a task then, even if the caller is gone."""
        gone: list[bool] = []
        when_gone(request, lambda: gone.append(True))
        dialling = self._dial(call.fields)

        def answer(address: str | None) -> None:
            self._dialling.discard(dialling)
            reply = self._api.dialled(call, address)
            if not gone:
                self._send(request, reply, fault)

        self._dialling.add(dialling)
        dialling.addCallback(answer)

    def stop_dialling(self) -> None:
        for dialling in list(self._dialling):
            dialling.cancel()

    def _send_when_ended(self, request: Request, pending: Pending, fault: str | None) -> None:
        """Hold a call of getToken until its task ends. Nobody gets the token if the caller is gone by then."""
        timer: DelayedCall

        def look() -> None:
            nonlocal timer
            if self._clock.now() < pending.task.ready_at:  # The speed has changed, or a timer was early by a hair.
                timer = self._clock.call_at(pending.task.ready_at, look)
                return
            self._send(request, self._api.token(pending), fault)

        timer = self._clock.call_at(pending.task.ready_at, look)
        when_gone(request, lambda: cancel(timer))

    def _controlled(self, request: Request, path: str) -> Reply:
        do = self._control.get((request.method.decode("latin-1"), path.removeprefix("/_simulator/")))
        if do is None:
            return Reply(404, b'{"error": "no such control"}')
        try:
            text = reading(request)
            value = json.loads(text) if text.strip() else {}
            if not isinstance(value, dict):
                raise ValueError("expected a JSON object")  # noqa: TRY004 - to the caller, a bad value like any other
            return Reply(200, json.dumps(do(value)).encode("ascii"))
        except (ValueError, RecursionError) as error:
            return Reply(400, json.dumps({"error": str(error)}).encode("ascii"))
