"""Which output a loss is made of, and roles of arguments that the user names."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import varprobe as vp
from varprobe.model.adapters import subject_of
from varprobe.model.factories import returned
from varprobe.model.layout import Layout
from varprobe.model.outputs import chosen_array, chosen_part
from varprobe.model.probed import plan_of

RANDOM = np.random.default_rng(0)
X, W = (RANDOM.normal(size=shape).astype(np.float32) for shape in ((4, 6), (6, 6)))
H = np.tanh(X @ W)
P = {"a": W, "b": np.float32(1e-6) * W}


def layout(function: Callable[..., Any], *arguments: Any, **options: Any) -> Layout:
    return plan_of(subject_of(function, arguments, options.pop("loss", None), **options)).layout


def several(p: Any, x: Any) -> Any:
    """Outputs behind a product that almost nothing passes, and the hidden layer before it."""
    h = jnp.tanh(x @ p["a"])
    return h @ p["b"], {"hidden": h, "also": [2 * h, jnp.arange(3)]}


def log10_mean_square(values: Any) -> float:
    return float(np.log10(np.square(np.asarray(values, np.float64)).mean()))


def gradient_at_a(output: Any) -> tuple[float, Any]:
    """(log10 of the mean square of dLoss/dz at the first product, the dataset)."""
    ds = vp.probe(several, P, X, loss="cotangent", output=output)
    return float(ds.gradient_log10_mean_square.values[0, 0, ds.site.values.tolist().index("a")]), ds


def test_the_default_cotangent_is_of_the_first_output() -> None:
    noise = np.asarray(jax.random.normal(jax.random.fold_in(jax.random.key(0), 0), (4, 6)))
    slope = 1 - H**2
    found, ds = gradient_at_a(None)
    assert found == pytest.approx(log10_mean_square((noise @ P["b"].T) * slope), abs=1e-5)
    assert ds.loss.item() == ds.attrs["loss"] == "cotangent of output 0"
    assert ds.attrs["output"] == "0" and ds.attrs["other_outputs"] == '["1/hidden", "1/also/0"]'
    assert "loss cotangent of output 0" in str(vp.diagnose(ds))
    assert gradient_at_a("1/hidden")[0] == pytest.approx(log10_mean_square(noise * slope), abs=1e-5)
    assert gradient_at_a("1/also")[0] == pytest.approx(log10_mean_square(2 * noise * slope), abs=1e-5)


def test_one_output_has_no_name() -> None:
    for function in (lambda p, x: several(p, x)[0], lambda p, x: {"y": several(p, x)[0], "step": jnp.arange(3)}):
        assert dict(layout(function, P, X, loss="cotangent").about)["loss"] == "cotangent"


@dataclass
class Pair:
    """A pytree whose fields have an order of their own."""

    second: Any
    first: Any


jax.tree_util.register_dataclass(Pair, ["second", "first"], [])


def array(number: float) -> np.ndarray:
    return np.full(2, number, np.float32)


ONE, TWO, THREE = map(array, (1, 2, 3))


@pytest.mark.parametrize(
    "found, output, path, value",
    [
        ({"logits": ONE, "hidden": TWO}, None, "logits", 1),
        ({"tokens": None, "aux": {"z": THREE, "b": TWO}}, None, "aux/z", 3),
        ({"logits": ONE, "hidden": TWO}, "hidden", "hidden", 2),
        ({7: ONE, 3: TWO}, 3, "3", 2),
        ([ONE, (TWO, THREE)], 1, "1/0", 2),
        ([ONE, (TWO, THREE)], "1/1", "1/1", 3),
        (Pair(ONE, TWO), None, "second", 1),
        (Pair(ONE, {"a/b": TWO}), "first/a/b", "first/a/b", 2),
        ([ONE, TWO], lambda outputs: outputs[1], "<lambda>", 2),
        (TWO, None, "", 2),
    ],
)
def test_the_first_and_the_picked(found: Any, output: Any, path: str, value: float) -> None:
    picked, chosen = chosen_array(found, output)
    assert (chosen.path, picked.tolist()) == (path, [value, value])


def test_integers_are_no_output_of_a_cotangent() -> None:
    picked, chosen = chosen_array((np.arange(3), ONE), None)
    assert picked is ONE and (chosen.path, chosen.others, chosen.label) == ("1", (), "")
    part, chosen = chosen_part({"a": ONE, "b": [TWO, THREE]}, "b")
    assert len(part) == 2 and chosen.others == ("a",)


def test_losses_of_the_picked_output() -> None:
    target = np.ones((4, 6), np.float32)
    ds = vp.probe(several, P, X, target, loss="mse", output="1/hidden").isel(config=0, seed=0)
    expected = log10_mean_square(2 / H.size * (H - target) * (1 - H**2))
    assert ds.gradient_log10_mean_square.values[1] == pytest.approx(expected, abs=1e-5)
    assert ds.loss.item() == "mse of output 1/hidden"

    def own(hidden: Any, y: Any) -> Any:
        return jnp.mean((hidden["hidden"] - y) ** 2)

    found = layout(several, P, X, target, loss=own, output=1)
    assert dict(found.about)["loss"] == "own of output 1"
    assert dict(layout(lambda p, x: several(p, x)[1], P, X, target, loss=own).about)["loss"] == "own"
    labels = np.arange(4)
    found = layout(several, P, X, labels, loss="cross_entropy", output=lambda outputs: outputs[0])
    assert dict(found.about)["loss"] == "cross_entropy of output <lambda>"


@pytest.mark.parametrize(
    "function, options, message",
    [
        (several, {"loss": "cotangent", "output": "hiden"}, "output: the model returns no 'hiden'; did you mean '1/hidden'? (allowed: 0, 1/hidden, 1/also/0)"),
        (several, {"loss": "cotangent", "output": "1/hiden"}, "output: the model returns no '1/hiden'; did you mean '1/hidden'?"),
        (several, {"loss": "cotangent", "output": -1}, "output: the model returns no '-1' (allowed: 0, "),
        (several, {"loss": "cotangent", "output": "1/also/1"}, "output 1/also/1 holds no floats"),
        (several, {"loss": "cotangent", "output": 1.5}, "output: 1.5 does not name an output (allowed: an index, a key, a path"),
        (several, {"loss": "cotangent", "output": True}, "output: True does not name an output"),
        (lambda p, x: several(p, x)[0], {"loss": "cotangent", "output": 0}, "output: there is no '0': the model returns one array"),
        (lambda p, x: several(p, x)[0].sum(), {"output": 0}, "output: 0 picks the output for a loss, and without loss= the function itself is the loss"),
        (lambda p, x: x.astype(int), {"loss": "cotangent"}, "the function returns no floats, so there is nothing to differentiate"),
    ],
)  # fmt: skip
def test_outputs_that_are_not_there(function: Callable[..., Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(vp.InvalidArgumentError) as error:
        vp.probe(function, P, X, **options)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def kinds(found: Layout) -> list[tuple[str, str]]:
    return [(row.site, row.kind) for row in found.rows]


def behind(p: Any, target: Any, x: Any) -> Any:
    """A frozen matrix behind a trained one."""
    return jnp.sum(jnp.tanh(x @ p["w"]) @ target)


def graph(p: Any, batch: Any, x: Any) -> Any:
    """A graph convolution, with the graph in two arrays."""
    return jnp.sum(batch["adjacency"] @ jnp.tanh(x @ p["w"]) * batch["degree"][:, None])


GRAPH = {"adjacency": np.eye(4, dtype=np.float32), "degree": np.ones(4, np.float32)}


@pytest.mark.parametrize("frozen", ["target", 1, ["target"], (1,)])
def test_a_single_array_is_frozen_if_the_user_says_so(frozen: Any) -> None:
    assert kinds(layout(behind, {"w": W}, W, X)) == [("w", "linear"), ("mixed", "mixing")]
    found = layout(behind, {"w": W}, W, X, frozen=frozen)
    assert kinds(found) == [("w", "linear"), ("target", "linear")]
    assert found.rows[1].fan_in == 6 and found.leaves == ("w",) and dict(found.about)["batch"] == 4


@pytest.mark.parametrize("data", ["batch", 1, ["batch/adjacency"], ("batch/adjacency", "batch/degree")])
def test_a_pair_of_arrays_is_data_if_the_user_says_so(data: Any) -> None:
    assert kinds(layout(graph, {"w": W}, GRAPH, X)) == [("w", "linear"), ("adjacency", "linear")]
    assert kinds(layout(graph, {"w": W}, GRAPH, X, data=data)) == [("w", "linear"), ("mixed", "mixing")]


def test_the_seed_of_a_cotangent_is_no_argument() -> None:
    subject = subject_of(lambda p, seed, x: x @ p["w"] + seed, ({"w": W}, X, X), "cotangent", frozen="seed")
    assert [(g.name, g.role) for g in subject.given] == [("seed", "frozen"), ("x", "data"), ("seed", "other")]


def test_a_part_of_an_argument_is_frozen() -> None:
    def loss(p: Any, batch: Any) -> Any:
        return jnp.sum(jnp.tanh(batch["x"] @ p["w"]) @ batch["kernel"])

    batch = {"kernel": W, "x": X}
    assert kinds(layout(loss, {"w": W}, batch)) == [("w", "linear"), ("mixed", "mixing")]
    assert kinds(layout(loss, {"w": W}, batch, frozen="batch/kernel")) == [("w", "linear"), ("kernel", "linear")]
    ds = vp.probe(loss, {"w": W}, batch, frozen="batch/kernel").isel(config=0, seed=0)
    assert ds.preactivation_log10_mean_square.values[2] == pytest.approx(log10_mean_square(H @ W), abs=1e-5)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"frozen": "targt"}, "frozen: there is no argument 'targt'; did you mean 'target'? (allowed: target, x)"),
        ({"frozen": "target/w"}, "frozen: there is no argument 'target/w'; did you mean 'target'? (allowed: target)"),
        ({"data": 3}, "data: there is no argument 3 (allowed: target, x, or positions 1 to 2)"),
        ({"data": True}, "data: True is not an argument (allowed: target, x, or positions 1 to 2)"),
        ({"frozen": 0}, "frozen: 0 is the argument that is differentiated; jax.lax.stop_gradient"),
        ({"frozen": "p"}, "frozen: 'p' is the argument that is differentiated"),
        ({"frozen": "target", "data": ["x", 1]}, "data: target is in frozen=, too"),
    ],
)
def test_arguments_that_are_not_there(options: dict[str, Any], message: str) -> None:
    with pytest.raises(vp.InvalidArgumentError) as error:
        vp.probe(behind, {"w": W}, W, X, **options)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def test_positions_of_a_model_begin_with_its_batch() -> None:
    """As of its call: the model itself is not an argument."""

    @partial(jax.tree_util.register_dataclass, data_fields=["w"], meta_fields=[])
    @dataclass
    class Model:
        w: Any

        def __call__(self, target: Any, x: Any) -> Any:
            return jnp.tanh(x @ self.w) @ target

    for frozen in (0, "target"):
        found = plan_of(subject_of(Model(W), (W, X), None, frozen=frozen)).layout
        assert kinds(found) == [("w", "linear"), ("target", "linear")]
    with pytest.raises(
        vp.InvalidArgumentError, match=r"there is no argument 2 \(allowed: target, x, or positions 0 to 1\)"
    ):
        vp.probe(Model(W), W, X, frozen=2)


@partial(jax.tree_util.register_dataclass, data_fields=["array"], meta_fields=["axes"])
@dataclass
class Named:
    """An array with names of its axes, as in Haliax."""

    array: Any
    axes: tuple[str, ...]


def test_named_arrays_do_not_lengthen_names() -> None:
    def loss(p: Any, target: Any, x: Any) -> Any:
        for layer in (*p["layers"], target["block"]):
            x = jnp.tanh(x @ layer["weight"].array + layer["bias"].array)
        return x.sum()

    layer = {"weight": Named(W, ("in", "out")), "bias": Named(np.zeros(6, np.float32), ("out",))}
    found = layout(loss, {"layers": [layer, layer]}, {"block": layer}, X)
    assert kinds(found) == [("layers/0", "linear"), ("layers/1", "linear"), ("block", "linear")]
    assert found.leaves[:2] == ("layers/0/bias/array", "layers/0/weight/array")
    alone = layout(lambda p, x: (x @ p["head"].array).sum(), {"head": Named(W, ())}, X)
    assert kinds(alone) == [("head", "linear")]


@pytest.mark.parametrize(
    "last, keywords",
    [
        ({"output": "aux/hidden", "loss": "mse", "frozen": ("target", 2), "data": "x"}, True),
        ({"output": lambda outputs: outputs[0]}, True),
        ({"step_size": np.float32(0.1)}, True),
        ({"data": X}, False),
        ({"data": {"x": X}, "output": [X]}, False),
    ],
)
def test_options_of_a_factory_are_not_its_batch(last: dict[str, Any], keywords: bool) -> None:
    arguments, found = returned(lambda: (several, P, last), "net.py:make")
    assert (len(arguments), found) == ((2, last) if keywords else (3, {}))
