"""Theory beside the measurement: what a sweep predicts of itself, and how far it then lies from it."""

import json
from collections.abc import Callable

import jax
import numpy as np
import pytest
import xarray as xr
from scipy import stats

import varprobe as vp
from varprobe.sweeps.predict.plain import theory_names
from varprobe.theory.elementwise import activation
from varprobe.theory.sources import Fast, Source

SMALL = {"depth": 6, "width": 16, "batch": 4, "seeds": 2}
FIELDS = [f"theory_{q}_{f}" for q in ("activation", "gradient") for f in ("factor", "z")]


@pytest.fixture(scope="module")
def relu(measured: Callable[..., xr.Dataset]) -> xr.Dataset:
    return measured(**SMALL, act="relu", init="he_normal")


def test_relu_in_closed_form() -> None:
    """E h^2 falls by sigma_w2 / 2 a layer, the gradient with it; Var relu is E relu^2 (1 - 1/pi)."""
    ds = vp.sweep(**SMALL, act="relu", sigma_w2=[2, 0.5])
    layers = np.arange(1, 7)
    for i, sigma_w2 in enumerate((2, 0.5)):
        start, per_layer = 0.0, np.log10(sigma_w2 / 2)
        theory = ds.isel(config=i, seed=0, layer=layers)
        np.testing.assert_allclose(theory.theory_activation_log10_mean_square, start + per_layer * layers, atol=1e-12)
        np.testing.assert_allclose(
            theory.theory_activation_log10_var, start + per_layer * layers + np.log10(1 - 1 / np.pi), atol=1e-12
        )
        gradient = np.log10(0.5) + per_layer * (6 - layers)
        np.testing.assert_allclose(theory.theory_gradient_log10_mean_square, gradient, atol=1e-12)
        arriving = start + per_layer * (layers - 1)
        np.testing.assert_allclose(
            theory.theory_weight_gradient_log10_mean_square, arriving + gradient + np.log10(4), atol=1e-12
        )
    rows = vp.diagnose(ds).rows
    assert rows[0]["theory_activation_z"] is not None
    assert [row["theory_activation_factor"] for row in rows] == pytest.approx([1, 0.25], rel=1e-12)
    assert [row["theory_gradient_factor"] for row in rows] == pytest.approx([1, 0.25], rel=1e-12)


def test_dims_and_names() -> None:
    ds = vp.sweep(**SMALL, act="tanh", init="variance_scaling(scale=2.0, mode=fan_in, distribution=normal)")
    for name in theory_names():
        assert ds[name].dims == ("config", "seed", "layer") and np.isnan(ds[name][..., 0]).all()
        assert np.isfinite(ds[name][..., 1:]).all() and ds[name].attrs["long_name"]


def test_z_scores_of_one_input_follow_student() -> None:
    """The finite-width law of one input is exact: groups of 4 of 160 seeds are 40 values of t with 3 degrees."""
    ds = vp.sweep(depth=20, width=24, batch=1, act="relu", sigma_w2=2, seeds=160)
    rows = [vp.diagnose(ds.isel(seed=slice(i, i + 4))).rows[0] for i in range(0, 160, 4)]
    for quantity in ("activation", "gradient"):
        z = [row[f"theory_{quantity}_z"] for row in rows]
        assert stats.kstest(z, stats.t(3).cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    ("act", "init"),
    [
        ("tanh", "variance_scaling(scale=1.5)"),
        *(
            pytest.param(*pair, marks=pytest.mark.exhaustive)
            for pair in (("relu", "he_normal"), ("gelu", "variance_scaling(scale=2.35)"), ("elu", "orthogonal"))
        ),
    ],
)
def test_measured_slopes_are_the_predicted_ones(act: str, init: str) -> None:
    """Within 4 standard errors, which are below 1%."""
    ds = vp.sweep(act=act, init=init, depth=20, width=256, batch=8, seeds=12, bias="normal(var=0.01)")
    row = vp.diagnose(ds).rows[0]
    for quantity in ("activation", "gradient"):
        low, high = row[f"{quantity}_factor_ci95"]
        assert (high - low) / row[f"{quantity}_factor"] < 0.02 * 2 * 2.2
        z = row[f"theory_{quantity}_z"]
        assert z is not None and abs(z) < 5.5  # of 11 degrees of freedom: 2e-4


