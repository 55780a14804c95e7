"""Curves of training: a quantity at every step against the layer, at some layers against the step, and the loss."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from varprobe.errors import InvalidArgumentError, lookup
from varprobe.model.families import labels_of
from varprobe.plots.curves import SIGNALS, Curve, summarize
from varprobe.plots.facets import Facets, Row, one_panel
from varprobe.plots.quantities import QUANTITIES, Quantity, axis_label, quantity_of
from varprobe.plots.texts import literal
from varprobe.storage.kinds import of_sites

__all__ = ["Lines", "against_layer", "against_step", "has", "meaning", "text_of"]

MEANINGS = QUANTITIES | {
    "update": Quantity("update", "updates", r"W_\ell", backward=True),
    "loss": Quantity("loss", "losses", r"\mathcal{L}", backward=False),
}
VARIABLES = {"update": "update_log10_ratio", "loss": "batch_loss"}
MOST_LAYERS = 5
"""Layers that are drawn against the step, unless others are asked for."""
WIDE = 1.0
"""Decades that a loss must span to be drawn by its logarithm."""


@dataclass(frozen=True, eq=False)
class Lines:
    """Curves against the step: a layer each, or a configuration each, with the names of the plan.

    `text` stands beside the y axis, which has log10 values where `log`.
    """

    quantity: Quantity
    text: str
    plan: Facets
    curves: Sequence[Curve]
    log: bool = True


def meaning(ds: xr.Dataset, quantity: str) -> Quantity:
    """A quantity of a training as it reads for the networks of a dataset.

    Raises:
        InvalidArgumentError: there is none of that name, with the nearest.
    """
    found = lookup(MEANINGS, quantity, "quantity")
    return quantity_of(ds, quantity) if quantity in QUANTITIES else found


def variable(quantity: str) -> str:
    """The name of a quantity in the dataset."""
    return VARIABLES.get(quantity, f"{quantity}_log10_var")


def has(ds: xr.Dataset, quantity: str) -> bool:
    """Whether the dataset has any value of it."""
    name = variable(quantity)
    return name in ds and not bool(ds[name].isnull().all())


def text_of(ds: xr.Dataset, quantity: str, between: str = "  ", layer: str = r"\ell") -> str:
    """What stands beside the y axis: words and formula."""
    if quantity == "loss":
        return rf"loss of the batch{between}$\mathcal{{L}}$"
    if quantity == "update":
        text = rf"update / weight{between}$\|\Delta W_\ell\|\,/\,\|W_\ell\|$"
    else:
        text = axis_label(meaning(ds, quantity), "var", between)
    return text.replace(r"\ell", layer)


def of_layers(ds: xr.Dataset, quantity: str) -> xr.DataArray:
    """log10 of a quantity by (config, seed, step, layer); NaN where a net has left the range of floats.

    Sites of a model without an activation pass their preactivation on.

    Raises:
        InvalidArgumentError: it was not measured.
    """
    if not has(ds, quantity):
        raise InvalidArgumentError(f"{variable(quantity)} was not measured in this dataset", "quantity")
    values = ds[variable(quantity)]
    if of_sites(ds) and quantity == "activation" and has(ds, "preactivation"):
        values = values.fillna(ds[variable("preactivation")])
    return values.where(~gone(ds, quantity)).transpose("config", "seed", "step", "layer")


def gone(ds: xr.Dataset, quantity: str) -> xr.DataArray:
    """Whether a net has no such number at a step: its loss was none before, or, of what a step changes, is none now."""
    since = ds["step"] - ds["diverged_step"]
    return since >= 0 if quantity == "update" else since > 0


def against_layer(ds: xr.Dataset, quantity: str, steps: Sequence[int]) -> list[list[Curve]]:
    """For each configuration a curve for each of the steps, by the names of the steps.

    Raises:
        InvalidArgumentError: it was not measured.
    """
    array = of_layers(ds, quantity).sel(step=list(steps))
    layer, backward = array["layer"].values.astype(int), meaning(ds, quantity).backward
    told = ds["depth"].values.tolist() if quantity in SIGNALS and not of_sites(ds) else [None] * len(array)
    values = moving(array.values) if quantity == "update" else array.values
    return [
        [summarize(str(step), layer, one[:, s], backward, depth) for s, step in enumerate(steps)]
        for one, depth in zip(values, told, strict=True)
    ]


def moving(values: Float[np.ndarray, "config seed step layer"]) -> Float[np.ndarray, "config seed step layer"]:
    """Updates, less those of layers that are held: exactly zero where others are not."""
    held = (values == -np.inf) & np.isfinite(values).any(axis=-1, keepdims=True)
    return np.where(held, np.nan, values)


def against_step(
    ds: xr.Dataset, quantity: str, layers: Sequence[int] | None = None, labels: Mapping[str, str] | None = None
) -> Lines:
    """Curves against the step: of one configuration some layers, of several one layer each, or the losses.

    Raises:
        InvalidArgumentError: it was not measured, or there are no such layers.
    """
    plan, found = one_panel(ds, labels), meaning(ds, quantity)
    if quantity == "loss":
        curves, log = losses(ds, plan.names)
        return Lines(found, text_of(ds, quantity), plan, curves, log)
    array = of_layers(ds, quantity)
    there = [np.flatnonzero(~np.isnan(one).all(axis=(0, 1))) for one in array.values]
    there = [known[array["layer"].values[known] > 0] for known in there]
    if layers is not None:
        wanted = [int(i) for i in np.atleast_1d(np.asarray(layers))]
        missing = next((i for i in wanted if not all(i in array["layer"].values[known] for known in there)), None)
        if missing is not None:
            raise InvalidArgumentError(f"there is no {found.name} at layer {missing}", "layers")
        there = [np.searchsorted(array["layer"].values, wanted)] * len(there)
    steps, ends = ds["step"].values.astype(int), gone(ds, quantity).transpose("config", "seed", "step").values
    values = np.where(ends[..., None], np.inf, array.values)
    if ds.sizes["config"] == 1:
        (known,) = there
        places = known if layers is not None else spaced(known)
        names = names_of(ds)
        curves = [ended(names[i], steps, values[0, :, :, i]) for i in places]
        plan = Facets(tuple(curve.name for curve in curves), (Row("", tuple(range(len(curves)))),), None)
        return Lines(found, text_of(ds, quantity), plan, curves)
    if layers is not None and len(there[0]) > 1:
        raise InvalidArgumentError(f"one layer, since there are {ds.sizes['config']} configurations", "layers")
    ends_at = [known[0 if found.backward else -1] if known.size else 0 for known in there]
    curves = [ended(n, steps, one[:, :, i]) for n, one, i in zip(plan.names, values, ends_at, strict=True)]
    layer = str(there[0][0]) if layers is not None else "1" if found.backward else "L"
    return Lines(found, text_of(ds, quantity, layer=layer), plan, curves)


def spaced(known: Int[np.ndarray, " known"]) -> Int[np.ndarray, " places"]:
    """1, L / 4, L / 2, 3 L / 4 and L, or what is known next to these."""
    wanted = np.linspace(0, known.max(initial=0), MOST_LAYERS)
    return np.unique([known[np.abs(known - at).argmin()] for at in wanted]) if known.size else known


def names_of(ds: xr.Dataset) -> list[str]:
    """The name of each layer, or site."""
    if of_sites(ds):
        return [literal(name) for name in labels_of(ds)]
    return [f"layer {layer}" for layer in ds["layer"].values]


def losses(ds: xr.Dataset, names: Sequence[str]) -> tuple[list[Curve], bool]:
    """(the loss of each configuration at every step, whether by its log10: where it spans more than a decade).

    Raises:
        InvalidArgumentError: it was not recorded.
    """
    if not has(ds, "loss"):
        raise InvalidArgumentError("batch_loss was not recorded in this dataset", "quantity")
    array = ds["batch_loss"]
    (dim,) = set(array.dims) - {"config", "seed"}
    values = array.transpose("config", "seed", dim).values
    finite = values[np.isfinite(values)]
    positive = finite[finite > 0]
    log = bool((finite >= 0).all() and positive.size and np.ptp(np.log10(positive)) > WIDE)
    with np.errstate(divide="ignore"):
        told = np.where(np.isfinite(values), np.log10(np.abs(values)) if log else values, np.inf)
    steps = array[dim].values.astype(int)
    return [ended(name, steps, one) for name, one in zip(names, told, strict=True)], log


def ended(name: str, steps: Int[np.ndarray, " step"], values: Float[np.ndarray, "seed step"]) -> Curve:
    """A curve against the step, up to where one of its seeds is infinite: no number any more."""
    curve = summarize(name, steps, values, backward=False, place="step")
    if curve.lost and curve.lost.infinite:
        return replace(curve, lost=replace(curve.lost, number=False))
    return curve
