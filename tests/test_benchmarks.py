"""The benchmark's page in the docs says what its results say, and its tables read them rightly. `make bench-quick` runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks import page
from benchmarks.measures import NAMES, measure
from benchmarks.record import Row, Table, against, cell, load, save

if TYPE_CHECKING:
    from pathlib import Path


def test_the_page_in_the_docs_is_made_from_the_results() -> None:
    assert (page.DOCS / "benchmark.rst").read_text() == page.page()


@pytest.mark.parametrize("name", NAMES)
def test_a_chart_can_be_drawn_from_the_results_and_is_in_the_docs(name: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra bench")
    page.draw(name, page.RESULTS, tmp_path / "chart.svg")
    assert (tmp_path / "chart.svg").read_text().startswith("<?xml")
    assert (page.DOCS / "benchmark" / f"{name}.svg").exists()


def test_a_contender_that_was_not_done_in_time_has_no_time_but_says_what_it_had(tmp_path: Path) -> None:
    rows = [
        Row("20 gated", "ideal", {"plain_s": 2.0, "total_s": 4.0}),
        Row("20 gated", "ours", {"plain_s": 2.0, "total_s": 4.0}),
        Row("20 gated", "ours", {"plain_s": 2.2, "total_s": 5.0}),
        Row("20 gated", "ours", {"plain_s": 3.0, "total_s": 4.4}),
        Row("20 gated", "capsolver_thread", {"gated": 3.0, "plain": 7.0}, "not done in 60 s: 3 gated, 7 plain pages"),
    ]
    save("mixed", rows, tmp_path)
    assert load("mixed", tmp_path)[1] == rows
    (table,) = measure("mixed").tables(rows)
    lines = {row[0]: row[1:] for row in table.rows}
    assert lines["scrapy-capsolver"] == ["2.20 (2.00-3.00)", "1.10", "1.00", "4.40 (4.00-5.00)", "1.10", "1.00", "0"]
    assert lines["capsolver, in a thread"] == ["-"] * 6 + ["not done in 60 s: 3 gated, 7 plain pages"]


def test_cells_and_ratios() -> None:
    rows = [Row("c", "a", {"x": value}) for value in (1.0, 4.0, 2.0)] + [
        Row("c", "b", {"x": 4.0}),
        Row("c", "z", {"x": 0.0}),
    ]
    assert cell([1.0, 4.0, 2.0]) == "2.00 (1.00-4.00)"
    assert cell([3.0, 3.0], 0) == "3"
    assert cell([]) == "-"
    assert against(rows, "c", "a", "b", "x") == "0.50"
    assert against(rows, "c", "a", "z", "x") == "-"
    assert against(rows, "c", "a", "nobody", "x") == "-"


def test_a_table_as_text_and_for_the_docs() -> None:
    table = Table("T", ["", "s"], [["ours", "1"], ["a longer name", "2"]])
    assert table.text().splitlines() == [
        "",
        "T",
        "               s",
        "-------------  -",
        "ours           1",
        "a longer name  2",
    ]
    assert ".. list-table:: T" in table.rst()
    assert "   * - a longer name\n     - 2\n" in table.rst()
