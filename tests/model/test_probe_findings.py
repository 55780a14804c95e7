"""What a verdict on a model says of single places: the number there, what it should be near, what to change."""

import json
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import varprobe as vp
from varprobe.errors import InvalidArgumentError
from varprobe.model.growth import growth_of

RANDOM = np.random.default_rng(0)
WIDTH, BATCH = 32, 16
X = RANDOM.normal(size=(BATCH, WIDTH)).astype(np.float32)
Y = RANDOM.normal(size=(BATCH, WIDTH)).astype(np.float32)


def weights(variance: float, count: int = 6, *shape: int) -> list[Any]:
    """Matrices of fan-in E W^2 = variance."""
    shape = shape or (WIDTH, WIDTH)
    return [np.float32(RANDOM.normal(size=shape) * (variance / shape[0]) ** 0.5) for _ in range(count)]


def network(p: Any, x: Any, y: Any) -> Any:
    for w in p:
        x = jnp.tanh(x @ w)
    return jnp.square(x - y).mean()


def row_of(*arguments: Any, **options: Any) -> dict[str, Any]:
    (row,) = vp.diagnose(vp.probe(*arguments, **options)).rows
    return row


def finding(row: dict[str, Any], flag: str) -> dict[str, Any]:
    (found,) = [one for one in row["findings"] if one["flag"] == flag]
    return found


# growth

SITES = np.arange(1, 25)


@pytest.mark.parametrize(
    ("ms", "exponent"),
    {
        "each block adds as much": (1 + 0.5 * SITES, 1.0),
        "from nothing": (0.3 * SITES**0.5, 0.5),
        "falls": (4.0 / SITES**2, -2.0),
        "a factor a site": (1.4**SITES, None),
        "a factor, with chance": (1.4**SITES * np.exp(0.1 * np.sin(9 * SITES)), None),
        "chance alone": (np.exp(0.1 * np.sin(9 * SITES)), None),
        "four sites": (SITES[:4] ** 1.0, None),
    }.values(),
)
def test_a_power_of_depth_is_told_from_a_factor(ms: Any, exponent: float | None) -> None:
    found = growth_of(np.log10(ms)[None])
    assert (found and found.exponent) == (exponent if exponent is None else pytest.approx(exponent, rel=0.05))


def stream(p: Any, x: Any) -> Any:
    for first, second in zip(p["first"], p["second"], strict=True):
        h = x / jnp.sqrt(jnp.square(x).mean(-1, keepdims=True))
        x = x + jnp.tanh(h @ first) @ second
    return jnp.square(x).mean()


def test_a_residual_stream_grows_like_depth() -> None:
    """Each of 12 branches adds as much, so that the mean square is a line in depth, which no factor is printed for."""
    p = {"first": weights(1, 12), "second": weights(1, 12)}
    ds = vp.probe(stream, p, X)
    (found,) = [one for one in vp.diagnose(ds).rows[0]["families"] if one["kind"] == "residual"]
    assert found["activation_power"] == pytest.approx(1, abs=0.3)
    assert f"depth^{found['activation_power']:.2f}" in str(vp.diagnose(ds))


# single sites


@pytest.mark.parametrize("factor", [100.0, 0.01])
def test_the_site_whose_weights_are_off_is_named(factor: float) -> None:
    p = weights(1)
    p[3] = p[3] * np.float32(factor)
    row = row_of(network, p, X, Y)
    found, usual = finding(row, "outlier"), float(np.median([WIDTH * np.mean(w**2) for i, w in enumerate(p)]))
    assert not row["healthy"] and row["site"] == "3" and row["flags"][0] == "outlier"
    assert found["value"] == pytest.approx(WIDTH * np.mean(p[3] ** 2), rel=1e-3)
    assert found["near"] == pytest.approx(usual, rel=1e-3)
    ratio = (found["value"] / usual) ** 0.5
    assert found["advice"].startswith("Divide" if factor > 1 else "Multiply")
    assert float(found["advice"].split()[-1].rstrip(".")) == pytest.approx(max(ratio, 1 / ratio), rel=0.01)


def test_a_signal_that_jumps_between_like_sites_is_named() -> None:
    """A constant that no weight shows."""

    def loss(p: Any, x: Any) -> Any:
        for i, w in enumerate(p):
            x = jax.nn.relu(x @ w) * (100.0 if i == 3 else 1.0)
        return jnp.square(x).mean()

    row = row_of(loss, weights(2, 7), X)
    assert not row["healthy"] and finding(row, "outlier")["site"] in ("3", "4")
    assert finding(row, "outlier")["value"] == pytest.approx(100, rel=0.5)


