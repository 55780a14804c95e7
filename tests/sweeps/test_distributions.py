"""Kurtosis and histograms: known distributions, brute force from the very net, and the figure."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import varprobe as vp
from varprobe.errors import InvalidArgumentError
from varprobe.sweeps.probes.distributions import BINS, EDGES, densities, spread

SMALL: dict[str, Any] = {"depth": 3, "width": 8, "batch": 4, "seeds": 1, "dtype": "float64"}


@pytest.fixture(scope="module")
def measured() -> xr.Dataset:
    return vp.sweep(act="relu", init="normal(std=0.3),normal(std=1e-50)", bias="zeros", histogram=True, **SMALL)


def described(values: np.ndarray) -> tuple[float, np.ndarray]:
    """Excess kurtosis, and the density over the RMS by NumPy's own histogram."""
    about = values - values.mean()
    kurtosis = (about**4).mean() / (about**2).mean() ** 2 - 3
    units = values / np.sqrt((values**2).mean())
    return kurtosis, np.histogram(units, EDGES)[0] / values.size / np.diff(EDGES)


def test_equal_brute_force(measured: xr.Dataset) -> None:
    with jax.enable_x64(True):
        net = vp.build(measured.isel(config=0), 0)

        def outputs(shifts: Any) -> tuple[Any, list[Any]]:
            h, every = net.x, [net.x]
            for p, shift in zip(net.params, shifts, strict=True):
                h = jax.nn.relu(h @ p["w"] + shift)
                every.append(h)
            return (net.cotangent * h).sum(), every

        gradients, every = jax.jit(jax.grad(outputs, has_aux=True))([jnp.zeros((4, 8))] * 3)
    found = measured.isel(seed=0)
    for name, arrays, first in (("activation", every, 0), ("gradient", gradients, 1)):
        for layer, array in enumerate(arrays, first):
            kurtosis, density = described(np.asarray(array))
            for config in (0, 1):  # scale changes no shape
                np.testing.assert_allclose(found[f"{name}_kurtosis"][config, layer], kurtosis, atol=1e-9)
                np.testing.assert_allclose(found[f"{name}_density"][config, layer], density, atol=1e-7)
    assert np.isnan(found.gradient_kurtosis[:, 0]).all()


def test_shares_add_up(measured: xr.Dataset) -> None:
    width = EDGES[1] - EDGES[0]
    total = (
        measured.activation_density.sum("bin") * width
        + measured.activation_share_below
        + measured.activation_share_above
    )
    np.testing.assert_allclose(total, 1, atol=1e-6)


def spread_of(values: np.ndarray) -> dict[str, np.ndarray]:
    return {k: np.asarray(v) for k, v in jax.jit(spread)(jnp.asarray(values, jnp.float32)).items()}


def test_known_distributions() -> None:
    """Evenly spaced values: kurtosis -1.2, density 1 / (2 sqrt 3); one outlier beyond 6 RMS; nothing that varies."""
    even = np.linspace(-1, 1, 20001)
    found = spread_of(even[None, None])
    np.testing.assert_allclose(found["kurtosis"], -1.2, atol=1e-3)
    density, below, above = densities(found["below"])
    assert density.shape == (1, BINS) and not below.any() and not above.any()
    np.testing.assert_allclose(density[0, BINS // 2 - 5 : BINS // 2 + 6], 1 / (2 * np.sqrt(3)), rtol=2e-3)
    outlier = np.concatenate([np.zeros(9999), [1.0]])
    found = spread_of(outlier[None, None])
    np.testing.assert_allclose(densities(found["below"])[2], 1e-4, atol=1e-6)
    np.testing.assert_allclose(found["kurtosis"], 9996.0001, rtol=1e-3)  # (1 - 3 p + 3 p^2) / (p (1 - p)) - 3
    flat = spread_of(np.zeros((1, 2, 3)))
    assert np.isnan(flat["kurtosis"]).all() and np.isnan(flat["below"]).all()


def test_rows_and_figure(measured: xr.Dataset) -> None:
    rows = vp.diagnose(measured).rows
    assert rows[0]["histogram"]["activation_kurtosis"] == pytest.approx(float(measured.activation_kurtosis[0, 0, 3]))
    assert rows[0]["histogram"]["gradient_kurtosis"] == pytest.approx(float(measured.gradient_kurtosis[0, 0, 1]))
    assert "Excess kurtosis" in str(vp.diagnose(measured))
    ax = vp.plot_histogram(measured.isel(config=[0]), "gradient")
    assert [text.get_text() for text in ax.get_yticklabels()] == ["1", "2", "3"]
    with pytest.raises(InvalidArgumentError, match="one configuration"):
        vp.plot_histogram(measured)
    with pytest.raises(InvalidArgumentError, match="no histograms"):
        vp.plot_histogram(measured.drop_vars("activation_density").isel(config=[0]))


def test_ridges_are_the_densities_of_all_seeds(measured: xr.Dataset) -> None:
    """A peak of a Gaussian is 0.6 of a ridge high; what is above 0.92 is cut, and its density written."""
    one = measured.isel(config=[0])
    other = one.assign(activation_density=(one.activation_density * 0.25).where(one.layer < 3))
    density = one.activation_density.values[0, 0]
    means = [*(0.625 * density[:3]), density[3]]  # without the seed that has none
    assert means[3].max() * 0.6 / 0.4 > 0.92 > means[0].max() * 0.6 / 0.4
    ax = vp.plot_histogram(xr.concat([one, other.assign_coords(seed=[1])], "seed"))
    ridges = [patch.get_data() for patch in ax.patches if patch.get_gid() == "ridge"]
    for layer, (ridge, line, wanted) in enumerate(zip(ridges, ax.lines, means, strict=True)):
        np.testing.assert_allclose(ridge.values + layer, np.minimum(wanted * 0.6 / 0.4, 0.92), atol=1e-12)
        np.testing.assert_allclose(ridge.edges, EDGES, atol=1e-12)
        x, y = line.get_data()
        np.testing.assert_allclose(y + layer, 1.5 / np.sqrt(2 * np.pi) * np.exp(-(x**2) / 2), atol=1e-12)
        np.testing.assert_allclose(x, (EDGES[1:] + EDGES[:-1]) / 2, atol=1e-12)
    peaks = {f"peak {wanted.max():.2g}" for wanted in means if wanted.max() * 1.5 > 0.92}
    assert {text.get_text() for text in ax.texts} == peaks


def test_command_draws(measured: xr.Dataset, tmp_path: Any) -> None:
    from click.testing import CliRunner

    from varprobe.cli.group import command

    vp.sweep(
        act="relu",
        init="normal(std=0.3),normal(std=1e-50)",
        bias="zeros",
        histogram=True,
        out=tmp_path / "run",
        **SMALL,
    )
    done = CliRunner().invoke(command, ["plot", str(tmp_path / "run"), "--kind", "histogram"], obj=[])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "run" / "histogram.pdf").is_file()
    wrong = CliRunner().invoke(command, ["plot", str(tmp_path / "run"), "--kind", "spectrum"], obj=[])
    assert isinstance(wrong.exception, InvalidArgumentError) and "no Jacobians" in wrong.exception.message
    assert "," in (tmp_path / "run" / "results.csv").read_text().splitlines()[0]
    assert "activation_density" not in (tmp_path / "run" / "results.csv").read_text().splitlines()[0]
