"""`varprobe rerun`: exit code 1 if a run is not reproduced."""

import json as json_format
from typing import TYPE_CHECKING, Any, TextIO

import click
from rich.table import Table

from varprobe.cli.console import TerminalProgress, console_for
from varprobe.cli.help import Command
from varprobe.cli.sweep import measuring
from varprobe.errors import printable

if TYPE_CHECKING:
    from varprobe.runs.rerun import Rerun

__all__ = ["command"]

DIFFERENT = 1
SHOWN = 8
"""Variables, and configurations, that are told."""


@click.command(
    cls=Command,
    examples=["varprobe rerun runs/relu-d50-w512-3f9a1c", "varprobe rerun RUN --allow-code --out RUN-here"],
)
@click.argument("run")
@click.option("--out", metavar="FOLDER", help="Keep the new run here.  [RUN-again, removed if it is the same]")
@click.option("--allow-code", is_flag=True, help="Import the functions of yours that the run names.")
@click.option("--json", is_flag=True, help="Print one JSON object to stdout and nothing else.")
@click.option("--no-compile-cache", is_flag=True, help="Do not keep compiled code in the user's cache folder.")
@click.option("--quiet", is_flag=True, help="Nothing on stderr but errors.")
@click.pass_obj
def command(
    arguments: list[str],
    run: str,
    out: str | None,
    allow_code: bool,
    json: bool,
    no_compile_cache: bool,
    quiet: bool,
) -> None:
    """Measure a run again from what it says, and exit with 1 if the numbers are not the same.

    With the same versions on the same machine every bit must be the same; elsewhere differences must be within what
    rounding explains, layer by layer. Chaotic networks, where that is anything, are named.
    """
    with measuring(arguments, quiet) as (progress, stdout):
        result = repeated(run, out, allow_code, no_compile_cache, progress)
    if json:
        import varprobe

        stdout.write(json_format.dumps({"version": varprobe.__version__, **result.as_json()}, indent=1) + "\n")
    else:
        show(result, stdout)
    if not result.reproduced:
        raise click.exceptions.Exit(DIFFERENT)


def repeated(
    run: str, out: str | None, allow_code: bool, no_compile_cache: bool, progress: TerminalProgress
) -> "Rerun":
    """The run and its repetition."""
    from varprobe.cli.device import device_name, keep_compiled_code
    from varprobe.runs.rerun import rerun

    if not no_compile_cache:
        keep_compiled_code()
    device_name()

    def measure(asked: dict[str, Any]) -> Any:
        if asked.get("command") == "coord-check":
            from varprobe.cli.coord_check import measured as checked

            return checked({**asked, "no_compile_cache": no_compile_cache}, "run", progress)
        from varprobe.cli.probe import measured

        return measured(asked["factory"], {**asked, "no_compile_cache": no_compile_cache}, "run")

    return rerun(run, out=out, allow_code=allow_code, progress=progress, measure=measure)


def show(result: "Rerun", stdout: TextIO) -> None:
    """The verdict, what differs, and where the new run is."""
    console, found = console_for(stdout), result.comparison
    for line in verdict(result):
        console.print(printable(line), soft_wrap=True)
    worst = sorted(found.differences.values(), key=lambda d: -d.largest / d.tolerance)[:SHOWN]
    if worst:
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="")
        for title in ("variable", "largest difference", "rounding explains", "configuration", "seed"):
            table.add_column(title, no_wrap=title == "variable")
        for d in worst:
            table.add_row(d.variable, f"{d.largest:.2g}", f"{d.tolerance:.2g}", str(d.config), str(d.seed))
        console.print(table)
    if len(found.differences) > SHOWN:
        console.print(f"and smaller ones in {len(found.differences) - SHOWN} more variables", soft_wrap=True)
    if result.changed and found.chaotic:
        named = ", ".join(map(str, found.chaotic[:SHOWN])) + (" ..." if len(found.chaotic) > SHOWN else "")
        text = f"No bound in some layers, where errors grow too large (chaotic networks): configurations {named}."
        console.print(text, soft_wrap=True)
    if result.again is not None:
        console.print(printable(f"Data    {result.again / 'results.nc'}"), soft_wrap=True)


def verdict(result: "Rerun") -> list[str]:
    """What the comparison says, and on what it depends."""
    found = result.comparison
    same = f"{result.folder}: all {found.numbers} numbers are the same bits"
    if not result.changed:
        some = f"{found.different} of {found.numbers} numbers differ, though machine and versions are the same"
        return [f"{result.folder}: {some}" if found.different else f"{same}, on the same machine and versions"]
    where = f"not as it was: {', '.join(result.changed)}"
    if not found.different:
        return [same, where]
    how = f"{found.beyond} by more than rounding explains" if found.beyond else "all within what rounding explains"
    return [f"{result.folder}: {found.different} of {found.numbers} numbers differ, {how}", where]