def test_a_mean_in_weights_and_biases() -> None:
    """Weights with a mean, and biases that are all one, reach every unit alike."""
    inits = ["normal(mean=0.01,std=0.05)", "normal(var=1/fan_in)"]
    ds = vp.sweep(act="relu", init=inits, bias="zeros,ones", depth=5, width=512, batch=16, seeds=8)
    for one in (vp.select(ds, init=inits[0], bias="zeros"), vp.select(ds, bias="ones")):
        assert np.isnan(one.theory_activation_drift).all()
        for name in ("activation_log10_mean_square", "activation_log10_var", "gradient_log10_mean_square"):
            seeds = one[name][..., 1:].values
            error = seeds.std(axis=1, ddof=1) / np.sqrt(8)
            assert (np.abs(seeds.mean(axis=1) - one[f"theory_{name}"][:, 0, 1:].values) < 5 * error + 0.01).all()


@pytest.mark.exhaustive
def test_where_there_is_no_theory(relu: xr.Dataset) -> None:
    constant = vp.sweep(**SMALL, act="tanh", init="zeros,constant(0.1),identity")
    grows = vp.sweep(**SMALL, act={"grows": lambda x: np.e ** (x * x)}, init="he_normal")
    for row in [row for ds in (constant, grows) for row in vp.diagnose(ds).rows]:
        assert [row[field] for field in FIELDS] == [None] * 4, row["init"]
        json.dumps(row, allow_nan=False)
    (one_layer,) = vp.diagnose(vp.sweep(**SMALL | {"depth": 1}, act="relu", init="he_normal")).rows
    assert [one_layer[field] for field in FIELDS] == [None] * 4
    one_seed = vp.diagnose(relu.isel(seed=slice(1))).rows[0]
    assert one_seed["theory_activation_factor"] == pytest.approx(1) and one_seed["theory_activation_z"] is None
    (forward,) = vp.diagnose(vp.sweep(**SMALL, act="relu", sigma_w2=2, forward_only=True)).rows
    assert forward["theory_gradient_factor"] is None and forward["theory_activation_z"] is not None


@pytest.mark.exhaustive
def test_the_users_own_initializer_counts_by_its_measured_variance() -> None:
    def half(key: jax.Array, shape: tuple[int, ...], dtype: object) -> jax.Array:
        return jax.random.rademacher(key, shape, dtype) * (1 / shape[0]) ** 0.5

    (row,) = vp.diagnose(vp.sweep(**SMALL, act="relu", init=half)).rows
    assert row["theory_activation_factor"] == pytest.approx(0.5, rel=1e-5) and row["theory_activation_z"] is None


def test_a_loss_starts_from_the_measured_gradient() -> None:
    ds = vp.sweep(**SMALL, act="relu", init="he_normal", loss="mse")
    measured = ds.gradient_log10_mean_square[0, :, 6].mean()
    np.testing.assert_allclose(ds.theory_gradient_log10_mean_square[0, 0, 1:], measured, atol=1e-12)
    assert vp.diagnose(ds).rows[0]["theory_gradient_z"] is None


def test_real_data_count_by_their_own_moments() -> None:
    rng = np.random.default_rng(0)
    rows = 3 * rng.standard_normal((40, 16)) + 2
    ds = vp.sweep(**SMALL, act="relu", init="he_normal", data=rows)
    np.testing.assert_allclose(ds.theory_activation_log10_mean_square[0, 0, 1:], np.log10(np.mean(rows**2)), atol=1e-12)
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = (units @ units.T)[~np.eye(40, dtype=bool)]
    aligned = vp.theory.finite_width("relu", "he_normal", 16, 6, 4, q0=float(np.mean(rows**2)), c0=cosines.mean())
    np.testing.assert_allclose(ds.theory_activation_std[0, 0, 1:], aligned.std_log10, rtol=1e-9)


@pytest.mark.parametrize("act", ["tanh", pytest.param("relu,tanh", marks=pytest.mark.exhaustive)])
def test_a_run_keeps_it(act: str, tmp_path) -> None:
    request = SMALL | {"act": act, "init": "he_normal", "out": tmp_path / "run"}
    ds = vp.sweep(**request)
    for again in (vp.open_run(tmp_path / "run"), vp.sweep(**request)):
        xr.testing.assert_identical(again, ds)
    header, first, *_ = (tmp_path / "run" / "results.csv").read_text().splitlines()
    assert "theory_activation_log10_mean_square" in header and len(first.split(",")) >= len(theory_names())


