"""Charts as SVG to be put into the page: in its colours, light or dark, with no script and nothing that is fetched.

They are narrow, so that their text can be read on a phone as well; what they show is in a table beside them.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

# It adds a finder for map plugins to Python's own, which is of a kind so old that Python 3.10 and 3.11 warn at every import
# from then on. There are no maps here.
_finders = tuple(sys.meta_path)
import pygal
from pygal.style import Style

for _finder in [one for one in sys.meta_path if type(one).__module__ == "pygal" and one not in _finders]:
    sys.meta_path.remove(_finder)  # and no other: importlib_metadata, which it needs, has put one in place of Python's

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Series = tuple[str, str, "Sequence[float]"]
"""What it is called, the CSS variable of its colour (without the dashes), and its values."""

WIDTH = 400
_UPRIGHT: dict[str, Any] = {"height": 240, "x_label_rotation": 40}
_LABEL = 19  # characters, past which a label is cut


def bars(
    name: str, summary: str, labels: Sequence[str], series: Sequence[Series], tell: Callable[[float], str]
) -> Markup:
    """Lying bars, one for each label, with one part for each series."""
    height = 46 + 30 * len(labels)
    chart = pygal.HorizontalStackedBar(**_look(series, tell), height=height, truncate_label=-1)
    # It draws the first at the bottom.
    chart.x_labels = [_cut(label) for label in reversed(labels)]
    for title, _, values in series:
        chart.add(title, list(reversed(values)))
    return _svg(chart, name, summary)


def columns(name: str, summary: str, labels: Sequence[str], series: Sequence[Series]) -> Markup:
    """Standing bars, whose labels are classes or times."""
    chart = pygal.StackedBar(**_look(series, whole), **_UPRIGHT)
    chart.x_labels = list(labels)
    for title, _, values in series:
        chart.add(title, list(values))
    return _svg(chart, name, summary)


def lines(
    name: str, summary: str, labels: Sequence[str], series: Sequence[Series], tell: Callable[[float], str] | None = None
) -> Markup:
    """What changes with time; ``labels`` that are empty are not shown."""
    dots = {"show_dots": len(labels) < 30, "dots_size": 2.5}
    look = _look(series, tell or whole)
    look["style"].stroke_width = "2"
    chart = pygal.Line(**look, **_UPRIGHT, **dots, show_minor_x_labels=False)
    numbered = [label or f"#{number}" for number, label in enumerate(labels)]
    chart.x_labels = numbered
    chart.x_labels_major = [label for label in labels if label]
    for title, _, values in series:
        chart.add(title, list(values))
    return _svg(chart, name, summary)


def _look(series: Sequence[Series], tell: Callable[[float], str]) -> dict[str, Any]:
    style = Style(
        background="transparent",
        plot_background="transparent",
        foreground="var(--text)",
        foreground_strong="var(--text)",
        foreground_subtle="var(--line)",
        guide_stroke_color="var(--line)",
        major_guide_stroke_color="var(--line)",
        guide_stroke_dasharray="none",
        major_guide_stroke_dasharray="none",
        font_family="inherit",
        label_font_size=13,
        major_label_font_size=13,
        opacity="1",
        opacity_hover="0.8",
        stroke_opacity="1",
        transition="none",
        colors=tuple(f"var(--{colour})" for _, colour, _ in series),
    )
    most = max((value for _, _, values in series for value in values), default=0)
    # Few things have no halves.
    ticks = {"y_labels": list(range(int(most) + 1))} if tell is whole and most < 5 else {}
    return {
        **ticks,
        "style": style,
        "js": (),
        "width": WIDTH,
        "margin": 6,
        "margin_right": 26,
        "margin_bottom": 14,  # labels that lean come out longer than it reckons
        "spacing": 8,
        "show_legend": False,  # the page has it, where it can be read on a phone
        "value_formatter": tell,
        "include_x_axis": True,
        "min_scale": 4,
        "max_scale": 5,
    }


def whole(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else ""


def _svg(chart: Any, name: str, summary: str) -> Markup:
    """``name`` is the id in the page; ``summary`` is what a screen reader tells."""
    chart.uuid = name

    def clean(root: Any) -> Any:
        for parent in list(root.iter()):
            for child in list(parent):
                tag = child.tag if isinstance(child.tag, str) else ""  # of a comment it is a function
                if not tag or tag.rpartition("}")[2] in {"script", "title"}:
                    parent.remove(child)
        for one in root.iter():
            tag = one.tag.rpartition("}")[2]
            if tag == "desc" and one.get("class") == "value":  # shown when the mouse rests on a bar
                one.tag = one.tag.replace("desc", "title")
                one.attrib.pop("class")
        root.set("role", "img")
        root.set("aria-label", summary)
        return root

    chart.add_xml_filter(clean)
    return Markup(chart.render(is_unicode=True, disable_xml_declaration=True))  # noqa: S704 - made of text by an XML library


def _cut(label: str) -> str:
    return label if len(label) <= _LABEL else label[: _LABEL - 1] + "…"
