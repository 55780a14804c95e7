"""Pairs of inputs: brute force by jax.grad, theory, exact cases, rows, and run folders that keep what was probed."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import varprobe as vp
from varprobe.engine.random_bits import keys_of
from varprobe.errors import InvalidArgumentError
from varprobe.sweeps.probes.pairs import cosines, effective_rank, partners

C0 = (-0.5, 0.3, 0.99)
SMALL: dict[str, Any] = {"depth": 3, "width": 7, "batch": 3, "seeds": 1, "dtype": "float64"}


@pytest.fixture(scope="module")
def pairs() -> xr.Dataset:
    return vp.sweep(
        act="tanh", init="he_normal,normal(std=1e-70)", bias="normal(var=0.01)", correlation=list(C0), **SMALL
    )


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def test_cosines_equal_brute_force(pairs: xr.Dataset) -> None:
    """Activations, and gradients with respect to preactivations, from the very net."""
    with jax.enable_x64(True):
        net = vp.build(pairs.isel(config=0), 0)
        with jax.enable_x64(False):
            noise = np.asarray(jax.random.normal(jax.random.fold_in(keys_of(0, 0)["data"], 2), net.x.shape))

        def outputs(x: Any, shifts: Any) -> tuple[Any, list[Any]]:
            h, every = x, [x]
            for p, shift in zip(net.params, shifts, strict=True):
                h = jnp.tanh(h @ p["w"] + p["b"] + shift)
                every.append(h)
            return (net.cotangent * h).sum(), every

        backward_of = jax.jit(jax.grad(outputs, 1, has_aux=True))
        for k, c0 in enumerate(C0):
            other = partners(np.asarray(net.x), c0, noise)
            shifts = [jnp.zeros_like(net.x)] * 3
            (one, two) = (backward_of(x, shifts) for x in (net.x, other))
            forward = [cosine(np.asarray(a), np.asarray(b)).mean() for a, b in zip(one[1], two[1], strict=True)]
            backward = [cosine(np.asarray(a), np.asarray(b)).mean() for a, b in zip(one[0], two[0], strict=True)]
            np.testing.assert_allclose(pairs.pair_correlation[0, 0, :, k], forward, atol=1e-9)
            np.testing.assert_allclose(pairs.gradient_pair_correlation[0, 0, 1:, k], backward, atol=1e-9)
        h = np.asarray(one[1][3])
        p = np.linalg.svd(h, compute_uv=False) ** 2
        p /= p.sum()
        np.testing.assert_allclose(pairs.effective_rank[0, 0, 3], np.exp(-(p * np.log(p)).sum()), atol=1e-9)


def test_dims_and_input(pairs: xr.Dataset) -> None:
    assert pairs.pair_correlation.dims == ("config", "seed", "layer", "c0")
    assert tuple(pairs.c0.values) == C0
    np.testing.assert_allclose(pairs.pair_correlation.isel(layer=0), np.broadcast_to(C0, (2, 1, 3)), atol=1e-12)
    assert np.isnan(pairs.gradient_pair_correlation.isel(layer=0)).all()
    assert np.isfinite(pairs.pair_correlation).all()  # weights of 1e-70 too


@pytest.mark.exhaustive
def test_theory_of_wide_relu_nets() -> None:
    """The mean of 8 pairs and 2 seeds lies within a few 1/sqrt(width) of the arc-cosine map (Cho & Saul 2009)."""
    ds = vp.sweep(
        act="relu", init="he_normal", depth=4, width=256, batch=8, seeds=2, forward_only=True, correlation=[0.1, 0.9]
    )
    c = np.array([0.1, 0.9])
    for layer in range(1, 5):
        c = (np.sqrt(1 - c * c) + (np.pi - np.arccos(c)) * c) / np.pi
        np.testing.assert_allclose(ds.theory_pair_correlation[0, 0, layer], c, atol=1e-9)
        np.testing.assert_allclose(ds.pair_correlation[0, :, layer].mean("seed"), c, atol=0.05)
    assert np.isnan(ds.gradient_pair_correlation).all()
    rows = vp.diagnose(ds).rows
    assert [pair["c0"] for pair in rows[0]["correlation"]] == [0.1, 0.9]
    assert rows[0]["correlation"][0]["gradient"] is None
    assert "Cosine of activations at layer L, of inputs at 0.1, 0.9" in str(vp.diagnose(ds))


def test_partners_have_the_cosine_and_the_norm() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 2, 3)) * 1e-150
    x[3] = 0
    for c0 in (-1.0, -0.3, 0.0, 1 - 1e-12, 1.0):
        y = partners(x, c0, rng.normal(size=x.shape))
        a, b = x.reshape(4, 6)[:3] * 1e150, y.reshape(4, 6)[:3] * 1e150
        np.testing.assert_allclose(cosine(a, b), c0, atol=1e-14)
        np.testing.assert_allclose(np.linalg.norm(b, axis=1), np.linalg.norm(a, axis=1), rtol=1e-14)
        assert not y[3].any()


def test_cosines_leave_out_samples_of_zeros() -> None:
    assert cosines(np.array([0.0, 1.0, np.nan])) == 0.5
    assert np.isnan(cosines(np.array([np.nan])))


def test_effective_rank_of_known_spectra() -> None:
    assert effective_rank(np.eye(5)) == pytest.approx(5)
    assert effective_rank(np.ones((5, 5))) == pytest.approx(1)
    assert effective_rank(np.diag([3.0, 1.0])) == pytest.approx(np.exp(-0.75 * np.log(0.75) - 0.25 * np.log(0.25)))
    assert np.isnan(effective_rank(np.zeros((2, 2))))


@pytest.mark.parametrize("value", ["1.5", "", "-2", "nan", "x", "0.5:0.1:3"])
def test_wrong_cosines(value: str) -> None:
    with pytest.raises(InvalidArgumentError) as error:
        vp.sweep(depth=2, width=4, correlation=value)
    assert error.value.option == "correlation"


def test_inputs_of_one_value_are_parallel() -> None:
    with pytest.raises(InvalidArgumentError, match="parallel"):
        vp.sweep(depth=2, width=4, input_width=1, correlation=0.5)


def test_run_folders_keep_what_was_probed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pairs: xr.Dataset) -> None:
    arguments: dict[str, Any] = {
        **SMALL,
        "act": "tanh",
        "init": "he_normal,normal(std=1e-70)",
        "bias": "normal(var=0.01)",
    }
    first = vp.sweep(**arguments, correlation=list(C0), out=tmp_path / "run")
    xr.testing.assert_identical(first, pairs)
    assert len(list((tmp_path / "run" / "probes").iterdir())) == 2
    xr.testing.assert_identical(vp.open_run(tmp_path / "run"), first)
    assert json.loads(first.attrs["spec"])["correlation"] == list(C0)
    (tmp_path / "run" / "results.nc").unlink()
    monkeypatch.setattr("varprobe.sweeps.local_executor.run_jobs", lambda jobs: pytest.fail("computed again"))
    with pytest.warns(UserWarning, match="results.nc"):
        xr.testing.assert_identical(vp.sweep(**arguments, correlation=list(C0), out=tmp_path / "run"), first)
    with pytest.raises(InvalidArgumentError, match="correlation is"):
        vp.sweep(**arguments, correlation=0.5, out=tmp_path / "run")
