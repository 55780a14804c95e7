"""`varprobe plot`: the figures of a run, and how a figure was made."""

import contextlib
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from varprobe.cli.console import TerminalProgress
from varprobe.cli.drawing import drawn_kind
from varprobe.cli.help import Command
from varprobe.cli.options import canonical, label_option, labels_of, pairs_of
from varprobe.errors import InvalidArgumentError, did_you_mean, printable
from varprobe.storage.paths import place_of

__all__ = ["command"]

SIZE = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*x\s*(\d+(?:\.\d+)?|\.\d+)\s*(in|cm|mm)?", re.IGNORECASE | re.ASCII)
INCHES = {"in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4}
QUANTITIES = (
    "activation",
    "preactivation",
    "gradient",
    "weight_gradient",
    "branch",
    "branch_gradient",
    "update",
    "loss",
)
ENDINGS = (".pdf", ".svg", ".png", ".pgf")


def size_of(text: str | None) -> tuple[float, float] | None:
    """`3.25x2.4in` as (3.25, 2.4) inches."""
    if text is None:
        return None
    match = SIZE.fullmatch(text.strip())
    if not match:
        raise InvalidArgumentError(f"{text!r} is not a size such as 3.25x2.4in (units: in, cm, mm)", "size")
    unit = INCHES[(match[3] or "in").lower()]
    width, height = float(match[1]) * unit, float(match[2]) * unit
    if not (1 <= width <= 50 and 1 <= height <= 50):
        raise InvalidArgumentError(f"{text!r} is outside 1 to 50 inches", "size")
    return width, height


def quantities_of(texts: Sequence[str]) -> tuple[str, ...]:
    """The quantities of `activation,gradient`, each once; none where none is named."""
    names = [name.strip() for text in texts for name in text.split(",")]
    for name in names:
        if name not in QUANTITIES:
            raise InvalidArgumentError(f"unknown quantity {name!r}{did_you_mean(name, QUANTITIES)}", "quantity")
    return tuple(dict.fromkeys(names))


def file_of(save: str | None, run: str, kind: str = "variance") -> Path:
    """Where the figure goes."""
    if save is None:
        return Path(run).expanduser() / f"{kind}.pdf"
    path = place_of(save, "save")
    if path.suffix.lower() not in ENDINGS:
        raise InvalidArgumentError(f"{save!r} must end in one of {', '.join(ENDINGS)}", "save")
    if path.is_dir():
        raise InvalidArgumentError(f"{save!r} is a folder, not a file", "save")
    if not path.parent.is_dir():
        raise InvalidArgumentError(f"there is no folder {str(path.parent)!r} for {path.name!r}", "save")
    return path


def selected(ds: Any, texts: Sequence[str]) -> Any:
    """The configurations that `init=he_normal,orthogonal` keeps; another way to write a name is as good."""
    from varprobe.spec.calls import split_items
    from varprobe.storage.dataset import select

    chosen: dict[str, list[str]] = {}
    for name, text in pairs_of("select", texts, "NAME=VALUE, such as init=he_normal,orthogonal"):
        key = name.replace("-", "_")
        there = set(ds[key].values.astype(str)) if key in ds.coords else set()
        for item in split_items(text):
            known = [c for c in ([] if item in there else canonical(item)) if c in there]
            chosen.setdefault(key, []).extend(known or [item])
    for key, wanted in chosen.items():
        for value in wanted:
            select(ds, **{key: value})  # each must be there
    ds = select(ds, **chosen)
    for key, wanted in reversed(chosen.items()):  # in the order in which they were asked for
        if key not in ds.dims:  # steps have an order of their own
            order = sorted(range(ds.sizes["config"]), key=lambda i, k=key, w=wanted: w.index(str(ds[k].values[i])))  # type: ignore[misc]
            ds = ds.isel(config=order)
    return ds


@contextlib.contextmanager
def naming(option: str) -> Iterator[None]:
    """Let errors name this option."""
    try:
        yield
    except InvalidArgumentError as error:
        raise InvalidArgumentError(error.message, option if error.option in (None, "ds") else error.option) from error


def kinds() -> dict[str, dict[str, str]]:
    """The table of kinds in the help."""
    from varprobe.plots.kinds import KINDS

    return {"Kinds": {name: kind.text for name, kind in KINDS.items()}}


@click.command(
    cls=Command,
    lists=kinds,
    examples=[
        "varprobe plot runs/relu-d50-w512-3f9a1c --select init=he_normal,glorot_normal",
        "varprobe plot RUN --quantity gradient --style icml --save fig.pdf",
        "varprobe plot RUN --label he_normal=He --label glorot_normal=Glorot",
        "varprobe plot RUN --kind heatmap --style slides --save heat.png",
        "varprobe plot runs/track-relu-d50-w512-3f9a1c --select step=0,8 --kind heatmap",
        "varprobe plot BEFORE AFTER --kind before-after --save change.pdf",
        "varprobe plot --from fig.pdf",
    ],
)
@click.argument("run", nargs=-1)
@click.option("--kind", metavar="NAME", help="What to draw, see below.  [variance; of a training, training]")
@click.option(
    "--quantity",
    multiple=True,
    metavar="NAMES",
    help="activation, preactivation, gradient, weight_gradient, branch, branch_gradient; of a training update, loss."
    "  [activation,gradient; of a training, update,loss besides]",
)
@click.option("--select", multiple=True, metavar="NAME=VALUES", help="Only these, e.g. init=he_normal,orthogonal.")
@click.option("--save", metavar="FILE", help="fig.pdf, fig.svg, fig.png or fig.pgf.  [RUN/KIND.pdf]")
@click.option(
    "--style", default="paper", metavar="NAME", help="paper, neurips, iclr, icml, aps, ieee, slides or dark.  [paper]"
)
@click.option("--columns", metavar="N", help="2 for a figure across both columns of the style.  [1]")
@click.option("--usetex", is_flag=True, help="Let LaTeX set the texts.")
@click.option("--size", metavar="WxH", help="Width and height, e.g. 3.25x2.4in, 8.5x6cm.  [that of the style]")
@click.option("--full-range", is_flag=True, help="Show every curve to its end.")
@click.option("--no-theory", is_flag=True, help="Leave out the lines of mean-field theory.")
@click.option("--no-formats", is_flag=True, help="Leave out the limits of float16, bfloat16 and float8_e4m3.")
@click.option("--from", "source", metavar="FILE", help="Say how a figure was made, and draw nothing.")
@label_option
@click.pass_obj
def command(arguments: list[str], run: tuple[str, ...], source: str | None, **options: Any) -> None:
    """Draw a figure of a run folder, by default variance against depth, and print where it is.

    Of a training the default is its steps; to other kinds, each of them is a configuration.

    A figure has the true column width and letters of its style, and its file keeps how it was made: --from tells.
    """
    if source is not None:
        tell(source, run, options)
        return
    from varprobe.plots.kinds import figure_kind
    from varprobe.plots.style import style

    quantities_of(options["quantity"])
    if options["kind"] is not None:
        require_fit(options["kind"], options, run)
    elif len(run) > 1:
        raise InvalidArgumentError(f"unexpected {run[1]!r}; a figure of two runs is --kind before-after")
    inches = size_of(options["size"])
    if not run:
        raise InvalidArgumentError("missing (see --help)", "run")
    columns = columns_of(options["columns"])
    latex = options["usetex"] or (options["save"] or "").lower().endswith(".pgf")
    with contextlib.ExitStack() as stack:
        with naming("style"):
            stack.enter_context(style(options["style"], columns=columns, usetex=latex))
        from varprobe.plots import save_figure
        from varprobe.runs.open import read_run
        from varprobe.storage.dataset import names_in
        from varprobe.storage.figure_origin import origin
        from varprobe.storage.steps import by_step

        runs = [read_run(name, TerminalProgress(quiet=False).note) for name in run]
        name = drawn_kind(options["kind"], runs[0])
        kind, given = figure_kind(name), require_fit(name, options, run)
        path = file_of(options["save"], run[-1], name)
        with naming("select"):
            runs = [selected(ds, options["select"]) for ds in runs]
        if not kind.steps:
            runs = [by_step(ds) for ds in runs]
        if options["label"]:
            given["labels"] = labels_of(options["label"], [name for ds in runs for name in names_in(ds)])
        with naming("quantity" if options["quantity"] else "select" if options["select"] else "kind"):
            figure = kind.draw(*runs, size=inches, **given)
        save_figure(figure, path, spec=origin(arguments, *runs))
    print(printable(str(path)), file=sys.stdout)


def columns_of(text: str | None) -> int:
    """1 or 2."""
    if text not in (None, "1", "2"):
        raise InvalidArgumentError(f"{text!r} is not 1 or 2", "columns")
    return int(text or 1)


def require_fit(name: str, options: dict[str, Any], run: Sequence[str]) -> dict[str, Any]:
    """The keywords that the options mean to a kind.

    Raises:
        InvalidArgumentError: the kind is unknown, does not have one of the options, or takes more or fewer runs.
    """
    from varprobe.plots.kinds import figure_kind

    with naming("kind"):
        kind = figure_kind(name)
    given: dict[str, Any] = {}
    if options["quantity"]:
        given["quantities"] = quantities_of(options["quantity"])
    flags = {"full_range": ("full_range", True), "no_theory": ("theory", False), "no_formats": ("formats", False)}
    given |= {keyword: value for name, (keyword, value) in flags.items() if options[name]}
    refused = kind.refused(given | ({"labels": 0} if options["label"] else {}))
    if refused is not None:
        names = {"quantities": "quantity", "labels": "label", "theory": "no_theory", "formats": "no_formats"}
        raise InvalidArgumentError(f"does not go with --kind {name}", names.get(refused, refused))
    if len(run) > kind.runs:
        raise InvalidArgumentError(
            f"unexpected {run[kind.runs]!r}; --kind {name} takes {('one RUN', 'two')[kind.runs - 1]}"
        )
    if 0 < len(run) < kind.runs:
        raise InvalidArgumentError(f"--kind {name} takes two, BEFORE and AFTER", "run")
    return given


def tell(source: str, run: tuple[str, ...], options: dict[str, Any]) -> None:
    """Print how a figure was made."""
    odd = next((name for name, value in options.items() if value and name not in ("kind", "style")), None)
    if run or odd:
        raise InvalidArgumentError("draws nothing, so nothing else goes with it", "from")
    from varprobe.storage.figure_origin import origin_of

    found = origin_of(source)
    made = f" by varprobe {found['varprobe']}" if "varprobe" in found else ""
    print(printable(f"{source} was made{made}" + (" with" if "command" in found else "")))
    if "command" in found:
        print(printable(f"  {found['command']}"))
    specs = found.get("runs", [found] if "command" not in found else [])
    for spec in specs if isinstance(specs, list) else []:
        print("from a run of")
        for name, value in spec.items() if isinstance(spec, dict) else ():
            if value not in (None, [], [None], "", False):
                text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
                print(printable(f"  {name.replace('_', ' '):16} {text}"))
