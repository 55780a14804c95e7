"""`varprobe plot`: the figure of a run, remade."""

import contextlib
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from varprobe.cli.console import TerminalProgress
from varprobe.cli.help import Command
from varprobe.cli.options import canonical, label_option, labels_of, pairs_of
from varprobe.errors import RequestError
from varprobe.names import did_you_mean, printable

__all__ = ["command"]

SIZE = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*x\s*(\d+(?:\.\d+)?|\.\d+)\s*(in|cm|mm)?", re.IGNORECASE | re.ASCII)
INCHES = {"in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4}
QUANTITIES = ("activation", "preactivation", "gradient", "weight_gradient", "branch", "branch_gradient")
ENDINGS = (".pdf", ".svg", ".png")
KINDS = ("variance", "spectrum", "histogram")
HISTOGRAMS = ("activation", "gradient")


def size_of(text: str | None) -> tuple[float, float] | None:
    """`3.25x2.4in` as (3.25, 2.4) inches."""
    if text is None:
        return None
    match = SIZE.fullmatch(text.strip())
    if not match:
        raise RequestError(f"{text!r} is not a size such as 3.25x2.4in (units: in, cm, mm)", "size")
    unit = INCHES[(match[3] or "in").lower()]
    width, height = float(match[1]) * unit, float(match[2]) * unit
    if not (1 <= width <= 50 and 1 <= height <= 50):
        raise RequestError(f"{text!r} is outside 1 to 50 inches", "size")
    return width, height


def quantities_of(texts: Sequence[str]) -> tuple[str, ...]:
    """The quantities of `activation,gradient`, each once."""
    names = [name.strip() for text in texts for name in text.split(",")] or ["activation", "gradient"]
    for name in names:
        if name not in QUANTITIES:
            raise RequestError(f"unknown quantity {name!r}{did_you_mean(name, QUANTITIES)}", "quantity")
    return tuple(dict.fromkeys(names))


def file_of(save: str | None, run: str, kind: str = "variance") -> Path:
    """Where the figure goes."""
    if save is None:
        return Path(run).expanduser() / f"{kind}.pdf"
    path = Path(save).expanduser()
    if path.suffix.lower() not in ENDINGS:
        raise RequestError(f"{save!r} must end in one of {', '.join(ENDINGS)}", "save")
    if path.is_dir():
        raise RequestError(f"{save!r} is a folder, not a file", "save")
    if not path.parent.is_dir():
        raise RequestError(f"there is no folder {str(path.parent)!r} for {path.name!r}", "save")
    return path


def selected(ds: Any, texts: Sequence[str]) -> Any:
    """The configurations that `init=he_normal,orthogonal` keeps; another way to write a name is as good."""
    from varprobe.callform import split_items
    from varprobe.results import select

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
    return select(ds, **chosen)


def other_figure(
    ds: Any, kind: str, quantity: Sequence[str], size: tuple[float, float] | None, labels: dict[str, str]
) -> Any:
    """The spectrum or the histograms."""
    if kind == "spectrum":
        from varprobe.plots.spectrum import spectrum_figure

        if quantity:
            raise RequestError("a spectrum has no quantities", "quantity")
        with naming("kind"):
            return spectrum_figure(ds, size=size, labels=labels)
    from varprobe.plots.histogram import histogram_figure

    quantities = quantities_of(quantity) if quantity else HISTOGRAMS
    with naming("kind"):
        return histogram_figure(ds, quantities=quantities, size=size, labels=labels)


@contextlib.contextmanager
def naming(option: str) -> Iterator[None]:
    """Let errors name this option."""
    try:
        yield
    except RequestError as error:
        raise RequestError(error.message, option if error.option in (None, "ds") else error.option) from error


@click.command(
    cls=Command,
    examples=[
        "varprobe plot runs/relu-d50-w512-3f9a1c --select init=he_normal,glorot_normal",
        "varprobe plot RUN --quantity gradient --size 3.25x2.4in --save fig.pdf",
        "varprobe plot RUN --label he_normal=He --label glorot_normal=Glorot",
        "varprobe plot RUN --kind spectrum --select init=he_normal,orthogonal",
    ],
)
@click.argument("run")
@click.option("--kind", default="variance", metavar="NAME", help="variance, spectrum or histogram.  [variance]")
@click.option(
    "--quantity",
    multiple=True,
    metavar="NAMES",
    help="activation, preactivation, gradient, weight_gradient; a list gives columns.  [activation,gradient]",
)
@click.option("--select", multiple=True, metavar="NAME=VALUES", help="Only these, e.g. init=he_normal,orthogonal.")
@click.option("--save", metavar="FILE", help="fig.pdf, fig.svg or fig.png.  [RUN/KIND.pdf]")
@click.option("--size", metavar="WxH", help="Width and height, e.g. 3.25x2.4in, 8.5x6cm.  [text width]")
@click.option("--full-range", is_flag=True, help="Show every curve to its end.")
@click.option("--no-theory", is_flag=True, help="Leave out the lines of mean-field theory.")
@click.option("--no-formats", is_flag=True, help="Leave out the limits of float16, bfloat16 and float8_e4m3.")
@label_option
def command(
    run: str,
    kind: str,
    quantity: tuple[str, ...],
    select: tuple[str, ...],
    save: str | None,
    size: str | None,
    full_range: bool,
    no_theory: bool,
    no_formats: bool,
    label: tuple[str, ...],
) -> None:
    """Draw the variance-against-depth figure of a run folder, and print where it is.

    --kind spectrum draws the singular values of its Jacobians, --kind histogram its distributions.
    """
    if kind not in KINDS:
        raise RequestError(f"unknown kind {kind!r}{did_you_mean(kind, KINDS)}", "kind")
    inches, quantities = size_of(size), quantities_of(quantity)
    from varprobe.results import names_in
    from varprobe.runs import open_run

    ds = open_run(run, note=TerminalProgress(quiet=False).note)
    path = file_of(save, run, kind)
    with naming("select"):
        ds = selected(ds, select)
    labels = labels_of(label, names_in(ds))
    from varprobe.plots import save_figure

    if kind != "variance":
        save_figure(other_figure(ds, kind, quantity, inches, labels), path)
        print(printable(str(path)), file=sys.stdout)
        return
    from varprobe.plots import variance_figure

    with naming("quantity" if quantity else "select"):
        figure = variance_figure(
            ds,
            quantities=quantities,
            size=inches,
            labels=labels,
            full_range=full_range,
            theory=not no_theory,
            formats=not no_formats,
        )
    save_figure(figure, path)
    print(printable(str(path)), file=sys.stdout)
