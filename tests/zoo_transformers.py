"""Transformers that train, and ways to break them."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from zoo_parts import (
    Broken,
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

VOCAB, LENGTH, BATCH, HEADS = 256, 16, 8, 4


def norms(depth: int, width: int) -> dict[str, Any]:
    """Scales and biases of the two norms of each block."""
    return {f"norm_{i}": {"scale": ones(depth, width), "bias": zeros(depth, width)} for i in (1, 2)}


def pre_norm(
    random: Random,
    *,
    width: int = 64,
    depth: int = 12,
    embedding: float = 0.02,
    std: float = 0.02,
    last: float | None = None,
    queries: float | None = None,
    scale: float | None = None,
    head: float | None = None,
    scanned: bool = True,
    dtype: Any = jnp.float32,
    changed: dict[str, tuple[int, float]] | None = None,
    offset: float = 0.0,
) -> Model:
    """GPT-2: blocks with layer norms before attention and MLP, and a tied head.

    Args:
        random: the source of weights and tokens.
        width: of the residual stream.
        depth: number of blocks.
        embedding: standard deviation of the embedding.
        std: of all matrices.
        last: of the last matrix of each branch; by default std / sqrt(2 depth).
        queries: of queries and keys, if another.
        scale: of the logits of attention; by default 1 / sqrt(size of a head).
        head: standard deviation of a head that is not tied.
        scanned: whether the blocks are a scan or a loop.
        dtype: of the computation; parameters are float32.
        changed: matrix -> (block, factor), of single matrices that are initialized otherwise.
        offset: bias of the first layer of the MLPs.
    """
    last = std / math.sqrt(2 * depth) if last is None else last
    blocks = norms(depth, width) | {
        "query": normal(random, queries or std, depth, width, width),
        "key": normal(random, queries or std, depth, width, width),
        "value": normal(random, std, depth, width, width),
        "out": normal(random, last, depth, width, width),
        "up": {"kernel": normal(random, std, depth, width, 4 * width), "bias": offset + zeros(depth, 4 * width)},
        "down": {"kernel": normal(random, last, depth, 4 * width, width), "bias": zeros(depth, width)},
    }
    for name, (block, factor) in (changed or {}).items():
        blocks[name] = jax.tree.map(lambda w, at=block, by=factor: w.at[at].multiply(by), blocks[name])
    p = {
        "tokens": normal(random, embedding, VOCAB, width),
        "positions": normal(random, embedding / 2, LENGTH, width),
        "norm": {"scale": ones(width), "bias": zeros(width)},
    }
    if not scanned:
        blocks = [jax.tree.map(lambda w, i=i: w[i], blocks) for i in range(depth)]
    if head is not None:
        p["head"] = normal(random, head, width, VOCAB)
    scale = (width // HEADS) ** -0.5 if scale is None else scale

    def block(x: Any, q: Any) -> tuple[Any, None]:
        q = jax.tree.map(lambda w: w.astype(dtype), q)
        h = layer_norm(x, **q["norm_1"]).astype(dtype)
        parts = (heads_of(h @ q[name], HEADS) for name in ("query", "key", "value"))
        x = x + attention(*parts, scale).reshape(x.shape) @ q["out"]
        h = layer_norm(x, **q["norm_2"]).astype(dtype)
        h = jax.nn.gelu(h @ q["up"]["kernel"] + q["up"]["bias"])
        return x + h @ q["down"]["kernel"] + q["down"]["bias"], None

    def loss(p: Any, tokens: Any, targets: Any) -> Any:
        x = (p["tokens"][tokens] + p["positions"]).astype(dtype)
        if scanned:
            x, _ = jax.lax.scan(block, x, p["blocks"])
        else:
            for q in p["blocks"]:
                x, _ = block(x, q)
        x = layer_norm(x, **p["norm"]).astype(dtype)
        return cross_entropy(x @ (p["head"] if "head" in p else p["tokens"].T).astype(dtype), targets)

    tokens = labels(random, VOCAB, BATCH, LENGTH + 1)
    return Model(loss, (p | {"blocks": blocks}, tokens[:, :-1], tokens[:, 1:]))


def post_norm(random: Random, depth: int = 6, width: int = 64, gain: float = 1.0) -> Model:
    """The encoder of 2017: a norm after each sum, Xavier's initialization; classes of the mean over positions."""

    def xavier(*shape: int) -> Any:
        return normal(random, gain * (2 / (shape[-2] + shape[-1])) ** 0.5, *shape)

    blocks = norms(depth, width) | {name: xavier(depth, width, width) for name in ("query", "key", "value", "out")}
    blocks |= {"up": xavier(depth, width, 4 * width), "down": xavier(depth, 4 * width, width)}

    def block(x: Any, q: Any) -> tuple[Any, None]:
        parts = (heads_of(x @ q[name], HEADS) for name in ("query", "key", "value"))
        y = attention(*parts, (width // HEADS) ** -0.5, causal=False).reshape(x.shape) @ q["out"]
        x = layer_norm(x + y, **q["norm_1"])
        return layer_norm(x + jax.nn.relu(x @ q["up"]) @ q["down"], **q["norm_2"]), None

    def loss(p: Any, tokens: Any, targets: Any) -> Any:
        x = p["tokens"][tokens] * width**0.5 + p["positions"]
        return cross_entropy(jax.lax.scan(block, x, p["blocks"])[0] @ p["head"], targets)

    p = {"tokens": normal(random, width**-0.5, VOCAB, width), "positions": normal(random, 0.5, LENGTH, width)}
    p |= {"blocks": blocks, "head": xavier(width, VOCAB)}
    return Model(loss, (p, labels(random, VOCAB, BATCH, LENGTH), labels(random, VOCAB, BATCH, LENGTH)))


def rotated(x: Any) -> Any:
    """Rotary positions of (batch, positions, heads, size)."""
    half = x.shape[-1] // 2
    angle = jnp.arange(x.shape[1])[:, None] * 10000.0 ** (-jnp.arange(half) / half)
    sin, cos = jnp.sin(angle)[:, None], jnp.cos(angle)[:, None]
    a, b = jnp.split(x, 2, -1)
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1)


def llama(random: Random, depth: int = 8, width: int = 64, std: float = 0.02) -> Model:
    """RMS norms, gated MLPs, rotary positions, and two queries for each key."""
    size, hidden = width // HEADS, 2 * width
    shapes = {"query": (width, width), "key": (width, width // 2), "value": (width, width // 2), "out": (width, width)}
    shapes |= {"gate": (width, hidden), "up": (width, hidden), "down": (hidden, width)}
    blocks = {name: normal(random, std, depth, *shape) for name, shape in shapes.items()}
    blocks |= {"norm_1": ones(depth, width), "norm_2": ones(depth, width)}

    def block(x: Any, q: Any) -> tuple[Any, None]:
        h = rms_norm(x, q["norm_1"])
        queries = rotated(heads_of(h @ q["query"], HEADS))
        keys, values = rotated(heads_of(h @ q["key"], HEADS // 2)), heads_of(h @ q["value"], HEADS // 2)
        y = attention(queries, *(jnp.repeat(part, 2, axis=2) for part in (keys, values)), size**-0.5)
        x = x + y.reshape(x.shape) @ q["out"]
        h = rms_norm(x, q["norm_2"])
        return x + (jax.nn.silu(h @ q["gate"]) * (h @ q["up"])) @ q["down"], None

    def loss(p: Any, tokens: Any, targets: Any) -> Any:
        x = jax.lax.scan(block, p["tokens"][tokens], p["blocks"])[0]
        return cross_entropy(rms_norm(x, p["norm"]) @ p["head"], targets)

    p = {"tokens": normal(random, std, VOCAB, width), "norm": ones(width), "head": normal(random, std, width, VOCAB)}
    tokens = labels(random, VOCAB, BATCH, LENGTH + 1)
    return Model(loss, (p | {"blocks": blocks}, tokens[:, :-1], tokens[:, 1:]))


def t5(random: Random, depth: int = 6, width: int = 64) -> Model:
    """No scale of logits, since queries are initialized small; embeddings N(0, 1), and a head scaled by width^-1/2."""
    size = width // HEADS
    blocks = {"query": normal(random, (width * size) ** -0.5, depth, width, width)}
    blocks |= {name: fan_in(random, 1, depth, width, width) for name in ("key", "value", "out")}
    blocks |= {"up": fan_in(random, 1, depth, width, 4 * width), "down": fan_in(random, 1, depth, 4 * width, width)}
    blocks |= {"norm_1": ones(depth, width), "norm_2": ones(depth, width)}

    def block(x: Any, q: Any) -> tuple[Any, None]:
        h = rms_norm(x, q["norm_1"])
        parts = (heads_of(h @ q[name], HEADS) for name in ("query", "key", "value"))
        x = x + attention(*parts, 1.0).reshape(x.shape) @ q["out"]
        return x + jax.nn.relu(rms_norm(x, q["norm_2"]) @ q["up"]) @ q["down"], None

    def loss(p: Any, tokens: Any, targets: Any) -> Any:
        x = rms_norm(jax.lax.scan(block, p["tokens"][tokens], p["blocks"])[0], p["norm"])
        return cross_entropy(x * width**-0.5 @ p["tokens"].T, targets)

    p = {"tokens": normal(random, 1, VOCAB, width), "norm": ones(width), "blocks": blocks}
    return Model(loss, (p, labels(random, VOCAB, BATCH, LENGTH), labels(random, VOCAB, BATCH, LENGTH)))


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


def lora(random: Random, down: float = 1.0) -> Model:
    """Adapters of a frozen pre-norm transformer: A is random, B is zero. down: gain of A."""
    base = pre_norm(random, depth=6, std=0.125, last=0.05, embedding=0.5, head=0.02)
    frozen, *batch = base.arguments
    blocks = frozen["blocks"]
    rank, (depth, width, _) = 4, blocks["query"].shape
    adapters = {
        name: {"a": fan_in(random, down, depth, width, rank), "b": zeros(depth, rank, width)}
        for name in ("query", "value")
    }

    def loss(adapters: Any, frozen: Any, tokens: Any, targets: Any) -> Any:
        merged = {name: frozen["blocks"][name] + q["a"] @ q["b"] for name, q in adapters.items()}
        return base.function(frozen | {"blocks": frozen["blocks"] | merged}, tokens, targets)

    return Model(loss, (adapters, frozen, *batch))


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
    "gpt2": pre_norm,
    "gpt2 in a loop": partial(pre_norm, depth=4, scanned=False),
    "gpt2 in bfloat16": partial(pre_norm, dtype=jnp.bfloat16),
    "post-norm of 6 blocks": post_norm,
    "llama": llama,
    "t5": t5,
    "vit": vit,
    "vit with a random head": partial(vit, head=0.02),
    "dit": dit,
    "lora": lora,
    "experts": experts,
    "mixer": mixer,
}
LECUN = {"std": 0.125, "last": 0.03, "embedding": 0.5}
BROKEN = {
    "head N(0, 1)": Broken(partial(pre_norm, head=1.0), "large_logits", "head"),
    "embedding N(0, 1), tied": Broken(partial(pre_norm, width=512, depth=2, embedding=1.0), "large_logits", "tokens"),
    "attention without scale": Broken(
        partial(pre_norm, width=256, depth=4, std=0.06, queries=0.12, last=0.02, scale=1.0, head=0.02),
        "one_hot_attention",
        "probabilities",
    ),
    "one matrix 100 times too large": Broken(
        partial(pre_norm, **LECUN, head=0.02, changed={"down": (5, 100.0)}), "outlier", "blocks/down[5]"
    ),
    "adapters with two zeros": Broken(partial(lora, down=0.0), "no_gradient", ""),
    "post-norm of 48 blocks": Broken(partial(post_norm, depth=48), "exploding", "blocks/query"),
    "MLPs switched off by their bias": Broken(partial(pre_norm, offset=-10.0), "dead", "up"),
}
