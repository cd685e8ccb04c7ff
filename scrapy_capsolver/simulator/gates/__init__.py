"""The families: for each, the gates of the site and the task types that open them.

A new family is a module here with ``TASK_TYPES`` and ``GATES``, and its name in ``_FAMILIES``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import (
    aws_waf,
    botdeflector,
    cloudflare,
    datadome,
    geetest,
    image,
    mtcaptcha,
    recaptcha_v2,
    recaptcha_v3,
    recognition,
    turnstile,
    unsolvable,
)

if TYPE_CHECKING:
    from scrapy_capsolver.simulator.task_types import TaskType

    from .base import Gate

_FAMILIES = (
    recaptcha_v2,
    recaptcha_v3,
    turnstile,
    image,
    cloudflare,
    datadome,
    aws_waf,
    geetest,
    mtcaptcha,
    botdeflector,
    recognition,
    unsolvable,
)

TASK_TYPES: tuple[TaskType, ...] = tuple(type_ for family in _FAMILIES for type_ in family.TASK_TYPES)
GATES: dict[str, Gate] = {gate.name: gate for family in _FAMILIES for gate in family.GATES}
# Which captcha stands behind a site key.
KINDS: dict[str, str] = {gate.site_key: gate.name for gate in GATES.values() if gate.site_key}
