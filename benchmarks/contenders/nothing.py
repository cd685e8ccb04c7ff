"""Scrapy by itself."""

from __future__ import annotations

from typing import Any

TITLE = "Scrapy without a plugin"
FLAGGED = False


def set_up(api_url: str, key: str, speed: float) -> None:
    """There is nothing to set up."""


def settings() -> dict[str, Any]:
    return {}
