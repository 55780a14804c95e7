"""Patterns of public models in plain jax: state spaces, quantized latents, U-Nets, experts."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import varprobe as vp
from varprobe.model.adapters import subject_of
from varprobe.model.probed import plan_of

WIDTH = 8
RANDOM = np.random.default_rng(0)
X = jnp.asarray(RANDOM.normal(size=(4, WIDTH)), jnp.float32)
W = [jnp.asarray(RANDOM.normal(size=(WIDTH, WIDTH)) / WIDTH**0.5, jnp.float32) for _ in range(5)]
P = dict(zip("abcde", W, strict=True)) | {"d": jnp.ones(WIDTH)}


def sites(loss: Callable[..., Any], *arguments: Any) -> list[tuple[str, str]]:
    """(name, kind) of each, before anything is computed; it compiles nothing."""
    return [(row.site, row.kind) for row in plan_of(subject_of(loss, arguments, None)).layout.rows]


def log10_ms(x: Any) -> float:
    return float(np.log10(np.square(np.asarray(x, np.float64)).mean()))


def level(ds: xr.Dataset, name: str, site: str) -> float:
    """One number of a site."""
    return float(ds[f"{name}_log10_ms"].values[0, 0, ds.site.values.tolist().index(site)])


def transposed(h: Any, p: Any) -> Any:
    return jnp.sin(h.T @ p["b"][:4]).sum() + (h.reshape(4, 2, 4).max(1) ** 3).sum()


def cast(h: Any, p: Any) -> Any:
    return (h.astype(jnp.float32).max(0) ** 2).sum() + jnp.sin(h.astype(jnp.float32) @ p["b"]).sum()


@pytest.mark.parametrize(("rest", "dtype"), [(transposed, "float32"), (cast, "float16")])
def test_an_activation_has_the_gradient_of_all_its_uses(rest: Callable[..., Any], dtype: str) -> None:
    """Be they of reshaped or cast copies."""
    ds = vp.probe(lambda p, x: rest(jnp.tanh((x @ p["a"]).astype(dtype)), p), P, X)
    h = jnp.tanh((X @ P["a"]).astype(dtype))
    assert level(ds, "activation", "a") == pytest.approx(log10_ms(h), abs=1e-5)
    assert level(ds, "activation_gradient", "a") == pytest.approx(log10_ms(jax.grad(rest)(h, P)), abs=1e-4)


def test_what_leaves_a_barrier_follows_from_its_own_operand() -> None:
    def loss(p: Any, x: Any) -> Any:
        a, b = jax.lax.optimization_barrier((x @ p["a"], x @ p["b"]))
        return (jnp.sin(a) @ p["c"]).sum() + (jnp.tanh(b) @ p["e"]).sum()

    ds = vp.probe(loss, P, X)
    assert set(ds.note.values.tolist()) == {""}
    assert level(ds, "activation", "b") == pytest.approx(log10_ms(np.tanh(X @ P["b"])), abs=1e-5)
