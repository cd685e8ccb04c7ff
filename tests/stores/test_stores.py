"""What there is to a store in memory, and to what stores keep."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from scrapy.utils.defer import deferred_f_from_coro_f

from scrapy_capsolver.stores import MemoryStore
from tests.stores.opened import KEY, ONE, do, held

if TYPE_CHECKING:
    import pytest


def test_neither_key_nor_clearance_shows_a_cookie() -> None:
    assert "datadome': 'a'" not in repr(ONE)
    assert "'a'" not in repr(ONE)


@deferred_f_from_coro_f
async def test_a_memory_store_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scrapy_capsolver.stores.memory.MOST", 2)
    store = MemoryStore()
    assert store.is_empty
    for jar in ("1", "2", "3"):
        await do(store.save(replace(KEY, jar=jar), ONE))
    assert [key.jar for key in await held(store)] == ["2", "3"]
