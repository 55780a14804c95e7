"""Dense networks of other inputs and losses that train, graphs and generative models among them; ways to break them."""

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
    normal,
    orthogonal,
    uniform,
    zeros,
)

BATCH = 64


def pinn(random: Random, *, depth: int = 5, width: int = 64) -> Model:
    """Poisson's equation: the loss has second derivatives of the network."""
    sizes = [1, *[width] * depth, 1]
    p = [
        {"w": normal(random, (2 / (a + b)) ** 0.5, a, b), "b": zeros(b)} for a, b in zip(sizes, sizes[1:], strict=False)
    ]

    def u(p: Any, x: Any) -> Any:
        h = x[None]
        for q in p[:-1]:
            h = jnp.tanh(h @ q["w"] + q["b"])
        return (h @ p[-1]["w"] + p[-1]["b"])[0]

    def loss(p: Any, x: Any) -> Any:
        second = jax.vmap(jax.grad(jax.grad(u, 1), 1), (None, 0))(p, x)
        ends = jax.vmap(u, (None, 0))(p, jnp.array([0.0, 1.0]))
        return jnp.square(second + jnp.pi**2 * jnp.sin(jnp.pi * x)).mean() + jnp.square(ends).sum()

    return Model(loss, (p, uniform(random, 0.5, 64) + 0.5))


def deep_sets(random: Random, width: int = 64) -> Model:
    """Three layers for each element, the mean, and three layers for the set."""
    p = {name: [fan_in(random, 2, width, width) for _ in range(3)] for name in ("element", "whole")}

    def loss(p: Any, x: Any, y: Any) -> Any:
        for w in p["element"]:
            x = jax.nn.relu(x @ w)
        x = x.mean(1)
        for w in p["whole"]:
            x = jax.nn.relu(x @ w)
        return jnp.square(x @ p["out"] - y).mean()

    x = normal(random, 1, 32, 8, width)
    return Model(loss, (p | {"out": fan_in(random, 1, width, 1)}, x, jnp.square(x).mean((1, 2))[:, None]))


def ordinary_equation(random: Random, width: int = 32) -> Model:
    """A neural ODE: 20 steps of Euler's method through one small network."""

    def loss(p: Any, x: Any, y: Any) -> Any:
        def step(h: Any, _: Any) -> tuple[Any, None]:
            return h + 0.05 * jnp.tanh(h @ p["field"]["up"] + p["field"]["b"]) @ p["field"]["down"], None

        h, _ = jax.lax.scan(step, x @ p["stem"], length=20)
        return jnp.square(h @ p["head"] - y).mean()

    field = {
        "up": fan_in(random, 1, width, 2 * width),
        "b": zeros(2 * width),
        "down": fan_in(random, 1, 2 * width, width),
    }
    p = {"stem": fan_in(random, 1, 4, width), "field": field, "head": fan_in(random, 1, width, 1)}
    x = normal(random, 1, BATCH, 4)
    return Model(loss, (p, x, x[:, :1] * x[:, 1:2]))


