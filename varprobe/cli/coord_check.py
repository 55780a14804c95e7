"""`varprobe coord-check`: whether a parametrization is muP, layer by layer."""

import shlex
from typing import Any, TextIO

import click

from varprobe.cli.console import TerminalProgress, console_for
from varprobe.cli.drawing import draw_usual
from varprobe.cli.help import Command, help_all
from varprobe.cli.plot import file_of
from varprobe.cli.sweep import measuring
from varprobe.errors import InvalidArgumentError, printable

__all__ = ["command", "measured"]

ASKED = ("widths", "depth", "act", "init", "optimizer", "steps", "seeds", "base_width", "batch", "data", "root_seed")


@click.command(
    cls=Command,
    essential=("--widths", "--init", "--optimizer", "--steps", "--seeds", "--out", "--save", "--json"),
    examples=[
        "varprobe coord-check --widths 64,128,...,2048 --init mup,standard",
        "varprobe coord-check --optimizer 'sgd(lr=0.1)' --steps 8 --save check.pdf",
        "varprobe coord-check mynet.py:make --widths 64,128,...,1024",
    ],
)
@help_all
@click.argument("factory", required=False)
@click.option("--widths", metavar="LIST", help="Two or more, e.g. 64,128,...,4096.  [64,128,...,2048]")
@click.option("--depth", metavar="N", help="Weight layers of a stack, before its read-out.  [4]")
@click.option("--act", metavar="NAME", help="Its activation.  [relu]")
@click.option("--init", metavar="LIST", help="mup, standard (lecun_normal), or any other.  [mup,standard]")
@click.option("--optimizer", metavar="LIST", help="E.g. sgd(lr=0.1), adam, adamw.  [adam]")
@click.option("--steps", metavar="N", help="Steps of training, all on one batch.  [4]")
@click.option("--seeds", metavar="N", help="Independent draws.  [5; 1 of a factory without key]")
@click.option("--base-width", metavar="N", help="Where muP's learning rates are as given.  [the smallest]")
@click.option("--batch", metavar="N", help="Samples.  [16]")
@click.option("--data", metavar="DATA", help="What sweep takes.  [digits]")
@click.option("--root-seed", metavar="N", help="Everything random follows from it.  [0]")
@click.option("--out", metavar="FOLDER", help="Run folder, for plot.  [none]")
@click.option("--save", metavar="FILE", help="Draw size against width: a pdf, svg or png.  [none]")
@click.option("--json", is_flag=True, help="Print one JSON object to stdout and nothing else.")
@click.option("--no-compile-cache", is_flag=True, help="Do not keep compiled code in the user's cache folder.")
@click.option("--quiet", is_flag=True, help="Nothing on stderr but errors.")
@click.pass_obj
def command(arguments: list[str], factory: str | None, quiet: bool, **options: Any) -> None:
    """Report what grows or shrinks with width in the first steps of training: if nothing does, it is muP.

    Stacks are trained in muP (Yang et al. 2021, table 3) or with any other initializer and one learning rate. FACTORY
    is PKG.MOD:NAME or FILE.py:NAME, a function of the width, and of a jax.random key if it takes one, that returns
    (loss_fn, params, x, y); a dict behind may have loss= and optimizer=, an optax transformation for that width.

    The power at the two largest widths decides. Three widths or more show whether a curve levels off. If the widths
    cannot decide, the verdict names a larger one.
    """
    with measuring(arguments, quiet) as (progress, stdout):
        progress.verb, progress.unit = "training", "nets"
        check(arguments, {"factory": factory, **options}, progress, stdout)


def check(arguments: list[str], options: dict[str, Any], progress: TerminalProgress, stdout: TextIO) -> None:
    """Train, judge, keep, draw and say so."""
    from varprobe.model.run_folders import model_folder
    from varprobe.runs.diagnose import diagnose
    from varprobe.storage.paths import folder_of

    folder = None if options["out"] is None else folder_of(options["out"], "out")
    path = None if options["save"] is None else file_of(options["save"], "", "coord-check")
    asked = {name: options[name] for name in ("factory", *ASKED) if options[name] is not None}
    with model_folder(folder, "coord_check", {"command": "coord-check", **asked}) as save:
        ds = measured(options, "factory", progress)
        save(ds)
    figure = draw_usual(ds, [path], arguments) if path else f"varprobe plot {shlex.quote(str(folder))}"
    diagnosis = diagnose(ds)
    if options["json"]:
        from varprobe.cli.report_json import print_json

        print_json(diagnosis, folder, stdout)
        return
    from varprobe.verdict.terminal import print_diagnosis

    console = console_for(stdout)
    print_diagnosis(console, diagnosis)
    if folder:
        console.print(printable(f"Data    {folder / 'results.nc'}, results.csv"), soft_wrap=True)
    if path or folder:
        console.print(printable(f"Figure  {figure}"), soft_wrap=True)


def measured(options: dict[str, Any], option: str, progress: TerminalProgress) -> Any:
    """The dataset that the options describe; what is wrong with the factory is told of `option`."""
    from varprobe.cli.device import device_name, keep_compiled_code
    from varprobe.spec.user_code import load
    from varprobe.training.coordinates import coord_check

    if not options["no_compile_cache"]:
        keep_compiled_code()
    device_name()
    given = {name: options[name] for name in ASKED if options.get(name) is not None}
    reference = options.get("factory")
    if reference is None:
        return coord_check(**given, progress=progress)
    try:
        factory = load(reference).function
    except InvalidArgumentError as error:
        raise error.at(option) from error
    try:
        return coord_check(factory, **given, progress=progress)
    except InvalidArgumentError as error:
        if error.option in ASKED:
            raise
        raise InvalidArgumentError(error.message, option) from error
    except Exception as error:  # the model may raise anything
        text = " ".join(str(error).split())
        raise InvalidArgumentError(f"{reference} fails: {type(error).__name__}: {text}", option) from error
