"""What a request remembers between two of its visits to the middleware, as plain data in its meta.

Plain, since requests are pickled (JOBDIR, Scrapy Cloud, scrapy-redis). A token lives in the request's own body or headers;
only one that travels as a cookie is kept here, since it must enter no cookie jar.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scrapy_capsolver._compat.scheme_proxy import forget_scheme_proxy
from scrapy_capsolver._utils.headers import CREDENTIALS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scrapy import Request

    from scrapy_capsolver.solving.solver import Solved

KEY = "_capsolver"
REDIRECT_KEYS = ("redirect_urls", "redirect_times", "redirect_reasons")  # what RedirectMiddleware notes in the meta


_SPENT = "spent"  # of no request


@dataclass(slots=True)
class RequestState:
    attempts: int = 0
    """Tasks created for this request so far, and what counts as one against CAPSOLVER_RETRY_TIMES."""
    tasks: int = 0
    """Tasks created for it in fact."""
    charged: int = 0
    """How many of these may have been charged."""
    origin: dict[str, Any] | None = None
    """The page first asked for, where the request is no longer for it (see :func:`note_origin`)."""
    carrier_fingerprint: str = ""
    """Which request holds the solution: a redirect of it does not."""
    solution_origin: str = ""
    """The origin that the solution is for: a redirect to another one must not take it along."""
    cookies: dict[str, str] = field(default_factory=dict, repr=False)
    """Cookies of the solution, for :mod:`~.clearance_injector`."""
    session: list[dict[str, Any]] = field(default_factory=list, repr=False)
    """Cookies of the visit in which the challenge was shown (see :mod:`~.cookies`)."""
    foreign: bool = False
    """It goes to an origin that only a page named: nothing of the crawl's own goes along."""
    expires: float | None = None
    """Unix seconds after which the solution in it is worth nothing."""
    sent: bool = False
    """The solution in it has been sent to the site, and works once."""
    solution_id: str = ""
    """Under which it is kept what came of the solution (:mod:`~.solving.outcomes`)."""
    receipt: dict[str, Any] | None = None
    """Of the solution, for another run of the crawl."""
    returned_to_spider: bool = False
    """The solution is for the spider, and not in the request."""
    open_task: dict[str, Any] | None = None
    """A task whose result was still to come when the crawl stopped."""
    go_back: bool = False
    """After this response, ask for ``origin``: a redirect had led to the gate."""
    went_back: bool = False
    """That was done once: where it leads to the gate again, the gate's answer is the page."""
    uncached: bool = False
    """``dont_cache`` was set by us."""
    priority_raised: bool = False
    """The priority was raised."""
    cleared: bool = False
    """It waited for a clearance, and goes with it."""
    allow_clearances: bool = False
    """Clearances may go with it; see :mod:`~.attaching`."""
    run: str = ""
    """Which run of the crawl wrote this."""
    resend_id: str = ""
    """Under which the request is known while it waits in the scheduler (:mod:`~._crawl.resent`)."""
    stopped: bool = False
    """Returned to the scheduler once already in this run because the crawl was stopping."""

    @classmethod
    def of(cls, request: Request) -> RequestState:
        return cls(**request.meta.get(KEY, {}))

    def note_tasks(self, solved: Solved) -> None:
        """Count what a solve took. As long as no page has come of it, nothing of that was of use."""
        self.attempts += solved.attempts
        self.tasks += solved.attempts
        self.charged += solved.charged

    def write(self, request: Request) -> None:
        request.meta[KEY] = {name: value for name in self.__dataclass_fields__ if (value := getattr(self, name))}

    def carries_solution(self, request: Request) -> bool:
        return bool(self.carrier_fingerprint) and self.carrier_fingerprint == fingerprint(request)

    def spent(self) -> RequestState:
        """Return what is remembered of a request whose solution was accepted, in case a page sends it elsewhere."""
        return RequestState(
            attempts=self.attempts,
            origin=self.origin,
            carrier_fingerprint=_SPENT,
            solution_origin=self.solution_origin,
            uncached=self.uncached,
            priority_raised=True,
            allow_clearances=self.allow_clearances,
            run=self.run,
        )

    def drop_solution(self) -> None:
        """Forget the solution that the request carried. Which origin it was for is still known."""
        self.carrier_fingerprint, self.cookies, self.session = "", {}, []

    def without_solution(self) -> RequestState:
        """What is remembered of a request whose solution is given up."""
        return RequestState(
            attempts=self.attempts,
            tasks=self.tasks,
            charged=self.charged,
            origin=self.origin,
            uncached=self.uncached,
            priority_raised=True,
            allow_clearances=self.allow_clearances,
        )


