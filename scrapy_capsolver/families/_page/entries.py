"""The entries that a browser sends of a form: names and values, in the order of the page.

Source: html.spec.whatwg.org/multipage/form-control-infrastructure.html#constructing-the-form-data-set , and for what an input's value
is, .../input.html#value-sanitization-algorithm . form2request 0.2.0 leaves out buttons without a value, sends buttons that are
not pressed, and knows no disabled options, templates, ``form`` attributes and ``_charset_``: these belong upstream.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lxml.html import HtmlElement

CONTROLS = ("input", "textarea", "select", "button")

MAX_CONTROLS = 300
"""Controls and entries of one form: more than any form has that a person fills in."""

MAX_LENGTH = 256 * 1024
"""Characters of all entries of one form. To encode them takes longer than to read their page."""

_MAX_LEVELS = 10  # deeper than any form hides its traps

MAX_LOOKED_AT = 3000
"""Controls of a page, or options of a select, that are looked at for those of one form."""

_BUTTONS = frozenset({"submit", "image", "reset", "button"})
_NOT_PAGE = frozenset({"template", "noscript", "title", "iframe", "noembed", "noframes", "xmp", "plaintext"})
_WITH_DIRECTION = frozenset({"text", "search", "tel", "url", "email", "hidden", "password", "submit"})
_FILLED = frozenset(
    {"text", "search", "tel", "url", "email", "password", "number", "date", "month", "week", "time", "datetime-local"}
)
_LINE_ENDS = re.compile(r"[\r\n]")
_NUMBER = re.compile(r"-?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")
_DATES = {
    "date": re.compile(r"\d{4,6}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])", re.ASCII),
    "month": re.compile(r"\d{4,6}-(?:0[1-9]|1[0-2])", re.ASCII),
    "week": re.compile(r"\d{4,6}-W(?:0[1-9]|[1-4]\d|5[0-3])", re.ASCII),
    "time": re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,3})?)?", re.ASCII),
    "datetime-local": re.compile(
        r"\d{4,6}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])[T ](?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,3})?)?",
        re.ASCII,
    ),
}
_WHITE = "\t\n\f\r "


class Entry(NamedTuple):
    """One name and value of a form."""

    name: str
    value: str
    is_file: bool = False
    """It belongs to a file input, in which nothing is chosen."""


class Entries(NamedTuple):
    """What a form sends, and what it would like to have from a person."""

    sent: tuple[Entry, ...]
    asked: tuple[str, ...]
    """Names of the visible fields that are empty, or that must be ticked and are not."""
    submitter: HtmlElement | None
    """The button that is pressed: the first that submits the form."""


def entries_of(form: HtmlElement, encoding: str) -> Entries | None:
    """Return the entries of ``form`` when its first button is pressed; None if it is larger than any form around a captcha.

    ``encoding`` is the name of the encoding in which the form is sent, as browsers write it.
    """
    controls = list(islice(_controls(form), MAX_CONTROLS + 1))
    if len(controls) > MAX_CONTROLS:
        return None
    off = {control for control in controls if _is_disabled(control)}
    submitter = next((one for one in controls if _kind(one) in {"submit", "image"} and one not in off), None)
    checked = _last_checked(controls)
    sent: list[Entry] = []
    asked: list[str] = []
    for control in controls:
        if control in off:
            continue
        name, kind = control.get("name") or "", _kind(control)
        if kind in _BUTTONS:
            if control is submitter:
                sent += _pressed(control, name, kind)
            continue
        if kind in {"checkbox", "radio"} and not _is_checked(control, kind, checked):
            if control.get("required") is not None and name and not is_hidden(control, form):
                asked.append(name)
            continue
        if not name:
            continue
        values = list(islice(_values(control, kind, encoding), MAX_CONTROLS + 1))
        sent += [Entry(name, value, kind == "file") for value in values]
        if len(sent) > MAX_CONTROLS:
            return None
        if direction := _direction(control, kind):
            sent.append(direction)
        if _wants_filling(control, kind, values) and not is_hidden(control, form):
            asked.append(name)
    if sum(len(entry.name) + len(entry.value) for entry in sent) > MAX_LENGTH:
        return None
    return Entries(tuple(sent), tuple(dict.fromkeys(asked)), submitter)


def _controls(form: HtmlElement) -> Iterator[HtmlElement]:
    """Yield the controls of a form in the order of the page: those in it, and those elsewhere that name it."""
    identity = form.get("id")
    root = form.getroottree().getroot() if identity else form
    inert: dict[HtmlElement, bool] = {}
    for control in islice(root.iter(*CONTROLS), MAX_LOOKED_AT):
        named = control.get("form")
        if named is not None:
            if not identity or named != identity:
                continue
        elif next(control.iterancestors("form"), None) is not form:
            continue
        if not _is_inside(control, inert):
            yield control


def _is_inside(element: HtmlElement, known: dict[HtmlElement, bool]) -> bool:
    """Return whether an element stands in a part that a browser with scripts makes no page of."""
    way = []
    answer = False
    for parent in element.iterancestors():
        if parent in known:
            answer = known[parent]
            break
        way.append(parent)
        if parent.tag in _NOT_PAGE:
            answer = True
            break
    known.update(dict.fromkeys(way, answer))
    return answer


def _kind(control: HtmlElement) -> str:
    if control.tag == "input":
        return (control.get("type") or "text").strip(_WHITE).lower() or "text"
    if control.tag == "button":
        kind = (control.get("type") or "submit").strip(_WHITE).lower()
        return kind if kind in {"reset", "button"} else "submit"
    return str(control.tag)


def _is_disabled(control: HtmlElement) -> bool:
    """By itself, or by a fieldset; what stands in the first legend of that one is not."""
    if control.get("disabled") is not None:
        return True
    below = control
    for parent in control.iterancestors():
        if parent.tag == "fieldset" and parent.get("disabled") is not None:
            legend = next((child for child in parent if child.tag == "legend"), None)
            if legend is None or below is not legend:
                return True
        below = parent
    return False


def _last_checked(controls: list[HtmlElement]) -> set[HtmlElement]:
    """Return the radio buttons that stay checked: the last of each group."""
    groups: dict[str, HtmlElement] = {}
    for one in controls:
        if _kind(one) == "radio" and one.get("checked") is not None:
            groups[one.get("name") or ""] = one
    return set(groups.values())


def _is_checked(control: HtmlElement, kind: str, radios: set[HtmlElement]) -> bool:
    if control.get("checked") is None:
        return False
    return kind == "checkbox" or not control.get("name") or control in radios


def _pressed(control: HtmlElement, name: str, kind: str) -> list[Entry]:
    if kind == "image":  # pressed by its keyboard, that is at its corner
        prefix = f"{name}." if name else ""
        return [Entry(f"{prefix}x", "0"), Entry(f"{prefix}y", "0")]
    if not name:
        return []
    default = "Submit" if control.tag == "input" else ""
    value = control.get("value")
    return [Entry(name, default if value is None else value)]


def _values(control: HtmlElement, kind: str, encoding: str) -> Iterator[str]:
    if kind == "select":
        yield from _selected(control)
    elif kind == "textarea":
        yield re.sub(r"\r\n?", "\n", control.text or "").removeprefix("\n")  # the parser's part in a browser
    elif kind == "file":
        yield ""
    elif kind in {"checkbox", "radio"}:
        value = control.get("value")
        yield "on" if value is None else value
    elif kind == "hidden" and (control.get("name") or "").lower() == "_charset_":
        yield encoding
    else:
        yield _sanitized(control.get("value") or "", kind, control)


def _sanitized(value: str, kind: str, control: HtmlElement) -> str:
    if kind == "hidden":
        return value
    value = _LINE_ENDS.sub("", value)
    if kind in {"email", "url"}:
        return value.strip(_WHITE)
    if kind == "number":
        return value if _NUMBER.fullmatch(value) else ""
    if kind == "color":
        return value.lower() if _COLOR.fullmatch(value) else "#000000"
    if kind == "range":
        return _range(value, control)
    if kind in _DATES:
        return value.replace(" ", "T") if _DATES[kind].fullmatch(value) else ""
    return value


def _range(value: str, control: HtmlElement) -> str:
    def number(text: str | None, default: float) -> float:
        return float(text) if text and _NUMBER.fullmatch(text) else default

    low, high = number(control.get("min"), 0.0), number(control.get("max"), 100.0)
    high = max(high, low)
    step = number(control.get("step"), 1.0)
    step = step if step > 0 else 1.0
    wanted = min(max(number(value, low + (high - low) / 2), low), high)
    if (control.get("step") or "").strip().lower() != "any":
        base = low if control.get("min") else number(control.get("value"), 0.0) if control.get("value") else 0.0
        stepped = base + round((wanted - base) / step + 1e-9) * step
        wanted = stepped if stepped <= high else stepped - step
    return f"{wanted:.10g}"


def _selected(select: HtmlElement) -> Iterator[str]:
    options = [
        one for one in islice(select.iter("option"), MAX_LOOKED_AT) if next(one.iterancestors("select"), None) is select
    ]
    chosen = [one for one in options if one.get("selected") is not None]
    if select.get("multiple") is None:
        chosen = chosen[-1:]
        if not chosen and _rows(select) == 1:
            chosen = [one for one in options if not _is_off(one, select)][:1]
    for option in chosen:
        if not _is_off(option, select):
            value = option.get("value")
            yield " ".join(option.text_content().split()) if value is None else value


def _rows(select: HtmlElement) -> int:
    found = re.match(r"[\t\n\f\r ]*\+?(\d{1,9})", select.get("size") or "", re.ASCII)
    return int(found[1]) or 1 if found else 1


def _is_off(option: HtmlElement, select: HtmlElement) -> bool:
    if option.get("disabled") is not None:
        return True
    parent = option.getparent()
    return (
        parent is not None and parent is not select and parent.tag == "optgroup" and parent.get("disabled") is not None
    )


def _direction(control: HtmlElement, kind: str) -> Entry | None:
    """Return what ``dirname`` asks for: the direction of the text."""
    name = control.get("dirname")
    if not name or kind not in _WITH_DIRECTION | {"textarea"}:
        return None
    with_dir = (one.get("dir") for one in (control, *control.iterancestors()))
    named = next(
        (value.strip().lower() for value in with_dir if value and value.strip().lower() in {"ltr", "rtl"}), "ltr"
    )
    return Entry(name, named)


def _wants_filling(control: HtmlElement, kind: str, values: list[str]) -> bool:
    """Return whether a person would have to write or choose something here."""
    if control.get("readonly") is not None:
        return False
    if kind in _FILLED or kind == "textarea":
        return not any(values)
    return kind in {"select", "file"} and control.get("required") is not None and not any(values)


def is_hidden(control: HtmlElement, form: HtmlElement) -> bool:
    """Return whether the markup hides a control: a trap for robots, or a field that the page's script fills."""
    element: HtmlElement | None = control
    for _ in range(_MAX_LEVELS):
        if element is None or element is form:
            break
        style = (element.get("style") or "")[:512].replace(" ", "").lower()
        if element.get("hidden") is not None or "display:none" in style or "visibility:hidden" in style:
            return True
        element = element.getparent()
    return False
