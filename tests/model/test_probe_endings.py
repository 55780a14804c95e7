"""What the loss makes of a model's output: logits, targets, and functions that let no gradient through."""

import json
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import varprobe as vp
from varprobe.errors import InvalidArgumentError

RANDOM = np.random.default_rng(1)
BATCH, WIDTH, CLASSES = 64, 32, 10
X = RANDOM.normal(size=(BATCH, WIDTH)).astype(np.float32)
LABELS = np.arange(BATCH) % CLASSES
P = {
    "w": np.float32(RANDOM.normal(size=(WIDTH, WIDTH)) * (2 / WIDTH) ** 0.5),
    "h": np.float32(RANDOM.normal(size=(WIDTH, CLASSES)) / WIDTH**0.5),
}
ONE = P | {"h": P["h"][:, :1]}


def net(p: Any, x: Any) -> Any:
    return jax.nn.relu(x @ p["w"]) @ p["h"]


def cross_entropy(logits: Any, y: Any) -> Any:
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1).mean()


def row_of(*arguments: Any, **options: Any) -> dict[str, Any]:
    (row,) = vp.diagnose(vp.probe(*arguments, **options)).rows
    return row


CROSS_ENTROPIES: dict[str, Callable[[Any, Any], Any]] = {
    "log_softmax": cross_entropy,
    "logsumexp": lambda z, y: (jax.nn.logsumexp(z, -1) - jnp.take_along_axis(z, y[:, None], 1)[:, 0]).mean(),
    "optax": lambda z, y: optax.softmax_cross_entropy(z, jax.nn.one_hot(y, CLASSES)).mean(),
    "log of softmax": lambda z, y: -jnp.log(jax.nn.softmax(z))[jnp.arange(BATCH), y].mean(),
    "binary": lambda z, y: optax.sigmoid_binary_cross_entropy(z, jax.nn.one_hot(y, CLASSES)).mean(),
}


@pytest.mark.parametrize("loss", CROSS_ENTROPIES.values(), ids=CROSS_ENTROPIES)
def test_logits_are_what_the_loss_takes(loss: Callable[[Any, Any], Any]) -> None:
    """The output is multiplied by 10 behind the head: the standard deviation is that of the product."""
    ds = vp.probe(lambda p, x, y: loss(10 * net(p, x), y), P, X, LABELS)
    spread = float(np.std(10 * np.asarray(net(P, X))))
    head = ds.site.values.tolist().index("h")
    assert 10 ** (ds["logits_log10_var"].values[0, 0, head] / 2) == pytest.approx(spread, rel=1e-5)
    (row,) = vp.diagnose(ds).rows
    (found,) = [one for one in row["findings"] if one["flag"] == "large_logits"]
    assert found["site"] == "h" and found["value"] == pytest.approx(spread, rel=1e-5)
    assert "which are 10 times what h gives" in found["sentence"] and "1 / temperature" in found["advice"]


def test_logits_of_two_signals_and_a_learned_temperature() -> None:
    """Cosines of two embeddings times exp(t), as in contrastive losses."""

    def unit(v: Any) -> Any:
        return v / jnp.linalg.norm(v, axis=-1, keepdims=True)

    def loss(p: Any, x: Any, z: Any) -> Any:
        return cross_entropy(jnp.exp(p["t"]) * (unit(x @ p["a"]) @ unit(z @ p["b"]).T), jnp.arange(BATCH))

    for t in (1.0, 1000.0):
        p = {"a": P["w"], "b": P["w"].T, "t": jnp.log(jnp.float32(t))}
        row = row_of(loss, p, X, X[::-1])
        assert row["flags"] == (["large_logits"] if t > 1 else [])
    logits = t * unit(X @ P["w"]) @ unit(X[::-1] @ P["w"].T).T
    assert row["findings"][0]["value"] == pytest.approx(float(jnp.std(logits)), rel=1e-4)


@pytest.mark.parametrize("cap", [30.0, 1000.0])
def test_a_soft_cap_is_no_activation_that_shrinks(cap: float) -> None:
    ds = vp.probe(lambda p, x, y: cross_entropy(cap * jnp.tanh(net(p, x) / cap), y), P, X, LABELS)
    expected = np.log10(np.square(cap * np.tanh(np.asarray(net(P, X)) / cap)).mean())
    assert ds["activation_log10_mean_square"].values[0, 0, -1] == pytest.approx(expected, abs=1e-5)
    assert vp.healthy(ds)


