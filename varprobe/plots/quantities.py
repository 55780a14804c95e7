"""What can be drawn: the quantities and statistics of a dataset, their symbols, and which way the signal runs."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from varprobe.errors import InvalidArgumentError, lookup

__all__ = ["QUANTITIES", "STATISTICS", "Quantity", "axis_label", "measured", "quantity_of", "variable"]


@dataclass(frozen=True)
class Quantity:
    """A signal of the network: its plural, its symbol in math text, and whether it runs toward the input."""

    name: str
    plural: str
    symbol: str
    backward: bool


QUANTITIES = {
    "activation": Quantity("activation", "activations", r"h_\ell", backward=False),
    "preactivation": Quantity("preactivation", "preactivations", r"z_\ell", backward=False),
    "gradient": Quantity("gradient", "gradients", r"\partial\mathcal{L}/\partial z_\ell", backward=True),
    "weight_gradient": Quantity(
        "weight gradient", "weight gradients", r"\partial\mathcal{L}/\partial W_\ell", backward=True
    ),
    "stream": Quantity("stream", "streams", r"x_\ell", backward=False),
    "branch": Quantity("branch", "branches", r"f_\ell", backward=False),
    "branch_gradient": Quantity(
        "branch gradient", "branch gradients", r"\partial\mathcal{L}/\partial f_\ell", backward=True
    ),
    "preactivation_gradient": Quantity(
        "preactivation gradient", "preactivation gradients", r"\partial\mathcal{L}/\partial z_\ell", backward=True
    ),
}
ON_STREAM = {
    "activation": Quantity("stream", "streams", r"x_\ell", backward=False),
    "gradient": Quantity("gradient", "gradients", r"\partial\mathcal{L}/\partial x_\ell", backward=True),
}
"""What a layer's activation and gradient are where all networks drawn have a stream."""

STATISTICS = {
    "var": ("variance", r"\mathrm{{Var}}[{0}]"),
    "mean_square": ("mean square", r"\mathrm{{E}}[({0})^2]"),
    "absmax": ("largest magnitude", r"\max|{0}|"),
}


def quantity_of(ds: xr.Dataset, name: str) -> Quantity:
    """A quantity as it reads for the networks of a dataset."""
    if name in ON_STREAM and "stream_log10_mean_square" in ds:
        stream = ds["stream_log10_mean_square"]
        if not bool(stream.isnull().all([d for d in stream.dims if d != "config"]).any()):
            return ON_STREAM[name]
    return lookup(QUANTITIES, name, "quantity")


def axis_label(quantity: Quantity, statistic: str, between: str = "  ") -> str:
    """The words and the formula, such as `gradient variance  Var[dL/dz]`, in math text."""
    words, formula = lookup(STATISTICS, statistic, "statistic")
    return f"{quantity.name} {words}{between}${formula.format(quantity.symbol)}$"


def variable(ds: xr.Dataset, quantity: str, statistic: str) -> xr.DataArray:
    """`{quantity}_log10_{statistic}` with dims (config, seed, layer), or an error where it was not measured."""
    lookup(QUANTITIES, quantity, "quantity")
    lookup(STATISTICS, statistic, "statistic")
    name = f"{quantity}_log10_{statistic}"
    if not measured(ds, quantity, statistic):
        cause = "; a forward-only run has none" if QUANTITIES[quantity].backward else ""
        raise InvalidArgumentError(f"{name} was not measured in this dataset{cause}", "quantity")
    array = ds[name]
    for dim in ("config", "seed"):
        if dim not in array.dims:
            array = array.expand_dims(dim)
    return array.transpose("config", "seed", "layer")


def measured(ds: xr.Dataset, quantity: str, statistic: str = "var") -> bool:
    """Whether the dataset holds any value of it."""
    name = f"{quantity}_log10_{statistic}"
    return name in ds and not bool(np.isnan(ds[name].values).all())
