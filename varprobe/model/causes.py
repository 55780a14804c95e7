"""Why the signal of a family changes, in numbers whose product is the factor that was measured."""

import numpy as np
import xarray as xr

from varprobe.model.families import Family
from varprobe.numerals import rounded
from varprobe.rates import Rate, power, slopes

__all__ = ["cause_of"]

SAME = 0.02
"""Decades: factors that are nearer than this, or than twice the standard error of their mean, are the same."""


def cause_of(family: Family, forward: Rate | None, ds: xr.Dataset) -> str:
    """What the weights and the activation multiply the mean square by, where the sites have both, and what is left.

    A site multiplies by terms E W^2, terms being the number of products that an output sums, and by what its
    activation keeps. Other layers between the sites of a family, skips, means and biases are what is left.
    """
    layers = list(family.layers)[1:]
    needed = {"activation_log10_ms", "preactivation_log10_ms", "weight_log10_ms"}
    if family.kind not in ("linear", "conv") or not needed <= set(ds) or forward is None:
        return ""
    terms = ds["terms" if "terms" in ds.coords else "fan_in"].values[layers]
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = ds["weight_log10_ms"].values[:, layers] + np.log10(terms)
        kept = (ds["activation_log10_ms"] - ds["preactivation_log10_ms"]).values[:, layers]
        rest = np.diff(ds["activation_log10_ms"].values[:, family.layers]) - weight - kept
        weights, act, left = (float(slopes(summed_up(steps)).mean()) for steps in (weight, kept, rest))
        error = 2 * float(rest.std() / np.sqrt(rest.size))
    if not np.isfinite([weights, act, left]).all():
        return ""
    plain = np.allclose(terms, ds["fan_in"].values[layers])
    name = "fan_in E W^2" if plain else f"E W^2 times the {terms.mean():.4g} terms that an output sums"
    said = f": {name} = {rounded(power(weights))}, and the activation keeps {rounded(power(act))}"
    return (
        said
        if abs(left) < SAME + error
        else f"{said}; other layers between, and chance, multiply it by {rounded(power(left))}"
    )


def summed_up(steps: np.ndarray) -> np.ndarray:
    """What steps of (seeds, layers - 1) add up to, from 0; its slope is the part that they have in the factor."""
    return np.pad(np.cumsum(steps, axis=1), ((0, 0), (1, 0)))
