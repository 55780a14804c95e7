"""Models of Keras, against jax.grad of their stateless_call."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from keras import layers

import varprobe as vp
from varprobe.__main__ import main

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(16, 6)).astype(np.float32), np.arange(16) % 3
TARGET = RNG.normal(size=(16, 3)).astype(np.float32)


pytestmark = pytest.mark.usefixtures("raw_keys")


def made(seed: int = 0) -> Any:
    keras.utils.set_random_seed(seed)
    hidden = [layers.Dense(8, "relu", name=f"hidden_{i}") for i in range(2)]
    first = [layers.Dense(8, name="first"), layers.BatchNormalization(name="norm"), layers.ReLU()]
    return keras.Sequential(
        [keras.Input((6,)), *first, layers.Dropout(0.5), *hidden, layers.Dense(3, name="head")], name="net"
    )


def trains(model: Any, x: Any) -> Any:
    return model(x, training=True)


def own(output: Any, target: Any) -> Any:
    return jnp.abs(output - target).mean()


def entropy(output: Any, labels: Any) -> Any:
    return -jax.nn.log_softmax(output)[jnp.arange(len(labels)), labels].mean()


def plain(model: Any, loss: Callable[..., Any], target: Any, training: bool, x: Any = X) -> tuple[Any, dict[str, Any]]:
    """(loss, gradients by path) through stateless_call."""
    state = [v.value for v in model.non_trainable_variables]

    def scalar(values: list[Any]) -> Any:
        return loss(model.stateless_call(values, state, x, training=training)[0], target)

    value, slopes = jax.jit(jax.value_and_grad(scalar))([v.value for v in model.trainable_variables])
    return value, {v.path: slope for v, slope in zip(model.trainable_variables, slopes, strict=True)}


def same(ds: Any, value: Any, slopes: dict[str, Any]) -> None:
    """The loss and the mean square of every gradient; a bias before batch norm has none but rounding."""
    np.testing.assert_allclose(ds.loss_value.values, float(value), rtol=1e-5)
    assert set(ds.parameter.values) == set(slopes)
    for name, level in zip(ds.parameter.values, ds.parameter_gradient_log10_mean_square.values[0, 0], strict=True):
        expected = float(np.mean(np.asarray(slopes[name], np.float64) ** 2))
        np.testing.assert_allclose(10**level, expected, rtol=1e-3, atol=1e-13, err_msg=name)


CASES = {
    "mse": ("mse", lambda output, target: ((output - target) ** 2).mean(), TARGET),
    "cross_entropy": ("cross_entropy", entropy, Y),
    "own": (own, own, TARGET),
    "of keras": (keras.losses.SparseCategoricalCrossentropy(from_logits=True), entropy, Y),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_stateless_call(name: str) -> None:
    """In inference, by default, and in training, with the mask of the model's seed generator."""
    model, (loss, by_hand, target) = made(), CASES[name]
    before = [np.array(v.value) for v in model.variables]
    same(vp.probe(model, X, target, loss=loss), *plain(model, by_hand, target, False))
    same(vp.probe(trains, model, X, target, loss=loss), *plain(model, by_hand, target, True))
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.value, value)


def test_sites_have_the_names_and_values_of_layers() -> None:
    model = made()
    ds = vp.probe(model, X)
    assert ds.site.values.tolist() == [
        "input", "net/first", "net/norm", "net/hidden_0", "net/hidden_1", "net/head",
    ]  # fmt: skip
    assert ds.attrs["coverage"] == "4 of 4 matrix products probed" and ds.arch.values.tolist() == ["Sequential"]
    first = model.get_layer("first")
    expected = np.log10(np.mean((X @ np.array(first.kernel.value) + np.array(first.bias.value)) ** 2))
    np.testing.assert_allclose(ds.preactivation_log10_mean_square.values[0, 0, 1], expected, atol=1e-5)


