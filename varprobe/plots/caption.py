"""The caption that belongs under the figure, as LaTeX: what is drawn, in which network, on which data."""

from collections.abc import Iterable, Sequence

import numpy as np
import xarray as xr

from varprobe.plots.curves import read_curves
from varprobe.plots.facets import crowded, facets, values
from varprobe.plots.formats import near_limits
from varprobe.plots.ladder import find_ladder
from varprobe.plots.limits import common_ranges, leaves
from varprobe.plots.quantities import QUANTITIES, measured, quantity_of
from varprobe.plots.texts import escaped

__all__ = ["caption"]

LOSSES = {
    "cotangent": r"a random cotangent, $\mathcal{L}=\sum c\,h_L$ with $c\sim\mathcal{N}(0,1)$",
    "mse": "the mean squared error",
    "cross_entropy": "the cross-entropy",
}

MOST_LISTED = 16
"""Names that a caption lists; of more it gives the number."""


def caption(ds: xr.Dataset, *, quantities: Sequence[str] = ("activation", "gradient"), theory: bool = True) -> str:
    """What `variance_figure` shows of this dataset, in whole sentences for the argument of LaTeX's caption command."""
    shown = sorted((q for q in quantities if measured(ds, q)), key=lambda q: QUANTITIES[q].backward)
    sentences = [
        f"Variance of {drawn(ds, shown)} against layer~$\\ell$ in {networks(ds)}.",
        *([f"{inputs(ds)}."] if inputs(ds) else []),
        f"{statistics(ds)}{marks(ds, shown)}.",
        *predictions(ds, shown if theory else ()),
    ]
    rows = [row.title.replace(r"\$", "$") for row in facets(ds).rows]
    if len(rows) > 1:
        sentences.insert(1, f"Rows, from top to bottom: {'; '.join(escaped(title) for title in rows)}.")
    return " ".join(sentences)


def drawn(ds: xr.Dataset, quantities: Sequence[str]) -> str:
    """The quantities with their symbols and, where there are two, their places."""
    places = {2: (" (left)", " (right)")}.get(len(quantities), ("",) * len(quantities))
    chosen = [quantity_of(ds, q) for q in quantities]
    return joined(f"the {q.plural} ${q.symbol}${place}" for q, place in zip(chosen, places, strict=True))


def networks(ds: xr.Dataset) -> str:
    """The networks: architecture, depth, width, activation, initializers, biases and norms."""
    parts = [f"{listed(ds, 'arch')} networks".strip()]
    sizes = joined(numbered(ds, name) for name in ("depth", "width") if name in ds.coords)
    parts += [f"of {sizes}"] if sizes else []
    own = {str(v) for v in distinct(ds, "act")} <= {"own"}  # what a user's block has inside
    parts += [] if own else [f"with {listed(ds, 'act')} activation"]
    settings = [
        (", initialized with {}", "init", ""),
        (", the first layer with {}", "init_first", ""),
        (", the last layer with {}", "init_last", ""),
        (", queries and keys with {}", "init_qk", ""),
        (", values with {}", "init_v", ""),
        (", the attention's outputs with {}", "init_o", ""),
        (", the perceptrons with {}", "init_mlp", ""),
        (", with biases {}", "bias", "zeros"),
        (", with norm {}", "norm", "none"),
    ]
    text = " ".join(parts)
    for words, name, absent in settings:
        if listed(ds, name) and set(map(str, distinct(ds, name))) - {absent, "", "None", "own"}:
            text += words.format(listed(ds, name))
    return text


def inputs(ds: xr.Dataset) -> str:
    """Data, batch, loss and dtype."""
    described = ds.attrs.get("data_description")
    data = escaped(str(described)) if described else listed(ds, "data")
    names = [str(v) for v in distinct(ds, "loss")] or [str(ds.attrs.get("loss", ""))]
    losses = joined((LOSSES.get(name, code(name)) for name in names if name), "or")
    batch = f"batches of {joined(str(v) for v in distinct(ds, 'batch'))}" if "batch" in ds.coords else ""
    found = " in ".join(text for text in (data, batch) if text)
    clauses = [f"The data are {found}"] if data else [f"The data come in {batch}"] if batch else []
    clauses += [f"the loss is {losses}"] if losses else []
    clauses += [f"all is computed in {listed(ds, 'dtype')}"] if listed(ds, "dtype") else []
    text = "; ".join(clauses)
    return text[:1].upper() + text[1:]


