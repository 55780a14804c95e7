"""Other residual blocks that train: vision and diffusion transformers, experts, mixers."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from zoo_parts import (
    Model,
    Random,
    attention,
    cross_entropy,
    fan_in,
    heads_of,
    labels,
    layer_norm,
    normal,
    ones,
    rms_norm,
    zeros,
)
from zoo_transformers import BATCH, HEADS, LENGTH, VOCAB, norms


def vit(random: Random, depth: int = 8, width: int = 64, head: float = 0.0) -> Model:
    """A vision transformer on 16 x 16 images, 4 x 4 patches, a class token; its head starts at zero."""
    size, classes = width // HEADS, 10

    def xavier(*shape: int) -> Any:
        return normal(random, (2 / (shape[-2] + shape[-1])) ** 0.5, *shape)

    blocks = norms(depth, width) | {name: xavier(depth, width, width) for name in ("query", "key", "value", "out")}
    blocks |= {"up": xavier(depth, width, 4 * width), "down": xavier(depth, 4 * width, width)}

    def block(x: Any, q: Any) -> tuple[Any, None]:
        h = layer_norm(x, **q["norm_1"])
        parts = (heads_of(h @ q[name], HEADS) for name in ("query", "key", "value"))
        x = x + attention(*parts, size**-0.5, causal=False).reshape(x.shape) @ q["out"]
        return x + jax.nn.gelu(layer_norm(x, **q["norm_2"]) @ q["up"]) @ q["down"], None

    def loss(p: Any, images: Any, target: Any) -> Any:
        x = jax.lax.conv_general_dilated(
            images, p["patch"], (4, 4), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = x.reshape(len(images), -1, width)
        x = jnp.concatenate([jnp.broadcast_to(p["class"], (len(images), 1, width)), x], 1) + p["positions"]
        x = jax.lax.scan(block, x, p["blocks"])[0]
        return cross_entropy(layer_norm(x, **p["norm"])[:, 0] @ p["head"], target)

    p = {"patch": fan_in(random, 1, 4, 4, 3, width, terms=48), "class": zeros(width)}
    p |= {"positions": normal(random, 0.02, 17, width), "norm": {"scale": ones(width), "bias": zeros(width)}}
    p |= {"blocks": blocks, "head": normal(random, head, width, classes)}
    return Model(loss, (p, normal(random, 1, BATCH, 16, 16, 3), labels(random, classes, BATCH)))


def dit(random: Random, depth: int = 6, width: int = 64) -> Model:
    """A diffusion transformer: shift, scale and gate of each branch come from the time, and start at zero."""
    blocks = {name: fan_in(random, 1, depth, width, width) for name in ("query", "key", "value", "out")}
    blocks |= {"up": fan_in(random, 1, depth, width, 4 * width), "down": fan_in(random, 1, depth, 4 * width, width)}
    blocks |= {"modulation": {"kernel": zeros(depth, width, 6 * width), "bias": zeros(depth, 6 * width)}}
    plain = partial(layer_norm, scale=1.0, bias=0.0)

    def loss(p: Any, noisy: Any, time: Any, noise: Any) -> Any:
        angle = time[:, None] * 1000 ** (-jnp.arange(width // 2) / (width // 2))
        c = jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], -1)
        c = jax.nn.silu(jax.nn.silu(c @ p["time"]["up"]) @ p["time"]["down"])

        def block(x: Any, q: Any) -> tuple[Any, None]:
            parts = (c @ q["modulation"]["kernel"] + q["modulation"]["bias"])[:, None]
            shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = jnp.split(parts, 6, -1)
            h = plain(x) * (1 + scale_1) + shift_1
            mixed = attention(*(heads_of(h @ q[n], HEADS) for n in ("query", "key", "value")), 0.25, causal=False)
            x = x + gate_1 * (mixed.reshape(x.shape) @ q["out"])
            h = plain(x) * (1 + scale_2) + shift_2
            return x + gate_2 * (jax.nn.gelu(h @ q["up"]) @ q["down"]), None

        x = jax.lax.scan(block, noisy @ p["patch"] + p["positions"], p["blocks"])[0]
        return jnp.square(plain(x) @ p["last"] - noise).mean()

    p = {"patch": fan_in(random, 1, 8, width), "positions": normal(random, 0.5, LENGTH, width), "blocks": blocks}
    p |= {"time": {n: fan_in(random, 1, width, width) for n in ("up", "down")}, "last": zeros(width, 8)}
    noise = normal(random, 1, BATCH, LENGTH, 8)
    return Model(loss, (p, 0.5 * noise + normal(random, 0.8, BATCH, LENGTH, 8), normal(random, 300, BATCH), noise))


def experts(random: Random, depth: int = 6, width: int = 64, count: int = 4) -> Model:
    """Residual blocks of experts; a router picks two for each token, and a loss balances their use."""
    blocks = {"norm": ones(depth, width), "router": normal(random, 0.02, depth, width, count)}
    blocks |= {"up": fan_in(random, 2, depth, count, width, 2 * width)}
    blocks |= {"down": fan_in(random, 1 / depth, depth, count, 2 * width, width)}

    def block(x: Any, q: Any) -> tuple[Any, Any]:
        h = rms_norm(x, q["norm"])
        gates = jax.nn.softmax(h @ q["router"])
        best, which = jax.lax.top_k(gates, 2)
        chosen = jax.nn.one_hot(which, count)
        weights = ((best / best.sum(-1, keepdims=True))[..., None] * chosen).sum(-2)
        y = jnp.einsum("neh,ehd->ned", jax.nn.relu(jnp.einsum("nd,edh->neh", h, q["up"])), q["down"])
        return x + (weights[..., None] * y).sum(1), count * (gates.mean(0) * chosen.sum(-2).mean(0)).sum()

    def loss(p: Any, tokens: Any, targets: Any) -> Any:
        x, balance = jax.lax.scan(block, p["tokens"][tokens], p["blocks"])
        return cross_entropy(rms_norm(x, p["norm"]) @ p["head"], targets) + 0.01 * balance.sum()

    p = {"tokens": normal(random, 1, VOCAB, width), "blocks": blocks, "norm": ones(width)}
    p |= {"head": normal(random, 0.02, width, VOCAB)}
    return Model(loss, (p, labels(random, VOCAB, 64), labels(random, VOCAB, 64)))


def mixer(random: Random, depth: int = 8, width: int = 64) -> Model:
    """MLP-Mixer: MLPs over positions and over channels in turn."""
    shapes = {"tokens": (LENGTH, 2 * LENGTH), "channels": (width, 4 * width)}
    blocks = norms(depth, width) | {
        name: {"up": fan_in(random, 1, depth, a, b), "down": fan_in(random, 1, depth, b, a)}
        for name, (a, b) in shapes.items()
    }

    def block(x: Any, q: Any) -> tuple[Any, None]:
        h = jnp.swapaxes(layer_norm(x, **q["norm_1"]), 1, 2)
        x = x + jnp.swapaxes(jax.nn.gelu(h @ q["tokens"]["up"]) @ q["tokens"]["down"], 1, 2)
        h = layer_norm(x, **q["norm_2"])
        return x + jax.nn.gelu(h @ q["channels"]["up"]) @ q["channels"]["down"], None

    def loss(p: Any, patches: Any, target: Any) -> Any:
        x = jax.lax.scan(block, patches @ p["patch"], p["blocks"])[0]
        return cross_entropy(layer_norm(x, **p["norm"]).mean(1) @ p["head"], target)

    p = {"patch": fan_in(random, 1, 48, width), "norm": {"scale": ones(width), "bias": zeros(width)}}
    p |= {"blocks": blocks, "head": zeros(width, 10)}
    return Model(loss, (p, normal(random, 1, BATCH, LENGTH, 48), labels(random, 10, BATCH)))


HEALTHY = {
    "vit": vit,
    "vit with a random head": partial(vit, head=0.02),
    "dit": dit,
    "experts": experts,
    "mixer": mixer,
}