TWICE: dict[str, Callable[..., Any]] = {
    "softmax": lambda p, x, y: cross_entropy(jax.nn.softmax(net(p, x)), y),
    "logistic": lambda p, x, y: optax.sigmoid_binary_cross_entropy(jax.nn.sigmoid(net(p, x))[:, 0], y % 2.0).mean(),
}


@pytest.mark.parametrize("loss", TWICE.values(), ids=TWICE)
def test_probabilities_that_are_taken_for_logits(loss: Callable[..., Any]) -> None:
    row = row_of(loss, P, X, LABELS)
    assert row["flags"] == ["squashed_logits"] and "loss of probabilities" in row["advice"]


TARGETS: dict[str, tuple[Callable[..., Any], Callable[[Any], Any]]] = {
    "a multiple": (lambda z, y: jnp.square(z[:, 0] - 1e4 * y).mean(), lambda y: 1e4 * y),
    "mean absolute": (lambda z, y: jnp.abs(z - 1e4 * y[:, None]).mean(), lambda y: 1e4 * y),
    "Huber": (lambda z, y: optax.huber_loss(z, 1e4 * y[:, None]).mean(), lambda y: 1e4 * y),
    "in units": (lambda z, y: jnp.square(z - (y[:, None] - 4.5) / 0.001).mean(), lambda y: (y - 4.5) / 0.001),
}


@pytest.mark.parametrize(("loss", "target"), TARGETS.values(), ids=TARGETS)
def test_a_target_is_what_the_loss_subtracts(loss: Callable[..., Any], target: Callable[[Any], Any]) -> None:
    ds = vp.probe(lambda p, x, y: loss(net(p, x), y), ONE, X, LABELS)
    rms = float(np.sqrt(np.mean(np.square(target(LABELS)))))
    assert 10 ** (np.nanmax(ds["target_log10_mean_square"].values) / 2) == pytest.approx(rms, rel=1e-5)
    (row,) = vp.diagnose(ds).rows
    assert row["flags"] == ["target_scale"] and row["advice"] == "Divide the target by its RMS."


@pytest.mark.parametrize(("scale", "mean"), [(2000.0, 5000.0), (1.0, 5000.0)])
def test_an_output_in_the_units_of_its_target(scale: float, mean: float) -> None:
    target = (mean + scale * X[:, 0]).astype(np.float32)
    ds = vp.probe(lambda p, x, t: jnp.square(scale * net(p, x)[:, 0] + mean - t).mean(), ONE, X, target)
    output = np.sqrt(np.mean(np.square(scale * np.asarray(net(ONE, X)) + mean)))
    assert 10 ** (np.nanmax(ds["output_log10_mean_square"].values) / 2) == pytest.approx(
        output, rel=1e-5
    ) and vp.healthy(ds)
    wrong = row_of(lambda p, x, t: jnp.square(1e4 * net(p, x)[:, 0] - t).mean(), ONE, X, X[:, 0])
    assert wrong["flags"] == ["target_scale"]


BROADCAST: dict[str, Callable[..., Any]] = {
    "two axes": lambda p, x, y: jnp.square(net(p, x.reshape(8, 8, WIDTH)) - y.reshape(8, 8)).mean(),
    "bootstrapped": lambda p, x, y: jnp.square(net(p, x) - (y + jax.lax.stop_gradient(net(p, -x))[:, 0])).mean(),
    "standardized": lambda p, x, y: jnp.square(net(p, x) - (y - y.mean()) / y.std()).mean(),
}


@pytest.mark.parametrize("loss", BROADCAST.values(), ids=BROADCAST)
def test_targets_that_are_broadcast(loss: Callable[..., Any]) -> None:
    assert row_of(loss, ONE, X, LABELS / 5)["flags"] == ["target_shape"]


def test_a_loss_of_pairs_is_no_broadcast() -> None:
    """A kernel's distance between samples of outputs and of targets, one dimension, as many of each."""

    def kernel(a: Any, b: Any) -> Any:
        return jnp.exp(-0.5 * jnp.square(a[:, None] - b)).mean()

    def distance(p: Any, x: Any, t: Any) -> Any:
        z = net(p, x)[:, 0]
        return kernel(z, z) - 2 * kernel(z, t) + kernel(t, t)

    assert row_of(distance, ONE, X, X[:, 0])["healthy"]


