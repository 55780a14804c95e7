"""`varprobe probe`: probe a network of the user's own."""

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from varprobe.cli.console import TerminalProgress, console_for
from varprobe.cli.help import Command, help_all
from varprobe.cli.sweep import measuring
from varprobe.errors import InvalidArgumentError, printable

if TYPE_CHECKING:
    from varprobe.nets.data import Source

__all__ = ["command"]


@click.command(
    cls=Command,
    essential=("--data", "--seeds", "--compare", "--out", "--json"),
    examples=[
        "varprobe probe mynet.py:make",
        "varprobe probe mypkg.nets:make --data images.npy --seeds 8",
        "varprobe probe --compare mynet.py:before mynet.py:after",
    ],
)
@help_all
@click.argument("factory", required=False)
@click.option("--data", metavar="FILE", help="Rows of FILE.npy/.npz/.csv for the first array of the batch.")
@click.option("--seeds", metavar="N", help="Independent draws; the factory takes a key.  [8 or 1]")
@click.option("--compare", nargs=2, metavar="A B", help="Two factories, or two runs, site by site.")
@click.option("--out", metavar="FOLDER", help="Run folder, for plot and check.  [none]")
@click.option("--json", is_flag=True, help="Print one JSON object to stdout and nothing else.")
@click.option("--step-size", metavar="R", help="Tell which updates of R times the gradient are lost.")
@click.option("--strict", is_flag=True, help="Notes, such as correlation_collapse, make it unhealthy, too.")
@click.option("--wide", is_flag=True, help="All families of sites.")
@click.option("--no-compile-cache", is_flag=True, help="Do not keep compiled code in the user's cache folder.")
@click.option("--quiet", is_flag=True, help="Nothing on stderr but errors.")
@click.pass_obj
def command(arguments: list[str], factory: str | None, compare: tuple[str, str] | None, **options: Any) -> None:
    """Measure activations and gradients at every site of a model of your own.

    FACTORY is PKG.MOD:NAME or FILE.py:NAME, a function that returns what varprobe.probe takes: (loss_fn, params, x, y),
    or (model, x), and a dict of options behind it, such as {"loss": "mse", "output": "logits", "frozen": "target"}. If
    it takes a jax.random key, each seed draws new parameters.
    """
    if compare and factory:
        raise InvalidArgumentError(f"{factory!r} is one model too many; --compare names both", "compare")
    if not compare and not factory:
        raise InvalidArgumentError("missing FACTORY, such as mynet.py:make", "factory")
    with measuring(arguments, options["quiet"]) as (progress, stdout):
        options |= numbers_of(options)
        if compare:
            compared(compare, options, progress, stdout)
        elif factory:
            probed(factory, options, progress, stdout)


def probed(factory: str, options: dict[str, Any], progress: TerminalProgress, stdout: TextIO) -> None:
    """Probe, judge, keep and say so."""
    from varprobe.model.run_folders import model_folder
    from varprobe.runs.diagnose import diagnose
    from varprobe.runs.health import stricter
    from varprobe.storage.paths import folder_of

    folder = folder_of(options["out"], "out") if options["out"] is not None else None
    asked = {"factory": factory, **{name: options[name] for name in ("data", "seeds", "step_size")}}
    with model_folder(folder, "probe", asked) as save:
        ds = measured(factory, options, "factory")
        save(ds)
    diagnosis = stricter(diagnose(ds)) if options["strict"] else diagnose(ds)
    if options["json"]:
        from varprobe.cli.report_json import print_json

        print_json(diagnosis, folder, stdout)
        return
    from varprobe.verdict.terminal import print_diagnosis

    console = console_for(stdout, options["wide"])
    print_diagnosis(console, diagnosis, options["wide"])
    if folder:
        console.print(printable(f"Data    {folder / 'results.nc'}, results.csv"), soft_wrap=True)
        console.print(printable(f"Figure  varprobe plot {shlex.quote(str(folder))}"), soft_wrap=True)


def measured(factory: str, options: dict[str, Any], option: str) -> Any:
    """The dataset of what a factory makes."""
    from varprobe.cli.device import device_name, keep_compiled_code
    from varprobe.model.agreement import ChangedError
    from varprobe.model.factories import made, with_rows
    from varprobe.model.probing import probe

    if not options["no_compile_cache"]:
        keep_compiled_code()
    device_name()
    source = source_of(options["data"]) if options["data"] is not None else None
    found = made(factory, option)
    if source is not None and source.rows is not None:
        found = with_rows(found, source.rows)
    given = {name: options[name] for name in ("seeds", "step_size") if options[name] is not None}
    try:
        return probe(*found.arguments, **found.keywords | given)
    except InvalidArgumentError as error:
        if error.option in ("seeds", "step_size"):
            raise
        where = f"{factory}, {error.option}=" if error.option else factory
        raise InvalidArgumentError(f"{where}: {error.message}", option) from error
    except ChangedError:
        raise
    except Exception as error:  # the model may raise anything
        text = " ".join(str(error).split())
        raise InvalidArgumentError(f"{factory} fails: {type(error).__name__}: {text}", option) from error


def numbers_of(options: dict[str, Any]) -> dict[str, Any]:
    """--seeds and --step-size as numbers, where they are given.

    Raises:
        InvalidArgumentError: they are none.
    """
    from varprobe.model.probing import MOST_SEEDS
    from varprobe.spec.arguments import single

    seeds, size = options["seeds"], options["step_size"]
    return {
        "seeds": None if seeds is None else single("seeds", seeds, 1, MOST_SEEDS),
        "step_size": None if size is None else single("step_size", size, 0, integer=False),
    }


def source_of(text: str) -> "Source":
    """The rows of a file.

    Raises:
        InvalidArgumentError: it is none, or cannot be read.
    """
    from varprobe.nets.data import load_source

    if not re.search(r"\.(npy|npz|csv)\b", text, re.IGNORECASE):
        raise InvalidArgumentError(f"{text!r} is no file (allowed: FILE.npy, FILE.npz, FILE.csv)", "data")
    return load_source(text)


def compared(names: tuple[str, str], options: dict[str, Any], progress: TerminalProgress, stdout: TextIO) -> None:
    """Two models side by side."""
    import json

    import varprobe
    from varprobe.model.comparing import side_by_side, table_of
    from varprobe.runs.open import read_run
    from varprobe.spec.user_code import is_reference

    if options["out"] is not None:
        raise InvalidArgumentError("does not go with --compare, which writes nothing", "out")
    if not any(map(is_reference, names)):
        for name in ("data", "seeds", "step_size"):
            if options[name] is not None:
                raise InvalidArgumentError("does not go with --compare of two runs, which are measured already", name)
    try:
        both = [
            measured(name, options, "compare") if is_reference(name) else read_run(Path(name), progress.note)
            for name in names
        ]
    except InvalidArgumentError as error:
        raise InvalidArgumentError(error.message, "compare") if error.option == "run" else error from error
    rows = side_by_side(*both)
    if options["json"]:
        answer = {"version": varprobe.__version__, "run": None, "rows": rows}
        stdout.write(json.dumps(answer, allow_nan=False, indent=1) + "\n")
        return
    console = console_for(stdout, options["wide"])
    for line in table_of(rows, names, console.width):
        console.print(printable(line), soft_wrap=True)
