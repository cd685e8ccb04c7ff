"""Sites that cost money or errors and give nothing for it."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from scrapy_capsolver.errors import UnsolvableCaptchaError

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy_capsolver.solving.ledger import TaskScope

logger = logging.getLogger(__name__)


REFUSED = "CapSolver refuses its tasks"
REJECTED = "the site rejects the solutions"
LOST = "requests with a solution end by an exception"


class SiteStops:
    """After ``most`` failures of one kind in a row, a site's captchas of one family are solved no more; 0: they always are."""

    def __init__(self, most: int, count: Callable[[str, float], None]) -> None:
        self._most = most
        self._count = count
        self._failures: Counter[tuple[TaskScope, str]] = Counter()
        self._stopped: dict[TaskScope, str] = {}

    @property
    def most(self) -> int:
        return self._most

    def is_stopped(self, task_scope: TaskScope) -> bool:
        return task_scope in self._stopped

    def check(self, task_scope: TaskScope) -> None:
        """Raise :class:`~scrapy_capsolver.errors.UnsolvableCaptchaError` where the site is stopped."""
        why = self._stopped.get(task_scope)
        if why is not None:
            raise UnsolvableCaptchaError(f"not tried, since {why}") from UnsolvableCaptchaError(why)

    def succeeded(self, task_scope: TaskScope, kind: str) -> None:
        self._failures.pop((task_scope, kind), None)

    def failed(self, task_scope: TaskScope, kind: str, why: str = "") -> None:
        """Count a failure. ``why``: what to say of it, if it is not the kind's own words."""
        self._failures[task_scope, kind] += 1
        if not self._most or task_scope in self._stopped or self._failures[task_scope, kind] < self._most:
            return
        self._stopped[task_scope] = f"{why or kind}, {self._most} times in a row (CAPSOLVER_MAX_REJECTIONS)"
        self._count("breaker/stopped_sites", 1)
        logger.warning("No more %s is solved for %s: %s", task_scope.family, task_scope.site, self._stopped[task_scope])
