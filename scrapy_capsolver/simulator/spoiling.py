"""Solutions that are not what they should be, as quirks.OUTCOMES wants them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .tokens import random_text

if TYPE_CHECKING:
    import random

    from .task_types import Fields

# What the site asks to see of a solution, in all its shapes.
_MATTERS = ("gRecaptchaResponse", "token", "cookie", "cookies", "validate", "pass_token")

# A cookie with its name, its value, and its attributes.
_COOKIE = re.compile(r"(?P<name>\w+=)(?P<value>[^;]*)(?P<rest>.*)", re.DOTALL)


def spoilt(solution: Fields, outcome: str | None, dice: random.Random) -> object:
    """Return the solution of a task as its outcome wants it."""
    names = [name for name in _MATTERS if name in solution]
    if outcome == "solution-string":
        return "ready"
    if outcome == "ready-without-token":
        return {key: value for key, value in solution.items() if key not in names}
    if outcome == "ready-empty-token":
        return {**solution, **{name: _emptied(solution[name]) for name in names}}
    if outcome == "unknown-token":
        return {**solution, **{name: _changed(solution[name], dice) for name in names}}
    if outcome == "cookies-string" and isinstance(solution.get("cookies"), dict):
        # The shape of the older documentation, see docs.capsolver.com/guide/captcha/cloudflare_challenge.
        kept = {key: value for key, value in solution.items() if key != "userAgent"}
        cookies = "; ".join(f"{name}={value}" for name, value in solution["cookies"].items())
        return {**kept, "cookies": cookies, "headers": {"User-Agent": solution["userAgent"]}}
    return solution


def _emptied(value: object) -> object:
    return dict.fromkeys(value, "") if isinstance(value, dict) else ""


def _changed(value: object, dice: random.Random) -> object:
    if isinstance(value, dict):
        return {name: _changed(item, dice) for name, item in value.items()}
    text = str(value)
    cookie = _COOKIE.fullmatch(text)
    if cookie is not None:
        return f"{cookie['name']}{random_text(dice, 300)}{cookie['rest']}"
    return text[:4] + random_text(dice, 300)
