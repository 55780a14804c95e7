"""What probes of a model take, against its own loss and gradient, each compiled and run once.

    python scripts/bench_first_probe.py [MODEL ...]

Each is timed in a process of its own, from the call to the numbers (of a probe: to its printed table): seconds in all.
The ratios to the plain function are those of all seconds, of those in the compiler, and of the rest, which is tracing
above all. `again` is the seconds of a second probe with other numbers of the same shapes. For `varprobe.instrument` the
ratios are those of seconds in the compiler, and of the time of a step, compiled.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np

import varprobe as vp

Model = tuple[Callable[..., Any], Any, tuple[Any, ...]]
"""A loss, its parameters and a batch."""

RNG = np.random.default_rng(0)


def drawn(*shape: int) -> jax.Array:
    """N(0, 1 / fan_in), the fan-in being all axes but the last."""
    return jnp.asarray(RNG.standard_normal(shape) / np.sqrt(np.prod(shape[:-1])), jnp.float32)


def mlp() -> Model:
    """Nine layers of 128 units."""

    def loss(p: Any, x: Any) -> Any:
        for w in p:
            x = jnp.tanh(x @ w)
        return jnp.square(x).mean()

    return loss, [drawn(128, 128) for _ in range(9)], (drawn(32, 128),)


def scale_and_shift(units: int) -> tuple[jax.Array, jax.Array]:
    """Parameters of a norm as they begin."""
    return jnp.ones(units), jnp.zeros(units)


def layer_norm(x: Any, p: Any) -> Any:
    """With scale and shift."""
    mean = x.mean(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(jnp.square(x - mean).mean(-1, keepdims=True) + 1e-5) * p[0] + p[1]


def transformer(width: int) -> Model:
    """Twelve blocks with their norms first, written out and not scanned."""
    heads, tokens, vocabulary = 8, 64, 100

    def loss(p: Any, x: Any, y: Any) -> Any:
        h = p["embed"][x] + p["position"]
        for q in p["blocks"]:
            u = layer_norm(h, q["norm_1"])
            a, b, c = ((u @ q[name]).reshape(*u.shape[:2], heads, -1) for name in "qkv")
            s = jnp.einsum("nqhd,nkhd->nhqk", a, b) / np.sqrt(width / heads)
            s = jnp.where(jnp.tri(tokens, dtype=bool), s, -jnp.inf)
            h = h + jnp.einsum("nhqk,nkhd->nqhd", jax.nn.softmax(s), c).reshape(h.shape) @ q["o"]
            h = h + jax.nn.gelu(layer_norm(h, q["norm_2"]) @ q["up"] + q["bias"]) @ q["down"]
        logits = layer_norm(h, p["norm"]) @ p["head"]
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[..., None], -1).mean()

    blocks = [
        {name: drawn(width, width) for name in "qkvo"}
        | {"norm_1": scale_and_shift(width), "norm_2": scale_and_shift(width), "bias": jnp.zeros(4 * width)}
        | {"up": drawn(width, 4 * width), "down": drawn(4 * width, width)}
        for _ in range(12)
    ]
    p = {"embed": drawn(vocabulary, width), "position": drawn(tokens, width), "head": drawn(width, vocabulary)}
    x = jnp.asarray(RNG.integers(0, vocabulary, (4, tokens)))
    return loss, p | {"blocks": blocks, "norm": scale_and_shift(width)}, (x, x[::-1])


def convolved(x: Any, w: Any) -> Any:
    """Images (batch, height, width, channels)."""
    return jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def resnet() -> Model:
    """31 convolutions in 15 blocks of two with batch norms."""

    def normed(x: Any, p: Any) -> Any:
        mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
        return (x - mean) * jax.lax.rsqrt(var + 1e-5) * p[0] + p[1]

    def loss(p: Any, x: Any, y: Any) -> Any:
        h = convolved(x, p["stem"])
        for q in p["blocks"]:
            u = jax.nn.relu(normed(convolved(h, q["first"]), q["norm_1"]))
            h = jax.nn.relu(h + normed(convolved(u, q["second"]), q["norm_2"]))
        logits = jax.nn.log_softmax(h.mean((1, 2)) @ p["head"])
        return -jnp.take_along_axis(logits, y[:, None], -1).mean()

    blocks = [
        {
            "first": drawn(3, 3, 16, 16),
            "second": drawn(3, 3, 16, 16),
            "norm_1": scale_and_shift(16),
            "norm_2": scale_and_shift(16),
        }
        for _ in range(15)
    ]
    p = {"stem": drawn(3, 3, 3, 16), "blocks": blocks, "head": drawn(16, 10)}
    return loss, p, (drawn(8, 16, 16, 3), jnp.arange(8))


def lru() -> Model:
    """Six linear recurrent units (Orvieto et al. 2023), each a parallel scan with complex states."""
    width, states, steps = 64, 64, 128

    def combined(a: Any, b: Any) -> Any:
        return b[0] * a[0], b[0] * a[1] + b[1]

    def loss(p: Any, x: Any) -> Any:
        for q in p:
            decay = jnp.exp(-jnp.exp(q["nu"]) + 1j * jnp.exp(q["theta"]))
            fed = (x @ q["in_re"] + 1j * (x @ q["in_im"])) * jnp.sqrt(1 - jnp.abs(decay) ** 2)
            _, h = jax.lax.associative_scan(combined, (jnp.broadcast_to(decay, fed.shape), fed), axis=1)
            y = h.real @ q["out_re"] - h.imag @ q["out_im"] + x * q["d"]
            x = x + jax.nn.gelu(y @ q["gate"])
        return jnp.square(x[:, -1]).mean()

    one = lambda: {  # noqa: E731
        "nu": jnp.log(-0.5 * jnp.log(jnp.linspace(0.8, 0.99, states))),
        "theta": jnp.log(jnp.linspace(0.1, 3.0, states)),
        "in_re": drawn(width, states), "in_im": drawn(width, states),
        "out_re": drawn(states, width), "out_im": drawn(states, width),
        "d": jnp.ones(width), "gate": drawn(width, width),
    }  # fmt: skip
    return loss, [one() for _ in range(6)], (drawn(4, steps, width),)


def unet() -> Model:
    """Five levels down and up, with skips between them: about 150 sites."""
    deep, each, channels = 5, 7, 8

    def level(x: Any, ps: Any) -> Any:
        for q in ps:
            x = x + jax.nn.silu(convolved(layer_norm(x, q["norm"]), q["w"]))
        return x

    def loss(p: Any, x: Any) -> Any:
        h, skips = convolved(x, p["stem"]), []
        for ps in p["down"]:
            h = level(h, ps)
            skips.append(h)
            h = h[:, ::2, ::2]
        for ps, merge, skip in zip(p["up"], p["merge"], reversed(skips), strict=True):
            h = jax.image.resize(h, skip.shape, "nearest")
            h = level(convolved(jnp.concatenate([h, skip], -1), merge), ps)
        return jnp.square(convolved(h, p["head"])).mean()

    levels = lambda: [  # noqa: E731
        [{"w": drawn(3, 3, channels, channels), "norm": scale_and_shift(channels)} for _ in range(each)]
        for _ in range(deep)
    ]
    p = {"stem": drawn(3, 3, 3, channels), "head": drawn(3, 3, channels, 3), "down": levels(), "up": levels()}
    p["merge"] = [drawn(1, 1, 2 * channels, channels) for _ in range(deep)]
    return loss, p, (drawn(2, 32, 32, 3),)


MODELS: dict[str, Callable[[], Model]] = {
    "mlp": mlp,
    "transformer-256": lambda: transformer(256),
    "transformer-512": lambda: transformer(512),
    "resnet": resnet,
    "lru": lru,
    "unet": unet,
}

STEPS = 11


class Clock:
    """Seconds since it was started, and those of them that were spent in the compiler."""

    def __init__(self) -> None:
        self.compiling = 0.0
        jax.monitoring.register_event_duration_secs_listener(self.count)
        self.begun = time.perf_counter()

    def count(self, event: str, seconds: float, **_: Any) -> None:
        """Add what the compiler took."""
        self.compiling += seconds if event.endswith("backend_compile_duration") else 0

    def read(self) -> tuple[float, float]:
        """(seconds, of these compiling)."""
        return time.perf_counter() - self.begun, self.compiling


def measure(name: str, way: str) -> tuple[float, ...]:
    """Seconds in all and in the compiler.

    For a probe also those of a second one, and its sites; for `instrument` the time of a step over that of a plain one.
    """
    loss, p, batch = MODELS[name]()
    jax.block_until_ready(jax.jit(lambda x: x + 1)(1.0))
    clock, plain = Clock(), jax.jit(jax.value_and_grad(loss))
    if way == "plain":
        jax.block_until_ready(plain(p, *batch))
        return clock.read()
    if way == "instrument":
        probed = jax.jit(vp.instrument(loss))
        jax.block_until_ready(probed(p, *batch))
        first = clock.read()
        one, other = in_turns([lambda: plain(p, *batch), lambda: probed(p, *batch)])
        return (*first, other / one)
    ds = vp.probe(loss, p, *batch)
    str(vp.diagnose(ds))
    first = clock.read()
    other = jax.block_until_ready(jax.tree.map(lambda x: x * 2 if x.dtype == jnp.float32 else x, p))
    start = time.perf_counter()
    vp.probe(loss, other, *batch)
    return (*first, time.perf_counter() - start, ds.sizes["layer"] - 1)


def in_turns(functions: list[Callable[[], Any]]) -> list[float]:
    """Median seconds of each, run in turns, once more at first."""
    times: list[list[float]] = [[] for _ in functions]
    for step in range(STEPS + 1):
        for function, found in zip(functions, times, strict=True):
            start = time.perf_counter()
            jax.block_until_ready(function())
            found += [time.perf_counter() - start] * (step > 0)
    return [statistics.median(found) for found in times]


def measured(name: str, way: str) -> list[float]:
    """`measure` in a process of its own."""
    return [float(x) for x in subprocess.check_output([sys.executable, __file__, "--one", name, way]).split()]


def main() -> None:
    """Print a table."""
    if sys.argv[1:2] == ["--one"]:
        print(*measure(*sys.argv[2:]))
        return
    print(f"{'':21s}{'plain':>8s}   {'probe':-^34s}   {'instrument':-^13s}")
    print(
        f"{'':16s}{'sites':>5s}{'s':>8s}{'s':>8s}{'ratio':>7s}{'compile':>9s}{'rest':>6s}{'again':>7s}{'compile':>9s}{'step':>7s}"
    )
    for name in sys.argv[1:] or MODELS:
        plain, plainly = measured(name, "plain")
        probe, compiled, again, sites = measured(name, "probe")
        _, instrumented, step = measured(name, "instrument")
        rest = (probe - compiled) / (plain - plainly)
        print(
            f"{name:16s}{sites:5.0f}{plain:8.1f}{probe:8.1f}{probe / plain:7.2f}{compiled / plainly:9.2f}{rest:6.2f}"
            f"{again:7.2f}{instrumented / plainly:9.2f}{step:7.2f}"
        )


if __name__ == "__main__":
    main()
