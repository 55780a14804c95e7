"""What cannot be probed, each with a way out in one line."""

import re
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.experimental.pallas import pallas_call

import varprobe as vp

X, W = np.ones((4, 6), np.float32), np.eye(6, dtype=np.float32)


def looks_like(module: str, name: str, **methods: Callable[..., Any]) -> Any:
    """An instance of a class of another library."""
    return type(name, (), {"__module__": module, **methods})()


def called(self: Any, x: Any) -> Any:
    return x


def converted(self: Any, dtype: Any = None) -> Any:
    return X


TENSOR = looks_like("torch", "Tensor", __array__=converted, numpy=converted)
TABLE = looks_like("pandas.core.frame", "DataFrame", __array__=converted, to_numpy=converted)
LINES = [[1.0] * 6, [2.0] * 6]


def loss(params: Any, x: Any, y: Any) -> Any:
    return jnp.mean((x @ params - y) ** 2)


def train_only(params: Any, x: Any, *, train: bool) -> Any:
    return jnp.sum(x @ params)


def scaled(params: Any, x: Any, betas: tuple[float, float]) -> Any:
    return betas[0] * jnp.sum(x @ params)


def opens(params: Any, x: Any) -> Any:
    return {"logits": x @ params, "step": x.astype(int)}


class Switched(nn.Module):
    @nn.compact
    def __call__(self, x: Any, *, train: bool) -> Any:
        return nn.Dense(3)(x)


SWITCHED = (Switched(), {"params": {"Dense_0": {"kernel": W[:, :3], "bias": W[0, :3]}}})
LINEAR = nnx.Linear(6, 3, rngs=nnx.Rngs(0))
MLP = eqx.nn.MLP(6, 3, 8, 1, key=jax.random.key(0))

FOREIGN = {
    "what torch calls": ((looks_like("torch.nn.functional", "Call", __call__=called), X), "Call is a model of torch and no pytree of arrays: torchax.extract_jax(module) gives"),
    "a second model of keras": ((loss, W, looks_like("keras.src.layers.layer", "Layer", __call__=called), X), "Layer is a model of keras and no pytree of arrays: model.stateless_call is a function of the arrays [v.value for"),
    "a model among the arguments": ((loss, looks_like("torch.nn", "Net", __call__=called), X, X), "Net is a model of torch"),
    "a tensor": ((loss, W, TENSOR, X), "x is a torch.Tensor, which jax does not trace: jnp.asarray(x.numpy()) makes it an array"),
    "a table": ((loss, W, X, TABLE), "y is a pandas.DataFrame, which jax does not trace: jnp.asarray(y.to_numpy()) makes it an array"),
    "a tensor in a batch": ((loss, W, {"x": TENSOR}, X), "x/x is a torch.Tensor, which jax does not trace: jnp.asarray(tensor.numpy())"),
    "parameters of tensors": ((loss, {"w": TENSOR}, X, X), "params/w is a torch.Tensor"),
    "nested lists": ((loss, W, LINES, X), "x is a list of numbers; jnp.asarray makes it an array"),
    "lists in a batch": ((loss, W, {"x": LINES}, X), "x/x is a list of numbers"),
    "floats and integers": ((loss, W, X, [1, 2.5]), "y is a list of numbers"),
    "tuples of floats": ((loss, W, ((1.0,) * 6,) * 4, (1.0,) * 6), "x is a tuple of numbers; jnp.asarray makes it an array"),
    "lists of integers": ((loss, W, [1, 2], 3), "x is a list of numbers"),
}  # fmt: skip

CALLS = {
    "no parameters": ((loss, X, X), "probe(loss_fn, params, *batch): loss was called with 2 arguments and takes (params, x, y)"),
    "integers for parameters": ((loss, np.arange(3), X), "loss has no parameters: there is no array of floats in its first argument; probe(loss_fn, params, *batch)"),
    "too many": ((loss, W, X, X, X), "probe(loss_fn, params, *batch): loss was called with 4 arguments and takes (params, x, y)"),
    "a keyword": ((train_only, W, X), "train_only needs the keyword argument train=: give it with functools.partial(train_only, train=...) or a lambda"),
    "a keyword of a module": ((SWITCHED, X), "Switched needs the keyword argument train=: give it with lambda variables, x: module.apply(variables, x, train=...)"),
    "no batch": ((LINEAR,), "probe(model, *batch): Linear was called with 0 arguments and takes (inputs, out_sharding=...)"),
    "a target without a loss": ((MLP, X[0], X[0]), "probe(model, *batch): MLP was called with 2 arguments and takes (x, key=...); a target needs another loss, such as loss='mse'"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), [*FOREIGN.values(), *CALLS.values()], ids=[*FOREIGN, *CALLS])
