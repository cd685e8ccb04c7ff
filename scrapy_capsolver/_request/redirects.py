"""Redirects to a gate: where a solution goes, and how to get back to the page first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from scrapy_capsolver._request.state import RequestState, back_to_origin

if TYPE_CHECKING:
    from scrapy import Request


def way_back(request: Request, state: RequestState, *, to_form: bool) -> tuple[Request, dict[str, Any] | None, bool]:
    """What a solution is put into: the request for the page first asked for, without an earlier solution.

    Also that page, where it is known by now (see :func:`~.state.note_origin`), and whether it must be asked for once more
    after the gate's own form was sent (``to_form``), since a redirect had led to the gate.
    """
    redirects = request.meta.get("redirect_urls")
    origin = state.origin or ({"url": redirects[0], "method": "GET"} if redirects else None)
    if origin is None:
        return request, None, False
    base = back_to_origin(request, origin)
    if not to_form or not (redirects or state.go_back):
        return base, origin, False
    go_back = state.go_back or (not state.went_back and _is_detour(origin["url"], request))
    return base.replace(method="GET", body=b""), origin, go_back


def _is_detour(url: str, request: Request) -> bool:
    """Did a redirect lead from ``url`` to another page for now, rather than to where the page has moved?

    A gate is reached by a temporary redirect; a page that moved, or that got its slash or its https, is the page.
    """
    reasons = request.meta.get("redirect_reasons", ())
    moved = all(reason in {301, 308} for reason in reasons)
    return not moved and urlsplit(url).path.rstrip("/") != urlsplit(request.url).path.rstrip("/")
