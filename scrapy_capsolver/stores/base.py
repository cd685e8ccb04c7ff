"""What a store keeps, and what each kind of store can do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


class StoreError(Exception):
    """The store cannot be opened, and why."""


@dataclass(frozen=True, slots=True)
class Key:
    """Whose clearance it is. All of it is text, and none of it secret."""

    site: str
    """The registrable domain of the pages that it opens."""
    scope: str
    """The same, or the one host that it opens."""
    family: str
    proxy: str
    """A digest of the proxy with its credentials; empty without one."""
    user_agent: str
    """As the request had it. The clearance may demand another one."""
    jar: str
    """The request's ``cookiejar``."""


@dataclass(frozen=True, slots=True)
class Clearance:
    """Cookies that open a site to one identity."""

    id: str
    host: str
    """The host that posed the challenge."""
    cookies: Mapping[str, str] = field(repr=False)
    user_agent: str | None
    """With which alone it is good; None: with any."""
    solved_at: float
    """Unix seconds. Stays what it was when the site re-issues the cookies."""
    expires: float | None = None
    """Unix seconds, where they are known."""
    secure: bool = True
    """Earned over https, and not sent over plain http."""


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task that is open at CapSolver."""

    id: str
    spider: str
    site: str
    family: str
    type: str
    nano_usd: int
    """What it costs; 0 where that is not known."""


@dataclass(frozen=True, slots=True)
class Spend:
    """An entry of the ledger: so many tasks, and what they cost, on one account.

    ``solved`` is what was paid, ``failed`` what cost nothing; ``rejected``, ``expired`` and so on are the part of it that was
    wasted. ``possibly_paid`` and ``abandoned`` stand beside it: tasks of which nobody knows whether they were charged.
    """

    spider: str
    site: str
    family: str
    account: str
    tasks: int
    nano_usd: int


class Store(Protocol):
    """Clearances by key, and the ledger. Its methods are coroutines, as a store may be on another machine.

    They do not raise: a store that fails says so in the log, and the crawl goes on with what it knows.
    """

    @property
    def is_empty(self) -> bool:
        """Surely nothing is in it. False says nothing."""

    async def load(self, site: str) -> Mapping[Key, Clearance]:
        """All clearances of a site, expired ones perhaps among them. Not to be changed by the caller."""

    async def save(self, key: Key, clearance: Clearance) -> None:
        """Keep a clearance in place of an older one; a newer one, which another crawl may have saved, stays."""

    async def delete(self, key: Key, clearance_id: str) -> None:
        """Forget this clearance, unless it has been replaced by another."""

    async def open_task(self, task: TaskRow) -> None:
        """Note a task that CapSolver has begun. If this crawl is killed, it is found to be abandoned later."""

    async def spend(self, entry: Spend, *, closes: str) -> None:
        """Add to the ledger. ``closes`` is the task that has ended, if one has: it is entered once."""

    def close(self) -> None:
        """Let go of what is open. Nothing else is called after that."""
