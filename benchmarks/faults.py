"""Crawls while the API fails in one way: does each request end, in time, and is all that was paid told?

``python -m benchmarks.faults`` prints a line for each fault. The simulator, the proxy that does the faults and the crawls share
a process, whose time jumps from one timer to the next.
"""

from __future__ import annotations

import argparse
from collections import Counter
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import tldextract
from scrapy import Request
from scrapy.downloadermiddlewares import cookies
from scrapy.utils.defer import deferred_from_coro, maybe_deferred_to_future
from twisted.internet import asyncioreactor
from twisted.internet.task import deferLater, react

from scrapy_capsolver.api.codes import Action
from scrapy_capsolver.errors import CaptchaError
from scrapy_capsolver.simulator.quirks import EDGE_FAULTS, ERROR_FAULTS, OUTCOMES, REPLY_FAULTS
from scrapy_capsolver.solving.breaker import Breaker
from scrapy_capsolver.solving.solver import Solver
from tests.crawls import crawl, simulator
from tests.fault_proxy import FAULTS, UNRESOLVABLE, Fault, FaultProxy
from tests.wires import refused_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scrapy_capsolver.simulator import Simulator
    from tests.crawls import Crawl

TIMEOUT = 30
OUTAGE_SECONDS = 4
CREATE, POLL = "createTask", "getTaskResult"
UNKNOWN = ("possibly_paid", "abandoned")  # under "wasted/": nobody knows whether it was charged


@dataclass(frozen=True)
class Case:
    """One way to fail, on every third call, as a rule."""

    name: str
    fault: Fault | None = None
    method: str = ""
    quirk: str = ""
    api: str = ""  # where it is to be found: "refused", "TLS", "DNS", or "outage"
    requests: int = 8

    def __str__(self) -> str:
        return self.name

    @property
    def unreachable(self) -> bool:
        return self.api in {"refused", "TLS", "DNS"}

    @property
    def polls_alone(self) -> bool:
        return self.method == POLL or (self.quirk.startswith("poll-") and not self.fatal)

    @property
    def fatal(self) -> bool:
        """Whether it ends what it strikes."""
        name = self.quirk.partition("-")[2].partition("/")[0]
        ends = {"zero-balance", "maintenance", "bad-request", "unknown-error", "task-id-invalid", "settlement-failed"}
        return name in {"html-403", "redirect", "redirect-307"} | ends


def _quirk_cases() -> Iterator[Case]:
    for call in ("create", "poll"):
        for name in (*ERROR_FAULTS, *EDGE_FAULTS, *REPLY_FAULTS):
            quirk, requests = f"{call}-{name}/3", 8
            if name in {"key-temp-blocked", "settlement-failed"}:
                quirk = f"{call}-{name}/5"
            elif name == "ip-banned":  # half an hour: once
                quirk, requests = f"{call}-{name}/5", 6
            yield Case(quirk, quirk=quirk, requests=requests)
    for name in OUTCOMES:
        yield Case(f"{name}/3", quirk=f"{name}/3")


CASES = (
    *(
        Case(f"{fault}, {method}", fault=fault, method=method)
        for fault in FAULTS
        for method in (CREATE, POLL)
        if method == POLL or fault.kind not in {"stale", "repeat"}
    ),
    *(Case(f"{name}, every call", api=name, requests=6) for name in ("refused", "TLS", "DNS")),
    Case("an outage in the middle", api="outage"),
    *_quirk_cases(),
)


@dataclass
class Timing:
    """How long solves took that were measured from outside. Seconds of the crawl's clock."""

    solves: int = 0
    open: int = 0
    over: float = 0.0
    """The longest that a solve lasted after its deadline, pauses that CapSolver had asked for not included."""
    pauses: list[tuple[float, float]] = field(default_factory=list)

    def paused(self, since: float, until: float) -> float:
        """Seconds of that time in which CapSolver wanted no calls."""
        spans = sorted((max(a, since), min(b, until)) for a, b in self.pauses if a < until and b > since)
        total, end = 0.0, since
        for a, b in spans:
            total += max(b - max(a, end), 0.0)
            end = max(end, b)
        return total


