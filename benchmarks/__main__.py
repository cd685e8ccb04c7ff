"""``python -m benchmarks``: measure this plugin beside what its users would otherwise do, in one run on one machine.

The figures go to ``benchmarks/results/``, one JSON file for each measure; ``python -m benchmarks.page`` makes the page in
the docs and its charts from them. See ``benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.detection import detection
from benchmarks.file_store import file_soak, file_store
from benchmarks.kills import kills
from benchmarks.measures import NAMES, measure
from benchmarks.page import draw
from benchmarks.parse import parse
from benchmarks.record import RESULTS, Row, load, save
from benchmarks.soak import soak


def faults(runs: int) -> None:
    for _ in range(runs):
        subprocess.run([sys.executable, "-m", "benchmarks.faults"], check=True)


# What this plugin alone does, and in how many runs. They print their figures, and keep none.
BY_ITSELF = {
    "detection": (detection, 30),
    "faults": (faults, 1),
    "file": (file_store, 5),
    "file-soak": (file_soak, 1),
    "kills": (kills, 20),
    "parse": (parse, 5),
    "soak": (soak, 1),
}


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
    if sys.argv[1:2] == ["fleet"]:  # it has names of its own
        from benchmarks import fleet

        fleet.main(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "measures",
        nargs="*",
        choices=[*NAMES, *BY_ITSELF, []],
        help=f"which; without any, {', '.join(NAMES)}; fleet, with --help, has its own",
    )
    parser.add_argument("--runs", type=int, help="repetitions of each")
    parser.add_argument("--quick", action="store_true", help="whether everything works, in a minute; keeps no results")
    parser.add_argument("--show", action="store_true", help="print the tables of the results that are there")
    arguments = parser.parse_args()
    names = [name for name in arguments.measures if name in NAMES]
    for name in arguments.measures:
        if name in BY_ITSELF:
            measured, runs = BY_ITSELF[name]
            measured(arguments.runs or runs)
    if not arguments.measures:
        names = list(NAMES)
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
