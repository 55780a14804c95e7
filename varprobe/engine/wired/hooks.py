"""What a probe wants to know of activations and gradients beside their moments."""

from abc import ABC, abstractmethod
from functools import partial
from typing import Any

import jax
from jaxtyping import Array, Float

__all__ = ["StatisticsHook", "watched"]


class StatisticsHook(ABC):
    """Statistics that do not depend on a net's scale. Subclasses are frozen dataclasses, static to compiled code."""

    @abstractmethod
    def seen(self, m: Float[Array, "nets batch ... units"]) -> dict[str, Array]:
        """Of activations, each (nets, ...); their largest magnitude is near 1."""

    @abstractmethod
    def arrived(self, m: Float[Array, "nets batch ... units"]) -> dict[str, Array]:
        """Of gradients, of any magnitude."""

    @abstractmethod
    def sink(self, nets: int, dtype: Any) -> dict[str, Array]:
        """Zeros in the shapes of `arrived`."""


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def watched(watcher: StatisticsHook, m: Float[Array, "nets batch ... units"], sink: dict[str, Array]) -> Array:
    """m; the gradient with respect to `sink` is what the watcher says of the cotangent of m."""
    return m


def watched_forward(watcher: StatisticsHook, m: Array, sink: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
    """Keeps the sink for its dtypes."""
    return m, sink


def watched_backward(watcher: StatisticsHook, sink: dict[str, Array], c: Array) -> tuple[Array, dict[str, Array]]:
    """What the watcher says."""
    found = watcher.arrived(c)
    return c, {name: found[name].astype(zero.dtype) for name, zero in sink.items()}


watched.defvjp(watched_forward, watched_backward)
