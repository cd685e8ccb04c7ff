"""What a store keeps, and what each kind of store can do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from twisted.internet.defer import Deferred

    from scrapy_capsolver.errors import CaptchaError
    from scrapy_capsolver.stores.redis.cluster import Fleet


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
    """A digest of the address that the site sees: of the proxy with its credentials, else of this machine or network."""
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
    fence: int = 0
    """Of the lease under which it was solved: one with a higher number is newer, whatever the workers' clocks say."""


class Lease:
    """The right to solve for a key, while no other worker does. Where no others are, there is nothing to it."""

    def __init__(self, fence: int = 0) -> None:
        self.fence = fence

    def end(self, error: CaptchaError | None = None) -> None:
        """The clearance is saved; or there is none, because of ``error``, which those who wait for it are to have as well."""


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
    reservation: str = ""
    """Under which the limits count it."""


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


@dataclass(frozen=True, slots=True)
class Reserved:
    """The part of the limits that one task takes, from before it is created until its end is known."""

    id: str
    site: str
    family: str
    nano_usd: int
    """Its price; 0 if that is not known."""
    task: str = ""
    """CapSolver's id, once it is known."""


@dataclass(frozen=True, slots=True)
class Used:
    """What earlier runs of a crawl have used of its limits, ``left`` and ``lost`` included."""

    solves: int = 0
    nano_usd: int = 0
    sites: Mapping[str, int] = field(default_factory=dict)
    """Solves by site."""
    left: Sequence[Reserved] = ()
    """Tasks that were open when their run ended: this one may go on with them."""
    lost: Sequence[Reserved] = ()
    """Tasks that were being created when their run was killed: perhaps there are none."""


class LimitJournal(Protocol):
    """Where a crawl writes down what it uses of its limits, so that they hold although it may be killed.

    Its methods do not raise.
    """

    @property
    def name(self) -> str:
        """The setting that leads to it."""

    @property
    def is_away(self) -> bool:
        """It cannot be written."""

    @property
    def away_seconds(self) -> float:
        """For how long; 0 if it can."""

    @property
    def trouble(self) -> str:
        """Why."""

    def load(self) -> Deferred[Used]:
        """Return what earlier runs have used, as soon as it can be read. From here on it counts for this run."""

    def reserve(self, one: Reserved, *, again: bool = False) -> Deferred[None]:
        """Write this down. Fires when it is on disk, and not before; may be cancelled. ``again``: it may be there already."""

    def opened(self, reservation: str, task: str) -> None:
        """Note that CapSolver has given the task an id."""

    def settle(self, one: Reserved, *, charged: bool) -> None:
        """Note that the end of the task is known."""

    async def end(self) -> None:
        """Note that the run has ended by itself. Everything else has been called before."""

    def close(self) -> None:
        """Release what is held. The store has been closed before."""


class Alone:
    """The part of a store that it has for other workers, where there are none."""

    fleet: Fleet | None = None
    allows_offline = False

    def open(self) -> None:
        """See :class:`Store`."""

    def journal(self, crawl: str) -> LimitJournal | None:
        """See :class:`Store`."""
        return None

    async def lease(self, key: Key, refused: str) -> Lease | Clearance:
        """See :class:`Store`."""
        return Lease()

    async def leave(self) -> None:
        """See :class:`Store`."""


class Store(Protocol):
    """Clearances by key, and the ledger. Its methods are coroutines, as a store may be on another machine.

    They do not raise: a store that fails says so in the log, and the crawl goes on with what it knows.
    """

    @property
    def is_empty(self) -> bool:
        """Surely nothing is in it. False says nothing."""

    @property
    def fleet(self) -> Fleet | None:
        """The workers that share this store and act as one; None where a crawl acts for itself."""

    allows_offline: bool
    """Solving goes on while a store on another machine is away."""

    def open(self) -> None:
        """The crawl begins, and the event loop runs."""

    def journal(self, crawl: str) -> LimitJournal | None:
        """Return where this crawl's limits are kept, so that they hold if it is killed and started again under this name.

        None: nowhere, or with ``fleet``.
        """

    async def load(self, site: str) -> Mapping[Key, Clearance]:
        """All clearances of a site, expired ones perhaps among them. Not to be changed by the caller."""

    def known(self, site: str) -> Mapping[Key, Clearance]:
        """What :meth:`load` found last, with what has become known since. Waits for nothing."""

    async def lease(self, key: Key, refused: str) -> Lease | Clearance:
        """Wait until nobody else solves for ``key``: the clearance that came of that, or the right to solve.

        ``refused`` is the id of a clearance that is of no use. Raises the error with which the other's solve ended.
        """

    async def save(self, key: Key, clearance: Clearance) -> None:
        """Keep a clearance in place of an older one; a newer one, which another crawl may have saved, stays."""

    async def delete(self, key: Key, clearance_id: str) -> None:
        """Forget this clearance, unless it has been replaced by another."""

    async def open_task(self, task: TaskRow) -> None:
        """Note a task that CapSolver has begun. If this crawl is killed, it is found to be abandoned later."""

    async def spend(self, entry: Spend, *, closes: str, reservation: str = "", wasted: bool = False) -> None:
        """Add to the ledger. ``closes`` is the task that has ended, if one has, and ``reservation`` its part of the limits: they
        are entered once. ``wasted``: the task had ended, and its solution was of no use.
        """

    async def leave(self) -> None:
        """The crawl is over: say so to the others, if they can be reached soon."""

    def close(self) -> None:
        """Let go of what is open. Nothing else is called after that."""