def test_units_that_are_flat_are_saturated() -> None:
    """The fraction of tanh's outputs whose slope 1 - h^2 is below 0.01, counted by hand."""
    p = weights(400)
    ds = vp.probe(network, p, X, Y)
    h, shares = X, []
    for w in p:
        h = np.tanh(h @ w)
        shares.append(np.mean(1 - h**2 < 0.01))
    assert ds["saturated_fraction"].values[0, 0, 1:] == pytest.approx(shares, abs=0.01)
    found = finding(vp.diagnose(ds).rows[0], "saturated")
    assert found["value"] == pytest.approx(max(shares), abs=0.01) and "5 other sites" in found["sentence"]


def test_a_part_of_a_value_that_is_a_gate_saturates() -> None:
    """The second half of a product, with a bias of 20, goes through a logistic function."""

    def loss(p: Any, x: Any) -> Any:
        both = x @ p["w"] + p["b"]
        value, gate = jnp.split(both, 2, axis=-1)
        return jnp.square(jnp.tanh(value) * jax.nn.sigmoid(gate)).mean()

    p = {"w": weights(1, 1, WIDTH, 2 * WIDTH)[0], "b": np.float32([0] * WIDTH + [20] * WIDTH)}
    row = row_of(loss, p, X)
    assert row["flags"] == ["saturated"] and finding(row, "saturated")["value"] == 1
    assert "forget gate" in row["advice"]


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_an_output_far_from_its_target(scale: float) -> None:
    ds = vp.probe(network, weights(1), X, Y * np.float32(scale))
    (row,), rms = vp.diagnose(ds).rows, math.sqrt(np.mean(Y**2)) * scale
    assert 10 ** (ds["target_log10_mean_square"].values[0, 0, -1] / 2) == pytest.approx(rms, rel=1e-6)
    assert row["flags"] == ([] if scale == 1 else ["target_scale"])
    if scale > 1:
        assert finding(row, "target_scale")["near"] == pytest.approx(rms, rel=1e-6)
        assert row["advice"] == "Divide the target by its RMS."


@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_one_logit_of_a_binary_cross_entropy(scale: float) -> None:
    def loss(p: Any, x: Any, y: Any) -> Any:
        z = (jnp.tanh(x @ p["in"]) @ p["out"])[:, 0]
        return -jnp.mean(y * jax.nn.log_sigmoid(z) + (1 - y) * jax.nn.log_sigmoid(-z))

    p = {"in": weights(1, 1)[0], "out": weights(3 * scale**2, 1, WIDTH, 1)[0]}
    ds = vp.probe(loss, p, X, np.float32(np.arange(BATCH) % 2))
    assert json.loads(ds.attrs["logits"]) == [["out", 2]]
    assert vp.diagnose(ds).rows[0]["flags"] == (["large_logits"] if scale > 1 else [])


def test_what_only_strict_checks_count() -> None:
    """Samples that are one."""

    def loss(p: Any, x: Any) -> Any:
        for w in p:
            x = jnp.tanh(x @ w)
        return jnp.square(x).mean()

    ds = vp.probe(loss, weights(1), np.ones_like(X))
    (row,) = vp.diagnose(ds).rows
    assert row["healthy"] and row["notes"] == ["correlation_collapse"]
    assert finding(row, "correlation_collapse")["site"] == "input"
    vp.assert_healthy(ds)
    with pytest.raises(AssertionError, match="input: the mean cosine"):
        vp.assert_healthy(ds, strict=True)


def test_a_loss_that_is_not_finite_is_no_all_clear() -> None:
    row = row_of(lambda p, x: network(p, x, 0.0) + jnp.log(0.0 * x[0, 0]), weights(1), X)
    assert row["flags"] == ["non_finite"] and row["reason"] == "The loss is not finite, and every site is."


# recurrent


def recurrent(p: Any, x: Any) -> Any:
    """A state that a gate keeps, and another that it replaces."""

    def step(state: Any, x: Any) -> tuple[Any, None]:
        keep = jax.nn.sigmoid(x @ p["g"] + state @ p["r"] + p["bias"])
        return keep * state + (1 - keep) * jnp.tanh(x @ p["w"]), None

    return jnp.square(jax.lax.scan(step, jnp.zeros((BATCH, WIDTH)), x)[0]).mean()


@pytest.mark.parametrize(("bias", "steps"), [(0.0, 24), (-2.0, 24)])
def test_a_gated_state_that_forgets_gets_a_remedy(bias: float, steps: int) -> None:
    p = {name: weights(0.1, 1)[0] for name in "grw"} | {"bias": np.float32([bias] * WIDTH)}
    x = RANDOM.normal(size=(steps, BATCH, WIDTH)).astype(np.float32)
    row = row_of(recurrent, p, x)
    assert row["backward"] == "vanishing" or row["notes"] == ["forgets"] or bias == 0
    assert row["healthy"] == (bias == 0)
    if bias < 0:
        assert "step" in row["reason"] and "layer" not in row["reason"]
        assert row["advice"].startswith("Raise the bias of the gate that keeps the state")