@pytest.mark.parametrize("act", ["relu", "tanh", "gelu", "hard_tanh"])
def test_fast_laws(act: str) -> None:
    """Tables give the integrals, and Hermite series those of pairs to what finite-width terms need."""
    phi, rng = activation(act), np.random.default_rng(0)
    log_q, c, zero = rng.uniform(-12, 4, 25), rng.uniform(-1, 1, 25), np.zeros(25)
    from varprobe.theory.laws import law

    expected = np.array([law(phi, float(x), 0.0) for x in log_q]).T
    np.testing.assert_allclose(np.array(Source(phi).law(log_q, zero)), expected, rtol=1e-10, atol=1e-10)
    slow, fast = (np.array(source(phi).similarity(log_q, c, zero)) for source in (Source, Fast))
    np.testing.assert_allclose(fast, slow, atol=2e-2 if act == "hard_tanh" else 5e-3)


@pytest.mark.exhaustive
def test_a_grid_is_predicted_as_one_net_is() -> None:
    ds = vp.sweep(**SMALL, act="tanh", sigma_w2="1:4:4", sigma_b2="0:1:3")
    for i in (0, 7):
        w, b = (float(ds[name].values[i].split("=")[1].split(",")[0].rstrip(")")) for name in ("init", "bias"))
        one = vp.theory.trajectory("tanh", w, b, depth=6)
        np.testing.assert_allclose(
            ds.theory_activation_log10_mean_square[i, 0, 1:], one.activation_log10_mean_square, atol=1e-9
        )
        np.testing.assert_allclose(
            ds.theory_gradient_log10_mean_square[i, 0, 1:], one.gradient_log10_mean_square, atol=1e-9
        )


@pytest.mark.exhaustive
def test_a_net_is_predicted_alike_in_any_company() -> None:
    """With nets that have biases, that lead to where no average is, and whose variances no float holds."""
    alone = vp.sweep(**SMALL | {"batch": 1}, act="relu", sigma_w2=[2.0], sigma_b2=[0.0])
    among = vp.sweep(**SMALL | {"batch": 1}, act="relu", sigma_w2=[2.0, 5.0], sigma_b2=[0.0, 0.1])
    for name in theory_names():
        np.testing.assert_array_equal(among[name][0], alone[name][0], err_msg=name)
    grows = vp.sweep(**SMALL, act={"sinh": lambda x: (np.e**x - np.e**-x) / 2}, sigma_w2=[0.1, 100.0])
    assert np.isfinite(grows.theory_activation_log10_mean_square[0, 0, 1:]).all()
    assert np.isnan(grows.theory_activation_log10_mean_square[1]).all()
    ds = vp.sweep(**SMALL, act="relu", init="normal(std=1e200),normal(std=1e-170)")
    for i, log_std in enumerate((200, -170)):
        expected = (np.log10(16 / 2) + 2 * log_std) * np.arange(1, 7)
        np.testing.assert_allclose(ds.theory_activation_log10_mean_square[i, 0, 1:], expected, rtol=1e-12)
        assert vp.diagnose(ds).rows[i]["reason"]


def test_orthogonal_weights_that_contract_vary() -> None:
    """A random projection from N to n dimensions keeps Beta(n/2, (N-n)/2) of a square: 2 (1/n - 1/N) to first order."""
    found = vp.theory.finite_width("identity", "orthogonal", [64, 16, 16, 64], 3)
    np.testing.assert_allclose(found.variance, 2 * (1 / 16 - 1 / 64) * np.ones(3), rtol=1e-9)
    back = vp.theory.finite_width("identity", "orthogonal", [64, 16, 16, 64], 3, quantity="gradient")
    assert back.variance[0] == pytest.approx(2 / 64 + 2 * (1 / 16 - 1 / 64), rel=1e-9)


@pytest.mark.exhaustive
def test_samples_of_different_means_under_weights_with_one() -> None:
    """Rows of all 1 or all -1: z = +- n mean_w, exactly."""
    rows = np.ones((40, 16))
    rows[::2] = -1
    ds = vp.sweep(data=rows, act="tanh", width=16, depth=2, init="normal(mean=0.1,std=0.1)", batch=16, seeds=2)
    expected = np.log10((16 * 0.1) ** 2 + 16 * 0.01)
    assert ds.theory_preactivation_log10_mean_square[0, 0, 1] == pytest.approx(expected, rel=1e-12)
