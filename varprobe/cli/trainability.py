"""`varprobe trainability`: who of a grid of nets learns, beside what was said of them before training."""

import json
import math
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from varprobe.cli.console import TerminalProgress, console_for
from varprobe.cli.drawing import draw_usual
from varprobe.cli.help import Command
from varprobe.cli.options import ESSENTIAL, given, training_options, with_spec
from varprobe.cli.plot import file_of
from varprobe.cli.sweep import measuring
from varprobe.cli.track import PRESENTATION, prepared
from varprobe.errors import printable
from varprobe.verdict.columns import GAP, fold, side_by_side

if TYPE_CHECKING:
    import xarray as xr

    from varprobe.training.outcomes import VerdictAccuracy

__all__ = ["command"]

HELP = {
    "--steps": "Updates of the weights.  [200]",
    "--depth": "Weight layers; a list 10,50 or a range 10:100:10.  [10:60:6]",
    "--width": "Units per layer, or of layers 1, 2, ...: 784-512-256.  [128]",
    "--act": "Activations, e.g. relu,elu(alpha=0.5),mine.py:f.  [tanh]",
    "--init": "Initializers, e.g. he_normal,normal(std=0.02).  [--sigma-w2 1:4:7]",
    "--seeds": "Independent draws of every network.  [1]",
    "--sigma-b2": "Var b of normal biases (instead of --bias).  [0.05 beside --sigma-w2]",
    "--out": "Run folder.  [runs/trainability-ACT-dDEPTH-wWIDTH-HASH]",
    "--wide": "A line for every depth reached, however many.",
}
MORE = [(("--save",), {"metavar": "FILE", "help": "Figure: a pdf, svg or png.  [trainability.pdf in the run folder]"})]
MOST_LINES = 24
LEAST = 12
"""Columns that a name always has."""


@click.command(
    cls=Command,
    essential=("--optimizer", "--steps", "--depth", "--sigma-w2", "--sigma-b2", *ESSENTIAL, "--save"),
    examples=[
        "varprobe trainability --act tanh --depth 10:100:10 --sigma-w2 1:4:13",
        "varprobe trainability --act relu,gelu --init he_normal --optimizer sgd,adam",
        "varprobe trainability --data images.npy --labels classes.npy --steps 1000",
    ],
)
@training_options(HELP, MORE)
@click.pass_obj
def command(arguments: list[str], **options: Any) -> None:
    """Train every net of a grid, and compare who learns with what the verdict before training said.

    All nets of one shape are trained by one compiled program. Prints how well "unhealthy" foretells "does not train",
    and draws the accuracy over depth and weight variance with the correlation length of mean-field theory
    (Schoenholz et al. 2017). Writes a run folder that resumes.
    """
    options = with_spec(options)
    shown = {k: options.pop(k) for k in PRESENTATION}
    save = options.pop("save")
    path = None if save is None else file_of(save, "", "trainability")
    with measuring(arguments, shown["quiet"]) as (progress, stdout):
        progress.verb, progress.unit = "training", "nets"
        run(arguments, options, shown, path, progress, stdout)


def run(
    arguments: list[str],
    options: dict[str, Any],
    shown: dict[str, Any],
    path: Path | None,
    progress: TerminalProgress,
    stdout: TextIO,
) -> None:
    """Check the request, train, compare, draw and say so."""
    began = time.monotonic()
    from varprobe.training.trainability import STEPS, run_trainability, with_defaults

    wanted = {"steps": STEPS} | with_defaults(given(options)) | {"at": ()}
    training, folder = prepared("trainability", wanted, shown)
    ds = run_trainability(training, folder, shown["fresh"], progress)
    progress.stop()
    files = [folder / "trainability.pdf", folder / "trainability.png"] if path is None else [path]
    figure = draw_usual(ds, files, arguments)
    if shown["json"]:
        stdout.write(json.dumps(answer(ds, folder, figure), allow_nan=False, indent=1) + "\n")
    else:
        right = f"{time.monotonic() - began:.0f} s" if progress.total else "found finished; --fresh trains again"
        show(ds, folder, figure, right, shown["wide"], stdout)


def answer(ds: "xr.Dataset", folder: Path, figure: str) -> dict[str, Any]:
    """The object of --json."""
    from varprobe.training.nets import accuracy_by_optimizer, net_rows, verdict_accuracy

    told = {"version": version("varprobe"), "run": str(folder), "rows": net_rows(ds), **asdict(verdict_accuracy(ds))}
    told["by_optimizer"] = {name: asdict(found) for name, found in accuracy_by_optimizer(ds).items()}
    return told | {"figure": figure}