def test_the_weight_of_a_loss_changes_no_verdict() -> None:
    """Logits are large if they are sure of wrong classes: 1 - 1/V is the squared error of equal probabilities."""
    right = 12 * np.eye(CLASSES, dtype=np.float32)[LABELS] + np.float32(RANDOM.normal(size=(BATCH, CLASSES)))
    for weight in (0.01, 1.0, 1e4):
        wrong = partial(weighted, weight, lambda p, x: 10 * net(p, x))
        ds = vp.probe(wrong, P, X, LABELS)
        p = np.asarray(jax.nn.softmax(10 * net(P, X)))
        error = np.square(p - np.eye(CLASSES)[LABELS]).sum(-1).mean()
        assert np.nanmax(ds["prediction_error"].values) == pytest.approx(error, rel=1e-4) and error > 1.1
        assert vp.diagnose(ds).rows[0]["flags"] == ["large_logits"]
        learned = partial(weighted, weight, lambda p, x: x @ p)
        assert vp.healthy(vp.probe(learned, np.eye(CLASSES, dtype=np.float32), right, LABELS))


def weighted(weight: float, logits: Callable[..., Any], p: Any, x: Any, y: Any) -> Any:
    """A cross entropy times a number."""
    return weight * cross_entropy(logits(p, x), y)


def test_outputs_and_targets_that_are_broadcast() -> None:
    """An output (64, 1) minus a target (64,) is (64, 64)."""
    row = row_of(lambda p, x, y: jnp.square(net(p, x) - y).mean(), ONE, X, LABELS / 5)
    assert row["flags"] == ["target_shape"] and "each of 64 targets from each of 64 outputs" in row["reason"]
    with pytest.raises(InvalidArgumentError, match=r"an output of shape \[64, 1\] and a target of shape \[64\]"):
        vp.probe(net, ONE, X, LABELS / 5, loss="mse")
    points = RANDOM.normal(size=(7, CLASSES)).astype(np.float32)
    chamfer = row_of(lambda p, x, y: jnp.square(net(p, x)[:, None] - y[None]).sum(-1).min(1).mean(), P, X, points)
    assert chamfer["healthy"]


HARD: dict[str, Callable[..., Any]] = {
    "step": lambda p, x, y: cross_entropy((x @ p["w"] > 0).astype(jnp.float32) @ p["h"], y),
    "argmax": lambda p, x, y: cross_entropy(jax.nn.one_hot(jnp.argmax(x @ p["w"], -1), WIDTH) @ p["h"], y),
    "weights": lambda p, x, y: cross_entropy(jax.nn.relu(x @ jnp.sign(p["w"]) / 5) @ p["h"], y),
}


@pytest.mark.parametrize("loss", HARD.values(), ids=HARD)
def test_decisions_and_rounded_weights_stop_the_gradient(loss: Callable[..., Any]) -> None:
    assert not np.any(jax.grad(loss)(P, X, LABELS)["w"])
    row = row_of(loss, P, X, LABELS)
    assert row["flags"] == ["no_gradient"] and row["site"] == "w" and "straight" not in row["reason"]


def test_functions_without_a_slope_that_are_not_trained_through() -> None:
    """An accuracy beside the loss, labels of a teacher, and random features."""

    def with_accuracy(p: Any, x: Any, y: Any) -> Any:
        z = net(p, x)
        return cross_entropy(z, y), (jnp.round(jax.nn.softmax(net(p, x))).argmax(-1) == y).mean()

    def taught(p: Any, x: Any) -> Any:
        labels = jax.lax.stop_gradient(jnp.round(jax.nn.sigmoid(net(p["teacher"], x))))
        return optax.sigmoid_binary_cross_entropy(net(p["student"], x), labels).mean()

    def random_features(p: Any, x: Any, y: Any) -> Any:
        return cross_entropy(jnp.sign(x @ jax.lax.stop_gradient(p["w"])) @ p["h"], y)

    assert row_of(with_accuracy, P, X, LABELS)["healthy"]
    assert row_of(taught, {"teacher": P, "student": P}, X)["healthy"]
    assert row_of(random_features, P | {"h": P["h"] / 2}, X, LABELS)["healthy"]


@pytest.mark.parametrize("function", [jnp.sign, jnp.round, jnp.floor])
def test_a_function_without_a_slope_stops_the_gradient(function: Callable[[Any], Any]) -> None:
    def loss(through: bool) -> Callable[..., Any]:
        def flat(x: Any) -> Any:
            return x + jax.lax.stop_gradient(function(x) - x) if through else function(x)

        return lambda p, x, y: cross_entropy(flat(x @ p["w"]) @ p["h"], y)

    row = row_of(loss(False), P, X, LABELS)
    assert not np.any(jax.grad(loss(False))(P, X, LABELS)["w"])
    assert row["flags"] == ["no_gradient"] and row["site"] == "w" and "stop_gradient" in row["advice"]
    assert row_of(loss(True), P, X, LABELS)["healthy"]


