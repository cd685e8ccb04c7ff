"""What reaches the terminal."""

from __future__ import annotations

import ast
import json
import unicodedata
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING, Any

from hypothesis import example, given
from hypothesis import strategies as st

from scrapy_capsolver.commands._console import complain, literal, printable, say, say_json

if TYPE_CHECKING:
    from tests.commands.shell import Project

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
NASTY = "\x1b[2J\x07\r\x7f\x9b31m\u202e\u2028\n"


def is_safe(text: str) -> bool:
    return not [one for one in text if unicodedata.category(one) in {"Cc", "Cf", "Zl", "Zp"} and one != "\n"]


@example(NASTY)
@given(st.text())
def test_lines_are_one_line_without_control_characters(text: str) -> None:
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        say(text)
        complain(text)
    assert out.getvalue() == err.getvalue()
    assert is_safe(out.getvalue())
    assert out.getvalue().count("\n") == 1
    assert len(out.getvalue()) == len(text) + 1


@example({NASTY: [NASTY]})
@given(_JSON)
def test_json_is_ascii_and_as_it_was(value: Any) -> None:
    out = StringIO()
    with redirect_stdout(out):
        say_json(value)
    assert json.loads(out.getvalue()) == value
    assert out.getvalue().isascii()
    assert is_safe(out.getvalue())


@example({NASTY: [NASTY], 'a"b': "a\\b"})
@given(_JSON)
def test_what_is_to_be_pasted_is_python(value: Any) -> None:
    shown = literal(value)
    assert ast.literal_eval(shown) == value
    assert printable(shown) == shown


def test_long_text_is_cut() -> None:
    assert printable("x" * 20, 10) == "xxxxxxx..."
    assert printable("x" * 10, 10) == "x" * 10


def test_the_name_of_a_file_may_be_hostile_too(project: Project) -> None:
    done = project.capsolver("detect", "\x1b]0;owned\x07.html")  # which looks for control characters
    assert (done.code, done.err.startswith("?]0;owned?.html: No such file")) == (1, True)
