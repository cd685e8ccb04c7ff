"""Addresses of Redis servers: what they may be, what is shown of them, and that TLS is verified."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from scrapy.utils.defer import deferred_f_from_coro_f, maybe_deferred_to_future
from twisted.internet.defer import Deferred

from scrapy_capsolver.stores import Scope, StoreError, is_redis, look_at_redis, open_store, shown
from scrapy_capsolver.stores.redis.address import Address
from tests.redis_server import BINARY, free_port, needs_redis, on_asyncio, redis_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("redis://r.example", Address("r.example")),
        ("redis://r.example:6380/3", Address("r.example", 6380, 3)),
        ("rediss://u%40x:p%3A%2Fs@[::1]/", Address("::1", tls=True, user="u@x", password="p:/s")),
        ("redis://:secret@r.example", Address("r.example", password="secret")),
        ("rediss://r.example?ssl_ca_certs=%2Fca.pem", Address("r.example", tls=True, authorities="/ca.pem")),
    ],
)
def test_what_an_address_says(text: str, address: Address) -> None:
    assert is_redis(text)
    assert Address.parse(text) == address


def test_tls_is_verified_whatever_the_address_says() -> None:
    options = Address.parse("rediss://r.example").options()
    assert (options["ssl"], options["ssl_cert_reqs"], options["ssl_check_hostname"]) == (True, "required", True)
    for option in ("ssl_cert_reqs=none", "ssl_check_hostname=false", "ssl=false", "decode_responses=no"):
        with pytest.raises(StoreError, match="options that it does not take"):
            Address.parse(f"rediss://r.example?{option}")


@pytest.mark.parametrize(
    "text",
    [
        "redis://",
        "redis://:0x/",
        "redis://r.example/one",
        "redis://r.example/-1",
        "redis://r.example:99999",
        "redis://[",
        "redis://r.example#x",
    ],
)
def test_what_is_none_is_said_so(text: str) -> None:
    with pytest.raises(StoreError, match="it takes"):
        Address.parse(text)


@given(user=st.text(min_size=1), password=st.text(min_size=8), database=st.integers(0, 99), tls=st.booleans())
def test_neither_user_nor_password_is_shown(user: str, password: str, database: int, tls: bool) -> None:
    text = f"redis{'s' if tls else ''}://{quote(user, safe='')}:{quote(password, safe='')}@r.example:1/{database}"
    address = Address.parse(text)
    assert (address.user, address.password, address.database, address.tls) == (user, password, database, tls)
    assert str(address) == shown(text) == f"redis{'s' if tls else ''}://r.example:1/{database}"
    assert "user" not in repr(address)


@given(st.text())
def test_no_text_is_more_than_refused(text: str) -> None:
    """Least of all one with a password that somebody forgot to escape."""
    for whole in (text, f"redis://{text}", f"redis://u:SECRET{text}@r.example/0"):
        assert "SECRET" not in (shown(whole) if is_redis(whole) else "")
        try:
            Address.parse(whole)
        except StoreError as error:
            assert "SECRET" not in str(error)


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secured(authority: trustme.CA, tmp_path: Path) -> Iterator[int]:
    """The TLS port of a server that calls itself ``localhost``."""
    if BINARY is None or not on_asyncio():
        pytest.skip("there is no redis-server here, or no asyncio reactor")
    issued = authority.issue_cert("localhost")
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    port = free_port()
    files: dict[str, Any] = {name: str(tmp_path / f"{name}.pem") for name in ("cert", "key", "ca")}
    with redis_server(
        tls_port=str(port),
        tls_cert_file=files["cert"],
        tls_key_file=files["key"],
        tls_ca_cert_file=files["ca"],
        tls_auth_clients="no",
    ):
        yield port


@needs_redis
@deferred_f_from_coro_f
async def test_over_tls(secured: int, tmp_path: Path) -> None:
    ca = quote(str(tmp_path / "ca.pem"), safe="")
    store: Any = open_store(f"rediss://localhost:{secured}/0?ssl_ca_certs={ca}", Scope())
    store.open()
    await maybe_deferred_to_future(Deferred.fromCoroutine(store.fleet.back()))
    await maybe_deferred_to_future(Deferred.fromCoroutine(store.leave()))


@needs_redis
def test_a_server_that_cannot_prove_its_name_is_refused(secured: int, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    ca, other = (quote(str(tmp_path / name), safe="") for name in ("ca.pem", "other.pem"))
    for address in (
        f"127.0.0.1:{secured}/0?ssl_ca_certs={ca}",
        f"localhost:{secured}/0?ssl_ca_certs={other}",
        f"localhost:{secured}",
    ):
        with pytest.raises(StoreError, match=r"cannot be used: ConnectionError.*certificate"):
            open_store(f"rediss://{address}")


def test_a_server_that_quotes_what_it_is_told_gives_nothing_away() -> None:
    """As one that is no Redis might."""
    listener = socket.create_server(("127.0.0.1", 0))

    def quote_all() -> None:
        connection, _ = listener.accept()
        with connection:
            data = connection.recv(65536)
            connection.sendall(
                b"-ERR unknown command, with args beginning with: " + data.replace(b"\r\n", b" ") + b"\r\n"
            )

    thread = threading.Thread(target=quote_all)
    thread.start()
    with pytest.raises(StoreError, match=r"cannot be used: .*unknown command.*\*\*\*") as caught:
        look_at_redis(f"redis://planted:SECRET@127.0.0.1:{listener.getsockname()[1]}/0")
    thread.join()
    listener.close()
    assert "SECRET" not in str(caught.value)
    assert "planted" not in str(caught.value)