def flow(random: Random, depth: int = 6, width: int = 8, hidden: int = 64) -> Model:
    """Affine couplings, the last layers of which start at zero; negative log-likelihood."""
    layers = [
        {
            "in": fan_in(random, 2, width // 2, hidden),
            "hidden": fan_in(random, 2, hidden, hidden),
            "out": zeros(hidden, width),
        }
        for _ in range(depth)
    ]

    def loss(p: Any, x: Any) -> Any:
        a, b = jnp.split(x, 2, -1)
        volume = 0.0
        for q in p:
            h = jax.nn.relu(jax.nn.relu(a @ q["in"]) @ q["hidden"]) @ q["out"]
            log_scale, shift = jnp.split(h, 2, -1)
            log_scale = jnp.tanh(log_scale)
            a, b = b * jnp.exp(log_scale) + shift, a
            volume = volume + log_scale.sum(-1)
        return (0.5 * (jnp.square(a) + jnp.square(b)).sum(-1) - volume).mean()

    return Model(loss, (layers, normal(random, 1, BATCH, width) @ fan_in(random, 1, width, width)))


def graph(random: Random, *, depth: int = 4, width: int = 64, residual: bool = True, nodes: int = 32) -> Model:
    """A graph convolution network with the normalized adjacency of Kipf and Welling; classes of nodes."""
    edges = random.random((nodes, nodes)) < 4 / nodes
    a = (edges | edges.T | (random.permutation(nodes) == (jnp.arange(nodes)[:, None] + 1) % nodes)).astype("float32")
    a = jnp.maximum(a, a.T)
    a = jnp.maximum(a, jnp.eye(nodes))
    degree = a.sum(1)
    a = a / jnp.sqrt(degree[:, None] * degree)
    layers = [normal(random, (2 / (2 * width)) ** 0.5, width, width) for _ in range(depth)]

    def loss(p: Any, a: Any, x: Any, target: Any) -> Any:
        x = x @ p["stem"]
        for w in p["layers"]:
            y = jax.nn.relu(a @ (x @ w))
            x = x + y if residual else y
        return cross_entropy(x @ p["head"], target)

    p = {"stem": fan_in(random, 1, 16, width), "layers": layers, "head": fan_in(random, 0.1, width, 5)}
    return Model(loss, (p, a, normal(random, 1, nodes, 16), labels(random, 5, nodes)), {"data": 1})


def graph_attention(random: Random, depth: int = 3, width: int = 32, nodes: int = 24) -> Model:
    """GAT: additive attention over the neighbors."""
    edges = random.random((nodes, nodes)) < 5 / nodes
    a = jnp.asarray(edges | edges.T | jnp.eye(nodes, dtype=bool))
    layers = [
        {
            "w": normal(random, width**-0.5, width, width),
            "from": fan_in(random, 1, width, 1),
            "to": fan_in(random, 1, width, 1),
        }
        for _ in range(depth)
    ]

    def loss(p: Any, a: Any, x: Any, target: Any) -> Any:
        for q in p["layers"]:
            h = x @ q["w"]
            score = jax.nn.leaky_relu(h @ q["to"] + (h @ q["from"]).T, 0.2)
            x = x + jax.nn.elu(jax.nn.softmax(jnp.where(a, score, -1e9)) @ h)
        return cross_entropy(x @ p["head"], target)

    p = {"layers": layers, "head": fan_in(random, 0.1, width, 5)}
    return Model(loss, (p, a, normal(random, 1, nodes, width), labels(random, 5, nodes)))


def autoencoder(random: Random, *, latent: int | None = 8, variational: bool = True) -> Model:
    """784 - 256 - 64 - 8 and back, on pixels in [0, 1]; variational: noise and the KL divergence."""
    sizes = [784, 256, 64]
    ends = [latent * 2 if variational else latent]
    encoder = [fan_in(random, 2, a, b) for a, b in zip(sizes, sizes[1:], strict=False)] + [fan_in(random, 1, 64, *ends)]
    back = [latent, 64, 256]
    decoder = [fan_in(random, 2, a, b) for a, b in zip(back, back[1:], strict=False)] + [fan_in(random, 1, 256, 784)]

    def loss(p: Any, x: Any, noise: Any) -> Any:
        h = x
        for w in p["encoder"][:-1]:
            h = jax.nn.relu(h @ w)
        h = h @ p["encoder"][-1]
        divergence = 0.0
        if variational:
            mean, log_variance = jnp.split(h, 2, -1)
            h = mean + jnp.exp(log_variance / 2) * noise
            divergence = 0.5 * (jnp.square(mean) + jnp.exp(log_variance) - 1 - log_variance).sum(-1).mean()
        for w in p["decoder"][:-1]:
            h = jax.nn.relu(h @ w)
        logits = h @ p["decoder"][-1]
        return (jax.nn.softplus(logits) - x * logits).sum(-1).mean() + divergence

    x = jnp.asarray(random.random((32, 784)) < 0.15, jnp.float32)
    return Model(loss, ({"encoder": encoder, "decoder": decoder}, x, normal(random, 1, 32, latent)))


def actor_critic(random: Random, width: int = 64) -> Model:
    """PPO's networks with orthogonal weights: gain sqrt(2), 0.01 for the policy and 1 for the value."""
    sizes = [(8, width), (width, width)]
    p = {
        name: [*(orthogonal(random, math.sqrt(2), *s) for s in sizes), orthogonal(random, gain, width, out)]
        for name, gain, out in (("actor", 0.01, 4), ("critic", 1.0, 1))
    }

    def run(layers: Any, x: Any) -> Any:
        for w in layers[:-1]:
            x = jnp.tanh(x @ w)
        return x @ layers[-1]

    def loss(p: Any, states: Any, actions: Any, advantage: Any, returns: Any) -> Any:
        log_pi = jax.nn.log_softmax(run(p["actor"], states))
        chosen = jnp.take_along_axis(log_pi, actions[:, None], 1)[:, 0]
        ratio = jnp.exp(chosen - jax.lax.stop_gradient(chosen))
        policy = -jnp.minimum(ratio * advantage, jnp.clip(ratio, 0.8, 1.2) * advantage).mean()
        entropy = -(jnp.exp(log_pi) * log_pi).sum(-1).mean()
        return policy + 0.5 * jnp.square(run(p["critic"], states)[:, 0] - returns).mean() - 0.01 * entropy

    draws = (normal(random, 1, BATCH, 8), labels(random, 4, BATCH), normal(random, 1, BATCH), normal(random, 1, BATCH))
    return Model(loss, (p, *draws))


def two_towers(random: Random, width: int = 64) -> Model:
    """CLIP's loss: cosines of two networks' outputs over a learned temperature of 0.07."""
    p = {
        name: [fan_in(random, 2, 32, width), fan_in(random, 2, width, width), fan_in(random, 1, width, width)]
        for name in ("images", "texts")
    }

    def tower(layers: Any, x: Any) -> Any:
        for w in layers[:-1]:
            x = jax.nn.relu(x @ w)
        x = x @ layers[-1]
        return x / jnp.linalg.norm(x, axis=-1, keepdims=True)

    def loss(p: Any, a: Any, b: Any) -> Any:
        logits = jnp.exp(p["temperature"]) * tower(p["images"], a) @ tower(p["texts"], b).T
        same = jnp.arange(len(a))
        return (cross_entropy(logits, same) + cross_entropy(logits.T, same)) / 2

    x = normal(random, 1, 32, 32)
    return Model(loss, (p | {"temperature": jnp.log(1 / 0.07)}, x, x @ fan_in(random, 1, 32, 32)))


def word_vectors(random: Random, vocab: int = 500, width: int = 64) -> Model:
    """Skip-grams with negative samples; vectors uniform by 1 / 2n, contexts zero."""

    def loss(p: Any, centre: Any, context: Any, negative: Any) -> Any:
        v = p["words"][centre]
        good = jnp.einsum("nd,nd->n", v, p["contexts"][context])
        bad = jnp.einsum("nd,nkd->nk", v, p["contexts"][negative])
        return jax.nn.softplus(-good).mean() + jax.nn.softplus(bad).sum(-1).mean()

    p = {"words": uniform(random, 0.5 / width, vocab, width), "contexts": zeros(vocab, width)}
    return Model(loss, (p, labels(random, vocab, 64), labels(random, vocab, 64), labels(random, vocab, 64, 5)))


def bag(random: Random, vocab: int = 500, width: int = 64) -> Model:
    """fastText: the mean of embeddings, and a linear classifier."""

    def loss(p: Any, words: Any, target: Any) -> Any:
        return cross_entropy(jax.nn.relu(p["words"][words].mean(1) @ p["hidden"]) @ p["head"], target)

    p = {"words": normal(random, 1, vocab, width), "hidden": fan_in(random, 2, width, width)}
    return Model(
        loss, (p | {"head": fan_in(random, 1, width, 5)}, labels(random, vocab, 32, 12), labels(random, 5, 32))
    )


def log_likelihood(random: Random, width: int = 64) -> Model:
    """The log of a probability that is exactly 0 after a ReLU."""

    def loss(p: Any, x: Any) -> Any:
        return -jnp.log(jax.nn.relu(jnp.tanh(x @ p["hidden"]) @ p["out"])).mean()

    p = {"hidden": fan_in(random, 1, width, width), "out": fan_in(random, 1, width, 4)}
    return Model(loss, (p, normal(random, 1, BATCH, width)))


HEALTHY: dict[str, Callable[[Random], Model]] = {
    "pinn": pinn,
    "deep sets": deep_sets,
    "neural ode": ordinary_equation,
    "coupling flow": flow,
    "graph convolutions": graph,
    "graph attention": graph_attention,
    "autoencoder": partial(autoencoder, variational=False),
    "variational autoencoder": autoencoder,
    "actor and critic": actor_critic,
    "two towers": two_towers,
    "word vectors": word_vectors,
    "bag of embeddings": bag,
}
BROKEN = {
    "graph of 32 layers without residual": Broken(partial(graph, depth=32, residual=False), "vanishing", "layers/"),
    "log of zero": Broken(log_likelihood, "non_finite", "loss"),
}
