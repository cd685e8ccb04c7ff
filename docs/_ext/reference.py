"""Directives of the reference pages. What the code knows (types, defaults, fields, prices, what an error asks for) is taken from it.

``setting``, ``stat``, ``flag-key`` and ``result`` describe one name each, and are linked to with roles of the same names.
``api-errors`` and ``task-types`` are tables. Names that the code has not, or texts that it lacks, are errors.
"""

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive, directives
from docutils.statemachine import StringList
from sphinx.domains.std import GenericObject

from scrapy_capsolver.api.codes import (
    DESCRIPTIONS,
    INVALID_TASK_DATA,
    RULES,
    UNKNOWN_CODE,
    Action,
    Rule,
    rule_of_http_status,
)
from scrapy_capsolver.families import FAMILIES
from scrapy_capsolver.families.fields import COMMON
from scrapy_capsolver.settings import CapSolverSettings

if TYPE_CHECKING:
    from sphinx import addnodes
    from sphinx.application import Sphinx

KINDS = {
    "bool": "``True`` or ``False``",
    "str": "text",
    "int": "whole number",
    "float": "number",
    "int | None": "whole number",
    "float | None": "number",
    "tuple[str, ...]": "list of texts",
    "Mapping[str, float]": "dict",
}
FIELD_KINDS = {str: "", bool: "true or false", int: "whole number", float: "number", dict: "object", list: "list"}


class Setting(GenericObject):
    """``.. setting:: CAPSOLVER_NAME``: its type and default are CapSolverSettings', unless the options say them."""

    option_spec: ClassVar[Any] = {
        **GenericObject.option_spec,
        "type": directives.unchanged_required,
        "default": directives.unchanged_required,
    }

    def transform_content(self, content_node: addnodes.desc_content) -> None:
        name = self.arguments[0].strip()
        field = {f"CAPSOLVER_{one.name.upper()}": one for one in fields(CapSolverSettings)}.get(name)
        kind, default = self.options.get("type"), self.options.get("default")
        if field is not None:
            kind = kind or KINDS[str(field.type)]
            default = default or _default(field)
        if not kind or not default:
            raise self.error(f"{name} is no field of CapSolverSettings: say its :type: and :default:")
        text = f"**Type:** {kind}. **Default:** {default}."
        paragraph = nodes.paragraph(text, "", classes=["of-setting"])
        parsed, messages = self.state.inline_text(text, self.lineno)
        paragraph += [*parsed, *messages]
        content_node.insert(0, paragraph)


def _default(field: Any) -> str:
    value = field.default_factory() if field.default_factory is not MISSING else field.default
    if value is None or value in ("", (), {}):
        return "none"
    return f"``{value:g}``" if isinstance(value, float) else f"``{value}``"


def _table(directive: Directive, title: str, widths: str, head: list[str], rows: list[list[str]]) -> list[nodes.Node]:
    """A table of cells in reStructuredText."""
    lines = [".. list-table::", f"   :widths: {widths}", "   :header-rows: 1", f"   :class: {title}", ""]
    for row in [head, *rows]:
        for number, cell in enumerate(row):
            lines.append(("   * - " if number == 0 else "     - ") + " ".join(cell.split()))
    node = nodes.Element()
    directive.state.nested_parse(StringList([*lines, ""], source=title), directive.content_offset, node)
    return list(node.children)


class ApiErrors(Directive):
    """A table of what CapSolver answers instead of a solution. The body says for each what the reader does: ``:NAME: text``."""

    has_content = True
    required_arguments = 1
    tables: ClassVar[dict[str, tuple[str, dict[str, Rule]]]] = {
        "codes": ("Code", RULES),
        "descriptions": ("Text in the description", {**INVALID_TASK_DATA, **DESCRIPTIONS}),
        "replies": (
            "Reply",
            {
                "a code that is not listed": UNKNOWN_CODE,
                "no JSON, HTTP 401": rule_of_http_status(401),
                "no JSON, HTTP 403": rule_of_http_status(403),
                "no JSON, HTTP 404, 405 or 3xx": rule_of_http_status(404),
                "no JSON, any other": rule_of_http_status(502),
            },
        ),
    }

    def run(self) -> list[nodes.Node]:
        head, rules = self.tables[self.arguments[0]]
        advice = _field_list(self.content)
        if advice.keys() != rules.keys():
            raise self.error(
                f"api-errors: not told: {sorted(rules.keys() - advice)}; unknown: {sorted(advice.keys() - rules.keys())}"
            )
        mark = "``" if rules is RULES else ""
        rows = [
            [f"{mark}{name}{mark}: {rule.meaning}", _consequence(rule), advice[name]] for name, rule in rules.items()
        ]
        return _table(self, "api-errors", "36 32 32", [head, "What the plugin does", "What you do"], rows)


