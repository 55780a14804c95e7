"""Layers and initializations from which the models of the zoo are made, in plain JAX."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Random = np.random.Generator


class Model(NamedTuple):
    """The arguments of `varprobe.probe`: a function or module, what follows it, and its options."""

    function: Any
    arguments: tuple[Any, ...]
    options: dict[str, Any] = {}  # noqa: RUF012


class Broken(NamedTuple):
    """A model that is broken on purpose.

    build: makes it. fault: the word or flag of a verdict that says what is wrong. site: part of the name of the site,
    group or parameter that is at fault; "" if the fault is in no single place.
    """

    build: Callable[[Random], Model]
    fault: str
    site: str


def normal(random: Random, std: float, *shape: int) -> Any:
    """Gaussian weights."""
    return jnp.asarray(std * random.normal(size=shape), jnp.float32)


def fan_in(random: Random, gain: float, *shape: int, terms: int | None = None) -> Any:
    """Gaussian weights of shape (..., in, out) with gain / in for a variance, or gain / terms."""
    return normal(random, (gain / (terms or shape[-2])) ** 0.5, *shape)


def uniform(random: Random, most: float, *shape: int) -> Any:
    """Weights that are uniform between -most and most."""
    return jnp.asarray(random.uniform(-most, most, size=shape), jnp.float32)


def orthogonal(random: Random, gain: float, *shape: int) -> Any:
    """Matrices with orthonormal rows or columns, times gain."""
    tall = np.linalg.qr(random.normal(size=(*shape[:-2], max(shape[-2:]), min(shape[-2:]))))[0]
    return jnp.asarray(gain * (tall if shape[-2] >= shape[-1] else np.swapaxes(tall, -1, -2)), jnp.float32)


def labels(random: Random, classes: int, *shape: int) -> Any:
    """Random labels."""
    return jnp.asarray(random.integers(classes, size=shape), jnp.int32)


def ones(*shape: int) -> Any:
    return jnp.asarray(np.ones(shape, np.float32))


def zeros(*shape: int) -> Any:
    return jnp.asarray(np.zeros(shape, np.float32))


def cross_entropy(logits: Any, target: Any) -> Any:
    """The mean over all but the last axis."""
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
    return -jnp.take_along_axis(log_p, target[..., None], -1).mean()


def layer_norm(x: Any, scale: Any, bias: Any) -> Any:
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(var + 1e-5) * scale + bias


def rms_norm(x: Any, scale: Any) -> Any:
    return x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-6) * scale


def batch_norm(x: Any, scale: Any, bias: Any) -> Any:
    """By the statistics of the batch, over all axes but the last."""
    axes = tuple(range(x.ndim - 1))
    mean, var = x.mean(axes), x.var(axes)
    return (x - mean) * jax.lax.rsqrt(var + 1e-5) * scale + bias


def group_norm(x: Any, scale: Any, bias: Any, groups: int = 4) -> Any:
    """Over the positions and the channels of a group; x: (batch, height, width, channels)."""
    y = x.reshape(*x.shape[:-1], groups, -1)
    mean, var = y.mean((1, 2, 4), keepdims=True), y.var((1, 2, 4), keepdims=True)
    return ((y - mean) * jax.lax.rsqrt(var + 1e-5)).reshape(x.shape) * scale + bias


def conv(x: Any, w: Any, stride: int = 1, groups: int = 1) -> Any:
    """x: (batch, height, width, channels); w: (height, width, in / groups, out)."""
    names = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, w, (stride, stride), "SAME", dimension_numbers=names, feature_group_count=groups
    )


def he_conv(random: Random, *shape: int, gain: float = 2.0) -> Any:
    """He's initialization of kernels (..., height, width, in, out)."""
    return fan_in(random, gain, *shape, terms=int(np.prod(shape[-4:-1])))


def attention(q: Any, k: Any, v: Any, scale: float, causal: bool = True) -> Any:
    """Of (batch, positions, heads, size), with as many heads of keys and values as of queries."""
    logits = jnp.einsum("bqhd,bkhd->bhqk", q, k) * scale
    if causal:
        logits = jnp.where(jnp.tril(jnp.ones(logits.shape[-2:], bool)), logits, -1e9)
    return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(logits), v)


def heads_of(x: Any, heads: int) -> Any:
    """(batch, positions, width) as (batch, positions, heads, size)."""
    return x.reshape(*x.shape[:-1], heads, -1)
