"""The variables that probes add to a dataset, and their coordinates beside config, seed and layer."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from varprobe.sweeps.probe_options import ProbeOptions

if TYPE_CHECKING:
    from varprobe.nets.config import Config

__all__ = ["Variable", "framed", "jacobian_size", "probe_variables"]

LAYERS = ("config", "seed", "layer")
SPECTRUM = {
    "max": "largest singular value",
    "min": "smallest singular value",
    "median": "median of the singular values",
    "mean_square": "mean square of the singular values",
    "condition": "largest over smallest singular value",
}


class Variable(NamedTuple):
    """Dims and long name."""

    dims: tuple[str, ...]
    text: str


def probe_variables(asked: ProbeOptions) -> dict[str, Variable]:
    """What is measured for a request; theory's curves apart."""
    found: dict[str, Variable] = {}
    if asked.correlation:
        pairs = (*LAYERS, "c0")
        found["pair_correlation"] = Variable(pairs, "mean cosine of the activations of two inputs at cosine c0")
        found["gradient_pair_correlation"] = Variable(
            pairs, "mean cosine of the gradients of two inputs at cosine c0 under the same cotangent"
        )
        found["effective_rank"] = Variable(
            LAYERS, "exp of the entropy of the activations' Gram eigenvalues, 1 to batch"
        )
    if asked.histogram:
        for quantity in ("activation", "gradient"):
            found[f"{quantity}_kurtosis"] = Variable(LAYERS, f"{quantity}: excess kurtosis, 0 of a Gaussian")
            found[f"{quantity}_density"] = Variable((*LAYERS, "bin"), f"{quantity} over RMS: density in a bin")
            for side, sign in (("below", "-"), ("above", "")):
                found[f"{quantity}_share_{side}"] = Variable(LAYERS, f"{quantity}: share {side} {sign}6 times the RMS")
    if asked.jacobian:
        for kind, what in (("jacobian", "dh_l/dh_0"), ("partial_jacobian", "dh_l/dh_{l-1}")):
            for name, text in SPECTRUM.items():
                found[f"{kind}_log10_{name}"] = Variable(LAYERS, f"{what} of a sample: log10 of the {text}")
        found["jacobian_log10_singular_values"] = Variable(
            ("config", "seed", "index"), "dh_L/dh_0 of a sample: log10 of the singular values, falling"
        )
    return found


def jacobian_size(config: "Config") -> int:
    """How many singular values dh_L/dh_0 has."""
    return min(int(np.prod(config.arch.sample_shape(units))) for units in (config.widths[0], config.widths[-1]))


def framed(ds: xr.Dataset, asked: ProbeOptions, largest: int) -> xr.Dataset:
    """The dataset with the variables of probes, all NaN; `largest` is the number of singular values."""
    from varprobe.sweeps.probes.distributions import CENTERS

    coords: dict[str, Any] = {}
    if asked.correlation:
        coords["c0"] = ("c0", np.array(asked.correlation), {"long_name": "cosine of two inputs"})
    if asked.histogram:
        coords["bin"] = ("bin", CENTERS, {"long_name": "center of a bin, in units of the RMS"})
    if asked.jacobian:
        coords["index"] = np.arange(largest)
    ds = ds.assign_coords(coords)
    sizes = ds.sizes
    return ds.assign(
        {
            name: (v.dims, np.full([sizes[dim] for dim in v.dims], np.nan), {"long_name": v.text})
            for name, v in probe_variables(asked).items()
        }
    )
