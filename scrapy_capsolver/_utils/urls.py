"""Which host, site and origin an address belongs to: the borders that a solution and a credential never cross."""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv6Address
from urllib.parse import unquote, urlsplit

from tldextract import TLDExtract

# The list that comes with the package, private suffixes (github.io) included. Never fetched: that would block the
# reactor, and a crawl's host may be forbidden to reach it. Never cached on disk either.
_extract = TLDExtract(cache_dir=None, suffix_list_urls=(), include_psl_private_domains=True)

_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_HOST = 255
# url.spec.whatwg.org: the forbidden domain code points, and the parts of a host that ends in a number.
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f#/:<>?@\[\\\]^|%]")
_NUMBERS = re.compile(r"(?:[0-9a-fx]+\.){0,3}(?:[0-9]+|0x[0-9a-f]*)")
_IPV4 = re.compile(r"[0-9]+(?:\.[0-9]+){3}")


def canonical_host(host: str) -> str:
    """Return ``host``, without brackets and port, in the one spelling of all its spellings; "" if it is no host.

    The rules are those of browsers (url.spec.whatwg.org, host parsing): ``127.1``, ``0x7f.0.0.1``, ``2130706433`` and
    ``0177.0.0.1.`` are one address, and so are all spellings of an IPv6 address. Beyond them, an IPv4 address that is
    written as IPv6 is the IPv4 address, and a trailing dot makes no other host. A name with characters outside ASCII
    becomes the name that Scrapy resolves (IDNA 2003, as in w3lib).
    """
    if len(host) > _MAX_HOST:
        return ""
    if ":" in host:
        try:
            address = IPv6Address(host.partition("%")[0])
        except ValueError:
            return ""
        return str(address.ipv4_mapped or address)
    name = unquote(host)
    with suppress(UnicodeError):  # a label that is empty, or longer than DNS has it
        name = name.encode("idna").decode("ascii")
    name = name.lower().rstrip(".")
    if _FORBIDDEN.search(name):
        return ""
    if _NUMBERS.fullmatch(name):
        with suppress(OSError):
            return socket.inet_ntoa(socket.inet_aton(name))
    return name


@lru_cache(maxsize=1024)
def host_of(url: str) -> str:
    """Return the host of ``url`` as :func:`canonical_host` has it; "" if it has none that can be read."""
    try:
        return canonical_host(urlsplit(url).hostname or "")
    except ValueError:
        return ""


@lru_cache(maxsize=1024)
def registrable_domain(url: str) -> str:
    """Return the registrable domain of an http(s) ``url`` ("example.co.uk"), in lower case.

    Hosts that have none (``localhost``, IP addresses, names inside a company, public suffixes) are their own site.
    "" for addresses of other schemes and for such that cannot be read: no site, equal to none.
    """
    host = host_of(url)
    if not host or url.partition(":")[0].lower() not in _DEFAULT_PORTS:
        return ""
    return _registrable(host) or host


def _registrable(host: str) -> str:
    if ":" in host or _IPV4.fullmatch(host):
        return ""
    found = _extract(host)
    return f"{found.domain}.{found.suffix}" if found.domain and found.suffix else ""


def same_site(one: str, other: str) -> bool:
    """Return whether both addresses belong to one site. False if either belongs to none."""
    site = registrable_domain(one)
    return bool(site) and site == registrable_domain(other)


def with_port(name: str, url: str) -> str:
    """Return ``name``, the host or site of ``url``, with the port of ``url`` if it is not the one of its scheme."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return name
    if port is None or port == _DEFAULT_PORTS.get(parts.scheme):
        return name
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def origin_of(url: str) -> str:
    """Return scheme, host and port of an http(s) ``url``, as in an ``Origin`` header; "" if it has no origin.

    The host is as it is written, in lower case: two spellings of an address are two origins, as they are to Scrapy and
    to a cookie jar.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return ""
    if parts.scheme not in _DEFAULT_PORTS or not host:
        return ""
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}" + ("" if port in {None, _DEFAULT_PORTS[parts.scheme]} else f":{port}")


def same_origin(one: str, other: str) -> bool:
    """Return whether both addresses have one origin. False if either has none."""
    origin = origin_of(one)
    return bool(origin) and origin == origin_of(other)


def is_another_port(one: str, other: str) -> bool:
    """Return whether both addresses are on one host, but not on one port. From http to https, on their usual ports, is no change."""
    first, second = origin_of(one), origin_of(other)
    if not first or not second or host_of(first) != host_of(second):
        return False
    ports = {urlsplit(first).port, urlsplit(second).port}
    return first != second and ports != {None}


def without_secrets(url: str) -> str:
    """Return ``url`` without credentials and fragment, as in a ``Referer`` header."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()


def referer(page: str, target: str) -> str | None:
    """Return the ``Referer`` of a request for ``target`` that ``page`` leads to; None if it has none.

    What browsers send by default: "strict-origin-when-cross-origin" (w3.org/TR/referrer-policy).
    """
    if same_origin(page, target):
        return without_secrets(page)
    if is_secure(page) and not is_secure(target):
        return None
    origin = origin_of(page)
    return f"{origin}/" if origin else None


def is_secure(url: str) -> bool:
    return url[:6].lower() == "https:"


def may_contact(page: str, target: str) -> bool:
    """Return whether a page may have ``target`` asked for, without the credentials of its session.

    Its own origin, and any host of its registrable domain, but not from https back to http. Another port of an IP address,
    of ``localhost`` or of a name inside a company is another service of somebody's: a page does not choose that.
    """
    if same_origin(page, target):
        return True
    related = bool(_registrable(host_of(page))) and same_site(page, target)
    return related and not (is_secure(page) and not is_secure(target))
