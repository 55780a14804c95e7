"""Distributions of activations and gradients: histograms in units of the RMS (Glorot & Bengio 2010, figures 6 and 7),
excess kurtosis, and the Gram matrix of the samples.
"""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from varprobe.engine.moments import inverse_norm, measure
from varprobe.engine.wired.hooks import StatisticsHook
from varprobe.engine.wired.taps import flat, samples
from varprobe.nets.scaled_float import Signal

__all__ = ["BINS", "CENTERS", "EDGES", "Distributions", "densities"]

BINS = 61
"""An odd number: zero, where half of a ReLU's activations are, is the center of one."""
EDGES = np.linspace(-6, 6, BINS + 1)
CENTERS = (EDGES[1:] + EDGES[:-1]) / 2


@dataclass(frozen=True)
class Distributions(StatisticsHook):
    """gram: of the activations' samples. histogram: with kurtosis, of activations and gradients."""

    gram: bool
    histogram: bool

    def seen(self, m: Float[Array, "nets batch ... units"]) -> dict[str, Array]:
        """Of activations."""
        found = spread(m) if self.histogram else {}
        if self.gram:
            rows = samples(m)
            found["gram"] = jnp.einsum("nbu,ncu->nbc", rows, rows, precision="highest")
        return found

    def arrived(self, m: Float[Array, "nets batch ... units"]) -> dict[str, Array]:
        """Of gradients."""
        return spread(m)

    def sink(self, nets: int, dtype: Any) -> dict[str, Array]:
        """As `spread`."""
        return {"kurtosis": jnp.zeros((nets,), dtype), "below": jnp.zeros((nets, BINS + 1), dtype)}


def spread(m: Float[Array, "nets batch ... units"]) -> dict[str, Array]:
    """kurtosis: excess, NaN where nothing varies. below: the share of values below each edge, in units of the RMS."""
    rows = measure(Signal(flat(m), jnp.zeros(m.shape[:1], jnp.int32)))[0].m
    rows = rows.reshape(len(rows), -1)
    about = rows - rows.mean(1, keepdims=True)
    variance = jnp.square(about).mean(1)
    fourth = jnp.square(jnp.square(about)).mean(1)
    square = jnp.square(rows).mean(1)
    units = rows * inverse_norm(square)[:, None]
    below = (units[:, :, None] < jnp.asarray(EDGES, rows.dtype)).sum(1, dtype=jnp.int32) / rows.shape[1]
    safe = jnp.where(variance > 0, variance, 1)
    return {
        "kurtosis": jnp.where(variance > 0, fourth / (safe * safe) - 3, jnp.nan),
        "below": jnp.where((square > 0)[:, None], below, jnp.nan),
    }


def densities(below: Float[np.ndarray, "... edges"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(density in each bin, share below all bins, share above) from the shares below the edges."""
    below = np.asarray(below, np.float64)
    return np.diff(below, axis=-1) / np.diff(EDGES), below[..., 0], 1 - below[..., -1]
