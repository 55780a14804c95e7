"""Random programs of nested transformations keep their loss and gradients under a probe, and lose no product."""

from typing import Any

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import varprobe as vp

WIDTH, BATCH = 4, 3
LEAVES = ["dense", "tanh", "relu", "norm", "dropout", "gate"]
WRAPS = ["jit", "scan", "remat", "vmap", "cond", "residual", "map", "switch"]
Program = list[Any]

programs = st.recursive(
    st.lists(st.sampled_from(LEAVES), min_size=1, max_size=3),
    lambda inner: st.lists(st.tuples(st.sampled_from(WRAPS), inner) | st.sampled_from(LEAVES), min_size=1, max_size=3),
    max_leaves=6,
)


def applied(program: Program, p: dict[str, Any], x: Any, count: list[int]) -> Any:
    """x through a program; `count` is how many matrix products were traced, each once."""
    for step in program:
        x = leaf(step, p, x, count) if isinstance(step, str) else wrapped(*step, p, x, count)
    return x


def leaf(name: str, p: dict[str, Any], x: Any, count: list[int]) -> Any:
    if name == "dense":
        count[0] += 1
        return x @ p["w"] + p["b"]
    if name == "norm":
        return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-3) * p["scale"]
    if name == "dropout":
        return jnp.where(jax.random.bernoulli(jax.random.key(1), 0.7, x.shape), x / 0.7, 0.0)
    if name == "gate":
        return x * jax.nn.sigmoid(x)
    return {"tanh": jnp.tanh, "relu": jax.nn.relu}[name](x)


def wrapped(name: str, inner: Program, p: dict[str, Any], x: Any, count: list[int]) -> Any:
    if name == "residual":
        return x + applied(inner, p, x, count)
    if name == "jit":
        return jax.jit(lambda p, x: applied(inner, p, x, count))(p, x)
    if name == "remat":
        return jax.checkpoint(lambda p, x: applied(inner, p, x, count))(p, x)
    if name == "vmap":
        return jax.vmap(lambda x: applied(inner, p, x, count))(x)
    if name == "map":
        return jax.lax.map(lambda x: applied(inner, p, x, count), x[:, None])[:, 0]
    if name == "scan":
        stacked = jax.tree.map(lambda v: jnp.stack([v, 0.5 * v]), p)
        return jax.lax.scan(lambda x, p: (applied(inner, p, x, count), None), x, stacked)[0]
    if name == "cond":
        return jax.lax.cond(x.sum() > 0, lambda x: applied(inner, p, x, count), lambda x: 0.5 * x, x)
    return jax.lax.switch(1, [lambda x: x, lambda x: applied(inner, p, x, count)], x)


SAMPLE = [
    [("scan", [("remat", ["dense", "norm"]), "tanh"]), "gate"],
    [("vmap", ["dense", ("jit", ["relu"])]), ("residual", ["dense"])],
    [("cond", [("jit", ["dense", "tanh"])]), ("switch", ["dense", "dropout"])],
    [("map", [("residual", ["dense", "relu"])]), ("remat", [("scan", ["gate", "dense"])])],
]
"""Each leaf, each wrap, and wraps in each other."""


@pytest.mark.exhaustive
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(programs)
def test_random_programs(program: Program) -> None:
    require_kept(program)


@pytest.mark.parametrize("program", SAMPLE)
def test_programs_of_each_kind(program: Program) -> None:
    require_kept(program)


def require_kept(program: Program) -> None:
    key = jax.random.key(0)
    p = {
        "w": jax.random.normal(key, (WIDTH, WIDTH)),
        "b": jnp.ones(WIDTH) / 3,
        "scale": 2 * jnp.ones(WIDTH),
        "last": jnp.eye(WIDTH),
    }
    x = jax.random.normal(jax.random.key(2), (BATCH, WIDTH))

    def loss(p: dict[str, Any], x: Any) -> Any:
        return jnp.sum(jnp.sin(applied(program, p, x, [0]) @ p["last"]))

    value, gradients, stats = jax.jit(vp.instrument(loss))(p, x)
    expected, slopes = jax.jit(jax.value_and_grad(loss))(p, x)
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5)
    for name in p:
        room = 1e-5 * float(jnp.abs(slopes[name]).max()) + 1e-6
        np.testing.assert_allclose(gradients[name], slopes[name], atol=room)
    assert "opaque" not in stats.layout.coverage
    assert stats.layout.rows[-1].site == "last"
    own = [row for row in stats.layout.rows if row.kind == "linear"]
    assert len({row.of for row in own}) == stats.layout.products
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((stats.forward, stats.backward)))
