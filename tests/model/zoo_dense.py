"""Stacks of dense layers that train, and ways to break them."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from zoo_parts import (
    Broken,
    Model,
    Random,
    cross_entropy,
    fan_in,
    labels,
    layer_norm,
    normal,
    ones,
    uniform,
    zeros,
)

CLASSES, BATCH = 10, 64


def mlp(
    random: Random,
    *,
    act: Callable[[Any], Any] = jax.nn.relu,
    depth: int = 12,
    width: int = 128,
    gain: float = 2.0,
    head: float = 1.0,
    offset: float = 0.0,
    changed: tuple[int, float] | None = None,
    detached: bool = False,
    dtype: Any = jnp.float32,
    step_size: float | None = None,
) -> Model:
    """A plain stack of hidden layers and a head, for 10 classes.

    Args:
        random: the source of weights and data.
        act: activation.
        depth: number of hidden layers.
        width: of each.
        gain: width times the variance of the weights.
        head: the same of the head.
        offset: bias of each hidden layer.
        changed: (layer, factor): the weights of one layer, times factor.
        detached: whether the loss stops all gradients.
        dtype: of the weights and the data.
        step_size: of gradient descent.
    """
    factors = {changed[0]: changed[1]} if changed else {}
    layers = [
        {"w": factors.get(i, 1) * fan_in(random, gain, width, width), "b": offset + zeros(width)} for i in range(depth)
    ]

    def loss(p: Any, x: Any, target: Any) -> Any:
        for q in p["layers"]:
            x = act(x @ q["w"] + q["b"])
        x = x @ p["head"]
        return cross_entropy(jax.lax.stop_gradient(x) if detached else x, target)

    p = {"layers": layers, "head": fan_in(random, head, width, CLASSES)}
    x = normal(random, 1, BATCH, width)
    p = jax.tree.map(lambda w: w.astype(dtype), p)
    return Model(loss, (p, x.astype(dtype), labels(random, CLASSES, BATCH)), {"step_size": step_size})


def regression(random: Random, *, depth: int = 4, width: int = 64, unit: float = 1.0) -> Model:
    """Mean squared error of a small MLP. unit: of the targets."""

    def outputs(p: Any, x: Any) -> Any:
        for w in p["layers"]:
            x = jax.nn.relu(x @ w)
        return x @ p["head"]

    p = {"layers": [fan_in(random, 2, width, width) for _ in range(depth)], "head": fan_in(random, 1, width, 1)}
    x = normal(random, 1, BATCH, width)
    return Model(outputs, (p, x, unit * jnp.sin(x[:, :1])), {"loss": "mse"})


def residual(
    random: Random, *, depth: int = 24, width: int = 64, last: float = 0.0, gate: float | None = None
) -> Model:
    """Two layers in each branch and no norms, as a scan. last: gain of the second; gate: factor of each branch."""
    blocks = {"up": fan_in(random, 2, depth, width, width), "down": fan_in(random, last, depth, width, width)}
    if gate is not None:
        blocks["gate"] = gate * ones(depth)

    def block(x: Any, q: Any) -> tuple[Any, None]:
        return x + jax.nn.relu(x @ q["up"]) @ q["down"] * q.get("gate", 1), None

    def loss(p: Any, x: Any, target: Any) -> Any:
        return cross_entropy(jax.lax.scan(block, x @ p["stem"], p["blocks"])[0] @ p["head"], target)

    p = {"stem": fan_in(random, 1, 32, width), "blocks": blocks, "head": fan_in(random, 0.1, width, CLASSES)}
    return Model(loss, (p, normal(random, 1, BATCH, 32), labels(random, CLASSES, BATCH)))


def siren(random: Random, *, depth: int = 5, width: int = 128, most: float | None = None) -> Model:
    """sin(30 (W x + b)) with the published initialization: uniform by 1/n at first, then by sqrt(6/n) / 30."""
    most = math.sqrt(6 / width) / 30 if most is None else most
    shapes = [(2, width), *[(width, width)] * (depth - 1)]
    layers = [
        {"w": uniform(random, 0.5 if i == 0 else most, *shape), "b": uniform(random, shape[0] ** -0.5 / 30, width)}
        for i, shape in enumerate(shapes)
    ]

    def loss(p: Any, x: Any, y: Any) -> Any:
        for q in p["layers"]:
            x = jnp.sin(30 * (x @ q["w"] + q["b"]))
        return jnp.square(x @ p["out"] - y).mean()

    p = {"layers": layers, "out": uniform(random, math.sqrt(6 / width) / 30, width, 1)}
    x = uniform(random, 1, 256, 2)
    return Model(loss, (p, x, jnp.sin(9 * x[:, :1]) * jnp.cos(7 * x[:, 1:])))


def weight_normalized(random: Random, depth: int = 8, width: int = 64) -> Model:
    """Each column of a matrix is g v / |v|."""
    layers = [{"v": normal(random, 0.05, width, width), "g": math.sqrt(2) * ones(width)} for _ in range(depth)]

    def loss(p: Any, x: Any, target: Any) -> Any:
        for q in p["layers"]:
            x = jax.nn.relu(x @ (q["g"] * q["v"] / jnp.linalg.norm(q["v"], axis=0)))
        return cross_entropy(x @ p["head"], target)

    p = {"layers": layers, "head": fan_in(random, 1, width, CLASSES)}
    return Model(loss, (p, normal(random, 1, BATCH, width), labels(random, CLASSES, BATCH)))


def prototypes(random: Random, width: int = 64) -> Model:
    """A classifier that already knows the answers: its logits are large, its loss is far below chance."""
    centres = normal(random, 1, CLASSES, width)
    target = labels(random, CLASSES, BATCH)

    def loss(p: Any, x: Any, target: Any) -> Any:
        return cross_entropy(jnp.tanh(x @ p["layer"]) @ p["head"], target)

    layer = fan_in(random, 1, width, width)
    p = {"layer": layer, "head": jnp.tanh(centres @ layer).T * 0.7}
    return Model(loss, (p, centres[target] + 0.3 * normal(random, 1, BATCH, width), target))


def normed(random: Random, depth: int = 10, width: int = 64) -> Model:
    """Layer norm before each activation, weights N(0, 1): their scale does not matter."""
    layers = [{"w": normal(random, 1, width, width), "s": ones(width), "b": zeros(width)} for _ in range(depth)]

    def loss(p: Any, x: Any, target: Any) -> Any:
        for q in p["layers"]:
            x = jax.nn.gelu(layer_norm(x @ q["w"], q["s"], q["b"]))
        return cross_entropy(x @ p["head"], target)

    p = {"layers": layers, "head": fan_in(random, 0.1, width, CLASSES)}
    return Model(loss, (p, normal(random, 1, BATCH, width), labels(random, CLASSES, BATCH)))


HEALTHY: dict[str, Callable[[Random], Model]] = {
    "he relu of 30 layers": partial(mlp, depth=30),
    "glorot tanh of 20 layers": partial(mlp, act=jnp.tanh, gain=1.0, depth=20),
    "selu of 20 layers": partial(mlp, act=jax.nn.selu, gain=1.0, depth=20),
    "residual, last layers zero": residual,
    "residual, gates zero": partial(residual, last=1.0, gate=0.0),
    "residual by 1 / sqrt(depth)": partial(residual, last=1 / 24),
    "siren": siren,
    "regression": regression,
    "weight norm": weight_normalized,
    "layer norm, N(0, 1)": normed,
    "prototypes": prototypes,
}
BROKEN = {
    "tanh, weights too small": Broken(partial(mlp, act=jnp.tanh, gain=0.25, depth=30), "vanishing", "layers/"),
    "tanh, weights too large": Broken(partial(mlp, act=jnp.tanh, gain=900.0, depth=12), "saturated", "layers/"),
    "relu of 50 layers with 1 / n": Broken(partial(mlp, gain=1.0, depth=50), "vanishing", "layers/"),
    "sigmoid of 20 layers": Broken(partial(mlp, act=jax.nn.sigmoid, gain=1.0, depth=20), "vanishing", "layers/"),
    "one layer 100 times too large": Broken(partial(mlp, changed=(5, 100.0)), "outlier", "layers/5"),
    "one layer 100 times too small": Broken(partial(mlp, changed=(5, 0.01)), "outlier", "layers/5"),
    "units switched off by a bias": Broken(partial(mlp, offset=-10.0), "dead", "layers/0"),
    "all weights zero": Broken(partial(mlp, gain=0.0, head=0.0), "no_gradient", ""),
    "gradients stopped": Broken(partial(mlp, detached=True), "no_gradient", ""),
    "float16 overflows": Broken(partial(mlp, gain=400.0, dtype=jnp.float16), "non_finite", "layers/"),
    "residual of 64 blocks without scale": Broken(partial(residual, depth=64, last=1.0), "exploding", "blocks/"),
    "siren, all layers by 1 / n": Broken(partial(siren, depth=8, most=1 / 128 / 30), "vanishing", "layers/"),
    "regression, targets of 10000": Broken(partial(regression, unit=1e4), "target_scale", ""),
    "updates lost to rounding": Broken(partial(mlp, depth=4, dtype=jnp.bfloat16, step_size=1e-5), "lost_updates", ""),
}
