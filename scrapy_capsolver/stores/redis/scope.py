"""Which workers act as one: those with the same prefix, run and account."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from hashlib import blake2b

PREFIX = "capsolver"


def new_worker() -> str:
    return uuid.uuid4().hex[:16]


@dataclass(frozen=True, slots=True)
class Scope:
    prefix: str = PREFIX
    run: str = "run"
    """Limits, ledger and report are its own."""
    window: str = "run"
    """For which limits count: ``run``, ``hour`` or ``day`` (UTC)."""
    account: str = ""
    """A digest of the API key: pauses and stops are the account's."""
    spider: str = ""
    worker: str = field(default_factory=new_worker)
    """One crawl of one process."""

    def key(self, *parts: str) -> str:
        return ":".join((self.prefix, *parts))


def account_of(api_key: str) -> str:
    """Tells accounts apart; an API key cannot be guessed from it, since there are too many of them."""
    return blake2b(api_key.encode(), digest_size=8, person=b"account").hexdigest()
