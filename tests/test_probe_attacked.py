"""Programs that once broke the probe: each compared with values and gradients computed by hand."""

from typing import Any

import jax
import jax.numpy as jnp

from varprobe.model.adapters import subject_of
from varprobe.model.layout import Layout
from varprobe.model.probed import plan_of

WIDTH = 6
X = jax.random.normal(jax.random.key(1), (5, WIDTH))


def weights(*names: str) -> dict[str, Any]:
    """Square matrices of these names."""
    keys = jax.random.split(jax.random.key(0), len(names))
    return {n: jax.random.normal(k, (WIDTH, WIDTH)) / WIDTH**0.5 for n, k in zip(names, keys, strict=True)}


def layout(function: Any, *arguments: Any) -> Layout:
    return plan_of(subject_of(function, arguments, None)).layout


def lstm(p: Any, h: Any, c: Any, x: Any) -> tuple[Any, Any]:
    """A cell with a matrix for each gate, as that of Flax."""
    i, f, g, o = (x @ p[f"i{name}"] + h @ p[f"h{name}"] for name in "ifgo")
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def test_a_cell_with_a_matrix_for_each_gate() -> None:
    """The state that a scan carries follows from products of an earlier step only."""
    p = weights(*(f"{a}{b}" for a in "ih" for b in "ifgo"))

    def loss(p: Any, xs: Any) -> Any:
        zero = jnp.zeros((5, WIDTH))
        (h, _), _ = jax.lax.scan(lambda carry, x: (lstm(p, *carry, x), None), (zero, zero), xs)
        return jnp.mean(h**2)

    found = layout(loss, p, jnp.stack([X, X]))
    assert [row.kind for row in found.rows] == ["linear", "linear", "sum"] * 8
    assert {row.site for row in found.rows if row.kind == "linear"} == set(p)
