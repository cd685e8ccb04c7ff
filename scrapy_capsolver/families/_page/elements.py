"""Questions about the elements of a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from lxml.etree import XPath
    from lxml.html import HtmlElement

_MAX_VALUE = 200
# Elements whose content is text or a spare part, not page; older parsers make elements of it all the same.
_INERT = frozenset({"template", "textarea", "title", "xmp", "noembed", "noframes", "plaintext", "listing", "option"})


def elements(path: XPath, root: HtmlElement, **variables: str) -> list[HtmlElement]:
    """Return the elements that ``path`` selects. A limit in the path saves more than one on its result."""
    found: Any = path(root, **variables)
    return list(found)


def owners(path: XPath, root: HtmlElement, **variables: str) -> list[HtmlElement]:
    """Return the elements of the attributes that ``path`` selects.

    To go from attributes to their elements is many times as fast as to test each element for them.
    """
    found: Any = path(root, **variables)
    return [attribute.getparent() for attribute in found]


def is_inert(element: HtmlElement) -> bool:
    """Return whether no browser shows or runs what is in this element."""
    return element.tag in _INERT


def is_inside(element: HtmlElement, which: Callable[[HtmlElement], bool], known: dict[HtmlElement, bool]) -> bool:
    """Return whether one of the elements around this one is ``which``. ``known`` keeps the answers for others."""
    way: list[HtmlElement] = []
    answer = False
    parent = element.getparent()
    while parent is not None:
        if parent in known:
            answer = known[parent]
            break
        way.append(parent)
        if which(parent):
            answer = True
            break
        parent = parent.getparent()
    known.update(dict.fromkeys(way, answer))
    return answer


def classes(element: HtmlElement) -> list[str]:
    """Return the element's classes, as far as they are near the start of the attribute."""
    return (element.get("class") or "")[: 8 * _MAX_VALUE].split()


def describe(element: HtmlElement) -> str:
    """Return the element as a reason names it: ``<div class="g-recaptcha">``."""
    label = next(
        (f' {name}="{value[:_MAX_VALUE]}"' for name in ("class", "id", "name") if (value := element.get(name))), ""
    )
    return f"<{element.tag[:_MAX_VALUE]}{label}>"
