"""`varprobe verify`: exit code 1 if a run is not what it says."""

import json as json_format
import sys
from typing import TYPE_CHECKING

import click
from rich.table import Table

from varprobe.cli.console import TerminalProgress, console_for
from varprobe.cli.help import Command
from varprobe.errors import printable

if TYPE_CHECKING:
    from varprobe.runs.verifying.findings import Verification

__all__ = ["command"]

DIFFERENT = 1


@click.command(
    cls=Command,
    examples=["varprobe verify runs/relu-d50-w512-3f9a1c", "varprobe verify runs/* --json"],
)
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option("--json", is_flag=True, help="Print one JSON object to stdout and nothing else.")
@click.option("--quiet", is_flag=True, help="No progress; only problems are printed.")
def command(runs: tuple[str, ...], json: bool, quiet: bool) -> None:
    """Check run folders against their spec and checksums, and exit with 1 if one is not what it says.

    The plan adds up, every cell is there and whole, results.nc has the numbers of the cells, results.csv those of
    results.nc. Nothing is written, and no code that a run names is imported.
    """
    found = [verified(run, quiet or json) for run in runs]
    if json:
        import varprobe

        answer = {"version": varprobe.__version__, "runs": [one.as_json() for one in found]}
        sys.stdout.write(json_format.dumps(answer, indent=1) + "\n")
    else:
        for one in found:
            show(one, quiet)
    if not all(one.intact for one in found):
        raise click.exceptions.Exit(DIFFERENT)


def verified(run: str, quiet: bool) -> "Verification":
    """What is found in a run, with a bar where that takes a while."""
    from varprobe.runs.verifying.whole import verify

    progress = TerminalProgress(quiet, "verifying", "files")
    try:
        return verify(run, progress=progress)
    finally:
        progress.stop()


def show(found: "Verification", quiet: bool) -> None:
    """The verdict, what was looked at, and one line a problem."""
    console = console_for(sys.stdout)
    if not quiet:
        console.print(printable(f"{found.folder}: {'intact' if found.intact else 'not intact'}"), soft_wrap=True)
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
        for kind, count in found.checked.items():
            problems = found.problems(kind)
            table.add_row(f"  {kind}", count, "intact" if not problems else f"{problems} damaged")
        if table.row_count:
            console.print(table)
    for finding in found.findings:
        if finding.serious or not quiet:
            line = f"{found.folder}: {finding}" if finding.serious else f"note: {finding}"
            console.print(printable(line), soft_wrap=True)
