"""Every page of tests/pages, before every family: each sees its own captcha, and no other."""

from __future__ import annotations

import pytest

from scrapy_capsolver.families import FAMILIES, detect

from .corpus import CORPUS, SENT, expected_family, response_of

NAMES = [family.name for family in FAMILIES]


@pytest.mark.parametrize("page", CORPUS)
def test_each_page_is_seen_by_its_own_family(page):
    expected = expected_family(page)
    assert expected or page.startswith(("none_", "image_")), "of which family is this page?"
    assert {name for name in NAMES if detect(response_of(page), only=name)} == expected


@pytest.mark.parametrize("page", [page for page in CORPUS if page.startswith("none_")])
@pytest.mark.parametrize("status", [200, 202, 401, 403, 405, 429, 503])
def test_pages_that_only_look_so_are_seen_by_none(page, status):
    assert detect(response_of(page, status=status)) == []


@pytest.mark.parametrize("page", [page for page in CORPUS if page.endswith("_gate") and "image" not in page])
def test_gates_block(page):
    assert detect(response_of(page))[0].blocked


def test_what_is_said_of_pages_is_said_of_pages_that_are_there():
    assert set(SENT) <= set(CORPUS)
