"""Grids of trained nets: a table of the nets, and how the verdict before training fared."""

import math
from typing import Any

import numpy as np
import xarray as xr

from varprobe.errors import printable
from varprobe.spec.argument_types import checks_types
from varprobe.storage.dataset import require_variables
from varprobe.storage.kinds import require_kind
from varprobe.training.outcomes import VerdictAccuracy, accuracy_of

__all__ = ["HEADINGS", "NET", "accuracy_by_optimizer", "net_rows", "net_table", "verdict_accuracy", "prediction_lines"]

HEADINGS = ("", "nets", "precision", "recall", "rank correlation")
"""Of "unhealthy", as a forecast of what does not train; of score with skill, with its 95% interval."""

NET = ("arch", "act", "init", "bias", "norm", "depth", "width", "batch", "loss", "dtype", "optimizer")
"""Coordinates that come first, before further ones that were asked for."""


@checks_types
def verdict_accuracy(ds: xr.Dataset) -> VerdictAccuracy:
    """How well the verdict before training predicted who learns, over the nets of a dataset of `trainability`.

    Args:
        ds: the dataset, or a selection of it: `varprobe.select(ds, optimizer="adam")`.

    Returns:
        Numbers of nets, precision and recall of "will not train", and Spearman's rank correlation between score and
        skill with a bootstrap interval; `reasons` says why one of them is None.

    Raises:
        InvalidArgumentError: it is no such dataset.
    """
    require_kind(ds, "trainability")
    require_variables(ds, "score", "skill", "healthy")
    score, skill, healthy = xr.broadcast(ds["score"], ds["skill"], ds["healthy"])
    flat = [np.ravel(a.transpose(*score.dims).values) for a in (score, healthy, skill)]
    return accuracy_of(flat[0], flat[1], flat[2])


def accuracy_by_optimizer(ds: xr.Dataset) -> dict[str, VerdictAccuracy]:
    """`verdict_accuracy` for each optimizer."""
    names = ds["optimizer"].values.astype(str)
    return {str(name): verdict_accuracy(ds.isel(config=np.flatnonzero(names == name))) for name in dict.fromkeys(names)}


def net_rows(ds: xr.Dataset) -> list[dict[str, Any]]:
    """One row a net: settings, verdict before training, seed, what became of it; None where a number is not finite."""
    names = [*NET, *(str(n) for n, c in ds.coords.items() if c.dims == ("config",) and n not in NET)]
    numbers = [str(n) for n, v in ds.data_vars.items() if v.dims == ("config", "seed")]
    rows = []
    for i in range(ds.sizes["config"]):
        config = {name: ds[name].values[i].item() for name in names}
        for j, seed in enumerate(ds["seed"].values.tolist()):
            found = {name: finite(ds[name].values[i, j].item()) for name in numbers}
            rows.append(config | {"seed": seed} | found)
    return rows


def net_table(ds: xr.Dataset) -> tuple[list[str], list[list[Any]]]:
    """(header, rows) of `net_rows`."""
    rows = net_rows(ds)
    return list(rows[0]), [list(row.values()) for row in rows]


def finite(value: Any) -> Any:
    """None for what JSON has no number for; a step as a whole number."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def prediction_lines(ds: xr.Dataset) -> list[tuple[str, ...]]:
    """Cells under `HEADINGS`: a line for each optimizer, and where there are several one for all."""
    by_optimizer = accuracy_by_optimizer(ds)
    several = {"all": verdict_accuracy(ds)} if len(by_optimizer) > 1 else {}
    return [line_of(printable(name), found) for name, found in (by_optimizer | several).items()]


def line_of(name: str, found: VerdictAccuracy) -> tuple[str, ...]:
    """A line of the table of verdicts."""
    rank, (low, high) = found.rank_correlation, found.rank_correlation_ci95
    between = "" if low is None or high is None else f" ({low:.2f} to {high:.2f})"
    return (
        name,
        str(found.nets),
        share(found.precision, found.found, found.unhealthy),
        share(found.recall, found.found, found.failed),
        "-" if rank is None else f"{rank:.2f}{between}",
    )


def share(value: float | None, part: int, whole: int) -> str:
    """A share and the numbers that it is made of."""
    return "-" if value is None else f"{value:.2f} ({part}/{whole})"
