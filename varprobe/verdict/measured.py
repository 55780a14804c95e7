"""One configuration of a dataset as plain arrays: what verdicts are made of."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from varprobe.storage.dataset import with_configs

__all__ = ["Measured", "first_layer", "mean_over_seeds", "measured_nets"]


@dataclass(frozen=True)
class Measured:
    """The numbers of one configuration.

    Attributes:
        values: each measured variable of the dataset, (seeds, layers 0..L).
        means: their means over seeds.
        theory: each predicted one, (layers 0..L); none in a dataset without theory.
        coordinates: those on `config`, as int or str.
        depth: L.
        backward: whether gradients were measured.
        real_range: whether signals had the range of the dtype, and no exponent of their own.
    """

    values: Mapping[str, Float[np.ndarray, "seeds layers"]]
    means: Mapping[str, Float[np.ndarray, " layers"]]
    theory: Mapping[str, Float[np.ndarray, " layers"]]
    coordinates: Mapping[str, Any]
    depth: int
    backward: bool
    real_range: bool

    def mean(self, name: str) -> Float[np.ndarray, " layers"]:
        """A variable's mean over seeds."""
        return self.means[name]

    @property
    def lost(self) -> Bool[np.ndarray, " seeds"]:
        """Seeds whose signal or gradient is exactly zero at a layer, and is finite at all others."""
        names = ("activation", *(["gradient"] if self.backward else []))
        sizes = np.concatenate([self.values[f"{name}_log10_mean_square"][:, 1:] for name in names], axis=1)
        return np.isneginf(sizes).any(axis=1) & ~(np.isnan(sizes) | np.isposinf(sizes)).any(axis=1)

    def judged(self) -> "Measured":
        """The configuration without the seeds that are `lost`; itself where none is, or all are."""
        lost = self.lost
        if not lost.any() or lost.all():
            return self
        values = {name: array[~lost] for name, array in self.values.items()}
        return replace(self, values=values, means={name: mean_over_seeds(array) for name, array in values.items()})

    @property
    def own(self) -> bool:
        """Whether it is made of blocks of the user's, of which nothing is known."""
        return self.coordinates["init"] == "own"

    @property
    def seeds(self) -> int:
        """How many seeds."""
        return len(self.values["activation_log10_mean_square"])

    @property
    def widths(self) -> list[int]:
        """Units of layers 0 (unknown: 2) to L."""
        width = self.coordinates["width"]
        return [2, *(map(int, width.split("-")) if isinstance(width, str) else [width] * self.depth)]


def measured_nets(ds: xr.Dataset) -> Iterator[Measured]:
    """Every configuration of a dataset with dims (config, seed, layer); without `config`, the one."""
    ds = with_configs(ds)
    dims = ("config", "seed", "layer")
    arrays = {str(name): variable.values for name, variable in ds.data_vars.items() if variable.dims == dims}
    theory = {name: arrays.pop(name)[:, 0] for name in list(arrays) if name.startswith("theory_")}
    means = {name: mean_over_seeds(array) for name, array in arrays.items()}
    coordinates = {str(k): v.values.tolist() for k, v in ds.coords.items() if v.dims == ("config",)}
    backward = not json.loads(ds.attrs.get("spec", "{}")).get("forward_only", False)
    real_range = ds.attrs.get("range") == "dtype"
    for i in range(ds.sizes["config"]):
        depth = int(coordinates["depth"][i])
        yield Measured(
            {name: array[i, :, : depth + 1] for name, array in arrays.items()},
            {name: array[i, : depth + 1] for name, array in means.items()},
            {name: array[i, : depth + 1] for name, array in theory.items()},
            {name: number_or_text(name, column[i]) for name, column in coordinates.items()},
            depth,
            backward,
            real_range,
        )


def mean_over_seeds(values: Float[np.ndarray, "*configs seeds layers"]) -> Float[np.ndarray, "*configs layers"]:
    """The mean over seeds, NaN where a seed has none."""
    with np.errstate(invalid="ignore"):
        return values.mean(axis=-2)


def number_or_text(name: str, value: Any) -> Any:
    """A coordinate; widths stand as text where one of them is a profile."""
    return int(value) if name == "width" and str(value).isdigit() else value


def first_layer(where: np.ndarray) -> int | None:
    """The first layer at which a condition over (layers,) holds."""
    found = np.flatnonzero(where)
    return int(found[0]) if found.size else None
