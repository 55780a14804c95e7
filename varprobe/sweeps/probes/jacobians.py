"""Singular values of the Jacobians of one sample: dh_l / dh_{l-1} of every layer, and their product dh_l / dh_0.

The sample is the first of the batch. Where batch norm lets the others in, their signals are held fixed at every layer.
Everything is float64 with exponents of its own, whatever the dtype of the sweep: of a Jacobian it is the smallest
singular values that tell dynamical isometry (Saxe et al. 2014; Pennington et al. 2017), and these are lost first.
"""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from varprobe.engine.wired.cell import Keys, run_layer, sinks_of
from varprobe.engine.wired.program import NetNumbers, Wired
from varprobe.nets.scaled_float import Signal
from varprobe.sweeps.probes.products import Product, extended, identity, log10_values, reduced

__all__ = ["NAMES", "jacobian_tables", "needs_batch", "summary"]

Values = Float[np.ndarray, " values"]
NAMES = {
    "max": "the largest singular value",
    "min": "the smallest singular value",
    "median": "the median of the singular values",
    "mean_square": "the mean square of the singular values",
    "condition": "the largest over the smallest singular value",
}
LOST = np.full(len(NAMES), np.nan)


def needs_batch(program: Wired) -> bool:
    """Whether a sample's signal depends on the other samples, or on its place among them."""
    return program.norm.kind == "batch" or program.dropout or program.unit


@partial(jax.jit, static_argnums=(0, 1))
def step(
    program: Wired, segment: int, running: Array, keys: Keys, numbers: NetNumbers, number: Array, x: Signal
) -> tuple[Signal, Float[Array, "outputs nets inputs"], Array]:
    """(the signal after a layer, the Jacobian of its first sample's mantissa, exponents of the Jacobian)."""
    s = program.segments[segment]
    row = number - s.first
    streams = tuple(jax.random.fold_in(key, number) for key in keys)
    n, sinks = jax.tree.map(lambda a: jnp.asarray(a)[row], (numbers.segments[segment], sinks_of(program, segment)))
    taken = jnp.zeros((program.nets,), sinks["block"].dtype)

    def after(sample: Array) -> tuple[Array, Signal]:
        first = Signal(x.m.at[:, 0].set(sample), x.e)
        (h, _), _ = run_layer(program, segment, running, numbers, (first, taken), (number, streams, n, sinks))
        return h.m[:, 0], h

    out, pull, h = jax.vjp(after, x.m[:, 0], has_aux=True)
    size = math.prod(out.shape[1:])
    basis = jnp.eye(size, dtype=out.dtype).reshape(size, 1, *out.shape[1:])
    (j,) = jax.vmap(pull)(jnp.broadcast_to(basis, (size, *out.shape)))
    return h, j.reshape(size, program.nets, -1), h.e - x.e


def jacobian_tables(
    program: Wired, running: Any, keys: Keys, x: np.ndarray, numbers: NetNumbers
) -> Iterator[dict[str, np.ndarray] | None]:
    """None after each layer, then the variables: (nets, depth + 1), and of the last layer (nets, values)."""
    x = np.asarray(x if needs_batch(program) else x[:1], np.float64)
    largest = np.abs(x).max()
    e = math.frexp(largest)[1] if 0 < largest < math.inf else 0
    m = np.broadcast_to(np.ldexp(x, -e), (program.nets, *x.shape))
    signal = Signal(jnp.asarray(m), jnp.full((program.nets,), e, jnp.int32))
    size = math.prod(x.shape[1:])
    products: list[Product | None] = [identity(size)] * program.nets
    shape = (program.nets, program.depth + 1, len(NAMES))
    whole, parts = np.full(shape, np.nan), np.full(shape, np.nan)
    for i, s in enumerate(program.segments):
        for layer in range(s.first, s.first + s.count):
            signal, found, exponents = step(program, i, running, keys, numbers, np.int32(layer), signal)
            matrices, shifts = np.asarray(found, np.float64), np.asarray(exponents)
            for net in range(program.nets):
                products[net] = product = advanced(products[net], matrices[:, net], int(shifts[net]), parts[net, layer])
                whole[net, layer] = summary(product.log10) if product else LOST
            yield None
    last = [product.log10 if product else np.full(min(size, len(matrices)), np.nan) for product in products]
    table = {"jacobian_log10_singular_values": np.array(last)}
    for i, name in enumerate(NAMES):
        table |= {f"jacobian_log10_{name}": whole[..., i], f"partial_jacobian_log10_{name}": parts[..., i]}
    yield table


def advanced(product: Product | None, j: np.ndarray, e: int, part: np.ndarray) -> Product | None:
    """The product with one more factor, whose own numbers are written to `part`; None where it is not finite."""
    if not np.isfinite(j).all():
        return None
    factor = reduced(j)
    part[:] = summary(log10_values(factor, e, min(j.shape)))
    return extended(product, factor, e) if product else None


def summary(log10: Values) -> np.ndarray:
    """The numbers of `NAMES`, as log10, from singular values in falling order."""
    high, low = log10[0], log10[-1]
    if np.isneginf(high):
        return np.array([high, low, low, high, np.nan])
    middle = log10[[(len(log10) - 1) // 2, len(log10) // 2]]
    ms = 2 * high + np.log10(np.mean(10 ** (2 * (log10 - high))))
    return np.array([high, low, middle.mean(), ms, high - low])
