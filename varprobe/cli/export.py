"""`varprobe export`: a run's numbers for papers, tables and dashboards."""

import contextlib
import sys
from collections.abc import Iterator

import click

from varprobe.cli.console import TerminalProgress
from varprobe.cli.help import Command
from varprobe.cli.plot import naming, selected
from varprobe.errors import InvalidArgumentError, printable

__all__ = ["command"]


@click.command(
    cls=Command,
    examples=[
        "varprobe export RUN --save table.tex",
        "varprobe export RUN --select init=he_normal,orthogonal --save layers.parquet",
        "varprobe export RUN --save all.nc",
        "varprobe export RUN --table verdicts --save verdicts.csv",
        "varprobe export RUN --save tb:logs",
    ],
)
@click.argument("run")
@click.option("--save", metavar="WHAT", help="FILE.csv, .parquet, .json, .nc, .md, .tex, or tb:FOLDER, wandb:FOLDER.")
@click.option("--table", metavar="NAME", help="verdicts, or layers.  [of .md and .tex verdicts, else layers]")
@click.option("--select", multiple=True, metavar="NAME=VALUES", help="Only these, e.g. init=he_normal,orthogonal.")
def command(run: str, save: str | None, table: str | None, select: tuple[str, ...]) -> None:
    """Write the numbers of a run folder where others read them, and print where they are.

    .csv, .parquet and .json have a row for each configuration, seed and layer; .nc is the dataset itself; .md and .tex
    (booktabs, for LaTeX) have the table of verdicts; tb:FOLDER is for tensorboard --logdir FOLDER, wandb:FOLDER an
    offline run for wandb sync. A run of trainability has a row a net, in .md and .tex one an optimizer.
    """
    if save is None:
        raise InvalidArgumentError("missing; what is to be written, such as table.tex or tb:logs", "save")
    from varprobe.exports.exporting import export, required
    from varprobe.exports.targets import ENDINGS
    from varprobe.runs.open import read_run

    with saving():
        target = required(save, table)
    progress = TerminalProgress(False, "writing", "configurations")
    ds = read_run(run, progress.note)
    with naming("select"):
        ds = selected(ds, select)
    with saving(), stopping(progress):
        if target.kind in ENDINGS:
            progress.start(ds.sizes.get("config", 1) * ds.sizes.get("step", 1), 0)
        path = export(ds, save, table=table, advance=progress.advance)  # type: ignore[arg-type]
    print(printable(str(path)), file=sys.stdout)


@contextlib.contextmanager
def stopping(progress: TerminalProgress) -> Iterator[None]:
    """Take the bar away in the end."""
    try:
        yield
    finally:
        progress.stop()


@contextlib.contextmanager
def saving() -> Iterator[None]:
    """Let errors about the path name --save."""
    try:
        yield
    except InvalidArgumentError as error:
        raise InvalidArgumentError(error.message, "save" if error.option in (None, "path") else error.option) from error
