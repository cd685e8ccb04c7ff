"""Numbers from replies and settings, of any size and kind."""

from __future__ import annotations

import math

_MAX_TEXT = 400  # characters; the longest finite float written out has 309 digits


def finite(value: object) -> float | None:
    """Return ``value`` as a finite float, or None.

    A number may be given as text. Truth values, NaN, infinities and what is too large for a float are none. The
    result is never -0.0.
    """
    if isinstance(value, str):
        if len(value) > _MAX_TEXT:
            return None
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number + 0.0 if math.isfinite(number) else None


def whole(value: object) -> int | None:
    """Return ``value`` as a whole number, or None. A number may be given as text, and as 7.0."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        try:
            return int(value) if len(value) <= _MAX_TEXT else None
        except ValueError:
            pass
    number = finite(value)
    return int(number) if number is not None and number.is_integer() else None
