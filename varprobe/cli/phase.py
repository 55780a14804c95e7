"""`varprobe phase`: the phase diagram of an activation, of theory alone or measured beside predicted."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from varprobe.cli.console import TerminalProgress, console_for
from varprobe.cli.help import Command
from varprobe.cli.plot import file_of, size_of
from varprobe.cli.sweep import measured, measuring
from varprobe.errors import InvalidArgumentError, did_you_mean, printable
from varprobe.verdict.columns import GAP, fold, side_by_side

if TYPE_CHECKING:
    from varprobe.theory.phase_diagram import Diagram
    from varprobe.verdict.phase_measured import Measured

__all__ = ["command"]

SHOW = ("chi_1", "xi")
OF_MEASURING = ("depth", "seeds", "batch", "data", "dtype", "root_seed", "out", "fresh", "no_compile_cache")
"""Options that say nothing without --measure."""
PLANES = ("chi_1", "q_star", "chi_q", "c_star", "xi_q", "xi_c", "phase")
POINT = ("sigma_w2", "sigma_b2", "q_star", "chi_1", "xi_c", "phase")
SEEDS = 1
MEASURED = 32
"""Values on a default axis with --measure."""


@click.command(
    cls=Command,
    examples=[
        "varprobe phase --act tanh",
        "varprobe phase --act selu --show xi --sigma-w2 0.1:2:50 --save selu.pdf",
        "varprobe phase --act tanh --measure --depth 50 --width 256",
    ],
)
@click.option("--act", default="tanh", metavar="NAME", help="Activation, e.g. gelu or mine.py:f.  [tanh]")
@click.option("--sigma-w2", metavar="R", help="fan_in Var W, e.g. 0.1:4:50.  [shows the critical line]")
@click.option("--sigma-b2", metavar="R", help="Var b, e.g. 0:1:50.  [shows the critical line]")
@click.option("--show", default="chi_1", metavar="NAME", help="chi_1, or xi: the correlation depth.  [chi_1]")
@click.option("--width", metavar="N", help="Units per layer: of the initializers and of what is measured.  [512]")
@click.option("--measure", is_flag=True, help="Run networks at every point, and draw them beside the prediction.")
@click.option("--depth", metavar="N", help="Weight layers, with --measure.  [50]")
@click.option("--seeds", metavar="N", help="Independent draws of every network, with --measure.  [1]")
@click.option("--batch", metavar="N", help="Samples per batch, with --measure.  [16]")
@click.option("--data", metavar="DATA", help="What sweep takes, with --measure.  [normal]")
@click.option("--dtype", metavar="NAME", help="float32, float64, bfloat16 or float16, with --measure.  [float32]")
@click.option("--root-seed", metavar="N", help="Everything random follows from it, with --measure.  [0]")
@click.option("--out", metavar="FOLDER", help="Run folder of --measure.  [runs/ACT-dDEPTH-wWIDTH-HASH]")
@click.option("--fresh", is_flag=True, help="Compute again what the run folder already holds.")
@click.option("--no-compile-cache", is_flag=True, help="Do not keep compiled code in the user's cache folder.")
@click.option("--save", metavar="FILE", help="A pdf, svg or png.  [phase-ACT.pdf; phase.pdf in the run folder]")
@click.option("--size", metavar="WxH", help="Width and height, e.g. 3.25x2.8in, 8.5x7cm.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to stdout and nothing else.")
@click.option("--quiet", is_flag=True, help="Nothing on stderr but errors.")
@click.pass_obj
def command(arguments: list[str], quiet: bool, **options: Any) -> None:
    """Draw where signals die, explode or pass: chi_1 over weight and bias variance, and the line chi_1 = 1.

    Mean-field theory (Poole et al. 2016; Schoenholz et al. 2017) with the standard initializers on it. --measure runs
    a network at every point of the plane, as one sweep whose run folder resumes, and compares the factor of its
    gradient per layer, over the deeper half of the layers, with that of an infinitely wide network of this depth.
    """
    if options["show"] not in SHOW:
        raise InvalidArgumentError(f"unknown quantity {options['show']!r}{did_you_mean(options['show'], SHOW)}", "show")
    if not options["measure"]:
        odd = next((name for name in OF_MEASURING if options[name]), None)
        if odd is not None:
            value = "" if options[odd] is True else f"{options[odd]!r} "
            raise InvalidArgumentError(f"{value}goes with --measure, which runs networks", odd)
    elif options["show"] == "xi":
        raise InvalidArgumentError("'xi' is of theory; --measure measures chi_1 (leave out one of the two)", "show")
    with measuring(arguments, quiet) as (progress, stdout):
        phase(arguments, options, progress, stdout)


def phase(arguments: list[str], options: dict[str, Any], progress: TerminalProgress, stdout: TextIO) -> None:
    """Check the request, predict, measure where asked for, draw and say so."""
    inches = size_of(options["size"])
    path = None if options["save"] is None else file_of(options["save"], "", "phase")
    from varprobe.plots import save_figure
    from varprobe.plots.phase import phase_figure, require_size
    from varprobe.spec.arguments import single
    from varprobe.storage.figure_origin import origin
    from varprobe.theory.phase_diagram import phase_diagram

    require_size(inches, 2 if options["measure"] else 1)

    width = 512 if options["width"] is None else single("width", options["width"], 1)
    count = MEASURED if options["measure"] else 50
    if options["measure"] and options["depth"] is not None:
        single("depth", options["depth"], 2)
    diagram = phase_diagram(options["act"], options["sigma_w2"], options["sigma_b2"], width, count)
    compared, folder = run(options, diagram, width, progress) if options["measure"] else (None, None)
    figure = phase_figure(diagram, compared, options["show"], inches)
    if path is None:
        path = Path(default_name(diagram)) if folder is None else folder / "phase.pdf"
        if folder is not None:
            save_figure(figure, folder / "phase.png", spec=origin(arguments))
    save_figure(figure, path, spec=origin(arguments))
    if options["as_json"]:
        stdout.write(json.dumps(answer(diagram, compared, folder, path), allow_nan=False) + "\n")
    else:
        show(diagram, compared, folder, path, stdout)


def run(options: dict[str, Any], diagram: "Diagram", width: int, progress: TerminalProgress) -> "tuple[Measured, Path]":
    """(measured beside predicted, run folder) of a sweep over the plane."""
    from varprobe.storage.paths import folder_of
    from varprobe.verdict.phase_measured import compare

    grid = diagram.grid
    wanted = {name: options[name] for name in ("depth", "batch", "data", "dtype", "root_seed")}
    wanted |= {
        "act": options["act"],
        "width": width,
        "seeds": options["seeds"] or SEEDS,
        "sigma_w2": grid.sigma_w2.tolist(),
        "sigma_b2": grid.sigma_b2.tolist(),
    }
    shown = {"no_compile_cache": options["no_compile_cache"], "label": (), "out": options["out"]}
    ds, out, _ = measured(wanted, shown | {"fresh": options["fresh"]}, progress)
    return compare(ds, grid.sigma_w2, grid.sigma_b2), folder_of(out, "out")


def default_name(diagram: "Diagram") -> str:
    """The figure's file in the current folder."""
    from varprobe.sweeps.folders import act_part

    return f"phase-{act_part([diagram.act.name])}.pdf"


