"""The simulator as a whole: an API and a gated site, listening."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred

from .api import Api
from .api_resource import ApiResource
from .clearances import ClearanceRegistry
from .clock import SimulatedClock
from .connections import HttpFactory
from .egress import find_address, read_proxy
from .gates import GATES, KINDS, TASK_TYPES
from .quirks import Quirk, Quirks
from .shown import ShownChallenges
from .site import GatedSite
from .task_types import MICRO, Fields
from .tasks import Task, TaskTable
from .tokens import TokenRegistry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .twisted_types import Timer


class Simulator:
    """A CapSolver and a captcha-gated site on this machine, over real sockets.

    Args:
        speed: how many simulated seconds pass in a real one: of solving, of the limits of the API, and of the lifetime
            of tokens.
        seed: what solve times, tokens and the choices of quirks follow from.
        key: the API key that is accepted.
        balance: the account's balance, in US dollars.
        solve_seconds: the least and the greatest solve time, in simulated seconds; without it, what is documented for
            each task type.
        latency: how long each page of the site takes, in real seconds.
        quirks: what to do wrong, see :mod:`scrapy_capsolver.simulator.quirks`.
        host: the address to listen at. The site goes by the Host header, and so has every name of that address.
        extra_hosts: more addresses for the site, at the same port.
        api_port: the port of the API; 0 for any that is free.
        site_port: the port of the site, likewise.
        timer: what tells the time and calls back, in place of the reactor; for tests.

    ``api_url`` and ``site_url`` are known once it has started, and have no slash at the end.
    """

    def __init__(
        self,
        *,
        speed: float = 1.0,
        seed: int = 0,
        key: str = "CAP-SIMULATOR-0123456789",
        balance: float = 100.0,
        solve_seconds: tuple[float, float] | None = None,
        latency: float = 0.05,
        quirks: Iterable[str | Quirk] = (),
        host: str = "127.0.0.1",
        extra_hosts: Iterable[str] = (),
        api_port: int = 0,
        site_port: int = 0,
        timer: Timer | None = None,
    ) -> None:
        if timer is None:
            timer = _reactor()
        self.key = key
        self.host = host
        self.extra_hosts = tuple(extra_hosts)
        self.api_url = ""
        self.site_url = ""
        self._api_port = api_port
        self._site_port = site_port
        self._ports: list[Any] = []
        self._quirks = Quirks(seed)
        self._quirks.switch(quirks)
        self._clock = SimulatedClock(timer, _checked_speed(speed))
        self.tokens = TokenRegistry(self._clock)
        self.clearances = ClearanceRegistry(self._clock)
        self._shown = ShownChallenges(self._clock)
        self._tasks = TaskTable(
            self._clock,
            self.tokens,
            self.clearances,
            self._shown,
            KINDS,
            seed=seed,
            balance=_checked_amount("balance", balance),
            solve_seconds=None if solve_seconds is None else _checked_range(solve_seconds),
        )
        self._api = Api(self._clock, self._tasks, self._quirks, TASK_TYPES, key=key)
        self._site = GatedSite(
            self._clock,
            self.tokens,
            self.clearances,
            self._shown,
            seed=seed,
            latency=_checked_amount("latency", latency),
        )
        self._api_resource = ApiResource(
            self._api,
            self._quirks,
            self._clock,
            {
                ("GET", "state"): lambda _: self.state(),
                ("GET", "tasks"): lambda _: self._tasks.rows(),
                ("POST", "configure"): self._configure,
                ("POST", "reset"): lambda _: self.reset(),
            },
            self._dial,
        )
        self._api_factory = HttpFactory(self._api_resource)
        self._site_factory = HttpFactory(self._site)

    @property
    def tasks(self) -> Mapping[str, Task]:
        """All tasks by id, in the order of their creation, as they are now."""
        self._tasks.settle()
        return self._tasks.by_id

    @property
    def site_hosts(self) -> tuple[str, ...]:
        """The addresses that the site listens at, all at the port of ``site_url``."""
        return (self.host, *self.extra_hosts)

    @property
    def site_keys(self) -> dict[str, str]:
        """The site key of each gate that has one, by family."""
        return {gate.name: gate.site_key for gate in GATES.values() if gate.site_key}

    def start(self) -> Deferred[None]:
        """Listen. The Deferred fires at once, or fails with :class:`twisted.internet.error.CannotListenError`."""
        # Of several ports, the first may be open already when the next turns out to be taken.
        return maybeDeferred(self._listen).addErrback(lambda failure: self.stop().addCallback(lambda _: failure))

    def _listen(self) -> None:
        reactor = _reactor()
        for factory, hosts, number in (
            (self._api_factory, (self.host,), self._api_port),
            (self._site_factory, self.site_hosts, self._site_port),
        ):
            bound = number
            for host in hosts:
                port = reactor.listenTCP(bound, factory, interface=host, backlog=1024)
                self._ports.append(port)
                # The hosts of the site share a port, whichever the first was given.
                bound = port.getHost().port
            url = f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{bound}"
            if factory is self._api_factory:
                self.api_url = url
            else:
                self.site_url = self._api_resource.site_url = url

    def _dial(self, fields: Fields) -> Deferred[str | None]:
        return find_address(read_proxy(fields), self.site_url, _reactor())

    def stop(self) -> Deferred[None]:
        """Stop listening and close all connections. The Deferred fires when all is closed."""
        closed: list[Deferred[Any]] = [maybeDeferred(port.stopListening) for port in self._ports]
        self._ports = []
        self._api_resource.stop_dialling()
        closed += [factory.close_all() for factory in (self._api_factory, self._site_factory)]
        return DeferredList(closed, fireOnOneErrback=True, consumeErrors=True).addCallback(lambda _: None)

    def configure(
        self,
        *,
        quirks: Iterable[str | Quirk] | None = None,
        speed: float | None = None,
        balance: float | None = None,
        solve_seconds: tuple[float, float] | None = None,
        latency: float | None = None,
    ) -> dict[str, Any]:
        """Change what is given, or raise :class:`ValueError` and change nothing. Return the configuration."""
        # Everything is checked before anything is changed; the quirks check themselves.
        new_speed = None if speed is None else _checked_speed(speed)
        new_balance = None if balance is None else _checked_amount("balance", balance)
        new_range = None if solve_seconds is None else _checked_range(solve_seconds)
        new_latency = None if latency is None else _checked_amount("latency", latency)
        if quirks is not None:
            if isinstance(quirks, str) or not all(isinstance(quirk, str | Quirk) for quirk in quirks):
                raise ValueError("quirks: expected a list of texts")
            self._quirks.switch(quirks)
        # What is over by now is charged before the balance changes. Open tasks keep their simulated solve times.
        self._tasks.settle()
        if new_speed is not None:
            self._clock.speed = new_speed
        if new_balance is not None:
            self._tasks.balance = round(new_balance * MICRO)
        if new_range is not None:
            self._tasks.solve_seconds = new_range
        if new_latency is not None:
            self._site.latency = new_latency
        return {
            "quirks": self._quirks.names(),
            "speed": self._clock.speed,
            "balance": self._tasks.balance / MICRO,
            "solve_seconds": self._tasks.solve_seconds,
            "latency": self._site.latency,
        }

    def _configure(self, values: dict[str, Any]) -> dict[str, Any]:
        allowed = {"quirks", "speed", "balance", "solve_seconds", "latency"}
        if unknown := values.keys() - allowed:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}; allowed: {', '.join(sorted(allowed))}")
        return self.configure(**values)

    def reset(self) -> dict[str, Any]:
        """Forget all tasks, tokens and counts, and restore the first balance. The configuration stays."""
        self.tokens.reset()
        self.clearances.reset()
        self._shown.reset()
        self._tasks.reset()
        self._api.reset()
        self._site.reset()
        self._quirks.restart()
        for factory in (self._api_factory, self._site_factory):
            factory.opened = factory.open
        return self.state()

    def state(self) -> dict[str, Any]:
        """Return all counts, as JSON-able values. Money is in US dollars."""
        api = self._api
        tasks = self._tasks.state()
        return {
            "api": {
                "calls": dict(api.calls),
                "errors": dict(api.errors),
                "statuses": {str(status): count for status, count in sorted(api.statuses.items())},
                "faults": dict(api.faults),
                "connections": self._api_factory.opened,
                "connections_open": self._api_factory.open,
                "unknown_paths": api.unknown_paths,
            },
            "tasks": tasks,
            "money": {"balance": self._tasks.balance / MICRO, "spent": self._tasks.spent / MICRO},
            "tokens": self.tokens.state(),
            "site": {
                **self._site.state(),
                "connections": self._site_factory.opened,
                "connections_open": self._site_factory.open,
            },
            "feedback": api.feedback,
            "quirks": self._quirks.names(),
            "speed": self._clock.speed,
        }


def _reactor() -> Any:
    from twisted.internet import reactor

    return reactor


def _checked_amount(name: str, value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < math.inf:
        raise ValueError(f"{name}: expected a number, 0 or more, not {value!r}")
    return float(value)


def _checked_speed(value: object) -> float:
    speed = _checked_amount("speed", value)
    if not speed:
        raise ValueError("speed: expected a number above 0")
    return speed


def _checked_range(value: object) -> tuple[float, float]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise ValueError(f"solve_seconds: expected two numbers, not {value!r}")
    low, high = (_checked_amount("solve_seconds", item) for item in value)
    if low > high:
        raise ValueError(f"solve_seconds: {low:g} is more than {high:g}")
    return low, high
