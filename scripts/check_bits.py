"""A checksum of what small requests of every kind give, to prove that a refactoring changes no number.

    python scripts/check_bits.py [NAME ...] > before
    python scripts/check_bits.py [NAME ...] | diff before -

Each line is a request and the sha256 of its numbers: of every variable its shape, its dtype and its bytes, in the order
of these checksums, so that names do not count. Of theory six digits count, since sums of NumPy differ in the last.
Other releases of JAX, and other processors, give other checksums.
"""

import hashlib
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

import varprobe as vp

SMALL: dict[str, Any] = {"depth": 3, "width": 16, "batch": 8, "seeds": 2}
RNG = np.random.default_rng(0)
X, Y = (np.float32(RNG.standard_normal((8, 16))) for _ in range(2))
WEIGHTS = [np.float32(RNG.standard_normal((16, 16)) / 4) for _ in range(4)]


def sweep(**options: Any) -> Callable[[], xr.Dataset]:
    """A sweep of a few small networks."""
    return lambda: vp.sweep(**SMALL | options)


def layered(p: Any, x: Any, y: Any) -> Any:
    """A loss with a scan, a norm and a residual sum."""

    def layer(h: Any, w: Any) -> tuple[Any, None]:
        normed = h / jnp.sqrt(jnp.square(h).mean(-1, keepdims=True) + 1e-6)
        return h + jnp.tanh(normed @ w), None

    return jnp.square(jax.lax.scan(layer, x, jnp.stack(p))[0] - y).mean()


def unrolled(p: Any, x: Any, y: Any) -> Any:
    """A plain loss."""
    for w in p:
        x = jax.nn.relu(x @ w)
    return jnp.square(x - y).mean()


def recorded() -> xr.Dataset:
    """A training that is instrumented."""
    probed, recorder, p = jax.jit(vp.instrument(unrolled)), vp.Recorder(), WEIGHTS
    for step in range(3):
        _, gradients, stats = probed(p, X, Y)
        recorder(step, stats)
        p = [w - 0.01 * g for w, g in zip(p, gradients, strict=True)]
    return recorder.dataset()


REQUESTS: dict[str, Callable[[], Any]] = {
    "plain": sweep(act="relu,tanh,gelu", init="he_normal,orthogonal,glorot_uniform"),
    "plain, widths and biases": sweep(width=[8, 16], bias="normal(std=0.1)", act="selu", init="normal(std=0.3)"),
    "plain, cross entropy": sweep(loss="cross_entropy", data="digits", standardize=True),
    "norms": sweep(norm="batch,layer,rms,group(groups=4)", act="relu"),
    "residual": sweep(arch="residual,residual(order=pre,branch_layers=1)", init="he_normal,fixup,skipinit"),
    "conv": sweep(arch="conv(size=6),conv(dims=1,size=8,transpose=true)", init="he_normal,delta_orthogonal"),
    "transformer": sweep(arch="transformer(heads=2,tokens=4),transformer(heads=2,tokens=4,gated=true,causal=true)"),
    "tokens": sweep(arch="transformer(heads=2,tokens=4)", data="tokens(vocab=11)", loss="cross_entropy"),
    "rnn": sweep(arch="rnn,rnn(inputs=first,per_step=true)", act="tanh"),
    "lstm": sweep(arch="lstm"),
    "gru": sweep(arch="gru"),
    "initializers that look at data": sweep(init="lsuv,mup,ntk,gpt2,bert,torch_default"),
    "bfloat16": sweep(dtype="bfloat16", act="relu,tanh"),
    "float16 with its range": sweep(dtype="float16", range="dtype", depth=20, init="normal(std=1)"),
    "float64": sweep(dtype="float64", act="tanh"),
    "deep": sweep(depth=200, act="relu", init="normal(std=0.05)"),
    "dropout": sweep(dropout=0.2),
    "forward only": sweep(forward_only=True),
    "correlation, jacobian and histogram": sweep(correlation=0.5, jacobian=True, histogram=True),
    "training": lambda: vp.track(**SMALL | {"steps": 3, "optimizer": "sgd(lr=0.1),adam(lr=1e-3)"}),
    "training of a model": lambda: vp.track(unrolled, WEIGHTS, optax.adam(1e-3), [(X, Y)] * 3),
    "trainability": lambda: vp.trainability(
        depth=[2, 6], width=16, batch=16, seeds=1, steps=5, optimizer="sgd(lr=0.1)"
    ),
    "coordinate check": lambda: vp.coord_check(widths=[8, 16], depth=2, seeds=2, steps=2),
    "model": lambda: vp.probe(unrolled, WEIGHTS, X, Y, step_size=1e-3),
    "model with a scan": lambda: vp.probe(layered, WEIGHTS, X, Y, optimizer=optax.adam(1e-3)),
    "model that is recorded": recorded,
}


def checksum(ds: xr.Dataset) -> str:
    """Of all numbers and coordinates of a dataset, whatever their names are."""
    parts = []
    for name, variable in ds.variables.items():
        values = np.asarray(variable.values)
        if str(name).startswith("theory_") and values.dtype.kind == "f":
            values = np.array([f"{x:.6e}" for x in values.ravel()]).reshape(values.shape)
        raw = "\n".join(map(str, values.ravel())).encode() if values.dtype.kind in "OU" else values.tobytes()
        parts.append(hashlib.sha256(f"{values.shape} {values.dtype.kind}".encode() + raw).hexdigest())
    return hashlib.sha256("".join(sorted(parts)).encode()).hexdigest()


def main(names: list[str]) -> None:
    """Print the checksum of each request."""
    for name in names or REQUESTS:
        print(f"{checksum(REQUESTS[name]())}  {name}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