def test_one_line_with_a_way_out(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(vp.InvalidArgumentError) as error:
        vp.probe(*arguments)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def test_models_of_torch_need_torchax(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchax", None)
    module = looks_like("torch.nn.modules.module", "Module", __call__=called)
    for arguments in ((module, X), (lambda module, x: module(x), module, X)):
        with pytest.raises(
            vp.InvalidArgumentError, match=r'^models of PyTorch need torchax: pip install "varprobe\[torch\]"$'
        ):
            vp.probe(*arguments)


def test_tuples_beside_arrays_are_settings() -> None:
    assert vp.probe(scaled, W, X, (0.9, 0.99)).sizes["layer"] == 2


def test_a_loss_of_several_outputs_names_them() -> None:
    for name, target in {"mse": X, "cross_entropy": np.arange(4)}.items():
        message = f"loss: the model gives a dict, and {name} needs one array: output= picks one of logits"
        with pytest.raises(vp.InvalidArgumentError, match=re.escape(message)):
            vp.probe(opens, W, X, target, loss=name)
    with pytest.raises(
        vp.InvalidArgumentError, match=r"takes \(params, x, y\); only the first argument of the batch goes to"
    ):
        vp.probe(loss, W, X, X, loss="mse")


def test_errors_of_a_model_stay_its_own() -> None:
    """Also those that read like a refused call."""

    def inner(a: Any) -> Any:
        return a

    def fails(params: Any, x: Any) -> Any:
        return inner(x @ params, 3)  # type: ignore[call-arg]

    with pytest.raises(TypeError, match=r"inner\(\) takes 1 positional argument but 2 were given"):
        vp.probe(fails, W, X)
    with pytest.raises(TypeError, match="dot_general requires contracting dimensions"):
        vp.probe(loss, W[:5], X, X)

    @wraps(loss)
    def given_targets(params: Any, x: Any) -> Any:
        return loss(params, x, X)

    assert vp.probe(given_targets, W, X).sizes["layer"] == 2
    with pytest.raises(TypeError, match="dot_general requires contracting dimensions"):
        vp.probe(given_targets, W[:5], X)


@jax.custom_vjp
def ruled(x: Any, w: Any) -> Any:
    return x @ w


ruled.defvjp(lambda x, w: (x @ w, (x, w)), lambda kept, c: (c @ kept[1].T, kept[0].T @ c))


@jax.custom_jvp
def sloped(x: Any, w: Any) -> Any:
    return x @ w


sloped.defjvp(lambda at, by: (at[0] @ at[1], by[0] @ at[1] + at[0] @ by[1]))


@jax.custom_vjp
def printing(x: Any, w: Any) -> Any:
    jax.debug.print("{}", x[0, 0])
    return x @ w


printing.defvjp(lambda x, w: (x @ w, (x, w)), lambda kept, c: (c @ kept[1].T, kept[0].T @ c))


def kernel(x: Any, w: Any) -> Any:
    def multiply(x: Any, w: Any, out: Any) -> None:
        out[...] = x[...] @ w[...]

    return pallas_call(multiply, jax.ShapeDtypeStruct(x.shape, x.dtype), interpret=True)(x, w)


def stopped(x: Any, w: Any) -> Any:
    def step(v: Any) -> Any:
        jax.debug.print("{}", v.sum())
        return v @ w

    return jax.lax.while_loop(lambda v: v.sum() > 99, step, x)


@pytest.mark.parametrize(
    ("function", "primitive", "way"),
    [
        (printing, "custom_vjp_call at test_probe_messages.py:", "leave out the callbacks and the debug prints in it"),
        (stopped, "while at test_probe_messages.py:", "leave out the callbacks and the debug prints in it"),
        (kernel, "pallas_call at test_probe_messages.py:", "probe a reference of the kernel in jax.numpy"),
    ],
)
def test_products_in_opaque_calls_have_a_way_out(function: Callable[..., Any], primitive: str, way: str) -> None:
    with pytest.raises(vp.InvalidArgumentError) as error:
        vp.probe(lambda w, x: function(x, w).sum(), W, X)
    text = str(error.value)
    assert text.startswith("<lambda> has no matrix product of a signal; 0 of 1 matrix product probed; 1 opaque: ")
    assert primitive in text and text.endswith(way) and "\n" not in text


def test_the_function_of_a_rule_can_be_probed() -> None:
    for function in (ruled, sloped):
        found = vp.probe(lambda w, x, f=function: f.fun(x, w).sum(), W, X)
        assert found.attrs["coverage"] == "1 of 1 matrix product probed"
