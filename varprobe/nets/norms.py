"""The normalizations that --norm names, and what each of them does to a signal with an unbounded exponent."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

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
    centered = m if norm.kind == "rms" else m - m.mean(axes, keepdims=True)
    eps = jnp.asarray(eps, m.dtype)
    eps = eps.reshape(eps.shape + (1,) * (m.ndim - eps.ndim)) if eps.ndim else eps
    square = jnp.square(centered).mean(axes, keepdims=True) + eps
    alive = square > 0
    return jnp.where(alive, centered / jnp.sqrt(jnp.where(alive, square, 1)), 0).reshape(shape)


def normalized(norm: Norm, x: Signal) -> Signal:
    """The norm of m * 2^e: in units of 2^e it adds eps * 4^-e, and where eps outweighs all else the result keeps e."""
    if not norm:
        return x
    e = jnp.clip(x.e, -LARGEST_EXPONENT, LARGEST_EXPONENT)
    eps = norm.eps * power_of_two(-e, x.m.dtype) * power_of_two(-e, x.m.dtype)
    return Signal(standardized(norm, x.m, eps), jnp.minimum(x.e - e, 0))
