"""The captcha-gated shop: its paths, its sessions, and what it counts."""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from twisted.web.server import NOT_DONE_YET

from . import pages
from .connections import set_aside
from .egress import WHO_AM_I
from .gates import GATES
from .pages import Page
from .placements import AT_GATE, IN_FORM, PLACEMENTS, REJECTING, VERIFIED_COOKIE, Placement, to_gate, verified
from .twisted_types import cancel, when_gone
from .visit import SESSION_COOKIE, Visit, path_segments

if TYPE_CHECKING:
    from .clearances import ClearanceRegistry
    from .clock import SimulatedClock
    from .gates.base import Gate
    from .shown import ShownChallenges
    from .tokens import TokenRegistry
    from .twisted_types import Request

# Links of each kind on the index page.
_INDEX_LINKS = 5


class GatedSite:
    """A shop whose products stand at ``/free/<n>`` for everybody, and behind a captcha at ``/<family>/<n>``.

    A page that is refused says why in the response header ``X-Gate-Reason``. Paths, where ``<family>`` is a key of
    :data:`~scrapy_capsolver.simulator.gates.GATES`:

    - ``/``, ``/robots.txt``, ``/free/<n>`` and ``/status/<code>``: as they say.
    - ``/<family>/<n>``: a page that asks for a confirmation in a form. With ``?style=``, see the placements and gates.
    - ``/post/<family>/<n>``, ``/json/...``, ``/header/...``, ``/query/...``: the solution goes into the visitor's own
      request, and the page that asks for it has no form.
    - ``/redirect/<family>/<n>``: redirects to ``/gate/<family>?next=...``, which gives a cookie and redirects back.
    - ``/reject/<family>/<n>``: never lets anybody pass.
    - ``/image/<n>/captcha.png``, and the images of other captchas at ``/<family>/<n>/<name>.png``.
    - ``/geetest-v3/<n>/register``: what a page of GeeTest's version 3 fetches.
    - ``/_whoami``: the address that the request comes from. It is not counted anywhere.

    A family of clearances has no form, and opens to a cookie alone, at whichever of these paths. ``latency`` is in real
    seconds for each page. ``images`` holds, for a session, a family, and a page's number, the ticket of the captcha
    image that was shown last, or an empty text once it was answered.
    """

    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(
        self,
        clock: SimulatedClock,
        tokens: TokenRegistry,
        clearances: ClearanceRegistry,
        shown: ShownChallenges,
        *,
        seed: int,
        latency: float,
    ) -> None:
        self._clock = clock
        self._key = f"site {seed}".encode()[:64]
        self._sessions = self._tickets = 0
        self.tokens = tokens
        self.clearances = clearances
        self.shown = shown
        self.latency = latency
        self.reset()

    def reset(self) -> None:
        self.images: dict[tuple[str, str, int], str] = {}
        self._counts: Counter[str] = Counter()
        self._delivered: Counter[str] = Counter()
        self._gates_shown: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._clients: Counter[str] = Counter()
        self._statuses: Counter[int] = Counter()

    def state(self) -> dict[str, Any]:
        counts = self._counts
        return {
            "requests": counts["requests"],
            "pages": counts["free"] + self._delivered.total(),
            "free": counts["free"],
            "gated": dict(self._delivered),
            "gates_shown": dict(self._gates_shown),
            "solutions": counts["solutions"],
            "refused": dict(self._refused),
            "presented_twice": self.tokens.presented_twice,
            "clearances": self.clearances.state(),
            "robots": counts["robots"],
            "images_fetched": counts["images_fetched"],
            "redirected_api_calls": counts["redirected_api_calls"],
            "statuses": {str(status): count for status, count in sorted(self._statuses.items())},
            "clients": dict(self._clients),
        }

    def count(self, name: str) -> None:
        self._counts[name] += 1

    def now(self) -> float:
        """Return the simulated seconds since the simulator began."""
        return self._clock.now()

    # Sessions are signed, so that nothing has to be remembered about them.

    def sign(self, *names: str) -> str:
        return blake2b("\0".join(names).encode("utf-8", "replace"), key=self._key, digest_size=20).hexdigest()

    def begin_session(self) -> str:
        self._sessions += 1
        number = f"{self._sessions:x}"
        return f"{number}-{self.sign('session', number)}"

    def read_session(self, cookie: str | None) -> str | None:
        """Return the session that the cookie names, if it is one of ours."""
        number, _, signature = (cookie or "").partition("-")
        return cookie if signature and signature == self.sign("session", number) else None

    def next_ticket(self) -> str:
        """Return an id of 32 hexadecimal digits for a captcha, which is new every time."""
        self._tickets += 1
        return self.sign("ticket", str(self._tickets))[:32]

    # Requests

    def render(self, request: Request) -> int:
        if request.uri == WHO_AM_I.encode("ascii"):
            set_aside(request)
            _send(request, pages.json_page({"address": request.getClientAddress().host}))
            return NOT_DONE_YET
        page = self._answer(request)
        self._counts["requests"] += 1
        self._statuses[page.status] += 1
        self._clients[request.getClientAddress().host] += 1
        if self.latency <= 0:
            _send(request, page)
            return NOT_DONE_YET
        timer = self._clock.call_later_real(self.latency, lambda: _send(request, page))
        when_gone(request, lambda: cancel(timer))
        return NOT_DONE_YET

    def _answer(self, request: Request) -> Page:
        segments = path_segments(request.uri)
        first = segments[0] if segments else ""
        gate = GATES.get(first)
        if gate is not None:
            return self._gated(request, IN_FORM, gate, f"/{first}", segments[1:])
        if first == "free" and len(segments) == 2:
            return self._free(segments[1])
        if first in PLACEMENTS or first in {"redirect", "gate"}:
            gate = GATES.get(segments[1]) if len(segments) > 1 else None
            if gate is None:
                return _not_found()
            place = f"/{first}/{gate.name}"
            if first == "gate" and len(segments) == 2:
                return self._serve(Visit(self, request, gate, f"/gate/{gate.name}", None), AT_GATE)
            if first == "redirect":
                return self._behind_redirect(request, gate, place, segments[2:])
            placement = PLACEMENTS.get(first)
            return self._gated(request, placement, gate, place, segments[2:]) if placement else _not_found()
        if segments == [""]:
            return self._index()
        if segments == ["robots.txt"]:
            self.count("robots")
            return Page(b"User-agent: *\nAllow: /\n", content_type="text/plain; charset=utf-8")
        if first == "status" and len(segments) == 2 and (code := _number(segments[1])) and 200 <= code < 600:
            return pages.document(f"Status {code}", f"<h1>Status {code}</h1>", status=code)
        if first == "redirected":
            # Where the quirk "redirect" of the API leads: nobody should follow.
            self.count("redirected_api_calls")
        return _not_found()

    def _index(self) -> Page:
        numbers = range(1, _INDEX_LINKS + 1)
        kinds = ["free", *GATES]
        links = [(f"/{kind}/{number}", f"Product {number} ({kind})") for kind in kinds for number in numbers]
        return pages.document("Our shop", "<h1>Our shop</h1>\n" + pages.navigation(links))

    def _free(self, segment: str) -> Page:
        number = _number(segment)
        if number is None:
            return _not_found()
        self.count("free")
        return pages.product(number, "/free")

    def _gated(self, request: Request, placement: Placement, gate: Gate, place: str, rest: list[str]) -> Page:
        number = _number(rest[0]) if rest else None
        if number is None or len(rest) > 2:
            return _not_found()
        visit = Visit(self, request, gate, place, number)
        if len(rest) == 2:
            return gate.below(visit, rest[1]) or _not_found()
        return self._serve(visit, placement)

    def _behind_redirect(self, request: Request, gate: Gate, place: str, rest: list[str]) -> Page:
        number = _number(rest[0]) if len(rest) == 1 else None
        if number is None:
            return _not_found()
        visit = Visit(self, request, gate, place, number)
        if not visit.fresh and visit.cookie(VERIFIED_COOKIE) == verified(visit):
            self._delivered[gate.name] += 1
            return pages.product(number, place)
        return to_gate(visit)

    def _serve(self, visit: Visit, placement: Placement) -> Page:
        gate = visit.gate
        allowed = placement.styles | gate.styles if gate.fields else gate.styles
        if not visit.styles <= allowed:
            text = f"<h1>No such style here</h1>\n<p>Allowed: {', '.join(sorted(allowed))}</p>"
            return pages.document("No such style here", text, status=400)
        reason = self._refusal(visit, placement)
        if reason is None:
            page = placement.passed(visit)
            gate.follow_up(visit, page)
            if placement is not AT_GATE:
                self._delivered[gate.name] += 1
        else:
            page = gate.challenge(visit, reason) or placement.refused(visit, reason)
            page.headers.append(("X-Gate-Reason", reason))
            self._gates_shown[gate.name] += 1
        if visit.fresh:
            page.headers.append(("Set-Cookie", f"{SESSION_COOKIE}={visit.session}; Path=/; HttpOnly"))
        return page

    def _refusal(self, visit: Visit, placement: Placement) -> str | None:
        solution = placement.solution(visit)
        if not solution:
            reason = visit.gate.clearance(visit)
            return "rejected" if reason is None and placement is REJECTING else reason
        self.count("solutions")
        if not placement.well_formed(visit):
            reason = "bad-form"
        else:
            reason = visit.gate.refusal(visit, solution)
            if reason is None and placement is REJECTING:
                reason = "rejected"
        if reason is not None:
            self._refused[reason] += 1
        return reason


def _send(request: Request, page: Page) -> None:
    request.setResponseCode(page.status)
    body = b"" if page.status in {204, 304} else page.body
    headers = request.responseHeaders
    headers.setRawHeaders("Content-Type", [page.content_type])
    headers.setRawHeaders("Content-Length", [str(len(body))])
    for name, value in page.headers:
        if name == "Set-Cookie":
            headers.addRawHeader(name, value)
        else:
            headers.setRawHeaders(name, [value])
    request.write(body)
    request.finish()


def _number(segment: str) -> int | None:
    return int(segment) if segment.isascii() and segment.isdigit() and len(segment) < 10 else None


def _not_found() -> Page:
    return pages.document("Not found", "<h1>Not found</h1>", status=404)
