"""What is drawn: a curve for each configuration of a stack, for each family of a model's sites."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr

from varprobe.exports.reporting.looks import looks_of
from varprobe.exports.reporting.sources import Run
from varprobe.model.families import families_of
from varprobe.model.sheet import whole
from varprobe.plots.facets import values, varying
from varprobe.plots.groups import FEW_RUNGS
from varprobe.plots.ladder import Ladder, find_ladder
from varprobe.runs.diagnose import Diagnosis
from varprobe.spec.number_format import number
from varprobe.verdict.table import factor_cell, grade, named, theory_cell, verdict

__all__ = ["curves_of", "filters_of"]

FILTERS = {
    "act": "activation",
    "init": "initializer",
    "arch": "architecture",
    "init_first": "first layer",
    "init_last": "last layer",
    "init_qk": "queries and keys",
    "init_v": "values",
    "init_o": "attention outputs",
    "init_mlp": "perceptrons",
}
"""What the menus call coordinates, where not by their names."""

OTHERS = "other sites"
"""Those that are in no family."""


def curves_of(runs: Sequence[Run], diagnoses: Sequence[Diagnosis]) -> list[dict[str, Any]]:
    """Every curve, with its verdict and its look.

    `run` and `row` are its run and its row of the arrays, `layers` the places in the row that it has (None: 0 to
    `depth`), `at` the value of each coordinate that tells curves apart, as text.
    """
    make = of_families if runs[0].model else of_configuration
    frame = frame_of(runs)
    names = varying(frame)
    columns = {name: values(frame, name) for name in names}
    curves: list[dict[str, Any]] = []
    row = 0
    for place, (run, diagnosis) in enumerate(zip(runs, diagnoses, strict=True)):
        several = {"run": run.name} if len(runs) > 1 else {}
        for config, verdict_row in enumerate(diagnosis.rows):
            at = several | {name: text_of(column[row]) for name, column in columns.items()}
            for curve in make(run, config, verdict_row, names):
                whole = ": ".join([*several.values(), curve["name"]])
                curves.append({"run": place, "row": row} | curve | {"name": whole, "at": at | curve["at"]})
            row += 1
    order = ["family", *names] if runs[0].model else names
    ladder = find_ladder(order[0], columns[order[0]]) if len(runs) == 1 and len(names) == 1 and order == names else None
    ladder = ladder if ladder and len(set(ladder.numbers)) > FEW_RUNGS else None
    for curve, look in zip(curves, looks(curves, order, ladder), strict=True):
        curve["look"] = look
    return curves


def filters_of(curves: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The menus: each coordinate that tells curves apart, with its values in order."""
    names = dict.fromkeys(name for curve in curves for name in curve["at"])
    found = []
    for name in names:
        there = list(dict.fromkeys(curve["at"][name] for curve in curves))
        if len(there) > 1:
            found.append({"name": name, "label": FILTERS.get(name, name.replace("_", " ")), "values": there})
    return found


def frame_of(runs: Sequence[Run]) -> xr.Dataset:
    """The coordinates of all configurations, one run after the other; what a run lacks is the empty text."""
    names = dict.fromkeys(str(n) for run in runs for n, c in run.ds.coords.items() if c.dims == ("config",))
    names.pop("config", None)
    columns = {}
    for name in names:
        column = [x for run in runs for x in (values(run.ds, name) if name in run.ds.coords else [""] * sizes(run))]
        columns[name] = [str(x) for x in column] if any(isinstance(x, str) for x in column) else column
    return xr.Dataset(coords={name: ("config", np.array(column)) for name, column in columns.items()})


def sizes(run: Run) -> int:
    """The number of its configurations."""
    return run.ds.sizes["config"]


def text_of(value: object) -> str:
    """A coordinate's value as a menu shows it."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def looks(curves: Sequence[dict[str, Any]], order: Sequence[str], ladder: Ladder | None) -> list[dict[str, Any]]:
    """Colors for the first coordinate that varies, dashes for the combinations of the others and for runs."""
    first, *rest = order or [""]
    colors = places([curve["at"].get(first) for curve in curves])
    others = places([tuple(curve["at"].get(name) for name in ["run", *rest]) for curve in curves])
    return looks_of(colors, others if any(others) else None, ladder)


def places(keys: Sequence[object]) -> list[int]:
    """For each key its place among the distinct ones."""
    known = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    return [known[key] for key in keys]


def of_configuration(run: Run, config: int, row: dict[str, Any], names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The curve of a configuration of a sweep."""
    name = named(row, [n for n in names if n in row] or ["init"], [row])
    yield {"name": name, "at": {}, "layers": None, "depth": row["depth"], "marks": False, "verdict": verdict_of(row)}


def of_families(run: Run, config: int, row: dict[str, Any], names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The curves of a model: one for each family of like sites, and one for all other sites."""
    ds = run.ds.isel(config=config)
    before = " ".join([f"{name} {ds[name].item()}," for name in names])
    families = families_of(ds)
    rest = sorted(set(range(1, row["depth"] + 1)) - {layer for family in families for layer in family.layers})
    judged = {(one["family"], one["kind"]): verdict_of(whole(one, row)) for one in row["families"]}
    for family in families:
        yield site_curve(before, family.name, family.layers, judged.get((family.name, family.kind)))
    if rest:
        yield site_curve(before, OTHERS, rest, None)


def site_curve(before: str, name: str, layers: Sequence[int], verdict: dict[str, Any] | None) -> dict[str, Any]:
    """The curve of some sites of a model; those of no family are not joined."""
    return {
        "name": f"{before} {name}".strip(),
        "at": {"family": name},
        "layers": list(layers),
        "depth": layers[-1],
        "marks": verdict is None,
        "verdict": verdict,
    }


def verdict_of(row: dict[str, Any]) -> dict[str, Any]:
    """What the table of verdicts says of a row of `diagnose`."""
    return {
        "healthy": row["healthy"],
        "grade": grade(row),
        "words": verdict(row),
        "certain": row["certain"] or row["seeds"] < 2,
        "forward": side(row, "activation", "forward"),
        "backward": side(row, "gradient", "backward"),
        "theory": theory_cell(row),
        "reason": row.get("reason"),
        "advice": row.get("advice"),
    }


def side(row: dict[str, Any], quantity: str, direction: str) -> dict[str, Any] | None:
    """The word and the factor of one direction; None where it was not measured."""
    if row[direction] is None:
        return None
    low, high = row[f"{quantity}_factor_ci95"]
    return {
        "word": row[direction],
        "factor": row[f"{quantity}_factor"],
        "cell": factor_cell(row, f"{quantity}_factor", direction),
        "interval": None if low is None or high is None else f"{number(low)} to {number(high)}",
    }
