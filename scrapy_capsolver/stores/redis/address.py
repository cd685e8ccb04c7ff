"""The address of a Redis server, as CAPSOLVER_STORE gives it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from scrapy_capsolver.stores.base import StoreError

SCHEMES = ("redis", "rediss")
_ALLOWED = (
    "redis://[user:password@]host[:port][/database], or rediss:// for TLS, "
    "whose certificate authorities ?ssl_ca_certs=FILE may name"
)


@dataclass(frozen=True, slots=True)
class Address:
    """Shows neither user nor password."""

    host: str
    port: int = 6379
    database: int = 0
    tls: bool = False
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    authorities: str | None = None
    """A file of certificate authorities, where they are not the system's."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}/{self.database}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """Raises :class:`~scrapy_capsolver.stores.StoreError`, which does not quote what may be a password."""
        try:
            url = urlsplit(text.strip())
            host, port = url.hostname, url.port
        except ValueError:
            raise StoreError(f"its address cannot be read: it takes {_ALLOWED}") from None
        if url.scheme not in SCHEMES or not host or url.fragment:
            raise StoreError(f"its address is none of Redis: it takes {_ALLOWED}")
        database = url.path.strip("/")
        if database and not (database.isascii() and database.isdigit()):
            raise StoreError("its database is no number: it takes one such as redis://host/0")
        options = dict(parse_qsl(url.query, keep_blank_values=True))
        tls, authorities = url.scheme == "rediss", options.pop("ssl_ca_certs", None)
        if options or (authorities is not None and not tls):
            raise StoreError(f"its address has options that it does not take: it takes {_ALLOWED}")
        return cls(
            host,
            port or 6379,
            int(database or 0),
            tls,
            None if url.username is None else unquote(url.username) or None,
            None if url.password is None else unquote(url.password),
            authorities,
        )

    def scrub(self, text: str) -> str:
        """``text`` without user and password: what is no Redis may quote what it was given."""
        for secret in (self.password, self.user):
            if secret:
                text = text.replace(secret, "***")
        return text

    def options(self) -> dict[str, Any]:
        """For redis-py's clients. A server that cannot prove its name is not spoken to."""
        found: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "db": self.database,
            "username": self.user,
            "password": self.password,
        }
        if self.tls:
            found |= {
                "ssl": True,
                "ssl_cert_reqs": "required",
                "ssl_check_hostname": True,
                "ssl_ca_certs": self.authorities,
            }
        return found


def is_redis(text: str) -> bool:
    return text.partition("://")[0].strip().lower() in SCHEMES and "://" in text


def shown(store: str) -> str:
    """CAPSOLVER_STORE as it may be shown."""
    if not is_redis(store):
        return store
    try:
        return str(Address.parse(store))
    except StoreError:
        return "an address of Redis"
