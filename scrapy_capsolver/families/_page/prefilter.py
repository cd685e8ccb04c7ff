"""A first look that several families share, so that a page without any captcha is searched once for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scrapy_capsolver.families._page.page import Page


def says_captcha(page: Page) -> bool:
    """Is the word in the page? It is in the names of most captchas, and so in the marks that they leave."""
    return page.once(_says_captcha)


def _says_captcha(page: Page) -> bool:
    return page.mentions(b"captcha")
