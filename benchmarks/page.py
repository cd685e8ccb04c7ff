"""``python -m benchmarks.page``: the page about the benchmark in the docs, and its charts, from the results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import targets
from benchmarks.measures import NAMES, measure
from benchmarks.record import RESULTS, load

if TYPE_CHECKING:
    from pathlib import Path

DOCS = RESULTS.parents[1] / "docs"


def draw(name: str, results: Path, path: Path) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # The same bytes from the same figures.
    mpl.rcParams["svg.hashsalt"] = "scrapy-capsolver"
    mpl.rcParams["svg.fonttype"] = "none"
    figure = Figure(figsize=(9, 2.8), layout="constrained")
    measure(name).chart(load(name, results)[1], figure)
    figure.savefig(path, metadata={"Date": None})


def page() -> str:
    machine = load(NAMES[0])[0]
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    parts = [
        ".. Made by ``python -m benchmarks.page`` from benchmarks/results/. Do not edit.",
        "",
        "Benchmark",
        "=========",
        "",
        "This plugin beside what its users would otherwise write: CapSolver's own SDK, called where the captcha is met and in a thread,",
        "and two asyncio clients, each in the middleware that its README leads to (``benchmarks/contenders/``). All against the same simulated",
        "CapSolver and the same gated site on loopback, in one run, in turn. ``make bench`` measures anew.",
        "",
        f"Measured on {machine['cores']} cores of {machine['cpu']}, {machine['memory_gb']} GB, {machine['system']}, Python {machine['python']},",
        f"with {packages}. Figures are medians, with the smallest and the greatest of all runs in brackets.",
        "",
        targets.TITLE,
        "-" * len(targets.TITLE),
        "",
        targets.table(RESULTS).rst(),
        targets.BOUNDS,
    ]
    for name in NAMES:
        module = measure(name)
        _, rows = load(name)
        parts += [
            module.TITLE,
            "-" * len(module.TITLE),
            "",
            module.TEXT,
            f".. image:: benchmark/{name}.svg",
            f"   :alt: {module.TITLE}",
            "",
        ]
        parts += [table.rst() for table in module.tables(rows)]
    return "\n".join(parts)


def main() -> None:
    (DOCS / "benchmark").mkdir(exist_ok=True)
    for name in NAMES:
        draw(name, RESULTS, DOCS / "benchmark" / f"{name}.svg")
    (DOCS / "benchmark.rst").write_text(page())


if __name__ == "__main__":
    main()
