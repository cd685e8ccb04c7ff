"""The JSON envelope of a reply, read generously: from untrusted bytes, in every spelling that a client is known to read."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from scrapy_capsolver._utils.numbers import finite, whole

_MAX_TEXT = 128 * 1024  # characters of a solution that is JSON in a text
_MAX_ID = 128
_MEMBERS = {
    name: name.lower()
    for name in (
        "errorId", "errorCode", "errorDescription", "message", "status", "taskId", "solution", "balance", "packages"
    )
}  # fmt: skip
_PLAIN = frozenset(_MEMBERS.values())
# Names that say that it is CapSolver's own: any service behind an edge may answer {"message": ...}.
_TELLING = _PLAIN - {"message", "status"}
_MAX_MEMBERS = 100
_MIN_TOKEN = 8  # characters
# What stands in errorId or errorCode if there is no error.
_NO_ERROR = frozenset({"", "0", "0.0", "false", "none", "null", "ok", "success"})


@dataclass(frozen=True, slots=True)
class Envelope:
    """A reply's members, with one kind of value each. ``None`` or ``""``: it has none."""

    is_error: bool
    """``errorId`` says so."""
    code: str
    """``errorCode``, unless it says that there is no error."""
    description: str
    status: str
    """In lower case."""
    task_id: str | int | None
    """A number if it came as one: some services that CapSolver's clients can be pointed at want it back so."""
    solution: dict[str, Any] | None = field(repr=False)
    balance: float | None = None
    packages: tuple[dict[str, Any], ...] = ()


def read_envelope(body: bytes) -> Envelope | None:
    """Return the envelope in ``body``, or None if that is no JSON object. Never raises."""
    value = _parsed(body)
    if not isinstance(value, dict):
        return None
    members = _members(value)
    if not _TELLING & members.keys() and isinstance(value.get("data"), dict):
        members = _members(value["data"])
    description = members.get("errordescription") or members.get("message")
    packages = members.get("packages")
    return Envelope(
        is_error=_is_error(members.get("errorid")),
        code=_code(members.get("errorcode")),
        description=description if isinstance(description, str) else "",
        status=_text(members.get("status")).lower(),
        task_id=_task_id(members.get("taskid")),
        solution=_solution(members.get("solution")),
        balance=finite(members.get("balance")),
        packages=tuple(one for one in packages if isinstance(one, dict)) if isinstance(packages, list) else (),
    )


def _parsed(body: bytes) -> Any:
    """Return the JSON value, in spite of broken characters and of blanks or zeros around it; None if there is none."""
    try:
        return json.loads(body, parse_int=_integer)
    except (ValueError, RecursionError):
        pass
    try:
        return json.loads(body.decode("utf-8", "replace").strip(" \t\r\n\0"), parse_int=_integer)
    except (ValueError, RecursionError):
        return None


def _integer(digits: str) -> int | float:
    """Python reads no whole number of thousands of digits; such a one is infinite here."""
    return int(digits) if len(digits) <= 600 else float(digits)


def _members(value: dict[str, Any]) -> dict[str, Any]:
    """Return the known members by their names in lower case. ``taskId`` overrides ``task_id`` and ``taskid``."""
    members: dict[str, Any] = {}
    for name in islice(value, _MAX_MEMBERS):
        if name in _MEMBERS:
            members[_MEMBERS[name]] = value[name]
        else:
            plain = name[:20].replace("_", "").replace("-", "").lower()
            if plain in _PLAIN:
                members.setdefault(plain, value[name])
    return members


def _is_error(error_id: object) -> bool:
    if isinstance(error_id, str):
        return error_id.strip().lower() not in _NO_ERROR
    return bool(error_id) and error_id == error_id  # noqa: PLR0124 - NaN says nothing


def _code(code: object) -> str:
    text = _text(code)
    return "" if text.lower() in _NO_ERROR else text


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _task_id(value: object) -> str | int | None:
    if isinstance(value, str):
        text = value.strip()
        return text if 0 < len(text) <= _MAX_ID and text.isascii() and text.isprintable() and " " not in text else None
    number = whole(value)
    return number if number is not None and 0 <= number < 2**63 else None


def _solution(value: object) -> dict[str, Any] | None:
    """Return a solution that has something in it. A text may be one as JSON, or the token itself."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        value = _solution_in(value.strip())
    if not isinstance(value, dict) or not value:
        return None
    return dict(islice(value.items(), _MAX_MEMBERS))


def _solution_in(text: str) -> object:
    if not 0 < len(text) <= _MAX_TEXT:
        return None
    if not text.startswith(("{", "[", '"')):
        return _as_token(text)
    value = _parsed(text.encode("utf-8", "replace"))
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return _as_token(value) if isinstance(value, str) else value


def _as_token(text: str) -> dict[str, Any] | None:
    """Return a solution of this token; None for what looks like a word."""
    return {"token": text} if len(text) >= _MIN_TOKEN and not text.isalpha() and len(text.split()) == 1 else None
