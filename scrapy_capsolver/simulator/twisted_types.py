"""The parts of Twisted that the simulator uses, as types: Twisted's own interfaces mean little to a type checker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from twisted.web.http_headers import Headers


class DelayedCall(Protocol):
    def active(self) -> bool: ...

    def cancel(self) -> None: ...


class Timer(Protocol):
    """What a reactor and :class:`twisted.internet.task.Clock` have in common."""

    def seconds(self) -> float: ...

    def callLater(self, delay: float, call: Callable[[], object], /) -> DelayedCall: ...  # noqa: N802 - Twisted's name


class Request(Protocol):
    """A :class:`twisted.web.server.Request`."""

    method: bytes
    uri: bytes
    args: dict[bytes, list[bytes]] | None
    content: BinaryIO | None
    channel: Any
    responseHeaders: Headers  # noqa: N815 - Twisted's name

    def getHeader(self, key: str, /) -> str | None: ...  # noqa: N802

    def getCookie(self, key: bytes, /) -> bytes | None: ...  # noqa: N802

    def getClientAddress(self) -> Any: ...  # noqa: N802

    def setResponseCode(self, code: int, /) -> None: ...  # noqa: N802

    def write(self, data: bytes, /) -> object: ...

    def finish(self) -> None: ...

    def loseConnection(self) -> None: ...  # noqa: N802

    def notifyFinish(self) -> Any: ...  # noqa: N802

    def registerProducer(self, producer: object, streaming: bool, /) -> None: ...  # noqa: N802, FBT001

    def unregisterProducer(self) -> None: ...  # noqa: N802


class WebResource(Protocol):
    """What :class:`twisted.web.server.Site` needs of a resource that answers every path itself."""

    isLeaf: bool  # noqa: N815 - Twisted's name

    def render(self, request: Request) -> int: ...


def cancel(call: DelayedCall) -> None:
    """Cancel a call that may have been made already."""
    if call.active():
        call.cancel()


def when_gone(request: Request, call: Callable[[], object]) -> None:
    """Call back if the connection is closed before the request was answered to the end."""
    request.notifyFinish().addErrback(lambda _: call() and None)


def reading(request: Request) -> bytes:
    """Return the whole body of a request."""
    if request.content is None:
        return b""
    request.content.seek(0)
    return request.content.read()
