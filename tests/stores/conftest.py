from __future__ import annotations

import pytest

from scrapy_capsolver.stores.sqlite import store


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may have the processor and the disk: how long a file takes says nothing."""
    monkeypatch.setattr(store, "_WAIT_SECONDS", 120.0)
