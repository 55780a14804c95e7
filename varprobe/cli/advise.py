"""`varprobe advise`: the initializer to use, what to expect of it, code for it, and a measurement before and after."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from varprobe.cli.console import TerminalProgress, console_for
from varprobe.cli.help import Command
from varprobe.cli.sweep import draw, measured, measuring, requested
from varprobe.errors import InvalidArgumentError, printable
from varprobe.verdict.columns import GAP, fold, side_by_side

if TYPE_CHECKING:
    import xarray as xr
    from rich.console import Console

    from varprobe.runs.diagnose import Diagnosis
    from varprobe.verdict.advise import Advice

__all__ = ["command"]

OF_THE_PROBE = ("seeds", "batch", "data", "out")
"""Options that need a measurement."""
PATIENT = 1000
"""A depth from which the choice alone takes more than two seconds."""


@click.command(
    cls=Command,
    examples=[
        "varprobe advise --act gelu --depth 100",
        "varprobe advise --act tanh --framework pytorch --no-probe",
        "varprobe advise --act mine.py:swishy --json",
    ],
)
@click.option("--act", default="relu", metavar="NAME", help="Activation, e.g. gelu or mine.py:f.  [relu]")
@click.option("--depth", default="50", metavar="N", help="Weight layers.  [50]")
@click.option("--width", default="512", metavar="N", help="Units of each layer.  [512]")
@click.option(
    "--framework",
    default="flax",
    metavar="NAME",
    help="flax, jax, equinox, pytorch or keras: whose lines to print, and whose default is 'before'.  [flax]",
)
@click.option("--all", "every", is_flag=True, help="Print the lines for every framework.")
@click.option("--no-probe", is_flag=True, help="Theory only: no measurement.")
@click.option("--seeds", metavar="N", help="Independent draws of every network.  [8]")
@click.option("--batch", metavar="N", help="Samples per batch.  [16]")
@click.option("--data", metavar="DATA", help="normal, uniform, sphere, digits, or FILE.npy/.npz/.csv.  [normal]")
@click.option("--out", metavar="FOLDER", help="Run folder.  [runs/ACT-dDEPTH-wWIDTH-HASH]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to stdout and nothing else.")
@click.option("--no-compile-cache", is_flag=True, help="Do not keep compiled code in the user's cache folder.")
@click.option("--quiet", is_flag=True, help="Nothing on stderr but errors.")
@click.pass_obj
def command(arguments: list[str], quiet: bool, **options: Any) -> None:
    """Choose the initializer for an activation and a depth, and show that it works.

    Says what trajectory and finite width expect of it, how deep it stays within 10x and 1000x, and the lines that set
    it. Then measures before (the framework's default) and after, and draws both.
    """
    from varprobe.spec.arguments import single
    from varprobe.verdict.advise import DEEPEST
    from varprobe.verdict.snippets import framework

    try:
        framework(options["framework"])
    except InvalidArgumentError as error:
        raise error.at("framework") from None
    odd = next((name for name in OF_THE_PROBE if options["no_probe"] and options[name] is not None), None)
    if odd is not None:
        raise InvalidArgumentError(f"{options[odd]!r} is for the measurement, which --no-probe leaves out", odd)
    depth, width = single("depth", options["depth"], 1, DEEPEST), single("width", options["width"], 1)
    with measuring(arguments, quiet) as (progress, stdout):
        advise(arguments, options, depth, width, progress, stdout)


def advise(
    arguments: list[str],
    options: dict[str, Any],
    depth: int,
    width: int,
    progress: TerminalProgress,
    stdout: TextIO,
) -> None:
    """Choose, say so, measure and draw."""
    from varprobe.verdict.advise import advise as choose

    if depth > PATIENT:
        progress.note(f"following the candidates through {depth} layers, which takes some seconds")
    advice = choose(options["act"], depth, width)
    if not options["no_probe"]:
        from varprobe.sweeps.run_folder import find_run

        request, out, _ = requested(*stacks_of(advice, options))
        find_run(out, request, progress.note)  # what is wrong is said before anything is printed
    console = console_for(stdout)
    if not options["as_json"]:
        show(console, advice, options)
        stdout.flush()
    if options["no_probe"]:
        if options["as_json"]:
            print_json(advice, None, None, stdout)
        return
    diagnosis, folder, figure = probed(arguments, advice, options, progress)
    if options["as_json"]:
        print_json(advice, diagnosis, folder, stdout)
        return
    from varprobe.verdict.terminal import print_diagnosis

    console.print()
    print_diagnosis(console, diagnosis)
    for line in (f"Figure  {figure}", f"Data    {folder / 'results.nc'}, results.csv"):
        console.print(printable(line), soft_wrap=True)


def show(console: "Console", advice: "Advice", options: dict[str, Any]) -> None:
    """The point, what to expect, and the lines of code."""
    title = f"{advice.act}, depth {advice.depth}, width {advice.width}: {advice.kind or 'no good point'}"
    for line in fold(printable(title), console.width, indent=2):
        console.print(line, style="bold", soft_wrap=True)
    biases = f"normal biases, std = {advice.sigma_b2**0.5:.6g}" if advice.sigma_b2 else "biases zero"
    rows = [
        ("sigma_w2", f"{advice.sigma_w2:.8g}", f"fan_in Var W: normal weights, std = {advice.std}"),
        ("sigma_b2", f"{advice.sigma_b2:.8g}", f"Var b: {biases}"),
        ("gain", f"{advice.gain:.6g}", "sqrt(sigma_w2)"),
        ("chi_1", f"{advice.chi_1:.6g}", "factor of the gradient's mean square, layer to layer back"),
        ("chi_q", f"{advice.chi_q:.6g}", "factor of a distance from the fixed point, layer to layer"),
    ]
    widths = [max(len(row[i]) for row in rows) for i in (0, 1)]
    widths.append(console.width - sum(widths) - 2 * GAP)
    for row in rows:
        for text in side_by_side(row, widths, [""] * 3):
            console.print(text, soft_wrap=True)
    for sentence in advice.sentences:
        for line in fold(printable(sentence), console.width, indent=2):
            console.print(line, soft_wrap=True)
    for name in advice.snippets if options["every"] else [options["framework"]]:
        console.print(f"\n{name}", style="bold", soft_wrap=True)
        console.print("\n".join(f"    {line}".rstrip() for line in advice.snippets[name].splitlines()), soft_wrap=True)


def stacks_of(advice: "Advice", options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(options of the sweep that compares before with after, how it is shown)."""
    asked = {name: options[name] for name in ("act", "seeds", "batch", "data")}
    asked |= {"depth": advice.depth, "width": advice.width, **advice.comparison(options["framework"])}
    return asked, {"out": options["out"], "fresh": False, "label": (), "no_compile_cache": options["no_compile_cache"]}


def probed(
    arguments: list[str], advice: "Advice", options: dict[str, Any], progress: TerminalProgress
) -> tuple["Diagnosis", Path, str]:
    """(verdicts before and after, run folder, where the figure is)."""
    from varprobe.runs.diagnose import diagnose
    from varprobe.storage.paths import folder_of

    whole, out, _ = measured(*stacks_of(advice, options), progress)
    folder = folder_of(out, "out")
    pair = advice.pair(whole, options["framework"])
    figure = draw(named(pair), folder, {}, False, remake=True, arguments=arguments)
    return diagnose(named(pair) if not options["as_json"] else pair), folder, figure


def named(pair: "xr.Dataset") -> "xr.Dataset":
    """Before and after with weights and biases under one name, so that they are two curves of one panel."""
    from varprobe.verdict.table import short

    def text(coordinate: str, value: str) -> str:
        found = short(coordinate, value, [])
        return found if coordinate == "init" or found.startswith("sigma_") else f"bias {found}"

    names = []
    for when, init, bias in zip(("before", "after"), pair["init"].values, pair["bias"].values, strict=True):
        parts = [text("init", str(init)), *([] if str(bias) in ("zeros", str(init)) else [text("bias", str(bias))])]
        names.append(f"{when}: {', '.join(parts)}")
    return pair.assign_coords(init=("config", names), bias=("config", ["zeros", "zeros"]))


def print_json(advice: "Advice", diagnosis: "Diagnosis | None", run: Path | None, stream: TextIO) -> None:
    """The advice, and the rows of before and after; every number in it is finite or null."""
    import varprobe

    answer = {"version": varprobe.__version__, **advice.as_dict(), "run": str(run) if run else None}
    answer |= {k: diagnosis.rows[i] if diagnosis else None for i, k in enumerate(("before", "after"))}
    stream.write(json.dumps(answer, allow_nan=False, indent=1) + "\n")
