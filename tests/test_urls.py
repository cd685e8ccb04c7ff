"""Hosts, sites and origins: what counts as one, whatever its spelling."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scrapy import Request

from scrapy_capsolver._utils.urls import (
    canonical_host,
    host_of,
    is_another_port,
    may_contact,
    origin_of,
    referer,
    registrable_domain,
    same_origin,
    same_site,
    with_port,
    without_secrets,
)

# Hosts

LOOPBACK = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "127.0.0.1.",
    "127.0.0.01",
    "0177.0.0.1",
    "0x7f.1",
    "0X7F.0.0.1",
    "0x7f000001",
    "2130706433",
    "017700000001",
    "%31%32%37.0.0.1",
    "\uff11\uff12\uff17.0.0.1",
    "127\u30020\u30020\u30021",
    "[::ffff:127.0.0.1]",
    "[::FFFF:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
]


@pytest.mark.parametrize("host", LOOPBACK)
def test_spellings_of_an_address(host: str) -> None:
    assert registrable_domain(f"http://{host}:8000/a") == host_of(f"http://{host}/") == "127.0.0.1"


@pytest.mark.parametrize(
    ("host", "canonical"),
    [
        ("Shop.Example.", "shop.example"),
        ("b\u00fccher.example", "xn--bcher-kva.example"),
        ("B\u00dcCHER.Example", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example.", "xn--bcher-kva.example"),
        ("fa\u00df.example", "fass.example"),  # as Scrapy resolves it
        ("shop\u3002example", "shop.example"),
        ("a_b.example", "a_b.example"),
        ("::1", "::1"),
        ("0:0::0:1", "::1"),
        ("2001:DB8::A", "2001:db8::a"),
        ("fe80::1%25eth0", "fe80::1"),
        ("127.0.0.1.example", "127.0.0.1.example"),
        ("1.2.3.4.5", "1.2.3.4.5"),
        ("256.0.0.1", "256.0.0.1"),
        ("08.0.0.1", "08.0.0.1"),
        ("1e1", "1e1"),
        ("0xg", "0xg"),
        ("", ""),
        ("a b", ""),
        ("a%2fb", ""),
        ("a%00b", ""),
        ("a\r\nb", ""),
        ("1:2", ""),
        ("a" * 256, ""),
    ],
)
def test_canonical_host(host: str, canonical: str) -> None:
    assert canonical_host(host) == canonical


def spelled(number: int, count: int, bases: list[str]) -> str:
    """An IPv4 address in ``count`` parts, the last of which holds what is left of its 32 bits."""
    octets = number.to_bytes(4, "big")
    parts = [*octets[: count - 1], int.from_bytes(octets[count - 1 :], "big")]
    return ".".join(base.format(part) for base, part in zip(bases, parts, strict=False))


BASES = ["{:d}", "0x{:x}", "0X{:X}", "0x00{:x}", "0{:o}", "000{:o}"]


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 4),
    st.lists(st.sampled_from(BASES), min_size=4, max_size=4),
    st.sampled_from(["", "."]),
)
def test_any_spelling_of_an_ipv4_address_is_that_address(number: int, count: int, bases: list[str], dot: str) -> None:
    address = str(IPv4Address(number))
    host = spelled(number, count, bases) + dot
    assert canonical_host(host) == address
    assert registrable_domain(f"http://{host}/") == registrable_domain(f"https://[::ffff:{address}]:8443/") == address
    assert not same_site(f"http://{host}/", f"http://{IPv4Address(number ^ 1)}/")


@given(st.integers(0, 2**128 - 1), st.booleans())
def test_any_spelling_of_an_ipv6_address_is_that_address(number: int, upper: bool) -> None:
    address = IPv6Address(number)
    canonical = str(address.ipv4_mapped or address)
    long = address.exploded.upper() if upper else address.exploded
    assert canonical_host(long) == canonical_host(address.compressed) == canonical
    assert registrable_domain(f"http://[{long}]/") == canonical


LABELS = st.text(st.sampled_from("abcxyz0189-_\u00e4\u00df\u0133\u043f\u4f8b"), min_size=1, max_size=12)


@example("\u00df.example")
@given(st.lists(LABELS, min_size=1, max_size=4).map(".".join))
def test_a_name_is_the_one_that_scrapy_asks_for(host: str) -> None:
    """Case, trailing dot and encoding make no other host of it; nothing makes it another's."""
    try:
        asked = Request(f"http://{host}/").url
    except ValueError:
        return
    once = canonical_host(host)
    assert canonical_host(once) == once
    assert host_of(asked) == once == canonical_host(f"{host}.")
    if host.isascii():
        assert canonical_host(host.upper()) == once


@given(st.text())
def test_any_text_has_a_host_or_none(text: str) -> None:
    for host in (canonical_host(text), host_of(f"http://{text}/"), registrable_domain(text), origin_of(text)):
        assert "\n" not in host
        assert "\r" not in host
    assert canonical_host(canonical_host(text)) == canonical_host(text)


# Sites


