"""Directives of the reference pages. What the code knows (types, defaults, fields, prices, what an error asks for) is taken from it.

``setting``, ``stat``, ``flag-key``, ``result`` and ``api-error`` describe one name each, and are linked to with roles of the same
names. ``api-errors`` and ``task-types`` are lists of all that the code has; a text that is missing there is an error.
"""

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive, directives
from docutils.statemachine import StringList
from sphinx.domains.std import GenericObject
from sphinx.util.docutils import SphinxDirective

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
    from collections.abc import Iterator, Mapping

    from sphinx import addnodes
    from sphinx.application import Sphinx

    from scrapy_capsolver.families import TaskType

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


def _parsed(directive: Directive, lines: list[str]) -> list[nodes.Node]:
    """What these lines of reStructuredText come to."""
    node = nodes.Element()
    source = f"{directive.name} in docs/_ext/reference.py"
    directive.state.nested_parse(StringList(lines, source=source), directive.content_offset, node)
    return list(node.children)


class ApiErrors(Directive):
    """What CapSolver answers instead of a solution. The body says for each what the reader does: ``:NAME: text``."""

    has_content = True
    required_arguments = 1
    kinds: ClassVar[dict[str, Mapping[str, Rule]]] = {
        "codes": RULES,
        "descriptions": {**INVALID_TASK_DATA, **DESCRIPTIONS},
        "replies": {
            "A code that is not listed": UNKNOWN_CODE,
            "No JSON, HTTP 401": rule_of_http_status(401),
            "No JSON, HTTP 403": rule_of_http_status(403),
            "No JSON, HTTP 404, 405 or 3xx": rule_of_http_status(404),
            "No JSON, any other": rule_of_http_status(502),
        },
    }

    def run(self) -> list[nodes.Node]:
        kind = self.arguments[0]
        rules, advice = self.kinds[kind], _field_list(self.content)
        if advice.keys() != rules.keys():
            raise self.error(
                f"api-errors: not told: {sorted(rules.keys() - advice)}; unknown: {sorted(advice.keys() - rules.keys())}"
            )
        lines: list[str] = []
        for name, rule in rules.items():
            head = {"codes": f".. api-error:: {name}\n", "descriptions": f"\u201c{name}\u201d"}.get(kind, name)
            said = rule.meaning[0].upper() + rule.meaning[1:]
            lines += [*head.split("\n"), f"    {said}. {_consequence(rule)}", "", f"    **Do:** {advice[name]}", ""]
        return _parsed(self, lines)


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
            return f"**Poll:** the result is asked for again; if nothing else comes, {error}."
        case Action.NEW:
            return f"**New:** another task, {times} at most; then {error}."
        case Action.WAIT:
            pause = f"{rule.wait:g} seconds" if rule.wait < 120 else f"{rule.wait / 60:g} minutes"
            end = f"{error}, and no more tasks in this crawl" if rule.ends_crawl else error
            return f"**Wait:** all solving pauses for {pause}, {times} at most for a solve; then {end}."
        case Action.REQUEST:
            return f"**Request:** {error}, without another try."
        case Action.CRAWL:
            what = "tasks of this type" if rule.of_type else "tasks"
            return f"**Crawl:** {error}, and no more {what} in this crawl."


class TaskTypes(SphinxDirective):
    """All task types by family, with their prices and the keys that a flag may give for each."""

    def run(self) -> list[nodes.Node]:
        lines: list[str] = []
        for family in FAMILIES:
            for keys, names in _alike(family.types).items():
                own_page = f"families/{family.name}"
                page = own_page if own_page in self.env.found_docs else "families/recognition"
                priced = [f"``{name}`` ({_price(family.types[name].price)})" for name in names]
                lines += [f":doc:`{family.name} <{page}>`", f"    {', '.join(priced)}", "", *keys, ""]
        return _parsed(self, lines)


def _alike(types: Mapping[str, TaskType]) -> dict[tuple[str, ...], list[str]]:
    """The types of a family by the keys that they take: most differ in the proxy alone."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for name, task_type in types.items():
        alike.setdefault(tuple(_keys(task_type)), []).append(name)
    return alike


def _price(price: float | None) -> str:
    return "price not published" if price is None else f"{price:.2f}"


def _keys(task_type: TaskType) -> Iterator[str]:
    choices: set[str] = set().union(*task_type.one_of)
    groups = [("Required", task_type.required), *(("One of", group) for group in task_type.one_of)]
    groups.append(("Optional", task_type.optional | (task_type.own - choices)))
    for word, names in groups:
        if told := ", ".join(_key(task_type, name) for name in sorted(names - COMMON.keys())):
            yield f"    - {word}: {told}"


def _key(task_type: TaskType, name: str) -> str:
    kind = FIELD_KINDS[task_type.kinds.get(name, str)]
    return f"``{name}``" + (f" ({kind})" if kind else "")


def setup(app: Sphinx) -> dict[str, Any]:
    for name, what in (
        ("setting", "setting"),
        ("stat", "stat"),
        ("flag-key", "key of a flag"),
        ("result", "name in meta, flags or state"),
        ("api-error", "error code of CapSolver"),
    ):
        app.add_object_type(name, name, objname=what)
    app.add_directive_to_domain("std", "setting", type("Setting", (Setting,), {"indextemplate": ""}), override=True)
    app.add_directive("api-errors", ApiErrors)
    app.add_directive("task-types", TaskTypes)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