def _field_list(lines: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    for line in lines:
        if match := re.match(r":([^:]+(?:\\:[^:]+)*): +(.*)", line):
            name = match[1]
            found[name] = match[2]
        elif line.strip():
            found[name] += f" {line.strip()}"
    return found


def _consequence(rule: Rule) -> str:
    """What follows an error, in words."""
    error = f":py:exc:`~scrapy_capsolver.{rule.error.__name__}`"
    times = {1: "once", 2: "twice"}.get(rule.times, f"{rule.times} times")
    match rule.action:
        case Action.POLL:
            return f"**Poll.** Asks for the result again; if nothing else comes, {error}"
        case Action.NEW:
            return f"**New.** A new task, {times} at most; then {error}"
        case Action.WAIT:
            pause = f"{rule.wait:g} seconds" if rule.wait < 120 else f"{rule.wait / 60:g} minutes"
            end = "no more tasks in this crawl" if rule.ends_crawl else error
            return f"**Wait.** All solving pauses for {pause}, {times} for a solve; then {end}"
        case Action.REQUEST:
            return f"**Request.** {error}, without another try"
        case Action.CRAWL:
            what = "tasks of this type" if rule.of_type else "tasks"
            return f"**Crawl.** {error}; no more {what} in this crawl"


class TaskTypes(Directive):
    """A table of all task types of the families, with the keys that a flag may give for each."""

    def run(self) -> list[nodes.Node]:
        rows = []
        for family in FAMILIES:
            alike: dict[str, list[str]] = {}  # the types that differ in the proxy alone
            for name, task_type in family.types.items():
                alike.setdefault(_keys(task_type), []).append(name)
            for keys, names in alike.items():
                prices = ", ".join(_price(family.types[name].price) for name in names)
                same = len({family.types[name].price for name in names}) == 1
                rows.append(
                    [
                        f"``{family.name}``",
                        ", ".join(f"``{name}``" for name in names),
                        keys,
                        _price(family.types[names[0]].price) if same else prices,
                    ]
                )
        return _table(self, "task-types", "18 32 38 12", ["Family", "Types", "Keys", "USD for 1000"], rows)


def _price(price: float | None) -> str:
    return "not published" if price is None else f"{price:.2f}"


def _keys(task_type: Any) -> str:
    choices = set().union(*task_type.one_of)
    groups = [("required", task_type.required), *(("one of", group) for group in task_type.one_of)]
    groups.append(("optional", task_type.optional | (task_type.own - choices)))
    parts = [
        f"{word}: " + ", ".join(_key(task_type, name) for name in sorted(names - COMMON.keys()))
        for word, names in groups
        if names - COMMON.keys()
    ]
    return "; ".join(parts) or "none of its own"


def _key(task_type: Any, name: str) -> str:
    kind = FIELD_KINDS[task_type.kinds.get(name, str)]
    return f"``{name}``" + (f" ({kind})" if kind else "")


def setup(app: Sphinx) -> dict[str, Any]:
    for name, what in (
        ("setting", "setting"),
        ("stat", "stat"),
        ("flag-key", "key of a flag"),
        ("result", "name in meta, flags or state"),
    ):
        app.add_object_type(name, name, objname=what)
    app.add_directive_to_domain("std", "setting", type("Setting", (Setting,), {"indextemplate": ""}), override=True)
    app.add_directive("api-errors", ApiErrors)
    app.add_directive("task-types", TaskTypes)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
