"""What a gate of the simulated site is, and the usual kind: one that a single-use token opens."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING

from scrapy_capsolver.simulator.tokens import Binding

if TYPE_CHECKING:
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


class Gate(ABC):
    """What stands before the products of one family.

    ``name`` is both the first segment of the pages' paths and the kind of the captcha; ``field`` is the form field
    that takes the solution; ``styles`` are the values of ``?style=`` that this gate knows beside those of every gate.
    """

    name: str
    field: str
    site_key: str = ""
    styles: frozenset[str] = frozenset()

    @abstractmethod
    def head(self, visit: Visit) -> str:
        """Return the HTML that belongs into the head of a page that shows the captcha."""

    @abstractmethod
    def widget(self, visit: Visit) -> str:
        """Return the HTML that shows the captcha, for the inside of a form."""

    @abstractmethod
    def refusal(self, visit: Visit, solution: str) -> str | None:
        """Check a solution and use it up; return nothing if it opens the gate, else the reason why not."""

    def submit(self, visit: Visit) -> str:
        """Return the HTML of the button that sends the form."""
        return '<button type="submit" name="go" value="Continue">Continue</button>'

    def cleared(self, visit: Visit) -> bool:
        """Tell whether the visitor may pass without a solution, say for a clearance cookie."""
        return False

    def below(self, visit: Visit, name: str) -> Page | None:
        """Return what lies below a gated page under that name, such as the captcha's image."""
        return None


class TokenGate(Gate):
    """A gate that asks the captcha's vendor about a token. ``action`` is what the page's widget declares, if it does."""

    action: str | None = None

    def refusal(self, visit: Visit, solution: str) -> str | None:
        return visit.site.tokens.siteverify(
            solution,
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
