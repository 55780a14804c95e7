"""What the figures of the gallery share, and all of them in order: `python scripts/gallery.py [NAME ...]`.

A tolerance is never found by trial. What is measured in several draws is allowed `Student's t x standard error`, and
what finite width adds to first order (`theory_*_drift`, `vp.theory.finite_width`) is part of what is expected.
"""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import t as student

import varprobe as vp
from varprobe.plots import save_figure
from varprobe.plots.style import LABEL_SIZE, looks, ordered_looks, paper, tidy

SCRIPTS = Path(__file__).parent
FIGURES = SCRIPTS.parent / "figures"
ORDER = (
    "relu50 phase_tanh glorot2010 he2015 poole2016 schoenholz2017 pennington2017 klambauer2017 hanin2018 yang2019 "
    "desmith2020 brock2021 xiong2020 mistaken formats small_regression "
    "trainability"
).split()
RISK = 1e-3
"""How often a comparison that is right would be refused."""
COLORS = [look.color for look in looks(7)]


def check(name: str, measured: float, published: float, allowed: float) -> None:
    """Print a comparison, and assert it."""
    deviation = measured - published
    print(f"{name}: measured {measured:.5g}, published {published:.5g}, deviation {deviation:+.2g} ", end="")
    print(f"(allowed {allowed:.2g})")
    assert abs(deviation) <= allowed, name


def check_draws(name: str, draws: Any, published: Any, slack: Any = 0.0) -> None:
    """`check` of means over draws, shape (seeds, points), at the point that strays most.

    Allowed is Student's t for a risk of 1 in 1000 that all points share, times the standard error; and `slack`, what
    is known to be left out of `published`.
    """
    draws = np.asarray(draws, float).reshape(len(draws), -1)
    seeds, points = draws.shape
    mean, error = draws.mean(0), draws.std(0, ddof=1) / np.sqrt(seeds)
    expected = np.broadcast_to(np.ravel(published), points)
    allowed = student.isf(RISK / 2 / points, seeds - 1) * error + np.abs(np.broadcast_to(np.ravel(slack), points))
    worst = int(np.argmax(np.abs(mean - expected) / allowed))
    check(f"{name} (worst of {points})" if points > 1 else name, mean[worst], expected[worst], allowed[worst])


def ladder(count: int) -> list[str]:
    """Colors of curves with an order."""
    return [look.color for look in ordered_looks(np.linspace(0, 1, count).tolist())]


@contextmanager
def page(name: str, rows: int = 1, columns: int = 2, height: float = 2.3, **grid: Any) -> Iterator[np.ndarray]:
    """Axes of a figure in the package's look, panels lettered; leaving it writes figures/NAME.pdf and .png."""
    with vp.style("paper") as style, paper():
        figure = Figure(figsize=(style.width, height), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, **grid)
        for letter, ax in zip("abcdefghijkl", axes.flat, strict=False):
            tidy(ax)
            ax.spines["right"].set_visible(False)
            if axes.size > 1:
                ax.set_title(f"({letter})", loc="left", fontweight="bold", fontsize=style.size)
        yield axes if min(rows, columns) > 1 else axes.ravel()
        save(figure, name)


def save(figure: Figure, name: str) -> None:
    """figures/NAME.pdf and .png."""
    for suffix in ("pdf", "png"):
        save_figure(figure, FIGURES / f"{name}.{suffix}", spec={"command": f"python scripts/fig_{name}.py"})


def title(ax: Any, text: str) -> None:
    """What a panel shows, beside its letter."""
    ax.set_title(text, fontsize=LABEL_SIZE + 0.5)


def dots(ax: Any, x: Any, y: Any, color: str, marker: str = "o", size: float = 2.6, **more: Any) -> None:
    """What was measured."""
    ax.plot(x, y, marker, color=color, markersize=size, **more)


def line(ax: Any, x: Any, y: Any, color: str, **more: Any) -> None:
    """What is expected."""
    ax.plot(x, y, color=color, **{"linewidth": 0.9} | more)


def note(ax: Any, x: float, y: float, text: str, color: str = "black", **more: Any) -> None:
    """A direct label, at data coordinates."""
    ax.text(x, y, text, color=color, **{"fontsize": LABEL_SIZE, "va": "center"} | more)


def remade(name: str) -> tuple[str, float, int, str]:
    """(figure, seconds, comparisons, what failed) of one script, run by itself."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, SCRIPTS / f"fig_{name}.py"], capture_output=True, text=True)
    checks = len(re.findall(r"\(allowed ", done.stdout))
    return name, time.perf_counter() - start, checks, "" if done.returncode == 0 else done.stderr[-600:]


def main(names: list[str]) -> int:
    """Remake figures, two at a time, since half of the time is the compiler's, which uses one core."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Table

    console, start, results = Console(), time.perf_counter(), []
    columns = (
        TextColumn("{task.description:<16}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[done]}"),
    )
    with Progress(*columns, console=console) as progress, ThreadPoolExecutor(2) as pool:
        tasks = {name: progress.add_task(name, total=1, done="", start=False) for name in names}

        def one(name: str) -> tuple[str, float, int, str]:
            progress.start_task(tasks[name])
            result = remade(name)
            progress.update(tasks[name], completed=1, done=f"{result[2]} checks" if not result[3] else "FAILED")
            return result

        results = list(pool.map(one, names))
    table = Table("figure", "seconds", "comparisons", "outcome")
    for name, seconds, checks, failure in results:
        table.add_row(name, f"{seconds:.0f}", str(checks), "failed" if failure else "as published")
    total, failed = sum(r[2] for r in results), [r for r in results if r[3]]
    table.add_section()
    table.add_row("all", f"{time.perf_counter() - start:.0f}", str(total), f"{len(failed)} failed")
    console.print(table)
    for name, _, _, failure in failed:
        console.print(f"{name}: {failure}", markup=False)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ORDER))