def show(ds: "xr.Dataset", folder: Path, figure: str, right: str, wide: bool, stdout: TextIO) -> None:
    """Print how the verdict fared, how deep nets trained, and where the files are."""
    from varprobe.training.nets import HEADINGS, prediction_lines, verdict_accuracy

    console = console_for(stdout, wide)
    for piece in fold(title_of(ds), console.width, indent=2):
        console.print(piece, style="bold", soft_wrap=True)
    table(console, [HEADINGS, *prediction_lines(ds)])
    reached = depths_of(ds)
    if reached and (len(reached) <= MOST_LINES or wide):
        console.print()
        table(console, reached)
    for sentence in sentences(ds, verdict_accuracy(ds)):
        for piece in fold(printable(sentence), console.width, indent=2):
            console.print(piece, soft_wrap=True)
    for line in (f"Figure  {figure}", f"Data    {folder / 'results.nc'}, results.csv; {right}"):
        console.print(printable(line), soft_wrap=True)


def table(console: Any, rows: list[tuple[str, ...]]) -> None:
    """Rows under headings, the first column as narrow as the width asks for."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    widths[0] = min(widths[0], max(LEAST, console.width - sum(widths[1:]) - GAP * (len(widths) - 1)))
    for row in rows:
        for line in side_by_side(row, widths, [""] * len(widths)):
            console.print(line, soft_wrap=True)


def title_of(ds: "xr.Dataset") -> str:
    """What all nets have in common."""
    from varprobe.training.nets import NET
    from varprobe.verdict.table import title_of as common

    names = [name for name in NET if name not in ("optimizer", "loss")]
    rows = [
        {name: ds[name].values[i].item() for name in names} | {"seeds": ds.sizes["seed"]}
        for i in range(ds.sizes["config"])
    ]
    optimizers = set(ds["optimizer"].values.tolist())
    more = [*(optimizers if len(optimizers) == 1 else []), f"{ds.attrs['steps']} steps"]
    return ", ".join([common(rows, ds.attrs), *map(printable, more)])


def depths_of(ds: "xr.Dataset") -> list[tuple[str, ...]]:
    """How deep nets train, beside 6 xi_c: a row for each value across a grid over depth; [] for other grids."""
    import numpy as np

    from varprobe.training.grids import MARGIN_XI, grid_of, reach_of

    grid = grid_of(ds)
    if grid is None or grid.names[1] != "depth":
        return []
    trained = ds["trained"].transpose("config", "seed").mean("seed").values[grid.at] >= 0.5
    theory = reach_of(ds, grid)
    xi = np.full(grid.x.size, np.nan) if theory is None else np.ravel(theory.xi_c)
    rows: list[tuple[str, ...]] = [(grid.names[0], "deepest that trains", "xi_c", f"{MARGIN_XI} xi_c")]
    for i, x in enumerate(grid.x):
        there = grid.y[trained[:, i]]
        told = ("-", "-") if math.isnan(xi[i]) else (f"{xi[i]:.3g}", f"{MARGIN_XI * xi[i]:.3g}")
        rows.append((f"{x:.4g}", f"{there.max():.0f}" if there.size else "none", *told))
    return rows


def sentences(ds: "xr.Dataset", found: "VerdictAccuracy") -> list[str]:
    """What counts as trained, what was predicted, and what could not be."""
    from varprobe.verdict.thresholds import threshold

    limit, baseline = threshold("trained"), ds.attrs["baseline"]
    if ds.attrs["loss"] == "mse":
        said = [f"Trained: R^2 of at least {limit:g}; the best net has {ds['skill'].max().item():.3g}."]
    else:
        least = baseline + limit * (1 - baseline)
        said = [
            f"Trained: accuracy of at least {least:.2f}, half the way from the commonest class ({baseline:.2f}) to 1; "
            f"the best net has {ds['final_accuracy'].max().item():.2f}."
        ]
    diverged = int(ds["diverged_step"].notnull().sum())
    if diverged:
        said.append(f"{diverged} of {found.nets} nets left the range of floats.")
    said.insert(
        0, f"{found.unhealthy} of {found.nets} nets were unhealthy before training; {found.failed} did not train."
    )
    said += [f"No {name.replace('_', ' ')}: {why}." for name, why in found.reasons.items()]
    return said