@contextmanager
def timed() -> Iterator[Timing]:
    """Sees when each solve gets its turn and when it ends, and which pauses CapSolver asks for.

    A timer of its own tells that the deadline has come, which is as late as the solver's is where the machine is slow.
    """
    timing = Timing()
    with_turn, answered = Solver._with_turn, Breaker.answered

    async def timed_turn(self: Any, job: Any) -> Any:
        clock, began, passed = self._clock, self._clock.seconds(), [0.0]

        def look() -> None:
            now = clock.seconds()
            left = began + self._timeout + timing.paused(began, now) - now
            if left > 0.01:
                timers.append(clock.callLater(left, look))
            else:
                passed[0] = now

        timers = [clock.callLater(self._timeout, look)]
        timing.open += 1
        try:
            return await with_turn(self, job)
        finally:
            timers[-1].active() and timers[-1].cancel()
            timing.solves += 1
            timing.open -= 1
            if passed[0]:
                # A pause that began in the same turn as the deadline may have come before the solver's own look at it.
                now = clock.seconds()
                due = began + self._timeout + timing.paused(began, now)
                timing.over = max(timing.over, now - max(passed[0], due))

    def noted(self: Any, fault: Any, **values: Any) -> None:
        answered(self, fault, **values)
        if fault is not None and fault.rule.action is Action.WAIT:
            timing.pauses.append((self._clock.seconds(), self.paused_until))

    with patch.object(Solver, "_with_turn", timed_turn), patch.object(Breaker, "answered", noted):
        yield timing


@dataclass
class Money:
    """What the crawls' stats and the simulator say, in USD and in tasks."""

    estimated: float
    possible: float
    spent: float
    delivered: int
    wasted: int
    unknown: int
    paid: int
    created: int

    @property
    def unreported(self) -> float:
        """Paid and not told, not even as possible."""
        return max(self.spent - self.estimated - self.possible, 0.0)

    @property
    def agrees(self) -> bool:
        return (
            self.estimated - 1e-6 <= self.spent <= self.estimated + self.possible + 1e-6
            and self.delivered + self.wasted <= self.paid <= self.delivered + self.wasted + self.unknown
        )


def money(state: dict[str, Any], *crawls: dict[str, Any]) -> Money:
    """From the simulator's state once all is settled, and the stats of all crawls without their prefix."""
    stats: Counter[str] = Counter()
    for one in crawls:
        stats.update({name: value for name, value in one.items() if isinstance(value, (int, float))})
    waste = {name[7:]: count for name, count in stats.items() if name.startswith("wasted/")}
    return Money(
        estimated=stats["estimated_cost_usd"],
        possible=stats["possible_cost_usd"],
        spent=state["money"]["spent"],
        delivered=stats["delivered"],
        wasted=sum(count for name, count in waste.items() if name not in UNKNOWN),
        unknown=sum(waste.get(name, 0) for name in UNKNOWN),
        paid=state["tasks"]["paid"],
        created=state["tasks"]["created"],
    )


async def settled(simulator: Simulator) -> dict[str, Any]:
    """The simulator's state once no task is open."""
    from twisted.internet import reactor

    clock: Any = reactor
    while (state := simulator.state())["tasks"]["open"]:
        await maybe_deferred_to_future(deferLater(clock, 0.1))
    return state


@dataclass
class Result:
    case: Case
    timing: Timing
    money: Money
    endings: Counter[int]
    """How often each request ended."""
    pages: int
    errors: Counter[str]
    foreign: list[BaseException]
    """Errors that are none of ours."""
    struck: int
    """How often the fault did."""
    stats: dict[str, Any]

    @property
    def lost(self) -> int:
        """Requests that did not end, or not once."""
        return sum(self.endings[n] != 1 for n in range(self.case.requests)) + len(self.foreign)


def flagged(site: str, requests: int) -> list[Request]:
    """For single-use gates, each fourth of another family."""
    gates = ("turnstile", "recaptcha-v2", "recaptcha-v2", "recaptcha-v2")
    return [
        Request(f"{site}/{gates[n % 4]}/{n}", meta={"capsolver": True}, cb_kwargs={"n": n}) for n in range(requests)
    ]


