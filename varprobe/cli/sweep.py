"""`varprobe sweep`: the main job."""

import contextlib
import shlex
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import click

from varprobe.cli.console import TerminalProgress, console_for
from varprobe.cli.help import Command
from varprobe.cli.interrupts import last_words
from varprobe.cli.options import ESSENTIAL, given, label_option, labels_of, stack_options
from varprobe.names import printable

__all__ = ["PRESENTATION", "command", "measured", "measuring"]

PRESENTATION = ("json", "quiet", "wide", "fresh", "out", "label", "full_range", "no_theory", "no_compile_cache")
NAMED = (
    *("arch", "norm", "act", "init", "bias", "init_first", "init_last", "init_qk", "init_v", "init_o", "init_mlp"),
    *("depth", "width", "batch"),
)
"""Parts of a spec whose values --label may rename."""


@click.command(
    cls=Command,
    essential=ESSENTIAL,
    examples=[
        "varprobe sweep --depth 50 --act relu",
        'varprobe sweep --act tanh,gelu --init "he_normal,normal(std=0.02)"',
        "varprobe sweep --act tanh --sigma-w2 1:4:32 --sigma-b2 0:1:32 --width 256",
        "varprobe sweep --act mine.py:swishy --data images.npy --json",
    ],
)
@stack_options
@label_option
@click.pass_obj
def command(arguments: list[str], **options: Any) -> None:
    """Measure how variance and gradients change with depth, for every combination.

    Prints a table with a verdict per initializer and writes a run folder with the figure (variance.pdf, .png),
    caption.tex, results.nc and results.csv. A list (relu,tanh), a repeated option or a range (LO:HI:N) is an axis of
    the grid.
    """
    shown = {k: options.pop(k) for k in PRESENTATION}
    with measuring(arguments, shown["quiet"]) as (progress, stdout):
        sweep(arguments, options, shown, progress, stdout)


@contextlib.contextmanager
def measuring(arguments: list[str], quiet: bool) -> Iterator[tuple[TerminalProgress, TextIO]]:
    """(progress, stdout) for work that an interrupt may cut; what is done is kept, and the resuming command printed."""
    progress = TerminalProgress(quiet=quiet)
    again = subprocess.list2cmdline(arguments) if sys.platform == "win32" else shlex.join(arguments)
    words = f"interrupted; what has finished is kept. Resume with\n  {printable(f'varprobe {again}')}\n"
    try:
        with last_words(words), aside(progress) as stdout:
            yield progress, stdout
    except KeyboardInterrupt:
        progress.stop()
        sys.stderr.write(words)
        raise
    finally:
        progress.stop()


@contextlib.contextmanager
def aside(progress: TerminalProgress) -> Iterator[TextIO]:
    """Send warnings, and whatever the user's own functions print, to stderr; yields stdout, which is for the answer."""
    stdout = sys.stdout
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.showwarning = lambda message, *_, **__: progress.note(str(message))
        yield stdout


def sweep(
    arguments: list[str], options: dict[str, Any], shown: dict[str, Any], progress: TerminalProgress, stdout: TextIO
) -> None:
    """Check the request, measure, judge, draw and say so."""
    began = time.monotonic()
    from varprobe.cli.device import device_name
    from varprobe.diagnosis import diagnose
    from varprobe.runs import folder_of

    ds, out, labels = measured(options, shown, progress)
    device = device_name()
    diagnosis, folder = diagnose(ds), folder_of(out, "out")
    if shown["json"]:
        from varprobe.cli.report_json import print_json

        print_json(diagnosis, folder, stdout)
    remake = progress.total > 0 or bool(labels) or shown["full_range"] or shown["no_theory"]
    figure = draw(ds, folder, labels, shown["full_range"], remake, not shown["no_theory"], arguments)
    if not shown["json"]:
        from varprobe.screen import print_diagnosis

        right = f"{device}, {time.monotonic() - began:.0f} s"
        if progress.total == 0:
            right = "found finished in the run folder; --fresh computes it again"
        elif progress.cached:
            right += f", {progress.cached} of {progress.cached + progress.total} cells were there"
        console = console_for(stdout, shown["wide"])
        print_diagnosis(console, diagnosis, shown["wide"], right)
        data = folder / "results.nc"
        for line in (f"Figure  {figure}", f"Data    {data}, results.csv"):
            console.print(printable(line), soft_wrap=True)


def measured(
    options: dict[str, Any], shown: dict[str, Any], progress: TerminalProgress
) -> tuple[Any, str | Path, dict[str, str]]:
    """(dataset, run folder, labels) of the stacks that the options describe."""
    from varprobe.cli.device import device_name, keep_compiled_code
    from varprobe.configs import read_request
    from varprobe.runs import default_folder
    from varprobe.sweeping import run

    if not shown["no_compile_cache"]:
        keep_compiled_code()
    device_name()  # fails here where there is none
    request = read_request(**given(options))
    labels = labels_of(shown["label"], (str(v) for name in NAMED for v in request.spec[name]))
    out = default_folder(request) if shown["out"] is None else shown["out"]
    ds = run(request, out=out, fresh=shown["fresh"], progress=progress)
    progress.stop()
    return ds, out, labels


def draw(
    ds: Any,
    folder: Path,
    labels: dict[str, str],
    full_range: bool,
    remake: bool,
    theory: bool = True,
    arguments: Sequence[str] = (),
) -> str:
    """Write variance.pdf, variance.png and caption.tex; says where, or why there is no figure.

    `arguments` are of the command line that made them, for `varprobe plot --from`.
    """
    from varprobe.errors import MachineError, RequestError

    path = folder / "variance.pdf"
    if path.is_file() and (folder / "variance.png").is_file() and not remake:
        return str(path)
    from varprobe.plots import caption, save_figure, variance_figure
    from varprobe.plots.origin import origin
    from varprobe.storage import put

    try:
        figure = variance_figure(ds, labels=labels, full_range=full_range, theory=theory)
    except RequestError as error:
        return f"none: {error.message}"
    try:
        for file in (path, folder / "variance.png"):
            save_figure(figure, file, spec=origin(arguments, ds))
        put(folder / "caption.tex", lambda file: file.write(caption(ds, theory=theory).encode()))
    except OSError as error:
        raise MachineError(f"{error.filename or path}: {error.strerror or error}") from error
    return str(path)
