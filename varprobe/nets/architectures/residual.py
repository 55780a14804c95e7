"""`residual`: x + scale * branch(x), with no activation after the add; a block is a layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array

from varprobe.nets.architectures.architecture import Architecture, Plain, WeightSpec
from varprobe.nets.architectures.layer import Layer
from varprobe.nets.architectures.plain import activated
from varprobe.nets.initializers import LayerContext
from varprobe.nets.scaled_float import Signal
from varprobe.spec.expressions import Expression
from varprobe.spec.parameters import Parameter

__all__ = ["Residual"]


@dataclass(frozen=True)
class Residual(Architecture):
    """Branches of one or two layers: post phi(x W), phi(x W) V; pre phi(x) W, phi(phi(x) W) V."""

    branch_layers: int = 2
    branch_scale: Expression | None = None
    order: str = "post"

    meaning: ClassVar[str] = "x + branch_scale * branch(x), no activation after the add"
    layer: ClassVar[str] = "one block; its activation is the stream x_l after it"
    z: ClassVar[str] = "of the branch's first matrix: x W + b; pre: phi(x) W + b"
    delta: ClassVar[str] = "dLoss/dx_l, of the stream; dLoss/dz is preactivation_gradient_*"
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "branch_layers": Parameter(2, "whole", (2, 1)),
        "branch_scale": Parameter("1", "expression"),
        "order": Parameter("post", "word", ("post", "pre")),
    }
    gradients: ClassVar[Mapping[str, str]] = {
        "activation": "gradient",
        "preactivation": "preactivation_gradient",
        "branch": "branch_gradient",
    }
    quantities: ClassVar[Mapping[str, str]] = {
        "stream": "stream x_l after the block, the same as the activation",
        "branch": "branch before it is scaled and added",
        "branch_gradient": "gradient of the branch",
        "preactivation_gradient": "gradient of the preactivation",
    }
    scalars: ClassVar[Mapping[str, str]] = {
        "stream_share": "mean square of x_{l-1} over that of x_l",
        "branch_share": "mean square of the scaled branch over that of x_l",
    }
    stream: ClassVar[bool] = True

    def slots(self, fan_in: int, fan_out: int) -> tuple[WeightSpec, ...]:
        """W, and V where the branch has two layers."""
        m = self.branch_layers
        both = WeightSpec("w", fan_in, fan_out, branch=m), WeightSpec("v", fan_out, fan_out, last=True, branch=m)
        return both if m == 2 else (both[0]._replace(last=True),)

    def block(self, layer: Layer, x: Signal) -> Signal:
        """One block."""
        inner, lift = layer.enter(x, ("preactivation", "branch", "w_weight", "v_weight"))
        z = layer.see("preactivation", layer.linear("w", layer.activated(inner) if self.order == "pre" else inner))
        if self.branch_layers == 1:
            out = z if self.order == "pre" else layer.activated(z)
        else:
            out = layer.linear("v", layer.activated(z))
        branch = layer.scaled(layer.see("branch", out), layer.numbers["branch_scale"])
        total = layer.added(x, branch, lift)
        layer.shares_of(x, branch, total)
        return total

    def reference(self, plain: Plain, p: Mapping[str, Array], x: Array) -> Array:
        """One block."""
        h = activated(plain, x) if self.order == "pre" else x
        z = jnp.matmul(h, p["w"], precision="highest") + p["b"]
        second = 1 if self.order == "pre" else 0
        if self.branch_layers == 1:
            out = z if self.order == "pre" else activated(plain, z)
        else:
            out = jnp.matmul(activated(plain, z, second), p["v"], precision="highest") + p["b_v"]
        return x + plain.numbers["branch_scale"] * out

    def static(self) -> Residual:
        """Without the scale."""
        return replace(self, branch_scale=None)

    def numbers(self, place: LayerContext) -> dict[str, float]:
        """The scale of a block."""
        assert self.branch_scale is not None
        return {"branch_scale": self.branch_scale.evaluate(**place._asdict())}
