"""Pairs of inputs at a chosen cosine: how it changes from layer to layer, forward and for gradients on the way back.

Poole et al. (2016) follow the correlation of two signals, Balduzzi et al. (2017) that of the gradients of two inputs:
where it goes to zero, gradients are like white noise in the input (shattered).
"""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from varprobe.engine.moments import inverse_norm, measure
from varprobe.engine.wired.hooks import StatisticsHook
from varprobe.engine.wired.taps import flat, samples
from varprobe.nets.scaled_float import Signal, wide

__all__ = ["Pairs", "cosines", "effective_rank", "partners"]


@dataclass(frozen=True)
class Pairs(StatisticsHook):
    """Of a batch whose second half are the partners of the first: how far apart the two directions are."""

    count: int

    def seen(self, m: Float[Array, "nets batch ... units"]) -> dict[str, Array]:
        """Half the squared distance of two unit vectors, 1 - cosine; NaN where a sample is zero."""
        return {"apart": self.apart(m)}

    def arrived(self, m: Float[Array, "nets batch ... units"]) -> dict[str, Array]:
        """The same of gradients."""
        return {"apart": self.apart(m)}

    def sink(self, nets: int, dtype: Any) -> dict[str, Array]:
        """One number a pair."""
        return {"apart": jnp.zeros((nets, self.count), dtype)}

    def apart(self, m: Float[Array, "nets batch ... units"]) -> Float[Array, "nets pairs"]:
        """1 - cosine, without the rounding of a cosine near 1."""
        near_one = measure(Signal(flat(m), jnp.zeros(m.shape[:1], jnp.int32)))[0].m
        rows = samples(near_one.reshape(m.shape))
        square = (rows * rows).sum(2)
        units = rows * inverse_norm(square)[:, :, None]
        apart = jnp.square(units[:, : self.count] - units[:, self.count :]).sum(2) / 2
        alive = square > 0
        return jnp.where(alive[:, : self.count] & alive[:, self.count :], wide(apart), jnp.nan)


def cosines(apart: Float[np.ndarray, "... pairs"]) -> Float[np.ndarray, "..."]:
    """The mean cosine of pairs, those with a sample of zeros left out; NaN where none is left."""
    there = ~np.isnan(apart)
    count = there.sum(-1)
    total = np.where(there, 1 - np.asarray(apart, np.float64), 0).sum(-1)
    return np.where(count > 0, np.clip(total / np.maximum(count, 1), -1, 1), np.nan)


def partners(x: Float[np.ndarray, "batch ..."], c0: float, noise: np.ndarray) -> Float[np.ndarray, "batch ..."]:
    """For every sample one of the same norm whose cosine with it is c0; `noise` has the shape of x."""
    rows, drawn = (np.asarray(a, np.float64).reshape(len(x), -1) for a in (x, noise))
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    units = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
    for _ in range(2):  # the second time takes away what rounding left
        drawn = drawn - (drawn * units).sum(1, keepdims=True) * units
        drawn = drawn / np.maximum(np.linalg.norm(drawn, axis=1, keepdims=True), np.finfo(float).tiny)
    return (norms * (c0 * units + np.sqrt(1 - c0 * c0) * drawn)).reshape(x.shape)


def effective_rank(gram: Float[np.ndarray, "... batch batch"]) -> Float[np.ndarray, "..."]:
    """exp of the entropy of the normalized eigenvalues (Roy & Vetterli 2007), 1 to batch; NaN where all is zero."""
    gram = np.asarray(gram, np.float64)
    trace = np.trace(gram, axis1=-2, axis2=-1)
    usable = np.isfinite(trace) & (trace > 0) & np.isfinite(gram).all((-2, -1))
    safe = np.where(usable[..., None, None], gram, np.eye(gram.shape[-1]))
    p = np.maximum(np.linalg.eigvalsh(safe), 0)
    p = p / p.sum(-1, keepdims=True)
    entropy = -np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0).sum(-1)
    return np.where(usable, np.exp(entropy), np.nan)
