"""A forward proxy on this machine, for the parts of the shop that open to no visitor without one.

    python example_project/forward_proxy.py

prints its address, ``http://127.0.0.1:...``, and runs until it is interrupted. It speaks plain HTTP alone, asks nobody
for a password, and is for this example only.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

# What a connection's two ends settle between them.
_HOP_BY_HOP = {"connection", "keep-alive", "proxy-authorization", "proxy-connection", "transfer-encoding", "upgrade"}


class Forwarding(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        url = urlsplit(self.path)  # a proxy is asked for whole addresses
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        connection = HTTPConnection(url.netloc, timeout=30)
        try:
            connection.putrequest(self.command, url._replace(scheme="", netloc="").geturl() or "/", skip_host=True)
            for name, value in self.headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            content = response.read()
        except OSError:
            self.send_error(502)
            return
        finally:
            connection.close()
        self.send_response_only(response.status, response.reason)
        for name, value in response.getheaders():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET  # noqa: N815 - the server's name

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the server's name
        """Say nothing."""


def main() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Forwarding) as server:
        sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            server.serve_forever()


if __name__ == "__main__":
    main()
