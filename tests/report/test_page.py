"""What the page says, and that what it quotes is quoted: see ``test_page_in_a_browser.py`` for what a browser makes of it."""

from __future__ import annotations

import re

import pytest
from parsel import Selector

import scrapy_capsolver
from scrapy_capsolver import CaptchaError
from scrapy_capsolver.families import FAMILIES, PRICES
from scrapy_capsolver.report import advice
from scrapy_capsolver.report.figures import POSSIBLE, WASTED, Figures, figures_of
from scrapy_capsolver.report.page import page_of
from scrapy_capsolver.report.record import Record, record_of_ledger
from scrapy_capsolver.report.text import text_of
from scrapy_capsolver.report.words import FAMILIES as NAMES
from scrapy_capsolver.report.words import plain, usd
from scrapy_capsolver.stores import Spend
from tests.report.samples import PLANTED, crawl_of, planted


def cards(page: Selector) -> dict[str, str]:
    return {
        card.xpath("string(dt)").get(""): " ".join(card.xpath("string(dd[1])").get("").split())
        for card in page.css(".cards div")
    }


def table(page: Selector, title: str) -> dict[str, list[str]]:
    """Rows by their header."""
    condition = f"[normalize-space(caption/text()[1])='{title}']"
    (found,) = page.xpath(f"//section/div//table{condition}") or page.xpath(f"//details//table{condition}")
    return {
        row.xpath("th/text()[1]").get("").removesuffix("\n"): [
            cell.xpath("string(.)").get("") for cell in row.xpath("td")
        ]
        for row in found.xpath("tbody/tr")
    }


def test_the_page_shows_the_figures() -> None:
    figures = figures_of(crawl_of(600))
    page = Selector(page_of(figures))
    total = figures.total
    assert cards(page) == {
        "Spent": f"{usd(total.solved.nano_usd)} USD",
        "Wasted": f"{usd(total.wasted.nano_usd)} USD",
        "Solutions": str(total.solved.tasks),
        "Accepted": f"{100 * total.accepted / (total.accepted + total.rejected):.1f} %",
        "Failed requests": str(figures.requests_failed),
        "Time to solve": f"{figures.solves[0].median:.2f} s",
    }
    sites = table(page, "By site")
    assert {name: cells[1] for name, cells in sites.items()} == {
        line.name: usd(line.solved.nano_usd) for line in figures.sites
    }
    assert {name: int(cells[0]) for name, cells in table(page, "By family").items()} == {
        NAMES[line.name]: line.solved.tasks for line in figures.families
    }
    assert {name: int(cells[0]) for name, cells in table(page, "Wasted, by reason").items()} == {
        one.reason: one.tasks for one in figures.waste
    }
    failures = table(page, "Failed requests")
    assert sum(int(cells[0]) for cells in failures.values()) == figures.requests_failed
    assert all(cells[-1] for cells in failures.values())
    assert {*table(page, "Errors of CapSolver")} == {"ERROR_CAPTCHA_UNSOLVABLE", "ERROR_RATE_LIMIT"}
    assert "not yet" in page.css("#times").xpath("string(.)").get("")
    assert [section.attrib["id"] for section in page.css("section")] == [
        "spend", "waste", "acceptance", "times", "failures", "timeline",
    ]  # fmt: skip


def test_each_row_of_money_has_a_bar() -> None:
    """A bar is decoration: the row's text has the figures, so a screen reader skips it."""
    page = Selector(page_of(figures_of(crawl_of(600))))
    bars = page.css("#spend .bar, #acceptance .bar")
    assert len(bars) == len(page.css("#spend tbody tr, #acceptance tbody tr"))
    assert {bar.attrib["aria-hidden"] for bar in bars} == {"true"}
    ids = page.xpath("//@id").getall()
    assert len(ids) == len(set(ids))


def test_bars_are_as_long_as_their_money() -> None:
    spent = [("a.example", 3_000_000), ("b.example", 1_000_000)]
    rows = [Spend("s", site, "turnstile", "solved", 1, nano) for site, nano in spent]
    page = Selector(page_of(figures_of(record_of_ledger(rows))))
    bars = page.xpath("//table[contains(caption, 'By site')]//i[@class='use' and @style]/@style").getall()
    assert bars == ["width: 100.00%", "width: 33.33%"]


