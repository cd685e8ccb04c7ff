"""One request to the gated site, taken apart."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from .shown import Shown
from .twisted_types import reading

if TYPE_CHECKING:
    from .gates.base import Gate
    from .site import GatedSite
    from .twisted_types import Request

SESSION_COOKIE = "sid"


class Visit:
    """What a request to a gated page says.

    ``place`` is the path of the pages like this one, without the number, which not every page has; ``styles`` the values of ``?style=``, which
    may be several with commas between them; ``session`` the visitor's id, and ``fresh`` tells that this visit began it.
    """

    def __init__(self, site: GatedSite, request: Request, gate: Gate, place: str, number: int | None) -> None:
        self.site = site
        self.request = request
        self.gate = gate
        self.place = place
        self.number = number or 0
        self.method: str = request.method.decode("latin-1")
        self.path = place if number is None else f"{place}/{number}"
        known = site.read_session(self.cookie(SESSION_COOKIE))
        self.fresh = known is None
        self.session = known or site.begin_session()

    @cached_property
    def host(self) -> str:
        """The host of the page as the visitor named it, without the port."""
        header = (self.request.getHeader("host") or "").lower()
        # An IPv6 address stands in brackets, and colons inside of them are its own.
        name, _, port = header.rpartition(":")
        return (name if name and port.isdigit() else header).strip("[]")

    @cached_property
    def address(self) -> str:
        """The address that the request came from: the visitor's own, or that of his proxy."""
        return str(self.request.getClientAddress().host)

    @cached_property
    def agent(self) -> str:
        return self.header("user-agent") or ""

    @cached_property
    def query(self) -> dict[str, str]:
        return _pairs(self.request.uri.partition(b"?")[2])

    @cached_property
    def styles(self) -> frozenset[str]:
        return frozenset(filter(None, self.query.get("style", "").split(",")))

    @cached_property
    def content_type(self) -> str:
        return (self.request.getHeader("content-type") or "").partition(";")[0].strip().lower()

    @cached_property
    def form(self) -> dict[str, str]:
        """The fields of a posted form, in either encoding. Of several values of a name, the last."""
        if self.method != "POST":
            return {}
        if self.content_type == "application/x-www-form-urlencoded":
            return _pairs(self.body)
        if self.content_type == "multipart/form-data":
            # Twisted has taken it apart already, and mixed it with the query.
            query = self.query
            fields = {_text(name): _text(values[-1]) for name, values in (self.request.args or {}).items() if values}
            return {name: value for name, value in fields.items() if query.get(name) != value}
        return {}

    @cached_property
    def body(self) -> bytes:
        return reading(self.request)

    @cached_property
    def json(self) -> dict[str, Any]:
        """The posted JSON object; empty if it is anything else."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}

    def header(self, name: str) -> str | None:
        return self.request.getHeader(name)

    def cookie(self, name: str) -> str | None:
        value = self.request.getCookie(name.encode("ascii"))
        return None if value is None else _text(value)

    def shown(self, **details: str) -> Shown:
        """Return a challenge of these details, as it is shown now to this visitor."""
        return Shown(self.host, self.address, self.agent, self.session, self.site.now(), details)

    def secret(self, *names: str) -> str:
        """Return a text that only the site can make, for this session and these names."""
        return self.site.sign(self.session, *names)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _pairs(text: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(text.decode("latin-1"), keep_blank_values=True, max_num_fields=1000))
    except ValueError:
        return {}


def path_segments(uri: bytes) -> list[str]:
    """Return the decoded segments of a request's path, without the first, empty one."""
    return [unquote(segment) for segment in uri.partition(b"?")[0].decode("latin-1").split("/")[1:]]
