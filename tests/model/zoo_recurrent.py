"""Recurrent networks and state spaces that train, and ways to break them."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from zoo_parts import Broken, Model, Random, cross_entropy, fan_in, labels, layer_norm, normal, ones, orthogonal, zeros

STEPS, BATCH, INPUTS, CLASSES = 32, 16, 8, 4


def sequences(random: Random, steps: int) -> tuple[Any, Any]:
    """(steps, batch, inputs) and a class of each sequence."""
    return normal(random, 1, steps, BATCH, INPUTS), labels(random, CLASSES, BATCH)


def lstm(
    random: Random, *, width: int = 64, steps: int = STEPS, forget: float = 1.0, offset: float = 0.0, gain: float = 1.0
) -> Model:
    """Classes of the last state. forget: bias of the forget gate; offset: of all gates; gain: of all weights."""
    cell = {
        "input": fan_in(random, gain, INPUTS, 4 * width),
        "bias": (offset + zeros(4 * width)).at[:width].add(forget),
    }
    cell["hidden"] = gain**0.5 * jnp.concatenate([orthogonal(random, 1, width, width) for _ in range(4)], 1)

    def loss(p: Any, x: Any, target: Any) -> Any:
        def step(state: Any, x: Any) -> tuple[Any, None]:
            h, c = state
            q = p["cell"]
            f, i, o, g = jnp.split(x @ q["input"] + h @ q["hidden"] + q["bias"], 4, -1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

        (h, _), _ = jax.lax.scan(step, (jnp.zeros((BATCH, width)),) * 2, x)
        return cross_entropy(h @ p["head"], target)

    return Model(loss, ({"cell": cell, "head": fan_in(random, 1, width, CLASSES)}, *sequences(random, steps)))


def gru(random: Random, *, width: int = 64, steps: int = STEPS, gain: float = 1.0) -> Model:
    """Classes of the last state; hidden weights orthogonal times sqrt(gain)."""
    cell = {"input": fan_in(random, 1, INPUTS, 3 * width), "bias": zeros(3 * width)}
    cell["hidden"] = jnp.concatenate([orthogonal(random, gain**0.5, width, width) for _ in range(3)], 1)

    def loss(p: Any, x: Any, target: Any) -> Any:
        def step(h: Any, x: Any) -> tuple[Any, None]:
            q = p["cell"]
            a, b = x @ q["input"] + q["bias"], h @ q["hidden"]
            r, z = jnp.split(jax.nn.sigmoid(a[:, : 2 * width] + b[:, : 2 * width]), 2, -1)
            new = jnp.tanh(a[:, 2 * width :] + r * b[:, 2 * width :])
            return z * h + (1 - z) * new, None

        return cross_entropy(jax.lax.scan(step, jnp.zeros((BATCH, width)), x)[0] @ p["head"], target)

    return Model(loss, ({"cell": cell, "head": fan_in(random, 1, width, CLASSES)}, *sequences(random, steps)))


def elman(
    random: Random, *, width: int = 64, steps: int = STEPS, gain: float | None = None, act: Any = jax.nn.relu
) -> Model:
    """A plain recurrent network; its matrix is orthogonal times sqrt(gain), and the identity by default, as in IRNN."""

    def loss(p: Any, x: Any, target: Any) -> Any:
        def step(h: Any, x: Any) -> tuple[Any, None]:
            return act(x @ p["cell"]["input"] + h @ p["cell"]["hidden"]), None

        return cross_entropy(jax.lax.scan(step, jnp.zeros((BATCH, width)), x)[0] @ p["head"], target)

    cell = {"input": fan_in(random, 0.1, INPUTS, width), "hidden": jnp.eye(width)}
    if gain is not None:
        cell["hidden"] = orthogonal(random, gain**0.5, width, width)
    return Model(loss, ({"cell": cell, "head": fan_in(random, 1, width, CLASSES)}, *sequences(random, steps)))


def state_space(random: Random, *, depth: int = 4, width: int = 32, states: int = 32) -> Model:
    """LRU blocks: a diagonal complex recurrence on a ring, normalized inputs, gated outputs, residual."""
    radius = random.uniform(0.9, 0.99, size=(depth, states))
    angle = random.uniform(0, 6.28, size=(depth, states))
    blocks = {
        "nu": jnp.asarray(jnp.log(-jnp.log(radius)), jnp.float32),
        "theta": jnp.asarray(jnp.log(angle), jnp.float32),
        "re": fan_in(random, 0.5, depth, width, states),
        "im": fan_in(random, 0.5, depth, width, states),
        "out_re": fan_in(random, 1, depth, states, width),
        "out_im": fan_in(random, 1, depth, states, width),
        "gate": fan_in(random, 1, depth, width, width),
        "norm": {"scale": ones(depth, width), "bias": zeros(depth, width)},
    }

    def pair(a: Any, b: Any) -> Any:
        return a[0] * b[0], b[0] * a[1] + b[1]

    def block(x: Any, q: Any) -> tuple[Any, None]:
        h = layer_norm(x, **q["norm"])
        magnitude = jnp.exp(-jnp.exp(q["nu"]))
        a = magnitude * jnp.exp(1j * jnp.exp(q["theta"]))
        u = (h @ q["re"] + 1j * (h @ q["im"])) * jnp.sqrt(1 - magnitude**2)
        _, s = jax.lax.associative_scan(pair, (jnp.broadcast_to(a, u.shape), u))
        y = jax.nn.gelu(s.real @ q["out_re"] - s.imag @ q["out_im"])
        return x + y * jax.nn.sigmoid(y @ q["gate"]), None

    def loss(p: Any, x: Any, target: Any) -> Any:
        return cross_entropy(jax.lax.scan(block, x @ p["stem"], p["blocks"])[0].mean(0) @ p["head"], target)

    p = {"stem": fan_in(random, 1, INPUTS, width), "blocks": blocks, "head": fan_in(random, 1, width, CLASSES)}
    return Model(loss, (p, *sequences(random, STEPS)))


HEALTHY = {
    "lstm with forget bias 1": lstm,
    "gru": gru,
    "irnn": elman,
    "state space": state_space,
}
BROKEN = {
    "lstm, gates saturated by their bias": Broken(partial(lstm, offset=20.0), "saturated", "cell"),
    "lstm, weights 5 times too large": Broken(partial(lstm, gain=25.0), "saturated", "cell"),
    "gru of 200 steps": Broken(partial(gru, steps=200, gain=0.25), "vanishing", "cell"),
    "rnn of 100 steps, weights too small": Broken(
        partial(elman, steps=100, gain=0.5, act=jnp.tanh), "vanishing", "cell"
    ),
    "rnn of 60 steps, weights too large": Broken(partial(elman, steps=60, gain=4.0), "exploding", "cell"),
}