def fingerprint(request: Request) -> str:
    """Tells a request from its redirects, without holding what is in it."""
    return hashlib.sha256(b"\n".join((request.method.encode(), request.url.encode(), request.body))).hexdigest()[:16]


def note_origin(request: Request, changed_headers: Iterable[str] = ()) -> dict[str, Any]:
    """What :func:`back_to_origin` needs in order to ask for the same page again."""
    origin: dict[str, Any] = {"url": request.url, "method": request.method}
    if request.body:
        origin["body"] = base64.b64encode(request.body).decode()
    if request.cookies:
        origin["cookies"] = request.cookies
    return with_headers(origin, request, changed_headers)


def with_headers(origin: dict[str, Any], request: Request, names: Iterable[str]) -> dict[str, Any]:
    """Return ``origin`` with these headers of ``request``, which is as it was then; what it knows already stays."""
    headers = {name: [value.decode("latin-1") for value in request.headers.getlist(name)] for name in names}
    headers |= origin.get("headers", {})
    return {**origin, "headers": headers} if headers else origin


def back_to_origin(request: Request, origin: dict[str, Any]) -> Request:
    """The request as it was before a solution was put into it, or before a redirect led it elsewhere."""
    headers = request.headers.copy()
    for name, values in origin.get("headers", {}).items():
        if values:
            headers.setlist(name, [value.encode("latin-1") for value in values])
        else:
            headers.pop(name, None)
    back = request.replace(
        url=origin["url"],
        method=origin["method"],
        body=base64.b64decode(origin.get("body", "")),
        headers=headers,
        cookies=origin.get("cookies", {}),
    )
    for key in REDIRECT_KEYS:
        back.meta.pop(key, None)
    forget_scheme_proxy(back, request.url)
    return back


def without_solution(request: Request, origin: dict[str, Any]) -> Request:
    """Return a redirect of a request with a solution as Scrapy makes it of the request without.

    What the solution took the place of comes back from ``origin``. Credentials do not: Scrapy lets a redirect take them to
    no other origin.
    """
    headers = {name: [] if name in CREDENTIALS else values for name, values in origin.get("headers", {}).items()}
    bare = back_to_origin(request, {**origin, "url": request.url, "headers": headers, "cookies": {}})
    if not request.body:  # it became a GET
        bare = bare.replace(method=request.method, body=b"")
    bare.meta.update({key: request.meta[key] for key in REDIRECT_KEYS if key in request.meta})
    bare.headers.pop("Referer", None)  # the address before, in whose query a solution may be
    return bare


def bare(request: Request) -> Request:
    """A copy for where no solution may lie, and for a process that has not this one's: it asks for the page anew."""
    state = RequestState.of(request)
    # A redirect of the carrier may have taken the solution along.
    copy = back_to_origin(request, state.origin) if state.carrier_fingerprint and state.origin else request.copy()
    if state.carrier_fingerprint or state.returned_to_spider:  # what is for the spider is in this process's memory
        state.without_solution().write(copy)
    return copy


def asked_for(request: Request, state: RequestState) -> str:
    """The address that the author's request was for, wherever redirects have led."""
    redirects = request.meta.get("redirect_urls")
    return str(state.origin["url"] if state.origin else redirects[0] if redirects else request.url)


def changed_headers(before: Request, after: Request) -> list[str]:
    """Names of the headers in which two requests differ."""
    names = {*before.headers.keys(), *after.headers.keys()}
    return sorted(
        name.decode("latin-1") for name in names if before.headers.getlist(name) != after.headers.getlist(name)
    )
