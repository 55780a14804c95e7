"""The normalizations that --norm names, and what each of them does to a signal with an unbounded exponent."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from varprobe.errors import InvalidArgumentError, lookup
from varprobe.nets.scaled_float import Signal, power_of_two
from varprobe.spec.calls import Call
from varprobe.spec.parameters import Parameter, read_parameters

__all__ = ["NORMS", "Norm", "normalized", "resolve_norm", "standardized"]

LARGEST_EXPONENT = 60
COMMON: Mapping[str, Parameter] = {
    "position": Parameter("pre", "word", ("pre", "post")),
    "eps": Parameter(1e-5, "number", high=1e30),
}


@dataclass(frozen=True)
class Registered:
    """A norm of the registry."""

    meaning: str
    parameters: Mapping[str, Parameter]


NORMS: dict[str, Registered] = {
    "none": Registered("no normalization", {}),
    "batch": Registered("each unit over the batch (and positions), as in training", COMMON),
    "layer": Registered("each sample (at each position) over its units", COMMON),
    "rms": Registered("each sample (at each position) divided by its root mean square", COMMON),
    "group": Registered(
        "each sample over groups of units (and positions)",
        {"groups": Parameter(32, "whole", low=1, high=2**20)} | dict(COMMON),
    ),
}


@dataclass(frozen=True)
class Norm:
    """A norm with its parameters; `text` is the canonical call form and takes no part in comparisons."""

    kind: Literal["none", "batch", "layer", "rms", "group"]
    position: Literal["pre", "post"] = "pre"
    eps: float = 1e-5
    groups: int = 1

    def __bool__(self) -> bool:
        return self.kind != "none"


def resolve_norm(spec: Call, label: str | None = None) -> tuple[str, Norm]:
    """(canonical call form, norm) of a call.

    Raises:
        InvalidArgumentError: unknown name or parameter, or a value that it does not take.
    """
    if not isinstance(spec, Call):
        raise InvalidArgumentError("takes names, not functions")
    registered = lookup(NORMS, spec.name, "norm", "varprobe list norms")
    text, values = read_parameters(spec, spec.name, registered.parameters)
    return text, Norm(spec.name, **values)  # type: ignore[arg-type]


def standardized(
    norm: Norm, m: Float[Array, "nets batch ... units"], eps: Float[Array, "nets ..."] | float
) -> Float[Array, "nets batch ... units"]:
    """The normalized array; `eps` is added to the variance (rms: to the mean square). Where that is 0 so is the result.

    Batch norm averages over all but the nets and the units, the others over the units or groups of a sample.
    """
    shape = m.shape
    if norm.kind == "group":
        m = m.reshape(*shape[:-1], norm.groups, shape[-1] // norm.groups)
        if m.ndim > 4:  # the positions of a sample belong to its groups
            axes: tuple[int, ...] = (*range(2, m.ndim - 2), m.ndim - 1)
        else:
            axes = (m.ndim - 1,)
    elif norm.kind == "batch":
        axes = tuple(range(1, m.ndim - 1))
    else:
        axes = (m.ndim - 1,)
    eps = jnp.asarray(eps, m.dtype)
    eps = eps.reshape(eps.shape + (1,) * (m.ndim - eps.ndim)) if eps.ndim else eps
    return divided(axes, norm.kind != "rms", m, eps).reshape(shape)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def divided(axes: tuple[int, ...], centers: bool, m: Array, eps: Array) -> Array:
    """m, less its mean over the axes if it `centers`, over the root of its mean square plus eps.

    The derivative takes a step apart along the result and across it. Along it the factor is eps / (mean square + eps),
    often 1e-5 of that across. If no more than two values are normalized (rms: one), nothing lies across, and rounding
    is not taken for it.
    """
    centered, _, square = parts(axes, centers, m, eps)
    alive = square > 0
    return jnp.where(alive, centered / jnp.sqrt(jnp.where(alive, square, 1)), 0)


def parts(axes: tuple[int, ...], centers: bool, m: Array, eps: Array) -> tuple[Array, Array, Array]:
    """(m less its mean, the mean square of that, the same plus eps)."""
    centered = m - m.mean(axes, keepdims=True) if centers else m
    own = jnp.square(centered).mean(axes, keepdims=True)
    return centered, own, own + eps


@divided.defjvp
def divided_jvp(
    axes: tuple[int, ...], centers: bool, primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    """`divided` and its derivative with respect to m; eps is a constant."""
    m, eps = primals
    centered, own, square = parts(axes, centers, m, eps)
    alive = square > 0
    safe = jnp.where(alive, square, 1)
    direction = jnp.where(own > 0, centered / jnp.sqrt(jnp.where(own > 0, own, 1)), 0)
    moved = tangents[0] - tangents[0].mean(axes, keepdims=True) if centers else tangents[0]
    along = (moved * direction).mean(axes, keepdims=True)
    count = m.size // own.size
    across = moved - along * direction if count > 1 + centers else jnp.zeros_like(moved)
    out = (across + along * (eps / safe) * direction) / jnp.sqrt(safe)
    return divided(axes, centers, m, eps), jnp.where(alive, out, 0)


def normalized(norm: Norm, x: Signal) -> Signal:
    """The norm of m * 2^e: in units of 2^e it adds eps * 4^-e, and where eps outweighs all else the result keeps e."""
    if not norm:
        return x
    e = jnp.clip(x.e, -LARGEST_EXPONENT, LARGEST_EXPONENT)
    eps = norm.eps * power_of_two(-e, x.m.dtype) * power_of_two(-e, x.m.dtype)
    return Signal(standardized(norm, x.m, eps), jnp.minimum(x.e - e, 0))