def test_each_seed_has_a_fresh_model() -> None:
    ds = vp.probe(made(0), X, init=lambda key: made(int(jax.random.randint(key, (), 0, 999))), seeds=2)
    draws = [int(jax.random.randint(jax.random.key(seed), (), 0, 999)) for seed in range(2)]
    kernels = [made(draw).get_layer("head").kernel.value for draw in draws]
    expected = [float(jnp.log10(jnp.mean(kernel**2))) for kernel in kernels]
    found = ds.parameter_log10_mean_square.sel(parameter="net/head/kernel").values[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert expected[0] != expected[1]


def test_layers_that_are_not_trained_are_sites_without_parameters() -> None:
    model = made()
    model.get_layer("hidden_0").trainable = False
    ds = vp.probe(model, X, TARGET, loss="mse")
    assert ds.site.values[3] == "net/hidden_0" and "net/hidden_0/kernel" not in ds.parameter.values
    same(ds, *plain(model, CASES["mse"][1], TARGET, False))


def test_several_inputs_and_outputs() -> None:
    a, b = keras.Input((6,), name="a"), keras.Input((3,), name="b")
    merged = layers.Concatenate()([layers.Dense(4, "tanh", name="left")(a), layers.Dense(4, "tanh", name="right")(b)])
    model = keras.Model([a, b], {"logits": layers.Dense(3, name="out")(merged), "hidden": merged})
    ds = vp.probe(model, [X, TARGET], Y, loss="cross_entropy", output="logits")
    assert ds.site.values.tolist() == ["input", "left", "right", "out"] and ds.attrs["output"] == "logits"
    same(ds, *plain(model, lambda found, y: entropy(found["logits"], y), Y, False, x=[X, TARGET]))


def test_paths_that_come_twice_are_told_apart() -> None:
    class Twins(keras.Model):
        def __init__(self) -> None:
            super().__init__(name="twins")
            self.a, self.b = layers.Dense(6, name="dense"), layers.Dense(3, name="dense")

        def call(self, x: Any) -> Any:
            return self.b(self.a(x))

    model = Twins()
    model(X)
    ds = vp.probe(model, X)
    assert {"twins/dense/kernel", "twins/dense/kernel#2"} < set(ds.parameter.values)


FACTORY = """
import jax, keras, numpy as np

def make(key):
    keras.utils.set_random_seed(int(jax.random.bits(key)))
    net = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(3)])
    return net, np.ones((4, 6), np.float32), np.arange(4) % 3, {"loss": "cross_entropy"}
"""


def test_a_factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(FACTORY)
    np.save("rows.npy", X)
    with pytest.raises(SystemExit) as stop:
        main(["probe", "net.py:make", "--seeds", "2", "--data", "rows.npy", "--out", "run"])
    assert stop.value.code == 0, capsys.readouterr()
    ds = vp.open_run("run")
    assert ds.sizes["seed"] == 2 and ds.attrs["coverage"] == "2 of 2 matrix products probed"
    np.testing.assert_allclose(
        ds.activation_log10_mean_square.values[0, :, 0], np.log10(np.mean(X[:4] ** 2)), atol=1e-5
    )
    levels = ds.parameter_log10_mean_square.values[0]
    assert len({*levels[:, -1]}) == 2


class Unready(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, x: Any) -> Any:
        return self.dense(x) if x.sum() > 0 else x


def test_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    model, fresh = made(), Unready()
    with pytest.raises(
        vp.InvalidArgumentError, match=r"^Unready has no variables yet: build it, as by model\(x\), before"
    ):
        vp.probe(fresh, X)
    fresh(abs(X))
    with pytest.raises(
        vp.InvalidArgumentError, match=r"^Unready is not traceable by jax: test_probe_keras.py:\d+: return self"
    ):
        vp.probe(fresh, X)
    with pytest.raises(ValueError, match="expected axis -1 of input shape to have value 6") as error:
        vp.probe(model, X[:, :3])
    assert "Exception encountered" not in str(error.value)
    way = "Sequential is a model of keras and no pytree of arrays: model.stateless_call is a function"
    for wrong in (
        lambda: vp.probe(lambda w, x, model: x @ w, TARGET.T, TARGET, model),
        lambda: vp.instrument(lambda model, x: model(x).sum())(model, X),
        lambda: vp.track(lambda model, x: model(x).sum(), params=model, optimizer="sgd", batches=X, steps=1),
    ):
        with pytest.raises(vp.InvalidArgumentError, match=way):
            wrong()
    with pytest.raises(vp.InvalidArgumentError, match=r"^init: init returns dict \(allowed: a fresh model of keras\)$"):
        vp.probe(model, X, init=lambda key: {}, seeds=1)
    with pytest.raises(vp.InvalidArgumentError, match="^init: init gives 2 trainable variables, and the model has 10$"):
        vp.probe(model, X, init=lambda key: fresh, seeds=1)
    monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
    with pytest.raises(
        vp.InvalidArgumentError, match=r"on the tensorflow backend \(allowed: jax; set KERAS_BACKEND=jax before"
    ):
        vp.probe(model, X)
