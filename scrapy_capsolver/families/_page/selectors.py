"""CSS selectors that the author of a flag wrote, on pages that somebody else wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parsel import css2xpath

from scrapy_capsolver.errors import CaptchaConfigurationError
from scrapy_capsolver.families._page.text import clean

if TYPE_CHECKING:
    from lxml.html import HtmlElement


def select(root: HtmlElement, css: str, most: int) -> list[HtmlElement | str]:
    try:
        found = root.xpath(f"({css2xpath(css)})[position() <= {most}]")
    except Exception as error:  # cssselect and lxml raise a dozen kinds of them
        raise CaptchaConfigurationError(f"selector: {clean(css)!r} is no CSS selector") from error
    return list(found)
