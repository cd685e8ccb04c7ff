"""What a crawl loses without each of Scrapy's undocumented names: ``python -m benchmarks.hidden_names``.

Each name is hidden from the plugin, and from nobody else, in two crawls of 5 gated requests: one to its end, and one that is
stopped while all wait. The seconds are simulated ones; no solve of the second crawl ends before it is stopped.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from twisted.internet import asyncioreactor, task

if TYPE_CHECKING:
    from tests.compat.hiding import Hidden

_COLUMNS = "{:<38} {:>9} {:>5} {:>6} {:>6} {:>7} {:>6}"


class Warnings(logging.Handler):
    """The plugin's."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("scrapy_capsolver"):
            self.lines.append(record.getMessage())


async def row(hidden: Hidden | None) -> str:
    import tempfile
    from pathlib import Path

    import pytest
    from scrapy import Request

    from tests.compat.test_hidden_names import SLOTS, crawl_all, gated, limit, stop_when_all_wait
    from tests.crawls import simulator

    warnings = Warnings()
    logging.getLogger().addHandler(warnings)
    with pytest.MonkeyPatch.context() as monkeypatch, tempfile.TemporaryDirectory() as folder:
        if hidden is not None:
            hidden.hide(monkeypatch)
        async with simulator() as capsolver:
            done = await crawl_all(capsolver, Path(folder) / "1", gated(capsolver))
            paid = capsolver.state()["tasks"]["created"]
        lines = len(warnings.lines)
        async with simulator(solve_seconds=(1e6, 1e6)) as capsolver:
            requests: list[Any] = [Request(f"{capsolver.site_url}/free/1"), *(f"/turnstile/{n}" for n in range(5))]
            waiting = SLOTS if hidden is not None and hidden.name == "total_concurrency" else 5
            parse = stop_when_all_wait(capsolver, waiting)
            stopped = await crawl_all(capsolver, Path(folder) / "2", requests, parse=parse, CAPSOLVER_TIMEOUT=300)
    logging.getLogger().removeHandler(warnings)
    leaked = limit(done) - SLOTS + limit(stopped) - SLOTS
    cancelled = sum(type(error).__name__ == "CaptchaCancelledError" for error in stopped.errors)
    name = "(none)" if hidden is None else str(hidden)
    return _COLUMNS.format(
        name, len(done.responses), paid, leaked, lines, f"{cancelled}/{len(stopped.errors)}", len(done.errors)
    )


async def main() -> None:
    from tests.compat.hiding import NAMES

    print(_COLUMNS.format("hidden", "delivered", "paid", "leaked", "lines", "stopped", "errors"))
    for hidden in [None, *(name for name in NAMES if name.exists)]:
        print(await row(hidden), flush=True)


if __name__ == "__main__":
    asyncioreactor.install()  # type: ignore[no-untyped-call]
    from scrapy.utils.defer import deferred_from_coro

    task.react(lambda _: deferred_from_coro(main()))
