"""The page in a real browser: it fetches nothing, runs nothing, and can be read in the light, in the dark and on a phone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from scrapy_capsolver.report.files import write_report
from scrapy_capsolver.report.words import plain
from tests.report.browser import CHROMIUM, in_browser
from tests.report.samples import PLANTED, crawl_of, planted

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium on this machine: apt-get install chromium"
)

PHONE = 390  # CSS pixels
LEGIBLE = 4.5  # contrast of text (w3.org/TR/WCAG22/#contrast-minimum)
VISIBLE = 3.0  # of bars and lines (#non-text-contrast)

LOOK = """() => {
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [R, G, B] = [r, g, b].map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * R + 0.7152 * G + 0.0722 * B;
  };
  const behind = node => {
    for (; node; node = node.parentElement) {
      const colour = rgb(getComputedStyle(node).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const contrast = (colour, node) => {
    const [a, b] = [light(rgb(colour)), light(behind(node))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  };
  const shown = node => { const box = node.getBoundingClientRect(); return box.width > 0 && box.height > 0; };
  const texts = [...document.querySelectorAll("body *")].filter(
    node => !node.closest("desc, title, style") && shown(node)
      && [...node.childNodes].some(child => child.nodeType === 3 && child.data.trim()));
  const bars = [...document.querySelectorAll(".bar i")].filter(shown);
  const small = texts.map(node => [parseFloat(getComputedStyle(node).fontSize), node.textContent])
    .sort((a, b) => a[0] - b[0])[0];
  const wide = [...document.querySelectorAll(".scroll, section, .cards div, td, tbody th")].filter(
    node => shown(node) && node.scrollWidth > node.clientWidth + 1);
  return {
    title: document.title,
    background: getComputedStyle(document.body).backgroundColor,
    width: document.documentElement.scrollWidth,
    texts: texts.map(node => [contrast(getComputedStyle(node).color, node), node.textContent]),
    height: document.documentElement.scrollHeight,
    bars: bars.map(node => contrast(getComputedStyle(node).backgroundColor, node.closest("section"))),
    colours: [...new Set(bars.map(node => getComputedStyle(node).backgroundColor))],
    smallest: small,
    wide: wide.map(node => [node.tagName, node.className, node.textContent.trim().slice(0, 60)]),
    tables: [...document.querySelectorAll("table")].map(table => {
      const row = table.querySelector("tbody tr");
      return [table.caption.textContent, table.querySelectorAll("thead th[scope=col]").length, row.children.length,
              row.querySelectorAll("th[scope=row]").length]; }),
    active: document.querySelectorAll("script, img, iframe, object, embed, [onload], [onerror]").length,
  };
}"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    page = tmp_path_factory.mktemp("report") / "report.html"
    write_report(crawl_of(900), str(page))
    return page


def look(path: Path, scheme: str, width: int) -> dict[str, Any]:
    """What is there; and nothing was fetched or complained of."""
    found, seen = in_browser(path, lambda page: page.evaluate(LOOK), scheme, width)
    assert seen.requests == [path.as_uri()]
    assert (seen.console, seen.errors) == ([], [])
    return found  # type: ignore[no-any-return]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, 1100])
def test_it_can_be_read(path: Path, scheme: str, width: int) -> None:
    found = look(path, scheme, width)
    assert found["width"] <= width
    assert len(found["texts"]) > 100
    assert [text for contrast, text in found["texts"] if contrast < LEGIBLE] == []
    assert found["smallest"][0] >= 10, found["smallest"]
    assert found["bars"]
    assert min(found["bars"]) >= VISIBLE
    assert len(found["colours"]) == 3


@pytest.mark.parametrize("width", [PHONE, 640, 768, 900, 1024, 1280, 1440, 1920])
def test_no_column_is_cut(path: Path, width: int) -> None:
    """No cell, table or section is wider inside than the room that it has, folded tables included."""

    def unfold(page: Any) -> Any:
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        return page.evaluate(LOOK)

    found, _ = in_browser(path, unfold, "light", width)
    assert found["width"] <= width
    assert found["wide"] == []


def test_a_phone_shows_it_in_six_screens(path: Path) -> None:
    assert look(path, "light", PHONE)["height"] <= 6 * 844


@pytest.mark.parametrize("requests", [1, 2, 3, 5, 30])
def test_a_small_crawl_can_be_read_as_well(tmp_path: Path, requests: int) -> None:
    page = tmp_path / "report.html"
    write_report(crawl_of(requests), str(page))
    found = look(page, "light", PHONE)
    assert found["width"] <= PHONE
    assert found["wide"] == []


def test_tables_have_headers(path: Path) -> None:
    tables = look(path, "light", 1100)["tables"]
    assert len(tables) >= 8
    for caption, columns, cells, row_headers in tables:
        assert caption
        assert columns == cells > 1, caption
        assert row_headers == 1, caption


def test_light_and_dark_differ(path: Path) -> None:
    light, dark = look(path, "light", 1100), look(path, "dark", 1100)
    assert light["background"] != dark["background"]
    assert not {*light["colours"]} & {*dark["colours"]}
    assert [text for _, text in light["texts"]] == [text for _, text in dark["texts"]]


@pytest.mark.parametrize("width", [PHONE, 1100])
def test_what_is_planted_does_nothing(tmp_path: Path, width: int) -> None:
    page = tmp_path / "planted.html"
    write_report(planted(), str(page))
    found = look(page, "light", width)
    assert found["title"].startswith("Captcha report: <script>")
    assert found["active"] == 0
    assert found["width"] <= width
    texts = {text for _, text in found["texts"]}
    for text in PLANTED[:-1]:
        assert plain(text) in texts


def test_a_script_would_be_stopped(tmp_path: Path) -> None:
    """Should something slip through one day: the page's own policy forbids it."""
    page = tmp_path / "report.html"
    write_report(crawl_of(20), str(page))
    page.write_text(page.read_text().replace("<main>", "<main><script>document.title='PWNED'</script>", 1))
    title, seen = in_browser(page, lambda one: one.title())
    assert title == "Captcha report: shop"
    assert any("Content Security Policy" in line for line in seen.console)
