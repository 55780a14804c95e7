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


HEALTHY = {
    "gpt2": pre_norm,
    "gpt2 in a loop": partial(pre_norm, depth=4, scanned=False),
    "gpt2 in bfloat16": partial(pre_norm, dtype=jnp.bfloat16),
    "post-norm of 6 blocks": post_norm,
    "llama": llama,
    "t5": t5,
    "lora": lora,
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