def test_gradients_that_float16_cannot_hold() -> None:
    def loss(p: Any, x: Any) -> Any:
        return jnp.mean(net(p, x) * scale)

    p, x = jax.tree.map(jnp.float16, ONE), jnp.float16(np.tile(X, (16, 1)))
    for scale in (1.0, 1e-4):
        row = row_of(loss, p, x)
        assert row["flags"] == (["lost_gradients"] if scale < 1 else [])
    assert "loss scaling" in row["advice"]


def test_units_that_are_all_equal_stay_so() -> None:
    def loss(p: Any, x: Any, y: Any) -> Any:
        for w in p["l"]:
            x = jnp.tanh(x @ w + p.get("b", 0))
        return cross_entropy(x @ p["h"], y)

    same = [np.full((WIDTH, WIDTH), 1 / WIDTH, np.float32)] * 3
    constant = {"l": same, "h": np.full((WIDTH, CLASSES), 0.1, np.float32)}
    slope = np.asarray(jax.grad(loss)(constant, X, LABELS)["l"][1])
    assert np.ptp(slope) < 1e-9 and row_of(loss, constant, X, LABELS)["flags"] == ["symmetric"]
    assert row_of(loss, {"l": [P["w"], P["w"]], "h": constant["h"]}, X, LABELS)["healthy"]  # a head may be constant
    parted = constant | {"b": np.linspace(-1, 1, WIDTH, dtype=np.float32)}
    assert row_of(loss, parted, X, LABELS)["healthy"]  # by their biases
    tiled = [np.tile(P["w"][:, :1], (1, WIDTH)) for _ in range(2)]
    assert row_of(loss, constant | {"l": tiled}, X, LABELS)["flags"] == ["symmetric"]


def block(p: Any, x: Any, kind: str) -> Any:
    """What is added to the stream."""
    if kind == "gated":
        return jnp.tanh(p["gate"]) * (jax.nn.relu(x @ p["in"]) @ p["out"])
    if kind == "GLU":
        return (x @ p["in"]) * (x @ p["second"]) @ p["out"]
    mixed = jax.nn.softmax(x @ p["in"] @ (x @ p["second"]).T / WIDTH) @ (x @ p["value"])
    return mixed @ p["out"]


PAIRS = {
    "gated": [("gate", "out")],
    "GLU": [("in", "second")],
    "attention": [("value", "out"), ("in", "second")],
}


@pytest.mark.parametrize(("kind", "zeros"), [(kind, pair) for kind, pairs in PAIRS.items() for pair in pairs])
def test_two_zeros_that_multiply_each_other_never_move(kind: str, zeros: tuple[str, str]) -> None:
    """One of them alone gets a gradient, and the other its own in the next step, also behind a readout of zeros."""

    def loss(p: Any, x: Any, y: Any) -> Any:
        return cross_entropy((x + block(p, x, kind)) @ p["h"], y)

    drawn = {"gate": np.float32(1), "h": P["h"], "unused": np.zeros(3, np.float32)}
    drawn |= {name: np.float32(RANDOM.normal(size=(WIDTH, WIDTH)) / 4) for name in ("in", "second", "value", "out")}
    zero = {name: 0 * np.asarray(drawn[name]) for name in zeros}
    row = row_of(loss, drawn | zero, X, LABELS)
    slopes = jax.grad(loss)(drawn | zero, X, LABELS)
    assert not any(np.any(slopes[name]) for name in zeros) and row["flags"] == ["no_gradient"]
    assert all(name in row["reason"] for name in zeros) and "at random" in row["advice"]
    alone = {zeros[0]: zero[zeros[0]], "h": 0 * P["h"]}
    assert row_of(loss, drawn | alone, X, LABELS)["healthy"]


def test_a_message_for_a_linen_module_without_its_variables() -> None:
    linen = pytest.importorskip("flax.linen")
    module = linen.Dense(3)
    with pytest.raises(InvalidArgumentError, match=r"probe\(\(module, variables\), x\)"):
        vp.probe(module, module.init(jax.random.key(0), X), X)


def test_attributes_are_lists() -> None:
    ds = vp.probe(lambda p, x, y: cross_entropy(net(p, x), y), P, X, LABELS)
    assert {name: json.loads(ds.attrs[name]) for name in ("logits", "flat", "squashed", "mismatched")} == {
        "logits": [["h", CLASSES]],
        "flat": [],
        "squashed": [],
        "mismatched": [],
    }
    assert "logits_log10_var" not in ds and math.isclose(
        ds["loss_value"].item(), cross_entropy(net(P, X), LABELS), rel_tol=1e-6
    )
