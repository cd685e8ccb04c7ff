"""A forward proxy that asks for a password and leaves from an address of its own, as a process.

It is proxy.py, of https://github.com/abhinavsingh/proxy.py. The addresses it may leave from are those of the machine's
loopback: on Linux all of 127.0.0.0/8, elsewhere those that were set up. Let it be none that a server listens at, for
every connection takes one of its ports. Only plain HTTP goes through it, and every host name leads to 127.0.0.1.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from proxy import Proxy
from proxy.http.exception import ProxyAuthenticationFailed
from proxy.http.proxy import HttpProxyBasePlugin

if TYPE_CHECKING:
    from collections.abc import Iterator

_SOURCE = "TESTS_PROXY_SOURCE"


@dataclass(frozen=True)
class Running:
    """Where a proxy listens, what it asks for, and the address ``source`` that sites see of it.

    Basic authentication joins user and password with a colon: a user with one is no standard, but proxy.py only
    compares the whole.
    """

    host: str
    port: int
    user: str
    password: str
    source: str

    @property
    def url(self) -> str:
        """The proxy as Scrapy's ``meta["proxy"]`` wants it, with the credentials percent-encoded."""
        return f"http://{quote(self.user, safe='')}:{quote(self.password, safe='')}@{self.host}:{self.port}"

    @property
    def bare_url(self) -> str:
        """The proxy without the credentials."""
        return f"http://{self.host}:{self.port}"

    @property
    def fields(self) -> dict[str, str | int]:
        """The proxy as separate fields of a task."""
        return {
            "proxyType": "http",
            "proxyAddress": self.host,
            "proxyPort": self.port,
            "proxyLogin": self.user,
            "proxyPassword": self.password,
        }


@contextmanager
def proxy(source: str = "127.0.0.20", user: str = "us:er", password: str = "p@ss:w0rd") -> Iterator[Running]:
    """Run a proxy that is ready when the block begins, and gone when it ends, or when this process dies."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.proxies", f"{user}:{password}"],
        cwd=Path(__file__).parent.parent,
        env={**os.environ, _SOURCE: source},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.strip().isdigit(), "the proxy did not start"
        yield Running("127.0.0.1", int(line), user, password, source)
    finally:
        # At the end of its input, it stops by itself, and takes its own processes along.
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


class FromAddress(HttpProxyBasePlugin):  # type: ignore[misc,unused-ignore]
    """Has the proxy leave from the address of the environment, and look at the password of every request.

    On its own, proxy.py looks only at that of a connection's first request, and hands those of the others on.
    """

    def resolve_dns(self, host: str, port: int) -> tuple[str, tuple[str, int]]:
        try:
            address = ip_address(host)
        except ValueError:
            address = ip_address("127.0.0.1")
        # As a number: proxy.py forgets the source where it can tell that the host is an address.
        return str(int(address)), (os.environ[_SOURCE], 0)

    def handle_client_request(self, request: Any) -> Any:
        sent = request.header(b"proxy-authorization") if request.has_header(b"proxy-authorization") else b""
        if sent.split()[1:] != [self.flags.auth_code]:
            raise ProxyAuthenticationFailed
        request.del_header(b"proxy-authorization")
        return request


def main() -> None:
    plugin = f"{__spec__.name}.{FromAddress.__name__}" if __spec__ else ""
    arguments = ["--hostname", "127.0.0.1", "--port", "0", "--num-acceptors", "1", "--num-workers", "1"]
    arguments += ["--basic-auth", sys.argv[1], "--plugins", plugin, "--log-level", "ERROR"]
    with Proxy(arguments) as running:
        sys.stdout.write(f"{running.flags.port}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
