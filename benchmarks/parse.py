"""How long a page holds the reactor, whatever is in it: the worst pages that we know, in three sizes; and ordinary ones."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from scrapy.http import HtmlResponse

from benchmarks.detection import SIZE
from benchmarks.hostile_pages import ENCODED, GENERATORS, page_of
from benchmarks.record import Table
from scrapy_capsolver.families import FAMILIES, Page, detect
from tests.families.corpus import CORPUS, expected_family, response_of

if TYPE_CHECKING:
    from scrapy.http import TextResponse

SIZES = (100 * 1024, 1024 * 1024, 2 * 1024 * 1024)
ROWS = {
    "list": '<li class="item"><a href="/item/1">Item 1</a> <span>A short text about it.</span></li>\n',
    "shop": '<div class="card product" data-id="1" data-price="12.50"><a class="link" href="/p/product-1" title="Product">A product '
    'with a name and a text that says more about it</a><img src="https://cdn.example/1.jpg" alt="Product" loading="lazy" width="200">'
    "</div>\n",
    "article": f'<section id="s1"><h3 class="title">A chapter</h3><p>{"Some words of an article. " * 20}</p></section>\n',
}


def of_generator(name: str, size: int) -> HtmlResponse:
    body, content_type = page_of(name, size)
    return HtmlResponse("https://shop.example/p", 403, {"Content-Type": content_type}, body)


def milliseconds(response: TextResponse, runs: int) -> float:
    """The least of CPU time, which other processes change least."""
    taken = []
    for _ in range(runs):
        start = time.thread_time()
        detect(Page(response))
        taken.append(time.thread_time() - start)
    return min(taken) * 1000


def hostile(runs: int) -> Table:
    rows = []
    for name in (*GENERATORS, *ENCODED):
        times = [milliseconds(of_generator(name, size), runs) for size in SIZES]
        growth = milliseconds(of_generator(name, SIZES[1] // 2), runs)
        rows.append((max(times), [name, *(f"{one:.1f}" for one in times), f"{times[1] / max(growth, 0.1):.1f}"]))
    rows.sort(key=lambda row: -row[0])
    return Table(
        "Milliseconds of one detection, by generator", ["", "100 KB", "1 MB", "2 MB", "x from 512 KB to 1 MB"],
        [row for _, row in rows],
    )  # fmt: skip


def padded(name: str, row: str) -> TextResponse:
    """A page of the corpus with 100 KB of ordinary markup in it."""
    response = response_of(name)
    place = response.body.rfind(b"</body>")
    body = row * ((SIZE - len(response.body)) // len(row))
    return response.replace(body=response.body[:place] + body.encode() + response.body[place:])


def ordinary(runs: int) -> Table:
    rows = []
    for family in FAMILIES:
        pages = [
            name for name in CORPUS if family.name in expected_family(name) and b"</body>" in response_of(name).body
        ]
        if pages:
            times = {
                kind: statistics.median(milliseconds(padded(name, row), runs) for name in pages)
                for kind, row in ROWS.items()
            }
            rows.append([family.name, *(f"{one:.2f}" for one in times.values())])
    return Table("Milliseconds for ordinary pages of 100 KB, median by family", ["", *ROWS], rows)


def parse(runs: int) -> None:
    for table in (ordinary(runs), hostile(runs)):
        print(table.text(), flush=True)
