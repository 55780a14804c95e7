"""Lines for JAX, Flax, Equinox, PyTorch and Keras that set Var W = sigma_w2 / fan_in and Var b = sigma_b2, exactly."""

import math
from typing import NamedTuple

from varprobe.errors import lookup

__all__ = ["FRAMEWORKS", "Framework", "framework", "snippets"]


class Framework(NamedTuple):
    """What a framework's dense layer starts from, as call forms, and the lines that replace it.

    In `lines` {scale} is sigma_w2 and {bias} one of two: `drawn`, normal with {std}, or `zero`. They may use the names
    model, key, rngs, fan_in, fan_out and units, which are the user's.
    """

    init: str
    bias: str
    lines: str
    drawn: str
    zero: str


EQUINOX = """\
import equinox as eqx
import jax

def linears(tree):
    is_linear = lambda node: isinstance(node, eqx.nn.Linear)
    leaves = jax.tree.leaves(tree, is_leaf=is_linear)
    return [leaf for leaf in leaves if is_linear(leaf)]

def weights(tree):
    return [layer.weight for layer in linears(tree)]

def biases(tree):
    return [layer.bias for layer in linears(tree) if layer.bias is not None]

def redrawn(model, where, init, key):
    old = where(model)
    keys = jax.random.split(key, len(old) + 1)
    new = [init(k, a.shape, a.dtype) for k, a in zip(keys, old)]
    return eqx.tree_at(where, model, new) if old else model

weight_init = jax.nn.initializers.variance_scaling(
    {scale}, "fan_in", "normal", in_axis=-1, out_axis=-2
)
bias_init = {bias}
model = redrawn(model, weights, weight_init, jax.random.fold_in(key, 0))
model = redrawn(model, biases, bias_init, jax.random.fold_in(key, 1))"""
PYTORCH = """\
import math
from torch import nn

def reinitialize(module):
    if isinstance(module, nn.Linear):
        std = math.sqrt({scale} / module.in_features)
        nn.init.normal_(module.weight, std=std)
        if module.bias is not None:
            {bias}

model.apply(reinitialize)"""
JAX = """\
import jax

kernel_init = jax.nn.initializers.variance_scaling(
    {scale}, "fan_in", "normal"
)
bias_init = {bias}"""
FLAX = """\
from flax import nnx

kernel_init = nnx.initializers.variance_scaling(
    {scale}, "fan_in", "normal"
)
bias_init = {bias}
layer = nnx.Linear(
    fan_in, fan_out, kernel_init=kernel_init, bias_init=bias_init, rngs=rngs
)"""
KERAS = """\
import keras

kernel_initializer = keras.initializers.VarianceScaling(
    scale={scale}, mode="fan_in", distribution="untruncated_normal"
)
bias_initializer = {bias}
layer = keras.layers.Dense(
    units,
    kernel_initializer=kernel_initializer,
    bias_initializer=bias_initializer,
)"""

JAX_NORMAL, JAX_ZEROS = "jax.nn.initializers.normal(stddev={std})", "jax.nn.initializers.zeros"
FRAMEWORKS: dict[str, Framework] = {
    "jax": Framework("lecun_normal", "zeros", JAX, JAX_NORMAL, JAX_ZEROS),
    "flax": Framework(
        "lecun_normal", "zeros", FLAX, "nnx.initializers.normal(stddev={std})", "nnx.initializers.zeros_init()"
    ),
    "equinox": Framework("torch_default", "torch_default", EQUINOX, JAX_NORMAL, JAX_ZEROS),
    "pytorch": Framework(
        "torch_default",
        "torch_default",
        PYTORCH,
        "nn.init.normal_(module.bias, std={std})",
        "nn.init.zeros_(module.bias)",
    ),
    "keras": Framework("glorot_uniform", "zeros", KERAS, "keras.initializers.RandomNormal(stddev={std})", '"zeros"'),
}
"""jax itself has no layers; for it the default of Flax is taken."""


def framework(name: str) -> Framework:
    """One of `FRAMEWORKS`.

    Raises:
        InvalidArgumentError: there is none of that name.
    """
    return lookup(FRAMEWORKS, name, "framework")


def snippets(sigma_w2: float, sigma_b2: float) -> dict[str, str]:
    """Framework -> lines of Python, ready to paste."""
    std = repr(float(f"{math.sqrt(sigma_b2):.10g}"))
    return {
        name: found.lines.format(scale=repr(sigma_w2), bias=(found.drawn if sigma_b2 else found.zero).format(std=std))
        for name, found in FRAMEWORKS.items()
    }
