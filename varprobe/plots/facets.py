"""Which coordinates vary in a dataset, and so what color, panels and names stand for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from varprobe.plots.ladder import Ladder, find_ladder
from varprobe.plots.texts import literal

__all__ = ["MOST_CURVES", "ORDER", "Facets", "Row", "crowded", "facets", "one_panel", "values", "varying"]

ORDER = (
    "init",
    "act",
    "arch",
    "norm",
    "bias",
    "init_first",
    "init_last",
    "init_qk",
    "init_v",
    "init_o",
    "init_mlp",
    "depth",
    "width",
    "data",
    "loss",
    "dtype",
    "run",
    "optimizer",
    "step",
)
"""Coordinates that are settings of a sweep; the first of them that varies gets the colors."""
MOST_CURVES = 24
"""In a panel, for a label each."""
PLAIN = {"init", "act", "arch", "run", "optimizer"}
"""Those whose values need no word before them in a title."""


@dataclass(frozen=True)
class Row:
    """A row of panels: its title, and the configs (indices) that are drawn in it."""

    title: str
    configs: tuple[int, ...]


@dataclass(frozen=True)
class Facets:
    """How configs become curves: their names by index, the rows of panels, and the ladder of the names if any.

    `color` is the coordinate that colors stand for and `panels` are those that rows stand for.
    """

    names: tuple[str, ...]
    rows: tuple[Row, ...]
    ladder: Ladder | None
    color: str = ""
    panels: tuple[str, ...] = ()


def crowded(plan: Facets) -> bool:
    """Whether the curves are too many for a label each."""
    return max(len({plan.names[i] for i in row.configs}) for row in plan.rows) > MOST_CURVES


def values(ds: xr.Dataset, coordinate: str) -> list[object]:
    """The values of a coordinate, one for each config."""
    array = ds.coords[coordinate]
    count = ds.sizes.get("config", 1)
    return array.values.tolist() if array.dims == ("config",) else [array.values.item()] * count


def varying(ds: xr.Dataset) -> list[str]:
    """The coordinates that vary, in order of preference for color.

    Those that are no setting of a sweep, and a batch chosen by measurement, count only where they tell configs apart
    that no setting does.
    """
    own = [str(n) for n, c in ds.coords.items() if c.dims == ("config",) and n not in ORDER and n != "config"]
    kept: list[str] = []
    for name in [n for n in [*ORDER, "batch", *own] if n in ds.coords and n not in ds.dims]:
        column = values(ds, name)
        if len(set(column)) == 1:
            continue
        known = partition(ds, kept)
        if name in ORDER or len(set(zip(known, column, strict=True))) > len(set(known)):
            kept.append(name)
    return kept


def partition(ds: xr.Dataset, names: Sequence[str]) -> list[tuple[object, ...]]:
    """For each config, its values of the named coordinates."""
    columns = [values(ds, name) for name in names]
    return [tuple(column[i] for column in columns) for i in range(ds.sizes.get("config", 1))]


def facets(ds: xr.Dataset, labels: Mapping[str, str] | None = None) -> Facets:
    """Color for the first coordinate that varies, a row of panels for each combination of the others."""
    color, *rest = varying(ds) or [""]
    names, ladder = named(ds, [color] if color else [], labels)
    combinations = partition(ds, rest)
    rows = [
        Row(
            ", ".join(titled(name, value, labels) for name, value in zip(rest, combination, strict=True)),
            tuple(i for i, other in enumerate(combinations) if other == combination),
        )
        for combination in dict.fromkeys(combinations)
    ]
    return Facets(names, tuple(rows), ladder, color, tuple(rest))


def one_panel(ds: xr.Dataset, labels: Mapping[str, str] | None = None) -> Facets:
    """All configs in one panel, each named by everything that varies."""
    coordinates = varying(ds)
    names, ladder = named(ds, coordinates, labels)
    return Facets(names, (Row("", tuple(range(len(names)))),), ladder, color=(coordinates or [""])[0])


def named(
    ds: xr.Dataset, coordinates: Sequence[str], labels: Mapping[str, str] | None
) -> tuple[tuple[str, ...], Ladder | None]:
    """A name for each config from the given coordinates, short where one coordinate alone forms a ladder."""
    filled = [n for n in ("init", "act", "arch") if n in ds.coords and any(map(str, values(ds, n)))]
    names = list(coordinates) or filled[:1]
    columns = [values(ds, n) for n in names]
    full = [
        ", ".join(titled(n, v, labels) for n, v in zip(names, parts, strict=True)) for parts in partition(ds, names)
    ]
    ladder = find_ladder(names[0], columns[0]) if len(coordinates) == 1 else None
    if ladder and isinstance(columns[0][0], str):
        short = zip(columns[0], full, ladder.numbers, strict=True)
        full = [name if value in (labels or {}) else ladder.text(number) for value, name, number in short]
    return tuple(full), ladder


def titled(coordinate: str, value: object, labels: Mapping[str, str] | None) -> str:
    """A value as it reads in a title: `tanh`, `depth 50`."""
    text = renamed(value, labels)
    return text if coordinate in PLAIN or str(value) in (labels or {}) else f"{coordinate} {text}"


def renamed(value: object, labels: Mapping[str, str] | None) -> str:
    """The label that the user gave for a value, or the value itself."""
    text = f"{value:g}" if isinstance(value, (float, np.floating)) else str(value)
    return (labels or {}).get(text, literal(text))
