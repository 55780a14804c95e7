"""The options of whatever runs a stack: ten essential ones in --help, the rest in --help-all."""

from collections.abc import Callable
from typing import Any

import click

__all__ = ["EssentialHelp", "label_option", "labels_of", "stack_options"]

ESSENTIAL: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (("--depth",), {"metavar": "N", "help": "Weight layers; a list 10,50 or a range 10:100:10.  [50]"}),
    (("--width",), {"metavar": "N", "help": "Units per layer, or a profile 784-512-256.  [512]"}),
    (("--act",), {"metavar": "NAMES", "help": "Activations, e.g. relu,elu(alpha=0.5),mine.py:f.  [relu]"}),
    (("--init",), {"metavar": "NAMES", "help": "Initializers, e.g. he_normal,normal(std=0.02).  [the standard set]"}),
    (("--bias",), {"metavar": "NAMES", "help": "Bias initializers, e.g. normal(var=0.05).  [zeros]"}),
    (("--batch",), {"metavar": "N", "help": "Samples per batch.  [32]"}),
    (("--seeds",), {"metavar": "N", "help": "Independent draws of every network.  [8]"}),
    (("--data",), {"metavar": "DATA", "help": "normal, uniform, sphere, digits, or FILE.npy/.npz/.csv.  [normal]"}),
    (("--out",), {"metavar": "FOLDER", "help": "Run folder.  [runs/ACT-dDEPTH-wWIDTH-HASH]"}),
    (("--json",), {"is_flag": True, "help": "Print one JSON object to stdout and nothing else."}),
]
REST: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (("--init-first",), {"metavar": "NAMES", "help": "Initializer of layer 1."}),
    (("--init-last",), {"metavar": "NAMES", "help": "Initializer of layer L and of the read-out."}),
    (("--sigma-w2",), {"metavar": "R", "help": "fan_in Var W of normal weights, e.g. 1:4:32 (instead of --init)."}),
    (("--sigma-b2",), {"metavar": "R", "help": "Var b of normal biases (instead of --bias)."}),
    (("--input-width",), {"metavar": "N", "help": "Width of random data.  [that of layer 1]"}),
    (("--labels",), {"metavar": "FILE", "help": "Labels for the losses, one row per sample of --data."}),
    (("--standardize",), {"is_flag": True, "help": "Scale each feature of the data to mean 0, variance 1."}),
    (("--loss",), {"metavar": "NAME", "help": "cotangent, mse or cross_entropy.  [cotangent]"}),
    (("--dtype",), {"metavar": "NAME", "help": "float32, float64, bfloat16 or float16.  [float32]"}),
    (("--range",), {"metavar": "NAME", "help": "unbounded exponents, or the range of the dtype.  [unbounded]"}),
    (("--forward-only",), {"is_flag": True, "help": "No backward pass."}),
    (("--root-seed",), {"metavar": "N", "help": "Everything random follows from it.  [0]"}),
    (("--arch",), {"metavar": "NAME", "help": "plain.  [plain]"}),
    (("--norm",), {"metavar": "NAME", "help": "none.  [none]"}),
    (("--fresh",), {"is_flag": True, "help": "Compute again what the run folder already holds."}),
    (("--wide",), {"is_flag": True, "help": "Every configuration on its own line, and more columns."}),
    (("--full-range",), {"is_flag": True, "help": "A figure whose axes show every curve to its end."}),
    (("--no-compile-cache",), {"is_flag": True, "help": "Do not keep compiled code in the user's cache folder."}),
    (("--quiet",), {"is_flag": True, "help": "Nothing on stderr but errors."}),
]
MANY = frozenset(
    {
        "--depth",
        "--width",
        "--act",
        "--init",
        "--bias",
        "--batch",
        "--init-first",
        "--init-last",
        "--sigma-w2",
        "--sigma-b2",
    }
)


class EssentialHelp(click.Command):
    """A command whose --help shows the essential options and whose --help-all shows every one."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options' section."""
        everything = ctx.meta.get("varprobe.all", False)
        rows, rest = [], []
        names = {flags[-1] for flags, _ in ESSENTIAL}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                essential = param.opts[-1] in names or param.opts[0] in ("--help-all", "-h")
                (rows if essential else rest).append(record)
        with formatter.section("Options"):
            formatter.write_dl(rows)
        if everything:
            with formatter.section("More options"):
                formatter.write_dl(rest)


def show_everything(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    """--help-all."""
    if value and not ctx.resilient_parsing:
        ctx.meta["varprobe.all"] = True
        click.echo(ctx.get_help())
        ctx.exit()


def stack_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a stack; what was not given is not passed on."""
    all_help = click.option(
        "--help-all",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=show_everything,
        help="Show every option and exit.",
    )
    function = all_help(function)
    for flags, attributes in reversed([*ESSENTIAL, *REST]):
        function = click.option(*flags, **attributes, multiple=flags[0] in MANY)(function)
    return function


def given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that the user gave, lists of one unwrapped; the library knows the defaults."""
    chosen = {k: (v[0] if len(v) == 1 else list(v)) if isinstance(v, tuple) else v for k, v in options.items() if v}
    return {k: v for k, v in chosen.items() if v is not None}


def label_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """--label NAME=TEXT, as often as needed."""
    return click.option("--label", "label", multiple=True, metavar="NAME=TEXT", help="Text for a curve's name.")(
        function
    )


def labels_of(pairs: tuple[str, ...]) -> dict[str, str]:
    """{"he_normal": "He"} from ("he_normal=He",); the name may itself hold `=` inside parentheses."""
    labels = {}
    for pair in pairs:
        name, sep, text = pair.rpartition("=")
        if not sep or not name.strip() or not text.strip():
            raise click.BadParameter(f"{pair!r} is not NAME=TEXT, for example he_normal=He", param_hint="--label")
        labels[name.strip()] = text.strip()
    return labels
