from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scrapy.http import HtmlResponse

if TYPE_CHECKING:
    from collections.abc import Callable

PAGES = Path(__file__).parent.parent / "pages"


@pytest.fixture
def response() -> Callable[..., HtmlResponse]:
    """``response("v2_gate")`` is that page of the corpus, ``response(html="...")`` another one."""

    def build(name: str = "", *, html: str = "", url: str = "https://shop.example/list?page=2", status: int = 200):
        body = (PAGES / f"{name}.html").read_bytes() if name else html.encode()
        return HtmlResponse(url, status=status, headers={"Content-Type": "text/html; charset=utf-8"}, body=body)

    return build
