"""`varprobe report`: one HTML file to explore runs."""

import sys
import threading
import webbrowser
from pathlib import Path

import click

from varprobe.cli.console import PATIENCE, TerminalProgress
from varprobe.cli.help import Command
from varprobe.errors import InvalidArgumentError, printable

__all__ = ["command"]


@click.command(
    cls=Command,
    examples=[
        "varprobe report runs/relu-d50-w512-3f9a1c --open",
        "varprobe report before after --save report.html",
    ],
)
@click.argument("run", nargs=-1)
@click.option("--save", metavar="FILE", help="A file that ends in .html.  [RUN/report.html]")
@click.option("--open", "show", is_flag=True, help="Show it in the browser.")
@click.option("--quiet", is_flag=True, help="Nothing on stderr but errors.")
def command(run: tuple[str, ...], save: str | None, show: bool, quiet: bool) -> None:
    """Write one HTML file to explore runs: verdicts, curves, layers, advice, and how they were run.

    It needs no network. Two runs are shown as before and after. A RUN is the folder of a sweep or of a model.
    """
    if not run:
        raise InvalidArgumentError("missing RUN, the folder of a run", "run")
    if save is None and len(run) > 1:
        raise InvalidArgumentError(f"{len(run)} runs need --save FILE.html", "save")
    from varprobe.exports.reporting.sources import runs_of
    from varprobe.exports.reporting.writing import require_file, write

    progress = TerminalProgress(quiet)
    if save is not None:
        require_file(save, "save")
    patience = threading.Timer(PATIENCE, progress.note, ["writing the report..."])
    patience.daemon = True
    patience.start()
    try:
        runs = runs_of(list(run), progress.note)
        file = require_file(Path(run[0], "report.html") if save is None else save, "save")
        write(runs, file)
    finally:
        patience.cancel()
    print(printable(str(file)), file=sys.stdout)
    if show and not webbrowser.open(file.resolve().as_uri()):
        progress.note("no browser was found to show it")
