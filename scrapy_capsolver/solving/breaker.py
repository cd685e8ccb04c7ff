"""Stands in front of createTask: once an error says that no further task can succeed, none is created.

Errors are a limited resource at CapSolver, which blocks keys and addresses that cause many
(docs.capsolver.com/guide/api-error).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scrapy_capsolver.errors import CaptchaError

logger = logging.getLogger(__name__)


class Breaker:
    """Open for one task type, or for all of them, until the crawl ends."""

    def __init__(self) -> None:
        self._all: CaptchaError | None = None
        self._types: dict[str, CaptchaError] = {}

    def check(self, task_type: str) -> None:
        """Raise what opened the breaker for tasks of this type."""
        cause = self._all or self._types.get(task_type)
        if cause is not None:
            raise type(cause)(f"not tried, since an earlier task failed: {cause.message}", code=cause.code) from cause

    def open(self, cause: CaptchaError, task_type: str | None) -> None:
        """No more tasks of ``task_type``, or of any type where it is None."""
        if self._all is not None or (task_type is not None and task_type in self._types):
            return
        if task_type is None:
            self._all = cause
        else:
            self._types[task_type] = cause
        what = "captchas" if task_type is None else f"{task_type} tasks"
        logger.error("No more %s are solved in this crawl: %s", what, cause.message)