def endings(done: Crawl) -> Counter[int]:
    """How often each of the requests ended by its page or by an error."""
    ended: Counter[int] = Counter()
    for response in done.responses:
        n = response.cb_kwargs["n"]
        ended[n if f">Product {n}<" in response.text else -1] += 1
    for failure in done.failures:
        ended[failure.request.cb_kwargs["n"]] += 1  # type: ignore[attr-defined]
    return ended


async def run(case: Case) -> Result:
    from twisted.internet import reactor

    clock: Any = reactor
    async with AsyncExitStack() as stack:
        quirks = [case.quirk] if case.quirk else []
        capsolver = await stack.enter_async_context(simulator(quirks=quirks, solve_seconds=(1, 3)))

        def choose(method: str, n: int) -> Fault | None:
            if case.api == "outage" and method == CREATE and n == 4:
                clock.callLater(0, proxy.go_away)
            return case.fault if method == case.method and n % 3 == 0 else None

        proxy = Proxy(capsolver.api_url, choose)
        url = capsolver.api_url
        if case.fault or case.api in {"TLS", "outage"}:
            await stack.enter_async_context(proxy)
            url = proxy.tls_url if case.api == "TLS" else proxy.url
        elif case.api == "refused":
            url = stack.enter_context(refused_url())
        elif case.api == "DNS":
            url = UNRESOLVABLE
        timing = stack.enter_context(timed())
        done = await crawl(
            capsolver, flagged(capsolver.site_url, case.requests), CAPSOLVER_API_URL=url, CAPSOLVER_TIMEOUT=TIMEOUT
        )
        if case.fault:
            struck = proxy.hits[str(case.fault)]
        elif case.quirk and case.quirk.partition("/")[0] not in OUTCOMES:
            struck = sum(capsolver.state()["api"]["faults"].values())
        else:
            struck = 1
        if case.api == "outage":
            struck = proxy.outages
        state = await settled(capsolver)
        return Result(
            case,
            timing,
            money(state, done.ours()),
            endings(done),
            len(done.responses),
            Counter(type(error).__name__ for error in done.errors),
            [error for error in done.errors if not isinstance(error, CaptchaError)],
            struck,
            done.ours(),
        )


class Proxy(FaultProxy):
    """Can be away for a while."""

    outages = 0

    def go_away(self) -> None:
        from twisted.internet import reactor

        clock: Any = reactor

        async def away() -> None:
            self.outages += 1
            await self.refuse()
            await maybe_deferred_to_future(deferLater(clock, OUTAGE_SECONDS))
            self.listen()

        self.away: Any = deferred_from_coro(away())

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if self.outages:
            await maybe_deferred_to_future(self.away)
        await super().__aexit__(kind, error, traceback)


async def table(words: list[str]) -> None:
    print(f"{'fault':46} {'requests':>8} {'pages':>5} {'lost':>4} {'tasks':>5} {'unreported':>10} {'over':>6}  errors")
    total, bad = Counter[str](), []
    over = 0.0
    for case in CASES:
        if words and not any(word in str(case) for word in words):
            continue
        result = await run(case)
        told = result.money
        errors = ", ".join(f"{count} {name}" for name, count in sorted(result.errors.items()))
        print(
            f"{case!s:46} {case.requests:8} {result.pages:5} {result.lost:4} {told.created:5} {told.unreported:10.4f} "
            f"{result.timing.over:6.2f}  {errors}",
            flush=True,
        )
        total.update(cases=1, requests=case.requests, lost=result.lost, pages=result.pages, unstruck=not result.struck)
        over = max(over, result.timing.over)
        if not told.agrees or not result.struck or result.timing.open:
            bad.append((str(case), told, result.struck, result.timing.open))
    print(
        f"{total['cases']} faults, {total['requests']} requests: {total['pages']} pages, {total['lost']} lost; "
        f"longest over the deadline {over:.2f} s"
    )
    for one in bad:
        print("the accounts do not agree, or the fault did not strike:", *one)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("words", nargs="*", help="only faults whose name has one of these in it")
    arguments = parser.parse_args()
    asyncioreactor.install()
    cookies._split_domain = tldextract.TLDExtract(suffix_list_urls=(), include_psl_private_domains=True)
    react(lambda _: deferred_from_coro(table(arguments.words)))


if __name__ == "__main__":
    main()