def test_stacked_layers_are_no_recurrence() -> None:
    """A scan over weights that are too small is told by layers, and with weights to change."""

    def loss(p: Any, x: Any) -> Any:
        return jnp.square(jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), None), x, p)[0]).mean()

    row = row_of(loss, np.stack(weights(0.2, 12)), X)
    assert "each layer" in row["reason"] and row["advice"].startswith("Multiply the weight std of params by")


# steps of an optimizer


def test_what_bfloat16_loses_of_a_step_of_adam() -> None:
    """Adam's first step is lr sign(g); rounded to 8 bits it changes only weights below lr 2^9, or half of that."""
    p = [jnp.asarray(w, jnp.bfloat16) for w in weights(1)]
    x, y = jnp.asarray(X, jnp.bfloat16), jnp.asarray(Y, jnp.bfloat16)
    ds = vp.probe(network, p, x, y, optimizer=optax.adam(1e-5))
    lost = ds["parameter_lost_update_fraction"].values[0, 0]
    gradients = jax.grad(network)(p, x, y)
    for fraction, w, g in zip(lost, p, gradients, strict=True):
        after = (np.asarray(w, np.float32) - 1e-5 * np.sign(np.asarray(g, np.float32))).astype(jnp.bfloat16)
        assert fraction == pytest.approx(np.mean(after[g != 0] == np.asarray(w)[g != 0]), abs=0.01)
    row = vp.diagnose(ds).rows[0]
    assert row["flags"] == ["lost_updates"] and finding(row, "lost_updates")["value"] == pytest.approx(lost.max())
    assert "float32" in row["advice"]


def test_updates_of_float32_are_kept() -> None:
    ds = vp.probe(network, weights(1), X, Y, optimizer=optax.adam(1e-3))
    assert ds["parameter_update_log10_mean_square"].values[0, 0] == pytest.approx(-6, abs=0.01)
    assert ds["parameter_lost_update_fraction"].values.max() == 0
    assert vp.diagnose(ds).rows[0]["healthy"]


def test_parameters_that_an_optimizer_leaves_alone_are_noted() -> None:
    frozen = optax.multi_transform({"a": optax.adam(1e-3), "b": optax.set_to_zero()}, ["a", "a", "b", "a", "a", "a"])
    row = row_of(network, weights(1), X, Y, optimizer=frozen)
    assert row["healthy"] and row["notes"] == ["unmoved"] and finding(row, "unmoved")["site"] == "2"


@pytest.mark.parametrize("optimizer", ["adam", optax.adam, 1e-3])
def test_what_is_not_an_optimizer_is_refused(optimizer: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="optax.adam"):
        vp.probe(network, weights(1), X, Y, optimizer=optimizer)


def test_one_kind_of_step_at_a_time() -> None:
    with pytest.raises(InvalidArgumentError, match="step_size"):
        vp.probe(network, weights(1), X, Y, optimizer=optax.adam(1e-3), step_size=0.1)


def test_weights_of_an_output_beside_the_loss_are_not_all_weights() -> None:
    """The others are stacked in the program, so that no product is of one parameter alone."""

    def loss(p: Any, x: Any) -> Any:
        def layer(h: Any, w: Any) -> tuple[Any, Any]:
            h = jnp.tanh(h @ w)
            return h, h @ p["beside"]

        h, beside = jax.lax.scan(layer, x, jnp.stack(p["w"]))
        return jnp.square(h).mean(), beside

    row = row_of(loss, {"w": weights(1), "beside": weights(1, 1)[0]}, X)
    assert row["healthy"] and "beside is not reached by the loss" in row["reason"]


def test_a_jump_names_the_weights_that_make_it() -> None:
    """Of 5 blocks the third has both matrices 10 times too large."""

    def loss(p: Any, x: Any) -> Any:
        for block in p["blocks"]:
            h = x / jnp.sqrt(jnp.square(x).mean(-1, keepdims=True))
            x = x + jax.nn.relu(h @ block["up"]) @ block["down"]
        return jnp.square(x).mean()

    pairs = zip(weights(2, 5), weights(0.1, 5), strict=True)
    blocks = [{"up": up, "down": down} for up, down in pairs]
    blocks[2] = {name: 10 * w for name, w in blocks[2].items()}
    row = row_of(loss, {"blocks": blocks}, X)
    found = finding(row, "outlier")
    assert not row["healthy"] and found["site"] in ("blocks/2/up", "blocks/2/down")
    assert found["advice"].startswith(f"Divide the weights of {found['site']} by ")
    assert float(found["advice"].split()[-1].rstrip(".")) == pytest.approx(10, rel=0.2)
