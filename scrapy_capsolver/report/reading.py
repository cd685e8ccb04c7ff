"""Values of a report that was read from a file, which anybody may have written."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST = 2**62  # 4.6 billion USD in nano-dollars


def count_in(values: Mapping[str, Any], key: str) -> int:
    """A whole number, 0 or more. Raises ValueError, and KeyError where there is none."""
    value = values[key]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _MOST:
        raise ValueError(f"{key!r} is {value!r:.80}, and no count")
    return value


def number_in(values: Mapping[str, Any], key: str) -> float:
    """A finite number, 0 or more. Raises like :func:`count_in`."""
    value = values[key]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < _MOST or math.isnan(value):
        raise ValueError(f"{key!r} is {value!r:.80}, and no number of 0 or more")
    return float(value)


def text_in(values: Mapping[str, Any], key: str) -> str:
    """Raises like :func:`count_in`."""
    value = values[key]
    if not isinstance(value, str):
        raise ValueError(f"{key!r} is {value!r:.80}, and no text")  # noqa: TRY004 - as for other values
    return value
