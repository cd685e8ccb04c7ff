"""The table of undocumented names in the documentation is that of the package."""

from __future__ import annotations

import re
from pathlib import Path

from scrapy_capsolver._compat.check import NAMES

PAGE = Path(__file__).parent.parent.parent / "docs" / "architecture.rst"


def test_the_table_of_undocumented_names() -> None:
    section = PAGE.read_text("utf-8").partition("Undocumented names\n---")[2].partition(".. list-table::")[2]
    rows = re.findall(r"\n    \* - ``(\S+)``\n      - (.+)\n      - (.+)(?=\n)", section)
    assert rows == [(name.path, name.used_for, name.without) for name in NAMES]
