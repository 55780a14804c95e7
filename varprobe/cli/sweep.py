"""`varprobe sweep`: the main job."""

import shlex
import sys
import time
from pathlib import Path
from typing import Any

import click

from varprobe.cli.console import TerminalProgress, console_for
from varprobe.cli.options import EssentialHelp, given, label_option, labels_of, stack_options

__all__ = ["command"]

PRESENTATION = ("json", "quiet", "wide", "fresh", "out", "label", "full_range", "no_compile_cache")


@click.command(cls=EssentialHelp, context_settings={"max_content_width": 80})
@stack_options
@label_option
def command(**options: Any) -> None:
    """Measure how variance and gradients change with depth, for every combination.

    \b
    Examples:
      varprobe sweep --depth 50 --act relu
      varprobe sweep --act tanh,gelu --init "he_normal,normal(std=0.02)"
      varprobe sweep --act tanh --sigma-w2 1:4:32 --sigma-b2 0:1:32 --width 256
      varprobe sweep --act mine.py:swishy --data images.npy --json

    Prints a table with a verdict per initializer and writes a run folder with
    the figure (variance.pdf, .png), caption.tex, results.nc and results.csv.
    """
    shown = {k: options.pop(k) for k in PRESENTATION}
    labels = labels_of(shown["label"])
    began = time.monotonic()
    from varprobe.cli.device import device_name, keep_compiled_code
    from varprobe.configs import read_request
    from varprobe.diagnosis import diagnose
    from varprobe.runs import default_folder
    from varprobe.sweep import run

    if not shown["no_compile_cache"]:
        keep_compiled_code()
    request = read_request(**given(options))
    folder = Path(shown["out"]) if shown["out"] else default_folder(request)
    progress = TerminalProgress(quiet=shown["quiet"] or shown["json"])
    try:
        ds = run(request, out=folder, fresh=shown["fresh"], progress=progress)
    except KeyboardInterrupt:
        progress.stop()
        if not shown["quiet"]:
            again = shlex.join(["varprobe", *sys.argv[1:]])
            console_for(sys.stderr).print(
                f"interrupted; what has finished is kept. Resume with\n  {again}", soft_wrap=True
            )
        raise
    finally:
        progress.stop()
    diagnosis = diagnose(ds)
    if shown["json"]:
        from varprobe.cli.report_json import print_json

        print_json(diagnosis, folder)
    figures = draw(
        ds, folder, labels, shown["full_range"], remake=progress.total > 0 or bool(labels) or shown["full_range"]
    )
    if not shown["json"]:
        from varprobe.screen import print_diagnosis

        console = console_for(sys.stdout, shown["wide"])
        spent = f"{device_name()}, {time.monotonic() - began:.0f} s"
        if progress.total == 0:
            spent = "read from the run folder (--fresh computes again)"
        print_diagnosis(console, diagnosis, shown["wide"], right=spent)
        console.print(f"Figure  {figures}\nData    {folder / 'results.nc'}, results.csv", soft_wrap=True)


def draw(ds: Any, folder: Path, labels: dict[str, str], full_range: bool, remake: bool) -> str:
    """Write variance.pdf, variance.png and caption.tex; says where, or why there is no figure."""
    from varprobe.errors import MachineError, RequestError

    path = folder / "variance.pdf"
    if path.exists() and (folder / "variance.png").exists() and not remake:
        return str(path)
    from varprobe.plots import caption, save_figure, variance_figure

    try:
        figure = variance_figure(ds, labels=labels, full_range=full_range)
    except RequestError as error:
        return f"none: {error.message}"
    try:
        save_figure(figure, path)
        save_figure(figure, folder / "variance.png")
        (folder / "caption.tex").write_text(caption(ds), encoding="utf-8")
    except OSError as error:
        raise MachineError(f"{error.filename or path}: {error.strerror or error}") from error
    return str(path)
