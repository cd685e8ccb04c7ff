"""A TLS server, by whatever certificate a test gives it."""

from __future__ import annotations

import socketserver
import ssl
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from collections.abc import Iterator

_REPLY = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@contextmanager
def tls_server(certificate: trustme.LeafCert, host: str = "localhost") -> Iterator[tuple[str, list[bytes]]]:
    """Its address under the name ``host``, and what arrived there once a handshake was done: anything at all."""
    received: list[bytes] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):  # the client hangs up, as it should
                self.request.do_handshake()
                if data := self.request.recv(65536):
                    received.append(data)
                    self.request.sendall(_REPLY)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"https://{host}:{server.server_address[1]}", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()  # which waits for the handlers


@contextmanager
def unverifiable_server() -> Iterator[tuple[str, list[bytes]]]:
    """A server whose certificate nobody vouches for."""
    with tls_server(trustme.CA().issue_cert("localhost")) as server:
        yield server
