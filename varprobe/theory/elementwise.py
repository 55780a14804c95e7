"""An activation and its derivative as float64 NumPy functions, whatever the jax settings of the caller are."""

from collections.abc import Callable
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

from varprobe.errors import InvalidArgumentError
from varprobe.nets.activations import Activation, resolve_activation
from varprobe.spec.calls import Call, parse_calls

__all__ = ["ActivationLike", "activation", "evaluate"]

ActivationLike = str | Call | Activation | Callable[[jax.Array], jax.Array]
SMALLEST, LARGEST = 2**10, 2**20
"""Sizes of the compiled programs; between them powers of four."""


def activation(act: ActivationLike) -> Activation:
    """The activation that a name, a call form (`leaky_relu(0.2)`, `mine.py:swishy`) or a callable means.

    Raises:
        InvalidArgumentError: unknown, a list, or not an elementwise function of jax arrays; it names `act`.
    """
    if isinstance(act, Activation):
        return act
    try:
        if isinstance(act, str):
            calls = parse_calls(act)
            if len(calls) != 1:
                raise InvalidArgumentError(f"{act!r} means {len(calls)} activations where one is expected")
            return named(calls[0])
        if isinstance(act, Call):
            return named(act)
        if not callable(act):
            raise InvalidArgumentError(f"{act!r} is neither the name of an activation nor a function")
        return resolve_activation(act)
    except InvalidArgumentError as error:
        raise error.at("act") from None


@lru_cache(maxsize=256)
def named(call: Call) -> Activation:
    """One object for one call form, so that what was measured of it is found again."""
    return resolve_activation(call)


@lru_cache(maxsize=256)
def compiled(act: Activation) -> Callable[[jax.Array], tuple[jax.Array, jax.Array]]:
    """(phi, phi') as one compiled function; the activation's own derivative rule is respected."""

    def both(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        y, pullback = jax.vjp(act, x)
        return y, pullback(jnp.ones_like(y))[0]

    return jax.jit(both)


def evaluate(act: Activation, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(phi(x), phi'(x)) in float64 with the shape of `x`; infinities and NaN are returned as they are."""
    flat = np.asarray(x, np.float64).ravel()
    phi, slope = np.empty_like(flat), np.empty_like(flat)
    with jax.enable_x64(True):
        both = compiled(act)
        for start in range(0, flat.size, LARGEST):
            part = flat[start : start + LARGEST]
            size = SMALLEST
            while size < part.size:
                size *= 4
            padded = np.zeros(size)
            padded[: part.size] = part
            values = both(jnp.asarray(padded))
            stop = start + part.size
            phi[start:stop], slope[start:stop] = (np.asarray(v, np.float64)[: part.size] for v in values)
    return phi.reshape(np.shape(x)), slope.reshape(np.shape(x))
