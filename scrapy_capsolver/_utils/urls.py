"""Which site an address belongs to: the border that a solution never crosses."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from tldextract import TLDExtract

# The list that comes with the package, private suffixes (github.io) included. Never fetched: that would block the
# reactor, and a crawl's host may be forbidden to reach it. Never cached on disk either.
_extract = TLDExtract(cache_dir=None, suffix_list_urls=(), include_psl_private_domains=True)


@lru_cache(maxsize=1024)
def registrable_domain(url: str) -> str:
    """The registrable domain of an http(s) ``url`` ("example.co.uk"), in lower case.

    Hosts that have none (``localhost``, IP addresses, names inside a company, public suffixes) are their own site.
    Returns ``""`` for addresses of other schemes and for such that cannot be read: no site, equal to none.
    """
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        return ""
    if parts.scheme.lower() not in {"http", "https"} or not host:
        return ""
    try:
        return str(ip_address(host))
    except ValueError:
        pass
    found = _extract(host)
    return f"{found.domain}.{found.suffix}".lower() if found.domain and found.suffix else host


def same_site(one: str, other: str) -> bool:
    """Do both addresses belong to one site? False where either belongs to none."""
    site = registrable_domain(one)
    return bool(site) and site == registrable_domain(other)


def origin_of(url: str) -> str:
    """Scheme, host and port of ``url``, as in an ``Origin`` header: no path, no credentials."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def without_secrets(url: str) -> str:
    """``url`` without credentials and fragment, as in a ``Referer`` header."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()


def is_secure(url: str) -> bool:
    return url[:6].lower() == "https:"


def may_send(page: str, target: str) -> bool:
    """May what was found on ``page`` be sent to ``target``? Same site, and not from https back to http."""
    return same_site(page, target) and not (is_secure(page) and not is_secure(target))
