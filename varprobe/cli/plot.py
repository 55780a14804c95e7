"""`varprobe plot`: the figure of a run, remade."""

import re
from pathlib import Path
from typing import Any

import click

from varprobe.cli.options import label_option, labels_of

__all__ = ["command"]

SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*x\s*(\d+(?:\.\d+)?)\s*(in|cm|mm)?", re.IGNORECASE)
INCHES = {"in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4}


def size_of(text: str | None) -> tuple[float, float] | None:
    """`3.25x2.4in` as (3.25, 2.4) inches."""
    if text is None:
        return None
    match = SIZE.fullmatch(text.strip())
    if not match:
        raise click.BadParameter(f"{text!r} is not a size such as 3.25x2.4in (units: in, cm, mm)", param_hint="--size")
    unit = INCHES[(match[3] or "in").lower()]
    width, height = float(match[1]) * unit, float(match[2]) * unit
    if not (1 <= width <= 50 and 1 <= height <= 50):
        raise click.BadParameter(f"{text!r} is outside 1 to 50 inches", param_hint="--size")
    return width, height


def selection_of(pairs: tuple[str, ...]) -> dict[str, Any]:
    """{"init": ["he_normal", "orthogonal"]} from `init=he_normal,orthogonal`."""
    from varprobe.callform import parse_calls, split_items

    chosen: dict[str, list[str]] = {}
    for pair in pairs:
        name, sep, text = pair.partition("=")
        if not sep or not text.strip():
            raise click.BadParameter(f"{pair!r} is not NAME=VALUE, for example init=he_normal", param_hint="--select")
        for item in split_items(text):
            whole = item.strip()
            canonical = [whole] if whole[:1].isdigit() or not whole else [str(c) for c in parse_calls(whole)]
            chosen.setdefault(name.strip().replace("-", "_"), []).extend(canonical)
    return chosen


@click.command(context_settings={"max_content_width": 80})
@click.argument("run")
@click.option(
    "--quantity",
    multiple=True,
    metavar="NAME",
    help="activation, preactivation, gradient, weight_gradient; a list gives columns.  [activation,gradient]",
)
@click.option("--select", multiple=True, metavar="NAME=VALUE", help="Only these, e.g. init=he_normal,orthogonal.")
@click.option("--save", metavar="FILE", help="fig.pdf, fig.svg or fig.png.  [RUN/variance.pdf]")
@click.option("--size", metavar="WxH", help="e.g. 3.25x2.4in, 8.5x6cm.")
@click.option("--full-range", is_flag=True, help="Show every curve to its end.")
@label_option
def command(
    run: str,
    quantity: tuple[str, ...],
    select: tuple[str, ...],
    save: str | None,
    size: str | None,
    full_range: bool,
    label: tuple[str, ...],
) -> None:
    r"""Draw the variance-against-depth figure of a run folder.

    \b
    Examples:
      varprobe plot runs/relu-d50-w512-3f9a --select init=he_normal,glorot_normal
      varprobe plot RUN --quantity gradient --size 3.25x2.4in --save fig.pdf
      varprobe plot RUN --label he_normal=He --label glorot_normal=Glorot
    """
    wanted, inches, labels = selection_of(select), size_of(size), labels_of(label)
    quantities = tuple(q.strip() for item in quantity for q in item.split(",")) or ("activation", "gradient")
    from varprobe.errors import RequestError
    from varprobe.plots import save_figure, variance_figure
    from varprobe.results import select as select_configs
    from varprobe.runs import open_run

    path = Path(save) if save else Path(run) / "variance.pdf"
    ds = open_run(run)
    try:
        ds = select_configs(ds, **wanted)
    except RequestError as error:
        raise error.at("select") from error
    figure = variance_figure(ds, quantities=quantities, size=inches, labels=labels, full_range=full_range)
    save_figure(figure, path)
    click.echo(path)
