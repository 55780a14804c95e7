"""`varprobe sweep`: the main job."""

import contextlib
import json
import shlex
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from varprobe.cli.console import TerminalProgress, console_for
from varprobe.cli.help import Command
from varprobe.cli.interrupts import last_words
from varprobe.cli.options import ESSENTIAL, given, label_option, labels_of, share_options, stack_options, with_spec
from varprobe.errors import InvalidArgumentError, printable

if TYPE_CHECKING:
    from varprobe.sweeps.request import Request
    from varprobe.sweeps.resources import Resources

__all__ = ["PRESENTATION", "command", "measured", "measuring"]

PRESENTATION = (
    *("json", "quiet", "wide", "fresh", "out", "label", "full_range", "no_theory", "no_compile_cache"),
    *("memory", "devices", "dask", "shard", "dry_run"),
)
"""Options that do not say what is measured, but how, where it goes, and what is shown."""
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
        "varprobe sweep --spec large.toml --dask tcp://10.0.0.7:8786",
    ],
)
@stack_options
@share_options
@label_option
@click.pass_obj
def command(arguments: list[str], **options: Any) -> None:
    """Measure how variance and gradients change with depth, for every combination.

    Prints a table with a verdict per initializer and writes a run folder with the figure (variance.pdf, .png),
    caption.tex, results.nc and results.csv. A list (relu,tanh), a repeated option or a range (LO:HI:N) is an axis of
    the grid.
    """
    options = with_spec(options)
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
    from varprobe.runs.diagnose import diagnose
    from varprobe.storage.paths import folder_of

    if shown["dry_run"]:
        from varprobe.cli.dry_run import report_costs

        request, out, _ = requested(options, shown)
        with resources_of(shown, progress) as resources:
            return report_costs(request, out, resources, shown["json"], stdout)
    ds, out, labels = measured(options, shown, progress)
    device, folder = device_name(), folder_of(out, "out")
    if "unfinished" in ds.attrs:
        return tell_share(shown, folder, ds.attrs["unfinished"], stdout)
    diagnosis = diagnose(ds)
    if shown["json"]:
        from varprobe.cli.report_json import print_json

        print_json(diagnosis, folder, stdout)
    remake = progress.total > 0 or bool(labels) or shown["full_range"] or shown["no_theory"]
    figure = draw(ds, folder, labels, shown["full_range"], remake, not shown["no_theory"], arguments)
    if not shown["json"]:
        from varprobe.verdict.terminal import print_diagnosis

        right = f"{device}, {time.monotonic() - began:.0f} s"
        if progress.total == 0:
            right = "found finished in the run folder; --fresh computes it again"
        elif progress.cached:
            right += f", {progress.cached} of {progress.cached + progress.total} cells were there"
        console = console_for(stdout, shown["wide"])
        print_diagnosis(console, diagnosis, shown["wide"], right)
        table = ", results.csv" if (folder / "results.csv").is_file() else " (varprobe export makes tables of it)"
        for line in (f"Figure  {figure}", f"Data    {folder / 'results.nc'}{table}"):
            console.print(printable(line), soft_wrap=True)


def measured(
    options: dict[str, Any], shown: dict[str, Any], progress: TerminalProgress
) -> tuple[Any, str | Path, dict[str, str]]:
    """(dataset, run folder, labels) of the stacks that the options describe."""
    from varprobe.sweeps.sweep import run

    request, out, labels = requested(options, shown)
    with resources_of(shown, progress) as resources:
        ds = run(request, out=out, fresh=shown["fresh"], progress=progress, resources=resources)
    progress.stop()
    return ds, out, labels


def requested(options: dict[str, Any], shown: dict[str, Any]) -> tuple["Request", str | Path, dict[str, str]]:
    """(request, run folder, labels) that the options describe."""
    from varprobe.cli.device import device_name, keep_compiled_code
    from varprobe.sweeps.folders import default_folder
    from varprobe.sweeps.request import read_request

    if not shown["no_compile_cache"]:
        keep_compiled_code()
    device_name()  # fails here where there is none
    request = read_request(**given(options))
    labels = labels_of(shown["label"], (str(v) for name in NAMED for v in request.spec[name]))
    out = default_folder(request) if shown["out"] is None else shown["out"]
    return request, out, labels


@contextlib.contextmanager
def resources_of(shown: dict[str, Any], progress: TerminalProgress) -> Iterator["Resources"]:
    """What --memory, --devices, --shard and --dask say."""
    from varprobe.sweeps.resources import read_resources

    asked = {name: shown.get(name) for name in ("memory", "devices", "shard")}
    if shown.get("dask") is None:
        yield read_resources(**asked)
        return
    if asked["devices"] is not None:
        raise InvalidArgumentError(f"{asked['devices']}: the workers of --dask decide", "devices")
    resources = read_resources(**asked)
    from varprobe.sweeps.dask_executor import dask_executor

    with dask_executor(shown["dask"], resources.memory, progress.note) as executor:
        yield replace(resources, executor=executor)


def tell_share(shown: dict[str, Any], folder: Path, unfinished: str, stdout: TextIO) -> None:
    """Say that a share is done, and how much of the run is there."""
    if shown["json"]:
        answer = {"version": version("varprobe"), "run": str(folder), "rows": [], "unfinished": unfinished}
        print(json.dumps(answer, indent=2), file=stdout)
        return
    console = console_for(stdout)
    console.print(printable(f"Share {shown['shard']} is done: {unfinished}"), soft_wrap=True)
    console.print(printable(f"Run    {folder}"), soft_wrap=True)


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
    from varprobe.errors import InvalidArgumentError, MachineError
    from varprobe.storage.figure_origin import origin, shows

    path, drawn, text = (folder / name for name in ("variance.pdf", "variance.png", "caption.tex"))
    spec = json.loads(ds.attrs["spec"])
    if not remake and text.is_file() and shows(path, spec) and shows(drawn, spec):
        return str(path)
    from varprobe.plots import caption, save_figure, variance_figure
    from varprobe.storage.files import put

    try:
        figure = variance_figure(ds, labels=labels, full_range=full_range, theory=theory)
    except InvalidArgumentError as error:
        return f"none: {error.message}"
    try:
        for file in (path, drawn):
            save_figure(figure, file, spec=origin(arguments, ds))
        put(text, lambda file: file.write(caption(ds, theory=theory).encode()))
    except OSError as error:
        raise MachineError(f"{error.filename or path}: {error.strerror or error}") from error
    return str(path)
