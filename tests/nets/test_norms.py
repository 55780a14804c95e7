"""Norms against their formulas in NumPy: which axes they average over, what they subtract, and where eps goes."""

from functools import partial

import jax
import numpy as np
import pytest

from varprobe.nets.norms import Norm, normalized, standardized
from varprobe.nets.scaled_float import Signal

EPS = 0.01
AXES = {"batch": (1, 2), "layer": (-1,), "rms": (-1,)}
"""Averaged over, of (nets, batch, positions, units)."""


def by_formula(kind: str, x: np.ndarray) -> np.ndarray:
    """In float64; two groups of units, each with all positions of its sample."""
    if kind == "group":
        nets, batch, positions, units = x.shape
        grouped = x.reshape(nets, batch, positions, 2, units // 2)
        off = grouped - grouped.mean((2, 4), keepdims=True)
        return (off / np.sqrt((off**2).mean((2, 4), keepdims=True) + EPS)).reshape(x.shape)
    off = x if kind == "rms" else x - x.mean(AXES[kind], keepdims=True)
    return off / np.sqrt((off**2).mean(AXES[kind], keepdims=True) + EPS)


@pytest.mark.parametrize("kind", ["batch", "layer", "rms", "group"])
@pytest.mark.parametrize("positions", [1, 3])
def test_norms_are_their_formulas(kind: str, positions: int) -> None:
    x = np.random.default_rng(0).normal(0.5, 2, (2, 5, positions, 4))
    given = x[:, :, 0] if positions == 1 else x
    found = jax.jit(partial(standardized, Norm(kind, groups=2), eps=EPS))(given.astype(np.float32))
    np.testing.assert_allclose(found, by_formula(kind, x).reshape(given.shape), atol=2e-6)


@pytest.mark.parametrize("kind", ["batch", "layer", "rms", "group"])
def test_an_exponent_scales_eps_and_nothing_else(kind: str) -> None:
    """The norm of m 2^e is that of the number itself: at 2^-4 eps = 0.01 outweighs the variance, at 2^9 it is lost."""
    m = np.random.default_rng(1).normal(0.5, 0.4, (2, 3, 2, 4))
    e = np.array([-4, 9])
    found = jax.jit(partial(normalized, Norm(kind, eps=EPS, groups=2)))(
        Signal(m.astype(np.float32), e.astype(np.int32))
    )
    wanted = by_formula(kind, m * 2.0 ** e.reshape(-1, 1, 1, 1))
    np.testing.assert_allclose(np.asarray(found.m) * 2.0 ** np.asarray(found.e).reshape(-1, 1, 1, 1), wanted, atol=2e-6)
