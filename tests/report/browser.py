"""A headless Chromium of this machine, and what it makes of a page."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Page

    T = TypeVar("T")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@dataclass
class Seen:
    requests: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@contextmanager
def _open(path: Path, scheme: Any, width: int) -> Iterator[tuple[Page, Seen]]:
    seen = Seen()
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=CHROMIUM) as browser:
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 844})
        page = context.new_page()
        page.on("request", lambda request: seen.requests.append(request.url))
        page.on("console", lambda message: seen.console.append(message.text))
        page.on("pageerror", lambda error: seen.errors.append(str(error)))
        page.goto(path.as_uri(), wait_until="networkidle")
        yield page, seen


def in_browser(path: Path, look: Callable[[Page], T], scheme: str = "light", width: int = 1100) -> tuple[T, Seen]:
    """What ``look`` finds, and what the page did. In a thread, since the tests' own has an event loop that runs."""

    def work() -> tuple[T, Seen]:
        with _open(path, scheme, width) as (page, seen):
            return look(page), seen

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()