def finite(values: Any) -> Any:
    """Nested lists of floats with None for what JSON has no number for; words as they are."""
    if isinstance(values, list):
        return [finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def answer(diagram: "Diagram", compared: "Measured | None", folder: Path | None, path: Path) -> dict[str, Any]:
    """The object of --json."""
    grid, line = diagram.grid, diagram.line
    found = {"act": grid.act, "sigma_w2": grid.sigma_w2.tolist(), "sigma_b2": grid.sigma_b2.tolist()}
    found |= {name: finite(getattr(grid, name).tolist()) for name in PLANES}
    columns = ("sigma_w2", "sigma_b2", "q", "chi_q", "stable")
    found["critical_line"] = {name: finite(getattr(line, name).tolist()) for name in columns} | {
        "why": line.why or None
    }
    found["initializers"] = [
        {"names": list(point.names)} | {name: getattr(point.fixed, name) for name in POINT} for point in diagram.points
    ]
    found["measured"] = None
    if compared:
        found["measured"] = {
            "run": str(folder),
            "depth": compared.depth,
            "width": compared.width,
            "seeds": compared.seeds,
            "layers": list(compared.layers),
            "gradient_factor": finite(compared.measured.tolist()),
            "predicted_gradient_factor": finite(compared.predicted.tolist()),
            "median_deviation": finite(compared.median),
            "largest_deviation": None if compared.largest is None else float(compared.deviation[compared.largest]),
        }
    return found | {"figure": str(path)}


def show(diagram: "Diagram", compared: "Measured | None", folder: Path | None, path: Path, stdout: TextIO) -> None:
    """Print the initializers, the critical line, what was measured and where the figure is."""
    console = console_for(stdout)
    title = f"{diagram.act.name}, standard initializers with zero biases"
    for piece in fold(title, console.width, indent=2):
        console.print(printable(piece), style="bold", soft_wrap=True)
    rows: list[tuple[str, ...]] = [("", "sigma_w2", "sigma_b2", "q*", "chi_1", "xi_c", "phase")]
    for point in diagram.points:
        rows.append((point.text, *(cell(getattr(point.fixed, name)) for name in POINT)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    widths[0] = min(widths[0], console.width - sum(widths[1:]) - GAP * 6)
    for row in rows:
        for line in side_by_side(row, widths, [""] * 7):
            console.print(line, soft_wrap=True)
    for sentence in sentences(diagram, compared):
        for piece in fold(sentence, console.width, indent=2):
            console.print(printable(piece), soft_wrap=True)
    console.print(printable(f"Figure  {path}"), soft_wrap=True)
    if folder is not None:
        console.print(printable(f"Data    {folder / 'results.nc'}"), soft_wrap=True)


def cell(value: Any) -> str:
    """A number in few columns, a short word, or "none"."""
    if isinstance(value, str):
        return "unbounded" if value == "grows without bound" else value
    return "none" if value is None else f"{value:.3g}"


def sentences(diagram: "Diagram", compared: "Measured | None") -> list[str]:
    """The critical line in words, and how far measured and predicted factors are apart."""
    from varprobe.theory.phase_diagram import ends_in, line_in

    line, inside = diagram.line, line_in(diagram)
    said = []
    if not line.q.size:
        said.append(f"No critical line: {line.why}.")
    elif not inside.any():
        low = line.sigma_b2.argmin()
        said.append(
            f"The critical line (chi_1 = 1) is outside these axes; its lowest sigma_b2 is {line.sigma_b2[low]:.4g}, "
            f"at sigma_w2 {line.sigma_w2[low]:.4g}."
        )
    else:
        ends = [f"({weight:.4g}, {bias:.4g})" for weight, bias in ends_in(diagram)]
        way = f"is the point {ends[0]}" if ends[0] == ends[1] else f"runs within the axes from {ends[0]} to {ends[1]}"
        said.append(f"The critical line (chi_1 = 1) {way} in (sigma_w2, sigma_b2).")
        loose = inside & ~line.stable
        if loose.any():
            verb = "It is" if (line.stable & inside & (line.q > 0)).sum() == 0 else "Part of it is"
            said.append(f"{verb} unstable (chi_q > 1): the mean square does not stay there.")
    if compared:
        first, last = compared.layers
        said.append(
            f"Measured: the factor by which the gradient's mean square changes per layer toward the input, fitted to "
            f"layers {first} to {last}; predicted: the same fit for infinite width."
        )
        at = compared.largest
        if at is None:
            said.append("No measured factor is finite.")
        else:
            grid = diagram.grid
            said.append(
                f"Measured / predicted: median deviation {100 * compared.median:.2g}%, largest "
                f"{100 * compared.deviation[at]:+.2g}% at sigma_w2 {grid.sigma_w2[at[0]]:.4g}, "
                f"sigma_b2 {grid.sigma_b2[at[1]]:.4g}."
            )
    return said
