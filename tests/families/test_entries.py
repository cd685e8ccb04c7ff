"""What a form would ask of a person, and what is never sent of it. The comparison with a browser is in a file of its own."""

from __future__ import annotations

import lxml.html
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrapy_capsolver.families._page.entries import MAX_CONTROLS, Entries, entries_of
from tests.families.form_pages import FORMS


def read(body: str) -> Entries:
    form = lxml.html.document_fromstring(body).find(".//form")
    assert form is not None
    entries = entries_of(form, "UTF-8")
    assert entries is not None
    return entries


@pytest.mark.parametrize(
    ("controls", "asked"),
    [
        ("<input name=a>", ("a",)),
        ("<input name=a value=1>", ()),
        ("<input type=password name=p><input type=email name=e><textarea name=t></textarea>", ("p", "e", "t")),
        ("<input type=hidden name=h>", ()),
        ("<input name=a hidden><input name=b style='display: none'>", ()),
        ("<input name=a readonly><input name=b disabled>", ()),
        ("<input>", ()),
        ("<input type=checkbox name=terms required>", ("terms",)),
        ("<input type=checkbox name=terms required checked><input type=checkbox name=more>", ()),
        ("<select name=s required><option value=''>Choose</select>", ("s",)),
        ("<select name=s><option value=''>All</select>", ()),
        ("<input type=file name=f><input type=file name=g required>", ("g",)),
        ("<input type=color name=c><input type=range name=r>", ()),
    ],
)
def test_what_a_person_would_have_to_fill_in(controls: str, asked: tuple[str, ...]) -> None:
    assert read(f"<form>{controls}<button>Go</button></form>").asked == asked


def test_too_many_controls_are_not_read() -> None:
    form = lxml.html.fromstring(f"<form>{'<input name=a>' * (MAX_CONTROLS + 1)}</form>")
    assert entries_of(form, "UTF-8") is None


@given(FORMS, st.text(max_size=20))
def test_any_form_is_read(body: str, more: str) -> None:
    """No form raises, and no name or value comes from nowhere."""
    for entry in read(body.replace("</form>", f"{more.replace('<', '')}</form>")).sent:
        assert entry.name
