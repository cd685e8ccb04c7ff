"""Replies of the API, whole and spoilt, as they go out on the wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IPullProducer
from zope.interface import implementer  # type: ignore[import-untyped,unused-ignore]

from .twisted_types import when_gone

if TYPE_CHECKING:
    from .clock import SimulatedClock
    from .twisted_types import DelayedCall, Request

HUGE_BYTES = 100 * 1024 * 1024
_DRIP_SECONDS = 0.1

_HTML = (
    "<!DOCTYPE html><html><head><title>{status}</title></head><body><h1>Error {status}</h1>"
    "<p>cloudflare</p></body></html>"
)


@dataclass
class Reply:
    """An HTTP answer of the API."""

    status: int
    body: bytes
    content_type: str = "application/json; charset=utf-8"
    location: str | None = None


def html_reply(status: int) -> Reply:
    return Reply(status, _HTML.format(status=status).encode(), "text/html; charset=UTF-8")


def edge_reply(fault: str, site_url: str) -> Reply | None:
    """Return the answer of the edge for one of quirks.EDGE_FAULTS, or nothing if the connection is to be closed."""
    if fault.startswith("html-"):
        return html_reply(int(fault.removeprefix("html-")))
    if fault in {"redirect", "redirect-307"}:
        return Reply(307 if fault == "redirect-307" else 302, b"", location=f"{site_url}/redirected")
    return None


def send(request: Request, reply: Reply, fault: str | None, clock: SimulatedClock) -> None:
    """Send a reply, or what one of quirks.REPLY_FAULTS makes of it."""
    if fault == "reply-lost":
        drop(request)
    elif fault == "silence":
        # When the client, or the simulator, closes the connection at last, there is nothing to clean up.
        when_gone(request, lambda: None)
    elif fault == "slow-drip":
        _Drip(request, reply, clock)
    elif fault == "huge-body":
        _head(request, Reply(200, b""), length=HUGE_BYTES)
        request.registerProducer(_Flood(request), False)  # noqa: FBT003 - Twisted's signature; a pull producer
    elif fault == "short-body":
        _head(request, reply, length=len(reply.body))
        request.write(reply.body[: len(reply.body) // 2])
        request.loseConnection()
    else:
        _whole(request, _changed(reply, fault))


def _changed(reply: Reply, fault: str | None) -> Reply:
    if fault in {"html-504", "html-200"}:
        return html_reply(504 if fault == "html-504" else 200)
    if fault == "truncated-json":
        return Reply(reply.status, reply.body[: len(reply.body) // 2])
    if fault == "json-list":
        return Reply(reply.status, b"[" + reply.body + b"]")
    bodies = {"empty-body": b"", "json-null": b"null", "not-utf8": b'{"errorId": 0, "taskId": "\xff\xfe"}'}
    return Reply(200, bodies[fault]) if fault in bodies else reply


def drop(request: Request) -> None:
    """Close the connection without an answer."""
    when_gone(request, lambda: None)
    request.channel.transport.abortConnection()


def _head(request: Request, reply: Reply, *, length: int) -> None:
    request.setResponseCode(reply.status)
    headers = request.responseHeaders
    headers.setRawHeaders("Content-Type", [reply.content_type])
    headers.setRawHeaders("Content-Length", [str(length)])
    if reply.location is not None:
        headers.setRawHeaders("Location", [reply.location])


def _whole(request: Request, reply: Reply) -> None:
    _head(request, reply, length=len(reply.body))
    request.write(reply.body)
    request.finish()


class _Drip:
    """Sends a reply byte by byte."""

    def __init__(self, request: Request, reply: Reply, clock: SimulatedClock) -> None:
        self._request = request
        self._rest = reply.body
        self._clock = clock
        self._timer: DelayedCall | None = None
        when_gone(request, self._stop)
        _head(request, reply, length=len(reply.body))
        self._go_on()

    def _go_on(self) -> None:
        self._request.write(self._rest[:1])
        self._rest = self._rest[1:]
        if self._rest:
            self._timer = self._clock.call_later_real(_DRIP_SECONDS, self._go_on)
        else:
            self._timer = None
            self._request.finish()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


@implementer(IPullProducer)
class _Flood:
    """Writes a body that is far too long, as fast as the client takes it."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._rest = HUGE_BYTES - 1
        when_gone(request, self.stopProducing)
        request.write(b"{")

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted's name
        if not self._rest:  # It was stopped.
            return
        size = min(self._rest, 1 << 16)
        self._rest -= size
        self._request.write(b" " * size)
        if not self._rest:
            self._request.unregisterProducer()
            self._request.finish()

    def stopProducing(self) -> None:  # noqa: N802 - Twisted's name
        self._rest = 0
