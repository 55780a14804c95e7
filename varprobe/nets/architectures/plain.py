"""`plain`: weights, bias, norm, activation, dropout; `order=pre` activates before the weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array

from varprobe.nets.architectures.architecture import Architecture, Plain, WeightSpec
from varprobe.nets.architectures.layer import Layer
from varprobe.nets.scaled_float import Signal
from varprobe.spec.parameters import Parameter

__all__ = ["PlainStack"]


@dataclass(frozen=True)
class PlainStack(Architecture):
    """post: h = phi(h W + b). pre: h = phi(h) W + b, whose z and h are one."""

    order: str = "post"

    meaning: ClassVar[str] = "weights, bias, norm, activation; order=pre: norm and activation before the weights"
    layer: ClassVar[str] = "one weight layer, h_l = phi(z_l); pre: h_l = z_l"
    z: ClassVar[str] = "h_{l-1} W + b; pre: phi(h_{l-1}) W + b"
    delta: ClassVar[str] = "dLoss/dz_l"
    homogeneous: ClassVar[bool] = True
    parameters: ClassVar[Mapping[str, Parameter]] = {"order": Parameter("post", "word", ("post", "pre"))}

    def slots(self, fan_in: int, fan_out: int) -> tuple[WeightSpec, ...]:
        """One matrix."""
        return (WeightSpec("w", fan_in, fan_out),)

    def block(self, layer: Layer, x: Signal) -> Signal:
        """One layer."""
        if self.order == "pre":
            return layer.see("preactivation", layer.linear("w", layer.activated(x)))
        return layer.activated(layer.see("preactivation", layer.linear("w", x)))

    def reference(self, plain: Plain, p: Mapping[str, Array], x: Array) -> Array:
        """One layer."""
        linear = lambda h: jnp.matmul(h, p["w"], precision="highest") + p["b"]  # noqa: E731
        return linear(activated(plain, x)) if self.order == "pre" else activated(plain, linear(x))


def activated(plain: Plain, z: Array, site: int = 0) -> Array:
    """norm, phi, norm, dropout, as `Layer.activated`."""
    return plain.dropped(plain.norm(plain.phi(plain.norm(z, "pre")), "post"), site)
