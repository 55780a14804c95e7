"""`transformer`: self-attention and a perceptron, each in a residual branch of the stream; a block is a layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array

from varprobe.nets.architectures.architecture import Architecture, Plain, WeightSpec
from varprobe.nets.architectures.layer import Layer
from varprobe.nets.norms import Norm
from varprobe.nets.scaled_float import Signal, wide
from varprobe.nets.softmax import softmax_entropy
from varprobe.spec.parameters import Parameter
from varprobe.storage.memory import machine_bytes, memory_text

__all__ = ["Transformer"]

ATTENTION, PERCEPTRON = 0, 1
"""Numbers of the sites of dropout."""
SCORES = 3
"""Arrays of scores that are worked on at once."""


@dataclass(frozen=True)
class Transformer(Architecture):
    """x += O attention(Q, K, V of norm(x)); x += D phi(W norm(x)). Samples are (tokens, width).

    `norm_position` pre normalizes what enters a branch, post the stream after each add (Vaswani et al. 2017), none
    nothing; pre has no further norm after the last block. The norm is --norm's, layer norm where that is none; its own
    position is not used. `gated`: D (phi(G h) * (W h)). Dropout stands at the end of each branch, as in GPT-2; there is
    none on the attention's probabilities.
    """

    heads: int = 8
    tokens: int = 16
    causal: bool = False
    norm_position: str = "pre"
    mlp_ratio: float = 4
    gated: bool = False

    meaning: ClassVar[str] = "attention and perceptron, each added to the stream; --norm none is layer norm here"
    layer: ClassVar[str] = "one block, attention and perceptron; its activation is the stream x_l after it"
    z: ClassVar[str] = "of the perceptron, where phi is applied: h W + b; gated: h G + b"
    delta: ClassVar[str] = "dLoss/dx_l, of the stream; dLoss/dz is preactivation_gradient_*"
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "heads": Parameter(8, "whole", low=1, high=2**16),
        "tokens": Parameter(16, "whole", low=1, high=2**20),
        "causal": Parameter(False, "flag"),
        "norm_position": Parameter("pre", "word", ("pre", "post", "none")),
        "mlp_ratio": Parameter(4, "number", above=True, high=2**10),
        "gated": Parameter(False, "flag"),
    }
    gradients: ClassVar[Mapping[str, str]] = {
        "activation": "gradient",
        "preactivation": "preactivation_gradient",
        "attention_branch": "attention_branch_gradient",
        "mlp_branch": "mlp_branch_gradient",
    }
    quantities: ClassVar[Mapping[str, str]] = {
        "stream": "stream x_l after the block, the same as the activation",
        "attention_branch": "output of the attention before it is added",
        "attention_branch_gradient": "gradient of the attention's output",
        "mlp_branch": "output of the perceptron before it is added",
        "mlp_branch_gradient": "gradient of the perceptron's output",
        "preactivation_gradient": "gradient of the preactivation",
    }
    scalars: ClassVar[Mapping[str, str]] = {
        "attention_entropy": "entropy of the attention's probabilities in nats, 0 to log(tokens), mean over queries",
        "token_similarity": "mean cosine between distinct tokens of a sample in the stream after the block",
    }
    stream: ClassVar[bool] = True

    @property
    def own_norm(self) -> Norm:
        """Layer norm, unless there is no place for one."""
        return Norm("none" if self.norm_position == "none" else "layer")

    def slots(self, fan_in: int, fan_out: int) -> tuple[WeightSpec, ...]:
        """W and D of the perceptron, its gate, and the projections of the attention."""
        n, hidden = fan_out, max(1, round(self.mlp_ratio * fan_out))
        gate = (WeightSpec("gate", n, hidden, "mlp", branch=2),) if self.gated else ()
        return (
            WeightSpec("w", n, hidden, "mlp", branch=2),
            WeightSpec("down", hidden, n, "mlp", last=True, branch=2),
            *gate,
            *(
                WeightSpec(name, n, n, role, kind="attention", branch=2)
                for name, role in (("q", "qk"), ("k", "qk"), ("v", "v"))
            ),
            WeightSpec("o", n, n, "o", last=True, kind="attention_out", branch=2),
        )

    def block(self, layer: Layer, x: Signal) -> Signal:
        """One block."""
        for site, branch, slots in (
            ("attention_branch", self.attention, ("q", "k", "v", "o")),
            ("mlp_branch", self.perceptron, ("w", "down", "gate")),
        ):
            h, lift = layer.enter(x, (site, "preactivation", *(f"{s}_weight" for s in slots)))
            h = layer.norm(h, "pre") if self.norm_position == "pre" else h
            x = layer.added(x, layer.see(site, branch(layer, h)), lift)
            x = layer.norm(x, "pre") if self.norm_position == "post" else x
        layer.scalars["token_similarity"] = layer.similarity(x)
        return x

    def attention(self, layer: Layer, h: Signal) -> Signal:
        """The branch of the attention."""
        (for_q, lift_q), (for_k, lift_k) = (layer.enter(h, (f"{name}_weight",)) for name in "qk")
        q, k, v = layer.linear("q", for_q), layer.linear("k", for_k), layer.linear("v", h)
        y = layer.attended(q, k, v, self.heads, self.causal, (lift_q, lift_k))
        return layer.dropped(layer.linear("o", y), ATTENTION)

    def perceptron(self, layer: Layer, h: Signal) -> Signal:
        """The branch of the perceptron."""
        if self.gated:
            z = layer.see("preactivation", layer.linear("gate", h))
            open_, up = layer.phi(z), layer.linear("w", h)
            y = layer.stored(Signal(wide(open_.m) * wide(up.m), open_.e + up.e))
        else:
            y = layer.phi(layer.see("preactivation", layer.linear("w", h)))
        return layer.dropped(layer.linear("down", y), PERCEPTRON)

    def reference(self, plain: Plain, p: Mapping[str, Array], x: Array) -> Array:
        """One block."""

        def linear(name: str, h: Array) -> Array:
            return jnp.matmul(h, p[name], precision="highest") + p["b" if name == "w" else f"b_{name}"]

        def attention(h: Array) -> Array:
            q, k, v = (linear(s, h).reshape(*h.shape[:2], self.heads, -1) for s in "qkv")
            s = jnp.einsum("bqhd,bkhd->bhqk", q, k, precision="highest") / math.sqrt(q.shape[-1])
            s = jnp.where(jnp.tri(s.shape[-1], dtype=bool), s, -jnp.inf) if self.causal else s
            y = jnp.einsum("bhqk,bkhd->bqhd", softmax_entropy(s)[0], v, precision="highest")
            return plain.dropped(linear("o", y.reshape(h.shape)), ATTENTION)

        def perceptron(h: Array) -> Array:
            y = plain(linear("gate", h)) * linear("w", h) if self.gated else plain(linear("w", h))
            return plain.dropped(linear("down", y), PERCEPTRON)

        for branch in (attention, perceptron):
            x = x + branch(plain.norm(x, "pre") if self.norm_position == "pre" else x)
            x = plain.norm(x, "pre") if self.norm_position == "post" else x
        return x

    def sample_shape(self, units: int) -> tuple[int, ...]:
        """Tokens of so many units."""
        return self.tokens, units

    def kept_units(self, units: int) -> int:
        """The attention's scores of a token."""
        return self.heads * self.tokens

    def refusal(self, config: Any) -> str | None:
        """Heads that do not divide the units, a norm without a place or with two, and scores beyond the memory."""
        width = config.widths[-1]
        if width % self.heads:
            return f"{self.heads} heads do not divide {width} units"
        if config.norm and self.norm_position == "none":
            return f"norm_position=none leaves no place for --norm {config.norm_name}"
        if config.norm.position == "post":
            return f"norm_position says where a norm stands; leave position= out of --norm {config.norm_name}"
        need, have = (
            SCORES * 4 * math.prod(map(float, (config.batch, self.heads, self.tokens, self.tokens))),
            machine_bytes(),
        )
        if need > have:
            return f"its scores need about {memory_text(need)} of memory; this machine has {memory_text(have)}"
        return None
