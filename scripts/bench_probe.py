"""What probing costs: a transformer of 12 blocks, width 512 and 256 tokens, with and without the probe.

    python scripts/bench_probe.py [BLOCKS] [BATCH]

A step is loss and gradients, compiled. Times of the two are taken in turns, and the ratio of their medians told, with
that of the compiler's own figures of peak memory; where torch is installed, the same for PyTorch with hooks at the
outputs of the same modules, forward and back.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import varprobe as vp

WIDTH, HEADS, TOKENS, VOCAB = 512, 8, 256, 512
ROUNDS = 7


def parameters(blocks: int) -> dict[str, Any]:
    """Blocks stacked along the first axis, for a scan."""
    shapes = {name: (blocks, WIDTH, WIDTH) for name in ("q", "k", "v", "out")}
    shapes |= {"up": (blocks, WIDTH, 4 * WIDTH), "down": (blocks, 4 * WIDTH, WIDTH)}
    keys = jax.random.split(jax.random.key(0), len(shapes) + 2)
    found = {n: jax.random.normal(k, s) / np.sqrt(s[1]) for (n, s), k in zip(shapes.items(), keys, strict=False)}
    found |= {name: jnp.ones((blocks, WIDTH)) for name in ("norm_1", "norm_2")}
    return {
        "embed": jax.random.normal(keys[-2], (VOCAB, WIDTH)),
        "blocks": found,
        "head": jax.random.normal(keys[-1], (WIDTH, VOCAB)) / np.sqrt(WIDTH),
    }


def normed(x: jax.Array, scale: jax.Array) -> jax.Array:
    """RMS norm."""
    return x * jax.lax.rsqrt(jnp.mean(jnp.square(x), -1, keepdims=True) + 1e-6) * scale


def block(x: jax.Array, p: dict[str, jax.Array]) -> tuple[jax.Array, None]:
    """Attention and perceptron, norms first."""
    h = normed(x, p["norm_1"])
    q, k, v = ((h @ p[n]).reshape(*h.shape[:2], HEADS, -1) for n in ("q", "k", "v"))
    weights = jax.nn.softmax(jnp.einsum("bthd,bshd->bhts", q, k) / np.sqrt(q.shape[-1]))
    x = x + jnp.einsum("bhts,bshd->bthd", weights, v).reshape(h.shape) @ p["out"]
    h = normed(x, p["norm_2"])
    return x + jax.nn.gelu(h @ p["up"]) @ p["down"], None


def loss(p: dict[str, Any], tokens: jax.Array) -> jax.Array:
    """Cross-entropy of the next token."""
    x, _ = jax.lax.scan(block, p["embed"][tokens], p["blocks"])
    logits = jax.nn.log_softmax(x[:, :-1] @ p["head"])
    return -jnp.mean(jnp.take_along_axis(logits, tokens[:, 1:, None], -1))


def timed(functions: list[Callable[[], Any]]) -> list[float]:
    """Median seconds of each, taken in turns after one run."""
    times: list[list[float]] = [[] for _ in functions]
    for i in range(ROUNDS + 1):
        for function, found in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()
            if i:
                found.append(time.perf_counter() - start)
    return [statistics.median(found) for found in times]


def torch_steps(blocks: int, batch: int) -> list[Callable[[], Any]] | None:
    """The same network in PyTorch, plain and with hooks that take mean, variance and largest magnitude."""
    try:
        import torch
        from torch import nn
    except ImportError:
        return None

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm_1, self.norm_2 = nn.RMSNorm(WIDTH), nn.RMSNorm(WIDTH)
            self.q, self.k, self.v, self.out = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
            self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.Linear(4 * WIDTH, WIDTH, bias=False)
            self.act, self.softmax = nn.GELU("tanh"), nn.Softmax(-1)

        def forward(self, x: Any) -> Any:
            h = self.norm_1(x)
            q, k, v = (f(h).unflatten(-1, (HEADS, -1)).transpose(1, 2) for f in (self.q, self.k, self.v))
            weights = self.softmax(q @ k.transpose(-1, -2) / np.sqrt(q.shape[-1]))
            x = x + self.out((weights @ v).transpose(1, 2).flatten(2))
            return x + self.down(self.act(self.up(self.norm_2(x))))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(VOCAB, WIDTH), nn.Linear(WIDTH, VOCAB, bias=False)
            self.blocks = nn.Sequential(*(Block() for _ in range(blocks)))

        def forward(self, tokens: Any) -> Any:
            return self.head(self.blocks(self.embed(tokens)))

    def step(net: Any, tokens: Any) -> None:
        net.zero_grad()
        out = net(tokens)[:, :-1]
        nn.functional.cross_entropy(out.flatten(0, 1), tokens[:, 1:].flatten()).backward()

    kept: list[Any] = []

    def keep(x: Any) -> None:
        kept.append((x.mean(), x.var(), x.square().mean(), x.abs().max(), (x == 0).float().mean()))

    tokens = torch.arange(batch * TOKENS).reshape(batch, TOKENS) % VOCAB
    plain, hooked = Net(), Net()
    for module in hooked.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda m, i, o: keep(o.detach()))
            module.register_full_backward_hook(lambda m, i, o: keep(o[0]))

    def told() -> None:
        kept.clear()
        step(hooked, tokens)

    return [lambda: step(plain, tokens), told]


def main() -> None:
    """Print the ratios."""
    blocks, batch = (int(a) for a in (*sys.argv[1:], *("12", "1")[len(sys.argv) - 1 :]))
    p, tokens = parameters(blocks), jnp.arange(batch * TOKENS).reshape(batch, TOKENS) % VOCAB
    plain = jax.jit(jax.value_and_grad(loss)).lower(p, tokens).compile()
    probed = jax.jit(vp.instrument(loss)).lower(p, tokens).compile()
    one, other = timed([lambda f=f: jax.block_until_ready(f(p, tokens)) for f in (plain, probed)])
    sizes = [f.memory_analysis().temp_size_in_bytes + f.memory_analysis().output_size_in_bytes for f in (plain, probed)]
    print(f"{blocks} blocks of width {WIDTH}, {batch} x {TOKENS} tokens, {jax.devices()[0].device_kind}")
    print(f"jax: {one:.3f} s, probed {other:.3f} s: {other / one:.2f} times")
    print(f"     memory {sizes[0] / 2**20:.0f} MiB, probed {sizes[1] / 2**20:.0f} MiB: {sizes[1] / sizes[0]:.2f} times")
    if steps := torch_steps(blocks, batch):
        one, other = timed(steps)
        print(f"torch: {one:.3f} s, with hooks {other:.3f} s: {other / one:.2f} times")


if __name__ == "__main__":
    main()