@pytest.mark.parametrize(
    ("url", "site"),
    [
        ("https://www.shop.example.co.uk/a", "example.co.uk"),
        ("HTTP://Shop.Example:8080", "shop.example"),
        ("https://a.b.Example.com.", "example.com"),
        ("https://a.b.shop.example", "a.b.shop.example"),
        ("https://www.B\u00fccher.com", "xn--bcher-kva.com"),
        ("https://me.github.io/x", "me.github.io"),
        ("https://github.io/", "github.io"),
        ("http://localhost:8000/", "localhost"),
        ("http://127.0.0.1:8000/", "127.0.0.1"),
        ("http://[::1]:8000/", "::1"),
        ("http://intranet.corp/", "intranet.corp"),
        ("https://u:p@shop.example/", "shop.example"),
        ("ftp://shop.example/", ""),
        ("data:text/html,x", ""),
        ("http://[", ""),
        ("", ""),
    ],
)
def test_site_of(url: str, site: str) -> None:
    assert registrable_domain(url) == site


def test_same_site() -> None:
    assert same_site("https://a.example.com/", "http://b.example.com/")
    assert not same_site("https://me.github.io/", "https://you.github.io/")
    assert not same_site("http://10.0.0.1/", "http://10.0.0.2/")
    assert not same_site("data:", "data:")


@pytest.mark.parametrize(
    ("page", "target", "may"),
    [
        ("https://shop.example.com/", "https://shop.example.com:443/a", True),
        ("https://shop.example.com/", "https://img.example.com/", True),
        ("https://shop.example.com/", "https://example.com:8443/", True),
        ("http://shop.example.com/", "https://shop.example.com/", True),
        ("https://shop.example.com/", "http://shop.example.com/", False),
        ("HTTPS://shop.example.com/", "http://img.example.com/", False),
        ("https://me.github.io/", "https://you.github.io/", False),
        ("http://10.0.0.1:8000/", "http://10.0.0.1:8000/", True),
        ("http://10.0.0.1:8000/", "http://10.0.0.1:8001/", False),
        ("http://10.0.0.1/", "http://10.1/", False),
        ("http://localhost/", "http://localhost:6379/", False),
        ("http://intranet.corp/", "http://intranet.corp:9200/", False),
        ("data:,", "data:,", False),
    ],
)
def test_what_a_page_may_have_contacted(page: str, target: str, may: bool) -> None:
    assert may_contact(page, target) is may


# Origins


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://u:p@shop.example:8443/a?b#c", "https://shop.example:8443"),
        ("https://Shop.Example:443/", "https://shop.example"),
        ("http://shop.example:80", "http://shop.example"),
        ("http://shop.example:443", "http://shop.example:443"),
        ("http://[::1]:8000/", "http://[::1]:8000"),
        ("http://127.1/", "http://127.1"),
        ("http://shop.example.", "http://shop.example."),
        ("http://shop.example:x/", ""),
        ("http://shop.example:99999/", ""),
        ("http:///", ""),
        ("file:///etc/passwd", ""),
        ("http://[", ""),
    ],
)
def test_origin_of(url: str, origin: str) -> None:
    assert origin_of(url) == origin


def test_same_origin() -> None:
    assert same_origin("https://shop.example/a", "https://u:p@SHOP.example:443/b?c")
    for other in (
        "http://shop.example/",
        "https://shop.example:8443/",
        "https://www.shop.example/",
        "https://shop.example./",
    ):
        assert not same_origin("https://shop.example/", other)
    assert not same_origin("data:,", "data:,")


@pytest.mark.parametrize(
    ("one", "other", "another"),
    [
        ("http://shop.example/", "http://shop.example:8000/", True),
        ("http://10.0.0.1:8000/", "http://10.1:8001/", True),
        ("http://shop.example:8000/", "https://shop.example:8000/", True),
        ("http://shop.example/", "https://shop.example/", False),
        ("http://shop.example:8000/", "http://shop.example:8000/a", False),
        ("http://shop.example:8000/", "http://www.shop.example:8001/", False),
        ("http://shop.example:8000/", "", False),
    ],
)
def test_another_port(one: str, other: str, another: bool) -> None:
    assert is_another_port(one, other) is is_another_port(other, one) is another


def test_with_port() -> None:
    assert with_port("shop.example", "https://shop.example:443/") == "shop.example"
    assert with_port("shop.example", "http://shop.example:443/") == "shop.example:443"
    assert with_port("::1", "http://[::1]:8000/") == "[::1]:8000"
    assert with_port("::1", "http://[::1]/") == "::1"
    assert with_port("shop.example", "http://shop.example:x/") == "shop.example"


@pytest.mark.parametrize(
    ("page", "target", "expected"),
    [
        ("https://u:p@shop.example/a?b=c#d", "https://shop.example/e", "https://shop.example/a?b=c"),
        ("https://shop.example/a?b=c", "https://img.shop.example/", "https://shop.example/"),
        ("http://shop.example/a", "https://shop.example/", "http://shop.example/"),
        ("https://shop.example/a", "http://shop.example/", None),
        ("file:///a", "https://shop.example/", None),
    ],
)
def test_referer(page: str, target: str, expected: str | None) -> None:
    assert referer(page, target) == expected


def test_without_secrets() -> None:
    assert without_secrets("https://u:p@shop.example:8443/a?b#c") == "https://shop.example:8443/a?b"
