"""What a gate of the simulated site is, and the usual kind: one that a single-use token opens."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from scrapy_capsolver.simulator.tokens import Binding
from scrapy_capsolver.simulator.visit import path_segments

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scrapy_capsolver.simulator.pages import Page
    from scrapy_capsolver.simulator.visit import Visit

# The identity that solutions claim to have been earned with.
USER_AGENT = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/144.0.0.0 Safari/537.36"
)


def make_site_key(prefix: str, name: str, length: int) -> str:
    """Return a site key that looks as the vendor's do, always the same for a name."""
    digest = hashlib.sha512(name.encode()).digest()
    return prefix + urlsafe_b64encode(digest)[: length - len(prefix)].decode("ascii").replace("-", "x")


def page_at(url: str) -> tuple[str, frozenset[str]]:
    """Return what a solver finds that loads a page of the site: the name of the gate, or nothing, and its styles."""
    path, _, query = url.partition("#")[0].partition("?")
    segments = path_segments(urlsplit(path).path.encode("utf-8", "replace"))
    styles = dict(parse_qsl(query)).get("style", "")
    # The gate's name is the first segment, or the second after that of a placement.
    if segments[:1] and segments[0] in {"post", "json", "header", "query", "redirect", "gate", "reject"}:
        del segments[0]
    return "".join(segments[:1]), frozenset(filter(None, styles.split(",")))


class Gate(ABC):
    """What stands before the products of one family.

    ``name`` is both the first segment of the pages' paths and the kind of the captcha; ``fields`` are the form fields
    that take the solution; ``styles`` are the values of ``?style=`` that this gate knows beside those of every gate.
    A gate without fields takes no solution, and knows no other styles than its own.
    """

    name: str
    fields: tuple[str, ...]
    site_key: str = ""
    styles: frozenset[str] = frozenset()

    @abstractmethod
    def head(self, visit: Visit) -> str:
        """Return the HTML that belongs into the head of a page that shows the captcha."""

    @abstractmethod
    def widget(self, visit: Visit) -> str:
        """Return the HTML that shows the captcha, for the inside of a form."""

    @abstractmethod
    def refusal(self, visit: Visit, solution: Mapping[str, str]) -> str | None:
        """Check a solution and use it up; return nothing if it opens the gate, else the reason why not.

        ``solution`` has a text for at least one of the ``fields``, and for no other.
        """

    def submit(self, visit: Visit) -> str:
        """Return the HTML of the button that sends the form."""
        return '<button type="submit" name="go" value="Continue">Continue</button>'

    def clearance(self, visit: Visit) -> str | None:
        """Return nothing if the visitor may pass without a solution, say for a cookie, else the reason why not."""
        return "missing"

    def challenge(self, visit: Visit, reason: str) -> Page | None:
        """Return the whole page that shows the captcha, if the gate will not have it put on a page of the site."""
        return None

    def follow_up(self, visit: Visit, page: Page) -> None:  # noqa: B027 - most gates have nothing to add
        """Add to the page of a visitor who passes, say a header."""

    def below(self, visit: Visit, name: str) -> Page | None:
        """Return what lies below a gated page under that name, such as the captcha's image."""
        return None


class TokenGate(Gate):
    """A gate of one field that asks the captcha's vendor about a token. ``action`` is what the page's widget declares, if it does."""

    action: str | None = None

    def refusal(self, visit: Visit, solution: Mapping[str, str]) -> str | None:
        return visit.site.tokens.siteverify(
            solution[self.fields[0]],
            Binding(
                kind=self.name,
                site_key=self.site_key,
                host=visit.host,
                action=self.action,
                cdata=self.cdata(visit),
                data_s=self.data_s(visit),
            ),
        )

    def cdata(self, visit: Visit) -> str | None:
        return None

    def data_s(self, visit: Visit) -> str | None:
        return None