def test_nothing_but_the_page() -> None:
    """No script, nothing fetched, no address; and a policy that forbids it should there be some."""
    for record in (crawl_of(300), planted(), Record()):
        page = Selector(page_of(figures_of(record)))
        assert page.css("script, link, img, iframe, object, embed, image, use, a:not([href^='#'])").getall() == []
        values = page.xpath("//@*[not(starts-with(name(), 'xmlns'))]").getall()
        assert [value for value in values if re.match(r"\s*(?:https?:)?//", value)] == []
        assert not re.search(r"url\(|@import", "".join(page.css("style::text").getall()))
        assert page.xpath("//@*[starts-with(name(), 'on')]").getall() == []
        policy = page.css("meta[http-equiv=Content-Security-Policy]::attr(content)").get("")
        assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")


def test_what_is_planted_is_text() -> None:
    figures = figures_of(planted())
    html = page_of(figures)
    page = Selector(html)
    sites = table(page, "By site")
    assert {*sites} == {plain(text) for text in PLANTED}
    assert "{{ 7 * 7 }}" in html  # no template of ours
    assert "PWNED" not in page.css("title::text").get("").replace("document.title='PWNED'", "")
    assert page.css("section script, section img, section svg").getall() == []


@pytest.mark.parametrize("render", [page_of, text_of])
def test_no_text_moves_a_cursor_or_turns_around(render: object) -> None:
    shown = render(figures_of(planted()))  # type: ignore[operator]
    assert all(char.isprintable() or char == "\n" for char in shown)
    shown.encode("utf-8")


def test_a_crawl_without_captchas_says_so() -> None:
    for shown in (page_of(figures_of(Record())), text_of(figures_of(Record()))):
        assert "No captcha was solved, and none failed." in shown


def test_many_sites_are_told_up_to_a_number() -> None:
    rows = [Spend("s", f"{n}.example", "turnstile", "solved", 1, 1_000_000 + n) for n in range(500)]
    page = Selector(page_of(figures_of(record_of_ledger(rows))))
    assert [*table(page, "By site")] == [f"{n}.example" for n in range(499, 489, -1)]
    assert len(page.css("details tbody tr")) == 100
    rest = usd(sum(1_000_000 + n for n in range(400)))
    assert f"All other sites cost {rest} USD" in page.css("details").xpath("string(.)").get("")


def test_money_of_unknown_price_is_told() -> None:
    record = crawl_of(50)
    record.unpriced["NewTask"] = 3
    for shown in (page_of(figures_of(record)), text_of(figures_of(record))):
        assert re.search(r"price is not known:\s+3\s+\(NewTask\)", shown)


@pytest.mark.parametrize(
    ("nano", "text"),
    [(0, "0.0000"), (800_000, "0.0008"), (1, "0.000000001"), (1_234_567_890_120, "1,234.56789012"), (10**9, "1.0000")],
)
def test_usd_is_exact(nano: int, text: str) -> None:
    assert usd(nano) == text


def test_there_is_advice_on_all_that_can_go_wrong() -> None:
    errors = {name for name in scrapy_capsolver.__all__ if name.endswith("Error")} - {CaptchaError.__name__}
    assert set(advice.ERRORS) == errors
    assert set(advice.WASTE) == {*WASTED, *POSSIBLE}


def test_every_family_has_its_name() -> None:
    assert {family.name for family in FAMILIES} | {"raw"} <= set(NAMES)
    assert PRICES


def check_text(figures: Figures) -> None:
    lines = text_of(figures).splitlines()
    assert (
        f"Spent            {usd(figures.total.solved.nano_usd)} USD for {figures.total.solved.tasks:,} solutions"
        in lines
    )
    assert max(len(line) for line in lines) <= 160


def test_the_text_says_the_same() -> None:
    figures = figures_of(crawl_of(600))
    check_text(figures)
    shown = text_of(figures)
    assert all(line.name in shown for line in figures.sites)
    assert all(one.to_do.split()[0] in shown for one in figures.failures)
