"""Results: rows of figures, kept as JSON, and tables of medians made of them."""

from __future__ import annotations

import json
import os
import platform
import statistics
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("Scrapy", "Twisted", "treq", "capsolver", "python3-capsolver", "capsolver-core")


@dataclass
class Row:
    """What one run of one contender came to in one case."""

    case: str
    contender: str
    figures: dict[str, float]
    note: str = ""


@dataclass
class Table:
    title: str
    header: list[str]
    rows: list[list[str]] = field(default_factory=list)

    def text(self) -> str:
        widths = [max(len(line[i]) for line in [self.header, *self.rows]) for i in range(len(self.header))]
        lines = [self.header, ["-" * width for width in widths], *self.rows]
        return "\n".join(
            [
                f"\n{self.title}",
                *("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines),
            ]
        )

    def rst(self) -> str:
        lines = [f".. list-table:: {self.title}", "   :header-rows: 1", ""]
        for row in [self.header, *self.rows]:
            lines += [f"   {'* -' if i == 0 else '  -'} {cell}" for i, cell in enumerate(row)]
        return "\n".join([*lines, ""])


def machine() -> dict[str, Any]:
    """What it was measured on."""
    cpu = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return {
        "cpu": cpu or platform.processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 1e6, 1),
        "system": platform.system(),
        "python": platform.python_version(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text().splitlines() if file.exists() else []


def save(measure: str, rows: list[Row], folder: Path = RESULTS) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{measure}.json"
    value = {"machine": machine(), "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(value, indent=1) + "\n")
    return path


def load(measure: str, folder: Path = RESULTS) -> tuple[dict[str, Any], list[Row]]:
    value = json.loads((folder / f"{measure}.json").read_text())
    return value["machine"], [Row(**row) for row in value["rows"]]


def values(rows: list[Row], case: str, contender: str, figure: str) -> list[float]:
    return [
        row.figures[figure]
        for row in rows
        if row.case == case and row.contender == contender and row.figures.get(figure) is not None
    ]


def median(rows: list[Row], case: str, contender: str, figure: str) -> float | None:
    found = values(rows, case, contender, figure)
    return statistics.median(found) if found else None


def cell(found: list[float], digits: int = 2) -> str:
    """Median and spread."""
    if not found:
        return "-"
    middle = f"{statistics.median(found):,.{digits}f}"
    if len(found) == 1 or max(found) == min(found):
        return middle
    return f"{middle} ({min(found):,.{digits}f}-{max(found):,.{digits}f})"


def against(rows: list[Row], case: str, contender: str, other: str, figure: str) -> str:
    """The ratio of two medians."""
    one, two = median(rows, case, contender, figure), median(rows, case, other, figure)
    return f"{one / two:.2f}" if one is not None and two else "-"


def cases(rows: list[Row]) -> list[str]:
    return list(dict.fromkeys(row.case for row in rows))


def contenders(rows: list[Row], case: str) -> list[str]:
    return list(dict.fromkeys(row.contender for row in rows if row.case == case))


def note(rows: list[Row], case: str, contender: str) -> str:
    return next((row.note for row in rows if row.case == case and row.contender == contender and row.note), "")
