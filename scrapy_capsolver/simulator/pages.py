"""The site's HTML. Whatever comes from outside is escaped here."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HTML = "text/html; charset=utf-8"
JSON = "application/json"


@dataclass
class Page:
    """A whole answer of the site."""

    body: bytes
    status: int = 200
    content_type: str = HTML
    headers: list[tuple[str, str]] = field(default_factory=list)


def attributes(values: Mapping[str, str | None]) -> str:
    """Return HTML attributes with a space before each; those without a value are left out."""
    return "".join(f' {name}="{escape(value)}"' for name, value in values.items() if value is not None)


def hidden(name: str, value: str) -> str:
    return f'<input type="hidden"{attributes({"name": name, "value": value})}>'


def script(address: str) -> str:
    return f"<script{attributes({'src': address})} async defer></script>"


def js_text(text: str) -> str:
    """Return a JavaScript string literal that is safe inside of a script element."""
    return "'" + json.dumps(text)[1:-1].replace("'", "\\'").replace("<", "\\u003c") + "'"


def document(title: str, body: str, *, head: str = "", status: int = 200) -> Page:
    html = (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n{head}\n'
        f"</head>\n<body>\n{body}\n</body>\n</html>\n"
    )
    # A lone surrogate can come in through JSON, and has no place in UTF-8.
    return Page(html.encode("utf-8", "replace"), status=status)


def json_page(value: object, *, status: int = 200) -> Page:
    return Page(json.dumps(value).encode("ascii"), status=status, content_type=JSON)


def price(number: int) -> str:
    return f"{5 + number * 37 % 95}.{number * 13 % 100:02}"


def product_json(number: int) -> dict[str, str | int]:
    return {"id": number, "name": f"Product {number}", "price": price(number)}


def product(number: int, here: str, *, fields: Mapping[str, str] | None = None, query: str | None = None) -> Page:
    """Return a product's page, with the visitor's own form fields read back and links to its neighbours.

    ``here`` is the path of the pages like this one, without the number.
    """
    parts = [f'<p class="query">Results for <q>{escape(query)}</q></p>'] if query is not None else []
    parts += [
        f'<h1 class="product">Product {number}</h1>',
        f'<p class="price">{price(number)}</p>',
        f'<p class="description">The {number}th of our products, and a good one.</p>',
    ]
    if fields:
        rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in fields.items())
        parts.append(f'<dl class="fields">{rows}</dl>')
    links = [(f"{here}/{number + 1}", "next"), (f"/free/{number}", "the same, free"), ("/", "home")]
    parts.append(navigation(links))
    return document(f"Product {number}", "\n".join(parts))


def navigation(links: Iterable[tuple[str, str]]) -> str:
    items = "".join(f"<li><a{attributes({'href': address})}>{escape(text)}</a></li>" for address, text in links)
    return f"<nav><ul>{items}</ul></nav>"


def form(inner: str, *, action: str, method: str = "POST", multipart: bool = False) -> str:
    kind = "multipart/form-data" if multipart else None
    return f"<form{attributes({'method': method, 'action': action, 'enctype': kind})}>\n{inner}\n</form>"


_ARTICLE = """\
<p>Our shop has sold useful things since the beginning, and means to go on. Every product is described on a page of
its own, with its price, and can be found by its number or with the search below.</p>
<p>Search is for people. Robots that search all day slow it down for everybody else, which is why we ask you to confirm
that you are a person before we look something up. Reading needs no confirmation.</p>
<p>Prices include everything. Delivery takes two days in the city and four outside of it; whatever does not please may
be sent back within a month, in its box, without giving a reason.</p>
<p>Questions are answered between nine and five. Before you write, please see whether the answer stands on the
product's page already: most of them do, and we add those that do not.</p>"""


def article(form_html: str, *, head: str) -> Page:
    """Return a page that is of use by itself, and has a form with a captcha in it."""
    body = f"<h1>About our shop</h1>\n<article>\n{_ARTICLE}\n</article>\n<h2>Search</h2>\n{form_html}"
    return document("About our shop", body, head=head)


def interstitial(inner: str, *, head: str, status: int) -> Page:
    body = f"<h1>Please confirm that you are human</h1>\n<p>Then you will see the page.</p>\n{inner}"
    return document("Please confirm that you are human", body, head=head, status=status)
