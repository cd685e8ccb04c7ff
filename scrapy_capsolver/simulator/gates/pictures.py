"""The gates that show pictures, and ask for an answer about them."""

from __future__ import annotations

from abc import abstractmethod
from base64 import b64encode
from typing import TYPE_CHECKING

from scrapy_capsolver.simulator.pages import Page, attributes

from .base import Gate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scrapy_capsolver.simulator.visit import Visit


class PictureGate(Gate):
    """``?style=data-uri`` has the pictures inside of the page.

    What is shown is good for one answer, right or wrong, and only the last shown in a session for a page counts.
    ``pictures`` are the names of the files; ``label`` is what the visitor is asked for in the only field.
    """

    pictures: tuple[str, ...]
    label: str
    styles = frozenset({"data-uri"})

    @abstractmethod
    def draw(self, visit: Visit, ticket: str, name: str) -> bytes:
        """Return the picture of that name; it follows from the ticket, so that nobody has to remember it."""

    @abstractmethod
    def right(self, visit: Visit, ticket: str, answer: str) -> bool:
        """Tell whether the answer is the one to the pictures of that ticket."""

    @abstractmethod
    def shown(self, visit: Visit, ticket: str) -> str:
        """Return the HTML of the pictures."""

    def head(self, visit: Visit) -> str:
        return ""

    def widget(self, visit: Visit) -> str:
        ticket = visit.site.next_ticket()
        visit.site.images[visit.session, self.name, visit.number] = ticket
        name = self.fields[0]
        box = {"type": "text", "name": name, "id": name, "autocomplete": "off"}
        return f"{self.shown(visit, ticket)}\n<label>{self.label}: <input{attributes(box)}></label>"

    def picture(self, visit: Visit, ticket: str, name: str, first: dict[str, str], **more: str) -> str:
        """Return the HTML of one picture, with these attributes before and after its address."""
        if "data-uri" in visit.styles:
            source = "data:image/png;base64," + b64encode(self.draw(visit, ticket, name)).decode("ascii")
        else:
            source = f"/{self.name}/{visit.number}/{name}.png?id={ticket}"
        return f"<img{attributes({**first, 'src': source, **more})}>"

    def number(self, visit: Visit, ticket: str, *names: str) -> int:
        """Return a large number that follows from the ticket and the names."""
        return int(visit.secret(self.name, str(visit.number), ticket, *names)[:12], 16)

    def refusal(self, visit: Visit, solution: Mapping[str, str]) -> str | None:
        key = visit.session, self.name, visit.number
        ticket = visit.site.images.get(key)
        if ticket is None:
            return "unknown"
        if not ticket:
            return "used"
        visit.site.images[key] = ""
        return None if self.right(visit, ticket, solution[self.fields[0]].strip()) else "wrong-answer"

    def below(self, visit: Visit, name: str) -> Page | None:
        name, _, kind = name.rpartition(".")
        if name not in self.pictures or kind != "png":
            return None
        visit.site.count("images_fetched")
        ticket = visit.site.images.get((visit.session, self.name, visit.number))
        if visit.fresh or not ticket or visit.query.get("id") != ticket:
            return Page(b"This image is not yours.", status=403, content_type="text/plain; charset=utf-8")
        return Page(self.draw(visit, ticket, name), content_type="image/png")


def indexes(answer: str) -> list[str]:
    """Return the parts of an answer that lists several things, in order."""
    return sorted(part.strip() for part in answer.split(","))
