"""`varprobe track`: the first steps of training."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from varprobe.cli.console import TerminalProgress, console_for
from varprobe.cli.drawing import draw_usual
from varprobe.cli.help import Command
from varprobe.cli.options import ESSENTIAL, RECORD_OPTIONS, given, label_option, training_options, with_spec
from varprobe.cli.sweep import measuring
from varprobe.errors import printable

if TYPE_CHECKING:
    from varprobe.training.request import Training

__all__ = ["PRESENTATION", "command", "default_folder", "prepared"]

PRESENTATION = ("json", "quiet", "wide", "fresh", "out", "no_compile_cache")
"""Options that do not say what is trained."""


@click.command(
    cls=Command,
    essential=("--optimizer", "--steps", "--at", *ESSENTIAL),
    examples=[
        'varprobe track --depth 50 --init he_normal --optimizer "sgd(lr=0.1),adam"',
        "varprobe track --depth 20 --act tanh --norm none,batch --steps 1000",
        "varprobe track --data images.npy --labels classes.npy --width 512-512-256",
    ],
)
@training_options({"--seeds": "Independent draws of every network.  [3]"}, RECORD_OPTIONS)
@label_option
@click.pass_obj
def command(arguments: list[str], **options: Any) -> None:
    """Follow variance and gradients, layer by layer, through the first steps of training.

    Nets are trained on real data, optimizers from optax, and measured at chosen steps as sweep measures them, with the
    size of each update beside that of the weights. A net that diverges is data: the step is told. Writes a run folder
    with training.pdf, .png, results.nc and results.csv. What is not given is what sweep has.
    """
    options = with_spec(options)
    shown = {k: options.pop(k) for k in PRESENTATION}
    labels = options.pop("label")
    with measuring(arguments, shown["quiet"]) as (progress, stdout):
        progress.verb, progress.unit = "training", "nets"
        track(arguments, options, shown, labels, progress, stdout)


def track(
    arguments: list[str],
    options: dict[str, Any],
    shown: dict[str, Any],
    labels: tuple[str, ...],
    progress: TerminalProgress,
    stdout: TextIO,
) -> None:
    """Check the request, train, judge, draw and say so."""
    began = time.monotonic()
    from varprobe.cli.device import device_name
    from varprobe.cli.options import labels_of
    from varprobe.runs.diagnose import diagnose
    from varprobe.storage.dataset import names_in
    from varprobe.training.run import run_training
    from varprobe.training.track import SEEDS

    training, folder = prepared("track", {"seeds": SEEDS} | given(options), shown)
    ds = run_training(training, folder, shown["fresh"], progress)
    progress.stop()
    diagnosis = diagnose(ds)
    if shown["json"]:
        from varprobe.cli.report_json import print_json

        print_json(diagnosis, folder, stdout)
    files = [folder / "training.pdf", folder / "training.png"]
    figure = draw_usual(ds, files, arguments, labels=labels_of(labels, names_in(ds)))
    if not shown["json"]:
        from varprobe.verdict.terminal import print_diagnosis

        right = f"{device_name()}, {time.monotonic() - began:.0f} s"
        console = console_for(stdout, shown["wide"])
        print_diagnosis(console, diagnosis, shown["wide"], right)
        for line in (f"Figure  {figure}", f"Data    {folder / 'results.nc'}, results.csv"):
            console.print(printable(line), soft_wrap=True)


def prepared(command: str, options: dict[str, Any], shown: dict[str, Any]) -> tuple["Training", Path]:
    """(what is to be trained, run folder), checked."""
    from varprobe.cli.device import device_name, keep_compiled_code
    from varprobe.storage.paths import folder_of
    from varprobe.training.request import read_training

    if not shown["no_compile_cache"]:
        keep_compiled_code()
    device_name()  # fails here where there is none
    training = read_training(command, **options)
    folder = folder_of(default_folder(training) if shown["out"] is None else shown["out"], "out")
    return training, folder


def default_folder(training: "Training") -> Path:
    """Where the command puts a training that was given no folder, such as runs/track-relu-d50-w512-3f9a1c."""
    from varprobe.storage.records import asked
    from varprobe.sweeps.folders import act_part, span
    from varprobe.sweeps.record import hashed

    spec = training.spec
    name = f"{spec['command']}-{act_part(spec['act'])}-d{span(spec['depth'])}-w{span(spec['width'])}"
    return Path("runs", f"{name}-{hashed(json.dumps(asked(spec), sort_keys=True))[:6]}")
