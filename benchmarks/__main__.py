"""``python -m benchmarks``: measure this plugin beside what its users would otherwise do, in one run on one machine.

The figures go to ``benchmarks/results/``, one JSON file for each measure; ``python -m benchmarks.page`` makes the page in
the docs and its charts from them. See ``benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measures import NAMES, measure
from benchmarks.page import draw
from benchmarks.record import RESULTS, Row, load, save


def run(name: str, runs: int | None, folder: Path, *, quick: bool) -> None:
    module = measure(name)
    print(f"{module.TITLE}: {module.TEXT}", flush=True)
    rows: list[Row] = []
    for row in module.measure(runs or (1 if quick else module.RUNS), quick=quick):
        rows.append(row)
        figures = ", ".join(f"{figure} {value:.4g}" for figure, value in row.figures.items())
        print(f"  {row.case}, {row.contender}: {figures} {row.note}".rstrip(), flush=True)
        save(name, rows, folder)
    show(name, folder)


def show(name: str, folder: Path) -> None:
    for table in measure(name).tables(load(name, folder)[1]):
        print(table.text(), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("measures", nargs="*", choices=[*NAMES, []], help="which; all without any")
    parser.add_argument("--runs", type=int, help="repetitions of each")
    parser.add_argument("--quick", action="store_true", help="whether everything works, in a minute; keeps no results")
    parser.add_argument("--show", action="store_true", help="print the tables of the results that are there")
    arguments = parser.parse_args()
    names = arguments.measures or NAMES
    if arguments.show:
        for name in names:
            show(name, RESULTS)
    elif arguments.quick:
        with TemporaryDirectory() as folder:
            for name in names:
                run(name, arguments.runs, Path(folder), quick=True)
                draw(name, Path(folder), Path(folder) / f"{name}.svg")
    else:
        for name in names:
            run(name, arguments.runs, RESULTS, quick=False)


if __name__ == "__main__":
    main()