def statistics(ds: xr.Dataset) -> str:
    """What curves and bands are."""
    seeds = ds.sizes.get("seed", 1)
    if seeds == 1:
        return "Curves show a single seed, so there is no band"
    return (
        f"Curves are means of $\\log_{{10}}$ of the variance over {seeds} seeds, each an independent draw of the"
        " weights; bands are one standard deviation over seeds to each side"
    )


def predictions(ds: xr.Dataset, quantities: Sequence[str]) -> list[str]:
    """What the lines of theory are, where there are any."""
    plan = facets(ds)
    drawn = [] if crowded(plan) else [c for q in quantities for c in read_curves(ds, q, "var", plan.names, theory=True)]
    found = [curve.theory for curve in drawn if curve.theory is not None]
    if not found:
        return []
    spread = any(np.isfinite(theory.low).any() for theory in found)
    dots = "; dotted lines are one standard deviation around the mean of networks of this width" if spread else ""
    return [f"Thin lines are mean-field theory at infinite width{dots}."]


def marks(ds: xr.Dataset, quantities: Sequence[str]) -> str:
    """What arrows and crosses mean, where there are any."""
    plan = facets(ds)
    every = [read_curves(ds, quantity, "var", plan.names) for quantity in quantities]
    cells = [[[curves[i] for i in row.configs] for curves in every] for row in plan.rows]
    lost = gone = formats = False
    for row, limits in zip(cells, common_ranges(cells), strict=True):
        for curves, (low, high) in zip(row, limits, strict=True):
            lost |= any(c.lost is not None for c in curves)
            gone |= any(c.lost is None and c.traced and leaves(c, low, high) for c in curves)
            formats |= bool(near_limits(curves, (low, high)))
    text = "; curves that coincide share a label" if len(set(plan.names)) > 1 and plan.ladder is None else ""
    text += "; an arrow marks a curve that leaves the axes, with the value that it ends at" if gone else ""
    text += "; a cross marks where a signal becomes exactly zero or infinite" if lost else ""
    if formats:
        text += "; thin dashed lines mark where an RMS is the largest finite (max) or the smallest normal (min) number"
    return text


def distinct(ds: xr.Dataset, name: str) -> list[object]:
    """The different values of a coordinate, in order; none where there is no such coordinate."""
    return list(dict.fromkeys(values(ds, name))) if name in ds.coords else []


def listed(ds: xr.Dataset, name: str) -> str:
    """The names that a coordinate takes, as LaTeX; a ladder by its ends, and a long list by its number."""
    found = distinct(ds, name)
    ladder = find_ladder(name, found) if len(found) > 4 else None
    if ladder:
        symbol = ladder.symbol if "$" in ladder.symbol else escaped(ladder.symbol)
        low, high = min(ladder.numbers), max(ladder.numbers)
        return f"{code(str(found[0]).split('(')[0])} at {len(found)} values of {symbol} from {low:.4g} to {high:.4g}"
    if len(found) > MOST_LISTED:
        return f"{len(found)} settings of {escaped(name)}"
    return joined(code(str(value)) for value in found)


def numbered(ds: xr.Dataset, name: str) -> str:
    """The numbers that a coordinate takes: `depth 50`, `depths 10, 50 and 100`, `10 depths from 10 to 100`."""
    found = distinct(ds, name)
    plural = f"{name}es" if name.endswith("ch") else f"{name}s"
    if len(found) == 1:
        return f"{name} {found[0]}"
    if len(found) > MOST_LISTED:
        return f"{len(found)} {plural} from {found[0]} to {found[-1]}"
    return f"{plural} {joined(str(value) for value in found)}"


def joined(items: Iterable[str], last: str = "and") -> str:
    """`a, b and c`."""
    *most, end = list(items) or [""]
    return f"{', '.join(most)} {last} {end}" if most else end


def code(name: str) -> str:
    """A name in typewriter type."""
    return f"\\texttt{{{escaped(name)}}}"
